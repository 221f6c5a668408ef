"""A folder for temporary tables, which are large: those of processes that were killed are removed by the next one."""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from pathlib import Path

_NAME = re.compile(r"replay-engine-(\d+)-\w+")


class Scratch:
    """A new folder of this process's, at ``path``. To be closed."""

    def __init__(self) -> None:
        remove_left(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=f"replay-engine-{os.getpid()}-"))
        self._handle = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    def close(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)


def remove_left(parent: Path) -> None:
    """Remove the folders in ``parent`` that are this user's own and whose process is gone."""
    for folder in parent.glob("replay-engine-*"):
        named = _NAME.fullmatch(folder.name)
        if named and not _lives(int(named[1])):
            with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
                _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    """Remove a folder unless a process has it, as one in another container may, whose number says nothing here."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(handle).st_uid == os.geteuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
