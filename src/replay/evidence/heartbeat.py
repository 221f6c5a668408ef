"""``heartbeat.json``: the sign of life of a run, which stands still where the run does."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from replay.evidence.files import write_json

HEARTBEAT = "heartbeat.json"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How a run goes at ``time`` (UTC, ISO 8601), ``elapsed_s`` after the start of its ``arm``.

    ``planned``, ``sent`` and ``failed`` are requests (failed: otherwise than in the capture), ``evidence_bytes`` what
    the run weighs on disk, ``disk_free_bytes`` what is left there. The memories are resident: of the process that
    watches the run, and of the load generator; None where that cannot be told.
    """

    time: str
    arm: str
    elapsed_s: float
    planned: int
    sent: int
    failed: int
    evidence_bytes: int
    disk_free_bytes: int
    conductor_memory_bytes: int | None
    generator_memory_bytes: int | None


def beat(run: Path, heartbeat: Heartbeat) -> None:
    """Write it into the run's folder, whole."""
    write_json(run / HEARTBEAT, asdict(heartbeat))


def last_sign(run: Path) -> dict[str, Any] | None:
    """What a run's last heartbeat says; None where there is none."""
    try:
        values = json.loads((run / HEARTBEAT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
