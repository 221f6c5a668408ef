"""What ``capture.json`` says about a capture."""

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from replay.errors import InputError

FORMAT = 1
RECORDING, COMPLETE = "recording", "complete"


@dataclass(frozen=True, slots=True)
class Source:
    """Where exchanges came from: ``read`` records, of which ``kept`` became exchanges; the others by their reason."""

    name: str
    read: int = 0
    kept: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scrubbing:
    """Whether secrets were replaced, how many of each kind, and which key (not the key itself)."""

    on: bool
    counts: dict[str, int] = field(default_factory=dict)
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """``capture.json``. ``state`` is ``recording`` until the capture is ``complete``.

    ``environment`` is where the traffic was recorded (production, pre-production, stage...); ``hosts`` the hosts, with
    their ports, that answered it. ``window`` runs from the first request to the last answer, and is None where there is
    no exchange. ``bodies_not_kept`` counts bodies by the reason. ``segments`` are a complete one's files.
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

    def to_json(self) -> dict[str, Any]:
        """As ``capture.json`` has it; the window's moments are UTC in ISO 8601."""
        values = dataclasses.asdict(self)
        start, end = self.window or (None, None)
        values["window"] = {"start": start and start.isoformat(), "end": end and end.isoformat()}
        return values

    def write(self, file: Path) -> None:
        """Write the manifest whole or not at all."""
        partial = file.with_name(f".{file.name}.part")
        text = json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(file)


def load_manifest(file: Path) -> Manifest:
    """Read a manifest. Raises InputError, with one sentence, where it is missing, broken or of another format."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{file.parent} has no capture.json.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {_first_line(error)}.") from error
    if isinstance(values, dict) and values.get("format") not in (None, FORMAT):
        raise InputError(f"{file} has format {values['format']!r}; this version reads {FORMAT}.", "Update replay.")
    try:
        return _manifest(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file} is not a capture's manifest: {_complaint(error)}.") from error


def _manifest(values: dict[str, Any]) -> Manifest:
    window = values["window"]
    return Manifest(
        name=str(values["name"]),
        environment=str(values["environment"]),
        state=str(values["state"]),
        exchanges=int(values["exchanges"]),
        window=(_moment(window["start"]), _moment(window["end"])) if window["start"] else None,
        hosts=tuple(map(str, values["hosts"])),
        sources=tuple(Source(**source) for source in values["sources"]),
        scrubbing=Scrubbing(**values["scrubbing"]),
        bodies_not_kept=dict(values["bodies_not_kept"]),
        segments=tuple(map(str, values["segments"])),
        format=int(values["format"]),
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _complaint(error: Exception) -> str:
    return f"it has no {error.args[0]!r}" if isinstance(error, KeyError) else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
