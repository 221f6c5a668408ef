"""What the tests of whole commands work with: commands as processes, a server that counts, a capture, a plan."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from replay.capture.store import CaptureWriter
from replay.traffic import Exchange, Request, Response

SHIPPED = Path(__file__).parents[2] / "captures"
MIGRATIONS = Path(__file__).parents[2] / "src" / "replay" / "demo" / "migrations"
# Whatever a test starts inherits these, also where its parent is gone: all tests' things, and one command's.
SESSION, COMMAND = "REPLAY_TESTED_BY", "REPLAY_TESTED_COMMAND"


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    def said(self, words: str) -> bool:
        """Whether it said so, wherever its lines were broken."""
        return words in " ".join((self.out + self.err).split())


@dataclass
class Running:
    """A command that runs, in a process group of its own, as a shell starts it."""

    process: subprocess.Popen[str]
    mark: str
    files: tuple[Path, Path]

    @property
    def processes(self) -> list[psutil.Process]:
        """It, and everything that it started and that still runs."""
        return marked(COMMAND, self.mark)

    def press_ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, seconds: float) -> Done:
        code = self.process.wait(seconds)
        out, err = (file.read_text() for file in self.files)
        assert "Traceback" not in err, err
        return Done(code, out, err)


class Commands:
    """Starts ``replay``. ``environment`` is what every command gets beside the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}
        self._started: list[Running] = []

    def start(self, *arguments: object) -> Running:
        mark = uuid.uuid4().hex
        files = (self.folder / f"{mark}.out", self.folder / f"{mark}.err")
        with files[0].open("w") as out, files[1].open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "replay", *map(str, arguments)],
                env={**os.environ, **self.environment, COMMAND: mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        self._started.append(Running(process, mark, files))
        return self._started[-1]

    def __call__(self, *arguments: object, seconds: float = 120) -> Done:
        """Run one to its end. Whatever it was, it leaves without a traceback, and nothing of it runs on."""
        running = self.start(*arguments)
        done = running.wait(seconds)
        wait_until(lambda: not running.processes, 15)
        return done

    def end(self) -> None:
        for running in self._started:
            for process in running.processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            running.process.wait(10)


def marked(variable: str, value: str) -> list[psutil.Process]:
    """The processes that were started with this in their environment, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)


class Listener(ThreadingHTTPServer):
    """Answers everything, or sends everything but its health elsewhere. Keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, elsewhere: str = "") -> None:
        super().__init__(("127.0.0.1", 0), ListenerHandler)
        self.elsewhere = elsewhere
        self.asked: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class ListenerHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.asked.append(f"{self.command} {self.path}")
        kind = self.path.strip("/").partition("/")[0]
        body = b'{"id":1}'
        if self.server.elsewhere and self.path != "/health":
            self.send_response(int(kind) if kind.isdecimal() else 302)
            self.send_header("location", f"{self.server.elsewhere}{self.path}")
            body = b""
        else:
            self.send_response(200)
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = answer  # noqa: N815 - the server's word
    do_POST = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def write_capture(folder: Path, *, environment: str, host: str, paths: tuple[str, ...] = ("/items/1",)) -> Path:
    """A capture of 40 requests within four seconds, by two clients."""
    start = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    body = b'{"id":1}'
    with CaptureWriter(folder, environment=environment, hosts=[host], scrubber=None) as writer:
        for number in range(40):
            client = f"client-{number % 2}"
            path = paths[number % len(paths)]
            request = Request("POST" if number % 4 == 3 else "GET", host, path, headers=(("user-agent", client),))
            response = Response(200, (("content-type", "application/json"),), body, len(body))
            writer.add(Exchange(start + timedelta(seconds=number / 10), 0.01, client, client, request, response))
    return folder


def digest(folder: Path) -> dict[str, str]:
    """Every file in a folder, by its content."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@dataclass
class Plan:
    """A folder with a plan and what it names; ``values`` are its tables, ``steps`` its steps."""

    folder: Path
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "plan.toml"

    @property
    def out(self) -> Path:
        return self.folder.parent / "runs" / "first"

    @property
    def verdict(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.out / "verdict.json").read_text())
        return document

    @property
    def record(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.out / "rehearsal.json").read_text())
        return document

    @property
    def was_reset(self) -> bool:
        return (self.folder / "was-reset").exists()

    def write(self) -> Path:
        lines = [f"[{name}]\n{_lines(table)}" for name, table in self.values.items()]
        lines += [f"[[steps]]\n{_lines(step)}" for step in self.steps]
        # Commands see only what the plan gives them; what they leave behind is known by these.
        lines.append(f"[rehearsal.environment]\n{_lines({name: f'${{{name}}}' for name in (SESSION, COMMAND)})}")
        self.file.write_text("\n".join(lines))
        return self.file

    def add_step(self, name: str, kind: str = "migrate", *, sql: str | Path, **more: str) -> None:
        """A step with its SQL, as a text or as a file that is there."""
        file = sql if isinstance(sql, Path) else self.folder / f"{len(self.steps)}.sql"
        if isinstance(sql, str):
            file.write_text(sql)
        step = {"name": name, "kind": kind, "sql": str(file), "dsn": "${STAGE_DSN}", "timeout": "30s", **more}
        self.steps.append(step)


def _lines(values: dict[str, Any]) -> str:
    # JSON's values are TOML's too, as long as they are flat.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def workload(capture: str, role: str, duration: str) -> dict[str, Any]:
    """A shipped capture as a workload."""
    return {"capture": str(SHIPPED / capture), "role": role, "duration": duration, "identities": "clients.csv"}
