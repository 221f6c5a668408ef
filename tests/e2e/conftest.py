"""Whole commands on real parts, and a look at the end that nothing of it runs on."""

import contextlib
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replay.demo.identities import write_identities
from replay.demo.stage import Stage

# Tests are imported by path, and find the parts beside them.
sys.path.insert(0, str(Path(__file__).parent))

from e2e_parts import SESSION, Commands, Listener, Plan, marked


@pytest.fixture(scope="session", autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """Whatever was started here has ended when the last of these tests has."""
    mark = os.environ[SESSION] = uuid.uuid4().hex
    yield
    del os.environ[SESSION]
    left = marked(SESSION, mark)
    assert not left, [process.cmdline() for process in left]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The demonstration's Stage in its full size: on it the shipped captures were recorded."""
    with Stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Commands]:
    folder = tmp_path / "said"
    folder.mkdir()
    commands = Commands(folder)
    yield commands
    commands.end()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Starts listeners."""
    with contextlib.ExitStack() as stack:

        def start(elsewhere: str = "") -> Listener:
            listener = stack.enter_context(Listener(elsewhere))
            thread = threading.Thread(target=listener.serve_forever, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(listener.shutdown)
            return listener

        yield start


@pytest.fixture
def plan(tmp_path: Path, replay: Commands, stage: Stage) -> Plan:
    """The demonstration's Stage, its probes, its clients' credentials; workloads and steps are the test's to add."""
    made = Plan(tmp_path / "plan")
    made.folder.mkdir()
    write_identities(made.folder / "clients.csv")
    replay.environment |= stage.environment
    made.values |= {
        "rehearsal": {"name": "small", "order": "listed"},
        "target": {
            "url": "${STAGE_URL}",
            "allow": ["127.0.0.1"],
            "ready": "GET /health",
            "reset": "${STAGE_RESET}",
        },
        "probes.database": {"kind": "postgres", "dsn": "${STAGE_DSN}", "replicas": ["${STAGE_REPLICA_DSN}"]},
        "probes.errors": {"kind": "log", "path": "${STAGE_ERROR_LOG}"},
    }
    return made
