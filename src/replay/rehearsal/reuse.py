"""Control arms of an earlier rehearsal that serve again: same workloads, same plan but for its steps, same Stage."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.errors import InputError
from replay.evidence.run import read_info
from replay.rehearsal.arms import ArmOutline
from replay.rehearsal.databases import first_of
from replay.rehearsal.noted import check_noted
from replay.rehearsal.outline import Outline
from replay.rehearsal.resume import read_json

# What of a plan does not touch a control.
_OF_THE_STEPS = ("steps", "criteria")
_OF_THE_REHEARSAL = ("name", "quiet", "order", "controls")
_ANEW = "Leave --controls-of out to play them anew."


@dataclass(frozen=True, slots=True)
class Reused:
    """Control arms that lie in the run ``source``; ``values`` are its ``rehearsal.json``."""

    source: Path
    values: dict[str, Any]
    arms: tuple[str, ...]

    @property
    def when(self) -> str:
        """The day and the minute at which that rehearsal began."""
        return str(self.values.get("started_at", ""))[:16].replace("T", " ")


def find_controls(source: Path, outline: Outline, values: dict[str, Any]) -> Reused:
    """The controls of ``outline`` that are whole in the run ``source``; ``values`` are what ours would say.

    Raises InputError where that run was played with other workloads, another plan or another version, and where
    nothing says what Stage was like.
    """
    file = source / "rehearsal.json"
    earlier = read_json(file)
    if not earlier:
        raise InputError(f"There is no rehearsal in {source} to take controls of.", _ANEW)
    for same, sentence in (
        (earlier.get("replay_version") == values["replay_version"], "it was played by another version of replay"),
        (earlier.get("captures") == values["captures"], "its captures are others, or what is sent of them"),
        (not (other := _difference(earlier, values)), f"its plan has another {other}"),
    ):
        if not same:
            raise InputError(f"The controls in {source} cannot serve again: {sentence}.", _ANEW)
    stage = earlier.get("stage")
    prints = stage.get("fingerprints") if isinstance(stage, dict) else None
    verified = first_of(outline.plan) is not None and outline.plan.target.reset
    if not isinstance(prints, dict) or not prints or not verified:
        raise InputError(
            f"The controls in {source} cannot serve again: nothing tells whether Stage is the same.",
            f"It takes a reset, and a probe or a step with a dsn, in both rehearsals. {_ANEW}",
        )
    whole = tuple(
        arm.name
        for arm in outline.arms
        if not arm.steps
        and arm.name in prints
        and read_json(source / "arms" / arm.name / "arm.json").get("state") == "complete"
    )
    if not whole:
        raise InputError(f"There is no whole control in {source}.", _ANEW)
    check_noted(file, stage, whole)
    for arm in outline.arms:
        if arm.name in whole:
            _check_arm(source / "arms" / arm.name, arm)
    return Reused(source, earlier, whole)


def take_over(reused: Reused, out: Path) -> None:
    """Copy the control arms into the run ``out``, each whole or not at all."""
    (out / "arms").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".taken-over-", dir=out) as partial:
        for arm in reused.arms:
            copied = shutil.copytree(reused.source / "arms" / arm, Path(partial) / arm, symlinks=True)
            copied.rename(out / "arms" / arm)


def _check_arm(folder: Path, arm: ArmOutline) -> None:
    """Raise InputError where a folder does not hold that arm, or holds what is no file of its own."""
    info = read_info(folder)
    said = (info.arm, info.workload, info.role, info.steps, info.planned)
    if said != (arm.name, arm.workload_name, arm.role, False, arm.planned):
        raise InputError(f"The controls in {folder.parents[1]} cannot serve again: {folder} holds another arm.", _ANEW)
    for path in (folder.parent, folder, *sorted(folder.rglob("*"))):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise InputError(
                f"The controls in {folder.parents[1]} cannot serve again: {path} is no file of that run.",
                f"Links and the like are not copied. {_ANEW}",
            )


def _difference(earlier: dict[str, Any], values: dict[str, Any]) -> str:
    """Where two plans differ, apart from their steps: ``workloads.production.duration``; empty where they do not."""
    try:
        had, have = (dict(_leaves(_without_steps(one))) for one in (earlier, values))
    except RecursionError:
        return "depth"
    return next((key for key in sorted({*had, *have}) if had.get(key) != have.get(key)), "")


def _without_steps(values: dict[str, Any]) -> dict[str, Any]:
    read = values.get("plan")
    plan = {key: value for key, value in read.items() if key not in _OF_THE_STEPS} if isinstance(read, dict) else {}
    general = plan.get("rehearsal")
    kept = general.items() if isinstance(general, dict) else ()
    return {**plan, "rehearsal": {key: value for key, value in kept if key not in _OF_THE_REHEARSAL}}


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}".lstrip("."))
    else:
        yield place, json.dumps(value, sort_keys=True)
