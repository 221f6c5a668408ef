"""What ``capture.json`` says about a capture."""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from replay.errors import InputError

FORMAT = 1
RECORDING, COMPLETE = "recording", "complete"
_LIMIT_BYTES = 100_000_000
_SEGMENT = re.compile(r"exchanges/[\w-][\w.-]*\.parquet")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Source:
    """Where exchanges came from: ``read`` records, of which ``kept`` became exchanges.

    The others were ``skipped``, by their reason, or ``left_out`` by what was asked for, by the option that did
    (``--since``). ``format`` is the name of the source's format, empty where it is not known.
    """

    name: str
    read: int = 0
    kept: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    format: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``capture.json`` has it."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if value or name not in {"left_out", "format"}}


@dataclass(frozen=True, slots=True)
class Scrubbing:
    """Whether secrets were replaced, how many of each kind, and which key (not the key itself).

    ``key_id`` is None too where captures of several keys were merged.
    """

    on: bool
    counts: dict[str, int] = field(default_factory=dict)
    key_id: str | None = None

    @classmethod
    def merged(cls, parts: "Sequence[Scrubbing]") -> "Scrubbing":
        """What is to be said of exchanges that were scrubbed apart: on where all were."""
        on = [part for part in parts if part.on]
        counts = sum((Counter(part.counts) for part in on), Counter[str]())
        key_ids = {part.key_id for part in on}
        return cls(bool(on) and len(on) == len(parts), dict(counts), key_ids.pop() if len(key_ids) == 1 else None)


@dataclass(frozen=True, slots=True)
class Manifest:
    """``capture.json``. ``state`` is ``recording`` until the capture is ``complete``.

    ``environment`` is where the traffic was recorded (production, pre-production, stage...); ``hosts`` the hosts, with
    their ports, that answered it. ``window`` runs from the first request to the last answer, and is None where there is
    no exchange. ``bodies_not_kept`` counts bodies by the reason, ``lacking`` the exchanges that passed a live capture
    but could not be written. ``segments`` are a complete one's files, in order of time. ``notes`` are sentences that a
    reader must know.
    """

    name: str
    environment: str
    state: str
    exchanges: int
    window: tuple[datetime, datetime] | None
    hosts: tuple[str, ...]
    sources: tuple[Source, ...]
    scrubbing: Scrubbing
    bodies_not_kept: dict[str, int] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    format: int = FORMAT
    notes: tuple[str, ...] = ()
    lacking: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As ``capture.json`` has it; the window's moments are UTC in ISO 8601."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        values["scrubbing"] = dataclasses.asdict(self.scrubbing)
        values["sources"] = [source.to_json() for source in self.sources]
        start, end = self.window or (None, None)
        values["window"] = {"start": start and start.isoformat(), "end": end and end.isoformat()}
        return {name: value for name, value in values.items() if value or name not in {"notes", "lacking"}}

    def write(self, file: Path) -> None:
        """Write the manifest whole or not at all."""
        partial = file.with_name(f".{file.name}.part")
        text = json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8", errors="replace")
        partial.replace(file)


def load_manifest(file: Path) -> Manifest:
    """Read a manifest. Raises InputError, with one sentence, where it is missing, broken or of another format."""
    try:
        if file.stat().st_size > _LIMIT_BYTES:
            raise InputError(f"{file} cannot be read: it is larger than any manifest.")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{file.parent} has no capture.json.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {_first_line(error)}.") from error
    return parse_manifest(text, str(file))


def parse_manifest(text: str, file: str) -> Manifest:
    """The manifest that ``text`` is; ``file`` says where it stood. Raises InputError where it is none."""
    try:
        values = json.loads(text)
        if "\\ud" in text:  # halves of characters, which nothing could print
            values = json.loads(json.dumps(values, ensure_ascii=False).encode("utf-8", "replace"))
    except ValueError as error:
        raise InputError(f"{file} cannot be read: {_first_line(error)}.") from error
    except RecursionError as error:
        raise InputError(f"{file} cannot be read: it is nested too deeply.") from error
    if isinstance(values, dict) and values.get("format") not in (None, FORMAT):
        raise InputError(
            f"{file} has format {str(values['format'])[:40]}; this version reads {FORMAT}.", "Update replay."
        )
    try:
        return _manifest(_a(dict, values, "it"))
    except (KeyError, ValueError, OverflowError) as error:
        raise InputError(f"{file} is not a capture's manifest: {_complaint(error)}.") from error


def _manifest(values: dict[str, Any]) -> Manifest:
    window = _a(dict, values["window"], "window")
    state = _a(str, values["state"], "state")
    if state not in (RECORDING, COMPLETE):
        raise ValueError(f"its state is neither {RECORDING} nor {COMPLETE}")
    return Manifest(
        name=_a(str, values["name"], "name"),
        environment=_a(str, values["environment"], "environment"),
        state=state,
        exchanges=_count(values["exchanges"], "exchanges"),
        window=(_moment(window["start"]), _moment(window["end"])) if window["start"] else None,
        hosts=_all(lambda host: _a(str, host, "hosts"), values["hosts"], "hosts"),
        sources=_all(_source, values["sources"], "sources"),
        scrubbing=_scrubbing(_a(dict, values["scrubbing"], "scrubbing")),
        bodies_not_kept=_counts(values["bodies_not_kept"], "bodies_not_kept"),
        segments=_different(_all(_segment, values["segments"], "segments")),
        format=_a(int, values["format"], "format"),
        notes=_all(lambda note: _a(str, note, "notes"), values.get("notes", []), "notes"),
        lacking=_counts(values.get("lacking", {}), "lacking"),
    )


def _source(values: object) -> Source:
    source = _a(dict, values, "sources")
    return Source(
        name=_a(str, source["name"], "sources"),
        read=_count(source.get("read", 0), "sources"),
        kept=_count(source.get("kept", 0), "sources"),
        skipped=_counts(source.get("skipped", {}), "sources"),
        left_out=_counts(source.get("left_out", {}), "sources"),
        format=_a(str, source.get("format", ""), "sources"),
    )


def _scrubbing(values: dict[str, Any]) -> Scrubbing:
    key_id = values.get("key_id")
    return Scrubbing(
        on=_a(bool, values["on"], "scrubbing"),
        counts=_counts(values.get("counts", {}), "scrubbing"),
        key_id=None if key_id is None else _a(str, key_id, "scrubbing"),
    )


def _segment(value: object) -> str:
    text = _a(str, value, "segments")
    if not _SEGMENT.fullmatch(text):
        raise ValueError("a segment is not a file in exchanges")
    return text


def _different(segments: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(segments)) < len(segments):
        raise ValueError("a segment is listed twice")
    return segments


def _count(value: object, where: str) -> int:
    count = _a(int, value, where)
    if count < 0:
        raise ValueError(f"{where} has a count below 0")
    return count


def _counts(values: object, where: str) -> dict[str, int]:
    return {name: _count(count, where) for name, count in _a(dict, values, where).items()}


def _all(convert: Callable[[Any], _T], values: object, where: str) -> tuple[_T, ...]:
    return tuple(convert(value) for value in _a(list, values, where))


def _a(kind: type[_T], value: object, where: str) -> _T:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where} is not {_KINDS[kind]}")
    return value


_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    bool: "true or false",
}


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(_a(str, value, "window"))
    if moment.tzinfo is None:
        raise ValueError("its window has no time zone")
    return moment


def _complaint(error: Exception) -> str:
    return f"it has no {error.args[0]!r}" if isinstance(error, KeyError) else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
