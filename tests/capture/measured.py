"""A command as a process of its own, with how much memory it took at most."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_LONGEST_S = 400
# Linux tells the peak of this program alone; what a parent learns when it waits may be the parent's own.
_PROGRAM = """
import atexit, sys
from pathlib import Path
from replay.cli.main import main
atexit.register(lambda: sys.stderr.write(Path("/proc/self/status").read_text()))
main()
"""


@dataclass(frozen=True)
class Measured:
    """How a command ended: ``said`` is what it wrote to both its outputs."""

    code: int
    said: str
    peak_mib: float


def measured(*arguments: str | Path) -> Measured:
    """Run `replay` with ``arguments``. Raises where it takes more than some minutes."""
    command = [sys.executable, "-c", _PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S)
    said, _, status = done.stderr.rpartition("Name:\t")
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert peak, done.stderr
    return Measured(done.returncode, done.stdout + said, int(peak[1]) / 1024)
