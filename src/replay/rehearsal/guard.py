"""Runs a command so that nothing of it outlives whoever started this, however its processes hide.

Started as a script, so that nothing of ours is imported: ``python -I -S guard.py COMMAND...``. The one who started it
holds the other end of its standard input; when that closes, by intent or because its holder was killed, every process
that comes from the command gets SIGTERM, and SIGKILL five seconds later. A guard runs within a guard, so that a kill of
either is met by the other. Exits as the command does, 127 where it cannot be started. What a command that ended by
itself left in the background (a server) is not touched; what one left that was killed is.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

GRACE_S = 5.0
INNER = "--inner"  # what the guard within a guard is told
_KILLING_S = 5.0  # for processes to be gone that were killed
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_TELLS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()  # a kernel may be built without


def main(command: list[str], *, inner: bool = False) -> int:
    """Run ``command`` under guard; its exit code, or 128 and the signal's number where one ended it.

    The outer guard's command is the ``inner`` one.
    """
    _adopt_orphans()
    if inner:
        signal.signal(signal.SIGTERM, lambda *_: None)  # it is the command's to end; the command does not inherit this
    held = subprocess.DEVNULL if inner else subprocess.PIPE  # an inner guard's input closes with the outer one
    words = command if inner else [sys.executable, "-I", "-S", __file__, INNER, *command]
    try:
        child = subprocess.Popen(words, stdin=held, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror or error}\n")
        return 127
    ending, gone = threading.Event(), threading.Event()
    watch = threading.Thread(target=_end_with_parent, args=(child.pid, ending, gone), daemon=True)
    watch.start()
    while child.returncode is None or ending.is_set():
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode < 0 and not ending.is_set():  # killed: what it has left was not meant to stay
                watch = threading.Thread(target=_end, args=(child.pid, ending, gone), daemon=True)
                ending.set()
                watch.start()
    gone.set()
    if ending.is_set():
        watch.join()
    code = -signal.SIGKILL if child.returncode is None else child.returncode
    return code if code >= 0 else 128 - code


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent is gone: a session of its own is then no way out."""
    if _LINUX:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_with_parent(group: int, ending: threading.Event, gone: threading.Event) -> None:
    """Wait until the parent is gone, and end the command and all that comes from it."""
    while os.read(0, 4096):
        pass
    _end(group, ending, gone)


def _end(group: int, ending: threading.Event, gone: threading.Event) -> None:
    """End the command and all that comes from it. Who adopts orphans has a child while one of them lives: ``gone``."""
    ending.set()
    for number in (signal.SIGTERM, signal.SIGCONT):  # one that was stopped hears the first only with the second
        _send(number, _descendants(), group)
    _await(group, gone, GRACE_S)
    deadline = time.monotonic() + _KILLING_S
    while _alive(group, gone) and time.monotonic() < deadline:
        _freeze()
        _send(signal.SIGKILL, _descendants(), group)
        gone.wait(0.002)
    if not gone.is_set():
        os._exit(128 + signal.SIGKILL)  # what is left cannot be killed, and is not waited for


def _await(group: int, gone: threading.Event, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _alive(group, gone) and time.monotonic() < deadline:
        gone.wait(0.02)


def _alive(group: int, gone: threading.Event) -> bool:
    if _LINUX:
        return not gone.is_set()
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def _freeze() -> None:
    """Stop every descendant until no new one appears: what is stopped starts no others while it is being killed."""
    stopped: set[int] = set()
    for _ in range(1000):
        new = _descendants() - stopped
        if not new:
            return
        _send(signal.SIGSTOP, new)
        stopped |= new


def _send(number: signal.Signals, processes: Iterable[int], group: int = 0) -> None:
    for pid in processes:
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            os.kill(pid, number)
    if group and not _LINUX:
        with contextlib.suppress(OSError):
            os.killpg(group, number)


def _descendants() -> set[int]:
    """Every process that comes from this one, as far as the system tells."""
    listed = {} if _TELLS_CHILDREN else _by_parent()
    found: set[int] = set()
    due = [os.getpid()]
    while due:
        parent = due.pop()
        new = {*listed.get(parent, ()), *(_children(parent) if _TELLS_CHILDREN else ())} - found
        found |= new
        due += new
    return found


def _children(parent: int) -> Iterator[int]:
    # Quick, as whoever flees from one process to the next must be met before it does.
    with contextlib.suppress(OSError), os.scandir(f"/proc/{parent}/task") as tasks:
        for task in tasks:
            with contextlib.suppress(OSError), open(f"{task.path}/children", encoding="ascii") as file:  # noqa: PTH123
                yield from map(int, file.read().split())


def _by_parent() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(file.read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(file.parent.name))
    return children


if __name__ == "__main__":
    if sys.argv[1:2] == [INNER]:
        sys.exit(main(sys.argv[2:], inner=True))
    sys.exit(main(sys.argv[1:]))
