"""Whether locust's user came to play: where its class cannot be made, locust itself would wait for ever."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from locust.runners import Runner

_LOOK_EVERY_S = 0.1


def watch_start(runner: Runner, file: Path, has_begun: Callable[[], bool], refuse: Callable[[str], None]) -> None:
    """Return when the one user plays. Where none can any more, call ``refuse`` with the reason, a sentence.

    ``file`` is the locustfile, of which the reason names the line.
    """
    failed: list[Exception] = []
    user_error: Any = runner.environment.events.user_error
    user_error.add_listener(lambda exception, **_: failed.append(exception))
    while not has_begun():
        spawning = runner.spawning_greenlet
        wanted = spawning is not None and spawning.ready() and runner.target_user_count  # a worker may have no part
        if spawning is not None and wanted and not len(runner.user_greenlets):
            if not has_begun():
                refuse(_told([*failed, spawning.exception], file))
            return
        gevent.sleep(_LOOK_EVERY_S)


def _told(found: list[Exception | None], file: Path) -> str:
    error = next((one for one in found if one is not None), None)
    if error is None:
        return f"No user of {file.name} began to play: fixed_count and tasks are Replay's own."
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).name == file.name]
    where = f"{file.name}, line {lines[-1]}" if lines else file.name
    return f"The user of {where} could not start: {type(error).__name__}: {error}."
