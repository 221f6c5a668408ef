"""A step that sends one HTTP request to the plan's target."""

import contextlib
import http.client
import threading
from dataclasses import dataclass

from replay.rehearsal.sessions import sever
from replay.rehearsal.steps.actions import Call
from replay.rehearsal.steps.job import Bench
from replay.target import Target

_LONGEST_ANSWER = 64_000
_LONGEST_SHOWN = 2_000


@dataclass(frozen=True, slots=True)
class HttpWork:
    """A request to be sent to the target, and nowhere else: redirects are not followed."""

    call: Call
    target: Target

    @property
    def told(self) -> str:
        """What it would do."""
        path = self.target.base_path + self.call.path
        return f"sends {self.call.method} {path} to the target, and expects {', '.join(self.call.expect)}"

    def job(self, bench: Bench) -> "HttpJob":
        """Begin nothing yet."""
        return HttpJob(self, bench)


class HttpJob:
    """A request being sent."""

    def __init__(self, work: HttpWork, bench: Bench) -> None:
        self._call = work.call
        self._target = work.target
        self._bench = bench
        self._lock = threading.Lock()
        self._socket: int | None = None
        self._why = ""

    def do(self) -> str:
        """Send it and read the answer. Why it failed, or an empty text."""
        limit_s = self._bench.plan.timeout_s
        limit = threading.Timer(limit_s, self.end, (f"no whole answer within its limit of {limit_s:g} s",))
        limit.daemon = True
        limit.start()
        kind = http.client.HTTPSConnection if self._target.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._target.host, self._target.port, timeout=limit_s)
        try:
            connection.connect()
            with self._lock:
                self._socket = connection.sock.fileno()
            return self._why or self._ask(connection)
        except (OSError, http.client.HTTPException) as error:
            return self._why or str(error) or type(error).__name__
        finally:
            limit.cancel()
            with self._lock:
                self._socket = None
            connection.close()

    def end(self, why: str) -> None:
        """Cut the connection."""
        with self._lock:
            self._why = self._why or why
            if self._socket is not None:
                sever(self._socket)

    def _ask(self, connection: http.client.HTTPConnection) -> str:
        call, write = self._call, self._bench.write
        path = self._target.base_path + call.path
        write(f"> {call.method} {path}")
        connection.request(call.method, path, call.body.encode() or None, dict(call.headers))
        response = connection.getresponse()
        write(f"< {response.status} {response.reason}".rstrip())
        body = b""
        with contextlib.suppress(http.client.IncompleteRead):
            body = response.read(_LONGEST_ANSWER)
        lines = body.decode("utf-8", errors="replace")[:_LONGEST_SHOWN].splitlines()
        for line in lines:
            write(line)
        if self._why:
            return self._why
        if call.expects(response.status):
            return ""
        first = next((line.strip() for line in lines if line.strip()), "")
        return f"status {response.status}" + (f": {first[:200]}" if first else "")
