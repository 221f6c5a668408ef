"""An arm's seal: the digests of its files as they were when it ended, so that a later change of them is seen.

The seal lies beside the files, and its own digest in ``rehearsal.json``. It tells a file that was damaged, edited, lost
or added; it is no signature, and does not keep out somebody who makes all of it anew.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from replay.evidence.files import write_json
from replay.evidence.rollup import KINDS

SEAL = "seal.json"


def seal(arm: Path) -> str:
    """Write the seal of an arm that has ended, and give the seal's digest. Raises OSError."""
    write_json(arm / SEAL, {str(file.relative_to(arm)): _digest(file) for file in _files(arm)})
    return _digest(arm / SEAL)


def broken(arm: Path, digest: str) -> Iterator[str]:
    """What of an arm's files is not as it was when it was sealed, in words. ``digest`` is the seal's."""
    try:
        same = _digest(arm / SEAL) == digest
        sealed = json.loads((arm / SEAL).read_text(encoding="utf-8")) if same else None
    except (OSError, ValueError, RecursionError):
        same, sealed = False, None
    if not isinstance(sealed, dict):
        yield f"{SEAL} was {'changed' if (arm / SEAL).is_file() else 'removed'} after the arm had ended"
        return
    there = {str(file.relative_to(arm)): file for file in _files(arm)}
    for name in sorted({*sealed, *there}):
        if name not in there:
            yield f"{name} is gone"
        elif name not in sealed:
            yield f"{name} was added after the arm had ended"
        elif not _is(there[name], sealed[name]):
            yield f"{name} was changed after the arm had ended"


def _files(arm: Path) -> list[Path]:
    """The files that a verdict may rest on: those of the arm itself, and its segments."""
    found = [file for pattern in ("*.json", "*.jsonl") for file in arm.glob(pattern) if file.name != SEAL]
    found += [file for kind in KINDS for file in (arm / kind).glob("*")]
    return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def _is(file: Path, digest: object) -> bool:
    try:
        return _digest(file) == digest
    except OSError:
        return False


def _digest(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
