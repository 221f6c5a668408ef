"""Going on with a rehearsal that did not come to its end: which of its arms are whole, and whether it is the same."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.errors import InputError, ToolError
from replay.evidence.files import ArmFolder
from replay.evidence.run import second_pairs
from replay.evidence.seal import broken
from replay.rehearsal.guard import GRACE_S
from replay.rehearsal.noted import check_noted
from replay.rehearsal.outline import Outline

_PATIENCE_S = 30.0
_OF_A_PAIR = re.compile(r"[\w.-]+-(control|steps)-\d+")  # no way out of the run's folder
_ANEW = "Give --out another folder, and no --resume, to play it anew."
_MUST_AGREE = {
    "plan_digest": "its plan is another",
    "captures": "its captures are others, or what is sent of them",
    "migrations": "its SQL files are others",
    "replay_version": "it was played by another version of replay",
}


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is there of a rehearsal: its ``rehearsal.json``, and the names of the arms that were played and sealed.

    ``confirming`` are those of second pairs, which are played anew: what wanted them is judged again.
    """

    values: dict[str, Any]
    whole: tuple[str, ...]
    confirming: tuple[str, ...] = ()


def read_earlier(folder: Path, outline: Outline, values: dict[str, Any]) -> Earlier:
    """What is there in ``folder``, where ``values`` are what ``rehearsal.json`` would say today.

    Raises InputError where there is nothing to go on with, or it was another rehearsal.
    """
    earlier = read_json(folder / "rehearsal.json")
    if not earlier:
        raise InputError(f"There is no rehearsal in {folder} to go on with.", "Leave --resume out to begin.")
    if earlier.get("state") == "complete" and earlier.get("settled", True):
        raise InputError(f"The rehearsal in {folder} is complete.", "`replay judge` and `replay report` read it again.")
    for key, sentence in _MUST_AGREE.items():
        if earlier.get(key) != values[key]:
            raise InputError(f"The rehearsal in {folder} cannot go on: {sentence}.", _ANEW)
    if earlier.get("state") == "running":
        time.sleep(GRACE_S)  # its end was not in good order: what its steps had started ends within this
    whole = tuple(arm.name for arm in outline.arms if _is_whole(folder / "arms" / arm.name, earlier.get("seals")))
    check_noted(folder / "rehearsal.json", earlier.get("stage"), whole)
    return Earlier(earlier, whole, tuple(_confirming(earlier)))


def _confirming(earlier: dict[str, Any]) -> Iterator[str]:
    for names in second_pairs(earlier).values():
        yield from filter(_OF_A_PAIR.fullmatch, names)


def _is_whole(arm: Path, seals: object) -> bool:
    """Whether an arm was played to its end, and lies there as it was sealed then. Else it is played anew."""
    if read_json(arm / "arm.json").get("state") not in {"complete", "aborted"}:
        return False
    seal = seals.get(arm.name) if isinstance(seals, dict) else None
    return isinstance(seal, str) and not any(broken(arm, seal))


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none that can be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def clear(arm: Path) -> None:
    """Remove what is there of an arm, once the load of a rehearsal that was killed has ended. Raises ToolError."""
    until = time.monotonic() + _PATIENCE_S
    while ArmFolder(arm).is_held():
        if time.monotonic() > until:
            raise ToolError(f"A load still writes into {arm}.", "It is of a rehearsal that was killed: end it.")
        time.sleep(0.1)
    shutil.rmtree(arm, ignore_errors=True)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Nobody else plays into ``folder`` as long as the block runs. Raises InputError where somebody does."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"A rehearsal is being played into {folder} right now.", "Wait for its end.") from error
        yield
    finally:
        os.close(handle)
