"""Stage before an arm: put back, answering, its replicas with all that their primary has."""

import http.client
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from replay.errors import StageError
from replay.rehearsal.commands import OutputLog, Program, RunningCommand
from replay.rehearsal.plan import TargetPlan
from replay.rehearsal.probes.plan import ProbePlan

_POLL_S = 0.2


def put_back(
    target: TargetPlan, folder: Path, logs: Path, scrub: Callable[[str], str], doing: Callable[[str], None]
) -> float:
    """Reset Stage, wait until it answers, and fill its caches, as far as the plan says how. How long the reset took.

    The output is in ``reset.log`` and ``warm.log`` in ``logs``; ``doing`` is told what is being done. However it ends,
    nothing that was started runs on. Raises StageError where something fails.
    """
    started = time.monotonic()
    if target.reset is not None:
        doing("putting Stage back")
        _run("reset", target.reset, target.reset_timeout_s, folder, logs / "reset.log", scrub=scrub)
    reset_s = time.monotonic() - started
    doing("waiting until Stage answers")
    wait_until_ready(target)
    if target.warm is not None:
        doing("warming Stage's caches")
        _run("warm", target.warm, target.reset_timeout_s, folder, logs / "warm.log", scrub=scrub)
    return reset_s


def _run(
    key: str, program: Program, limit_s: float, folder: Path, log_file: Path, *, scrub: Callable[[str], str]
) -> None:
    with closing(OutputLog(log_file, scrub)) as log:
        log.write(f"$ {program.written}")
        running = RunningCommand(program, folder, log.write)
        try:
            result = running.wait(limit_s)
        finally:
            running.kill()
    if result.error:
        raise StageError(f"Stage's {key} failed: {scrub(result.error)}.", f"Its output is in {log_file}.")


def wait_until_ready(target: TargetPlan) -> None:
    """Wait until Stage answers. Raises StageError, with its last answer, where it does not within the limit."""
    deadline = time.monotonic() + target.ready_timeout_s
    asked = " ".join(target.ready) if target.ready else "a connection"
    while True:
        answer = _ask(target)
        if not answer:
            return
        if time.monotonic() > deadline:
            raise StageError(
                f"{target.target.url} did not answer {asked} within {target.ready_timeout_s:g} s: {answer}.",
                "See that Stage runs and that url and ready in [target] are right.",
            )
        time.sleep(_POLL_S)


def wait_for_replicas(probes: Sequence[ProbePlan], limit_s: float) -> None:
    """Wait until no replica is behind. Raises StageError where one still is after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while behind := next(filter(None, (probe.tell_behind() for probe in probes)), ""):
        if time.monotonic() > deadline:
            raise StageError(
                f"Stage is not as it was: {behind}, {limit_s:g} s after it was put back.",
                "See that replication runs; ready_timeout in [target] gives it longer.",
            )
        time.sleep(_POLL_S)


def _ask(target: TargetPlan) -> str:
    """Why Stage is not ready, or an empty text."""
    place = target.target
    try:
        if target.ready is None:
            socket.create_connection((place.host, place.port), timeout=5).close()
            return ""
        method, path = target.ready
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = kind(place.host, place.port, timeout=5)
        try:
            connection.request(method, place.base_path + path)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return "" if status < 400 else f"status {status}"
