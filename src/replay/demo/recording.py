"""Recording the demonstration's two captures anew: each population plays through `replay capture`."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from replay.demo.population import production, qa
from replay.demo.stage import Stage
from replay.demo.wire import Answer
from replay.errors import ToolError

# A port that no operating system hands out by itself, so that a Stage never gets the one that "production" had.
RECORDING_PORT = 18801
PRODUCTION_S = 50.0
QA_S = 30.0
_PATIENCE_S = 60.0

Population = Callable[[str, float], Awaitable[list[Answer]]]


def record_captures(stage: Stage, captures: Path, say: Callable[[str], None] = lambda _doing: None) -> None:
    """Record ``captures/production`` and ``captures/qa`` on ``stage``, replacing those that are there.

    Raises ToolError where the proxy does not start or ends by itself.
    """
    played: list[tuple[str, str, Population, float]] = [
        ("production", "production", production, PRODUCTION_S),
        ("qa", "pre-production", qa, QA_S),
    ]
    for name, environment, population, duration_s in played:
        say(f"recording captures/{name} for {duration_s:.0f} s")
        stage.put_back()
        fresh = captures / f".{name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _record(stage.url, fresh, name=name, environment=environment, population=population, duration_s=duration_s)
        shutil.rmtree(captures / name, ignore_errors=True)
        fresh.rename(captures / name)


def _record(
    upstream: str, out: Path, *, name: str, environment: str, population: Population, duration_s: float
) -> None:
    command = [sys.executable, "-m", "replay", "capture", "--upstream", upstream, "--listen", "127.0.0.1:0"]
    command += ["--out", str(out), "--name", name, "--environment", environment]
    proxy = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        url = _listening(proxy)
        asyncio.run(_bounded(population(url, duration_s), duration_s + _PATIENCE_S))
        proxy.send_signal(signal.SIGINT)
        _, words = proxy.communicate(timeout=_PATIENCE_S)
    finally:
        proxy.kill()
        proxy.wait()
    if proxy.returncode:
        raise ToolError(f"The recording ended with {proxy.returncode}: {words.strip()}")


def _listening(proxy: subprocess.Popen[str]) -> str:
    """The proxy's address, from the first line that it says when it listens: ``Recording http://HOST:PORT -> ...``."""
    said = []
    for line in proxy.stderr or ():
        said.append(line)
        words = line.split()
        if words[:1] == ["Recording"]:
            return words[1]
    raise ToolError(f"The recording did not begin: {''.join(said).strip()}")


async def _bounded(playing: Awaitable[list[Answer]], limit_s: float) -> list[Answer]:
    return await asyncio.wait_for(playing, limit_s)
