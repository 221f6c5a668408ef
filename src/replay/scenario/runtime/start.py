"""When the first second begins: now, at a moment told beforehand, or at one that is told once everything is loaded."""

import time
from pathlib import Path

from replay.errors import ToolError

_LOOK_EVERY_S = 0.02
_PATIENCE_S = 3600.0  # whoever starts us may have to put Stage back meanwhile; without him we are ended anyway


def await_start(file: Path) -> float:
    """Say by ``FILE.ready`` that all is loaded, and wait until ``file`` holds the start, in seconds since the epoch.

    Raises ToolError where it never does, or holds something else.
    """
    file.with_name(f"{file.name}.ready").touch()
    until = time.monotonic() + _PATIENCE_S
    while not file.exists():
        if time.monotonic() > until:
            raise ToolError(f"Nobody said in {file} when to start.")
        time.sleep(_LOOK_EVERY_S)
    try:
        return float(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ToolError(f"{file} does not hold a moment to start at.") from error
