"""What a source of lines makes of a file, for the tests of each."""

import io
from collections import Counter
from pathlib import Path

from replay.capture.inputs import Input
from replay.capture.logs.reader import LogSource
from replay.capture.sources.source import Lines, ReadOptions
from replay.capture.spool import Spool
from replay.traffic import Skipped

NOT_HTTP, OTHER = "the request is not HTTP", "the line is not of this format"


def read(source: LogSource, data: bytes | str | Path, **said: object) -> tuple[list[dict], list[Skipped]]:
    """The rows and what was skipped; ``said`` are the options."""
    if isinstance(data, Path):
        file = Input(data.name, data)
    else:
        file = Input("a.log", Spool(io.BytesIO(data.encode() if isinstance(data, str) else data)))
    rows: list[dict] = []
    skipped: list[Skipped] = []
    for item in source.read(file, ReadOptions(**said)):
        if isinstance(item, Lines):
            rows += item.table.to_pylist()
            skipped += item.skipped
        else:
            skipped.append(item)
    return rows, skipped


def read_one(source: LogSource, line: str, **said: object) -> dict:
    """The one exchange that the line is."""
    ((row,), skipped) = read(source, line + "\n", **said)
    assert skipped == []
    return row


def counts(source: LogSource, path: Path) -> tuple[int, dict[str, int]]:
    """How many lines are exchanges, and how many are not and why. None that is not blank is left out."""
    rows, skipped = read(source, path)
    lines = [line for line in path.read_bytes().split(b"\n") if line.strip() and not line.startswith(b"#")]
    assert len(rows) + len(skipped) == len(lines)
    return len(rows), dict(Counter(item.reason for item in skipped))
