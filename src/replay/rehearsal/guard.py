"""Runs a command in a process group of its own, and ends the group as soon as whoever started this is gone.

Started as a script, so that nothing of ours is imported: ``python -I -S guard.py COMMAND...``. The one who started it
holds the other end of its standard input; when that closes, by intent or because its holder was killed, the group gets
SIGTERM, and SIGKILL five seconds later. Exits as the command does, 127 where it cannot be started.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

GRACE_S = 5.0


def main(command: list[str]) -> int:
    """Run ``command`` under guard; its exit code, or 128 and the signal's number where one ended it."""
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror or error}\n")
        return 127
    ending = threading.Event()
    watch = threading.Thread(target=_end_with_parent, args=(child.pid, ending), daemon=True)
    watch.start()
    code = child.wait()
    if ending.is_set():
        watch.join()  # the command is gone, but perhaps not yet all of its children
    return code if code >= 0 else 128 - code


def _end_with_parent(group: int, ending: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    ending.set()
    deadline = time.monotonic() + GRACE_S
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(0.05)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
