"""HTTP/1.1 to one target on gevent sockets: connections kept alive by client, absolute deadlines, no redirects.

Locust's own clients hide the moment at which a request leaves, and follow redirects by themselves; the open loop
needs to know the one and must not do the other.
"""

import ipaddress
import re
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent.socket
import gevent.ssl

from replay.scenario.runtime.answer import Answer, NotHttpError
from replay.scenario.schedule import PlannedRequest
from replay.target import Target

_READ_BYTES = 65536
_CONNECT_TIMEOUT_S = 10.0
_RESOLVED_FOR_S = 5.0
_FILES_FOR_OTHERS = 128
_MOST_CONNECTIONS = 8192
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)  # a method or a header's name (RFC 9110, 5.6.2)
_NOT_IN_A_LINE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_A_PATH = re.compile(r"[\x00-\x20\x7f]")
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_NOT_OURS = frozenset(  # a connection's own business (RFC 9110, 7.6.1), and what is set anew for each request
    "host content-length transfer-encoding connection keep-alive proxy-connection proxy-authorization te trailer "
    "upgrade expect http2-settings".split()
)


@dataclass(slots=True)
class Reply:
    """What came back. Times are of the client's clock; ``sent_s`` is when the first packet left.

    ``error`` is empty where a whole response came; ``timed_out`` tells a late answer from a broken connection.
    """

    sent_s: float | None = None
    first_byte_s: float | None = None
    done_s: float | None = None
    answer: Answer | None = None
    error: str = ""
    timed_out: bool = False


class _StaleError(Exception):
    """A kept connection was closed before any byte of the answer came."""


class HttpClient:
    """Sends requests to one target. ``clock`` tells the time that replies are stamped with."""

    def __init__(
        self,
        target: Target,
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        most_connections: int | None = None,
    ) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._clock = clock
        self._most = most_connections if most_connections is not None else _connections_allowed()
        self._idle: dict[str, list[_Connection]] = {}
        self._open = 0
        self._addresses: list[tuple[int, tuple[str, int]]] = []
        self._resolved_at = float("-inf")
        self._tls = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT) if target.scheme == "https" else None
        if self._tls:
            self._tls.load_default_certs()

    def send(self, planned: PlannedRequest) -> Reply:
        """Send a request on behalf of its client and read the answer.

        Never raises for what the target does; raises ValueError where the request itself cannot be written.
        """
        client, method = planned.client, planned.method
        reply = Reply()
        deadline = self._clock() + self._timeout_s
        data = request_bytes(self._target, planned)
        try:
            try:
                self._exchange(client, method, data, deadline, reply, fresh=False)
            except _StaleError:
                if method not in _IDEMPOTENT:
                    raise ConnectionError("a kept connection was closed before the answer") from None
                self._exchange(client, method, data, deadline, reply, fresh=True)
        except TimeoutError as error:
            reply.timed_out = not isinstance(error, _ConnectTimeoutError)
            reply.error = str(error) if not reply.timed_out else f"no whole answer within {self._timeout_s:g} s"
        except (OSError, NotHttpError, _StaleError) as error:
            reply.error = _words(error)
        reply.done_s = self._clock() if reply.sent_s is not None else None
        return reply

    def close(self) -> None:
        """Close the connections that are idle."""
        for connections in self._idle.values():
            for connection in connections:
                self._drop(connection)
        self._idle.clear()

    def _exchange(self, client: str, method: str, data: bytes, deadline: float, reply: Reply, *, fresh: bool) -> None:
        connection = None if fresh else self._kept(client)
        used_before = connection is not None
        if connection is None:
            connection = self._connect(deadline, reply)
        answer = Answer(method)
        kept = False
        try:
            if reply.sent_s is None:
                reply.sent_s = self._clock()
            try:
                connection.write(data, self._left(deadline))
                chunk = connection.read(self._left(deadline))
            except (BrokenPipeError, ConnectionResetError) as error:
                raise (_StaleError() if used_before else error) from None
            if not chunk and used_before:
                raise _StaleError
            reply.first_byte_s = self._clock() if chunk else None
            reply.answer = answer
            while chunk:
                answer.feed(chunk)
                if answer.complete:
                    break
                chunk = connection.read(self._left(deadline))
            if not answer.complete:
                answer.end()
            kept = answer.keep_alive
        finally:
            # Also where the greenlet is killed: half an answer must not be read as the next one.
            if kept:
                self._idle.setdefault(client, []).append(connection)
            else:
                self._drop(connection)

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def _kept(self, client: str) -> "_Connection | None":
        connections = self._idle.get(client, [])
        while connections:
            connection = connections.pop()
            if connection.is_quiet():
                return connection
            self._drop(connection)
        return None

    def _connect(self, deadline: float, reply: Reply) -> "_Connection":
        if self._open >= self._most and not self._evict():
            raise ConnectionError(f"all {self._most} connections wait for answers")
        self._open += 1
        try:
            addresses = self._resolve()
            # A connection that is slow to open is the target's doing, so the request counts as sent from here.
            reply.sent_s = reply.sent_s if reply.sent_s is not None else self._clock()
            return self._connect_to(addresses, deadline)
        except BaseException:
            self._open -= 1
            raise

    def _connect_to(self, addresses: list[tuple[int, tuple[str, int]]], deadline: float) -> "_Connection":
        failure: OSError = OSError("the name has no address")
        for family, address in addresses:
            raw = gevent.socket.socket(family, gevent.socket.SOCK_STREAM)
            try:
                allowed_s = min(_CONNECT_TIMEOUT_S, self._left(deadline))
                raw.settimeout(allowed_s)
                raw.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
                raw.connect(address)
                if self._tls:
                    raw = self._tls.wrap_socket(raw, server_hostname=self._target.host)
                return _Connection(raw)
            except TimeoutError:
                raw.close()
                failure = _ConnectTimeoutError(f"no connection within {allowed_s:g} s")
            except OSError as error:
                raw.close()
                failure = error
            except BaseException:
                raw.close()
                raise
        self._resolved_at = float("-inf")
        raise failure

    def _resolve(self) -> list[tuple[int, tuple[str, int]]]:
        """The target's addresses. A name is looked up again after some seconds: Stage may move."""
        try:
            version = ipaddress.ip_address(self._target.host).version
        except ValueError:
            if self._clock() - self._resolved_at > _RESOLVED_FOR_S:
                found = gevent.socket.getaddrinfo(self._target.host, self._target.port, type=gevent.socket.SOCK_STREAM)
                self._addresses = [(int(family), (str(place[0]), int(place[1]))) for family, _, _, _, place in found]
                self._resolved_at = self._clock()
            return self._addresses
        family = gevent.socket.AF_INET if version == 4 else gevent.socket.AF_INET6
        return [(family, (self._target.host, self._target.port))]

    def _evict(self) -> bool:
        """Close the idle connection of the client that has had one for longest, if there is any."""
        for connections in self._idle.values():
            if connections:
                self._drop(connections.pop(0))
                return True
        return False

    def _drop(self, connection: "_Connection") -> None:
        self._open -= 1
        connection.close()


class _ConnectTimeoutError(TimeoutError):
    pass


class _Connection:
    """One socket, plain or TLS."""

    def __init__(self, sock: "gevent.socket.socket") -> None:
        self._sock = sock

    def write(self, data: bytes, allowed_s: float) -> None:
        self._sock.settimeout(allowed_s)
        self._sock.sendall(data)

    def read(self, allowed_s: float) -> bytes:
        self._sock.settimeout(allowed_s)
        data: bytes = self._sock.recv(_READ_BYTES)
        return data

    def is_quiet(self) -> bool:
        """Whether nothing came since the last answer: neither the end nor bytes that nobody asked for."""
        self._sock.settimeout(0.0)
        try:
            self._sock.recv(1)
        except (BlockingIOError, gevent.ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self._sock.close()


def request_bytes(target: Target, planned: PlannedRequest) -> bytes:
    """The request as it goes over the wire.

    Raises ValueError where a part of it would break out of its place, and where its path is a whole URL: that would ask
    a proxy in front of Stage to send it on to another host.
    """
    body = planned.body
    if not planned.path.startswith("/") and not (planned.path == "*" and planned.method == "OPTIONS"):
        raise ValueError("the path does not begin with a slash")
    url = f"{target.base_path}{planned.path}" + (f"?{planned.query}" if planned.query else "")
    if not _TOKEN.fullmatch(planned.method):
        raise ValueError("the method is none")
    lines = [f"{planned.method} {url} HTTP/1.1", f"Host: {target.authority}"]
    compressed = body is not None and body[:2] == b"\x1f\x8b"
    for name, value in planned.headers:
        lower = name.lower()
        if lower == "connection" and value.strip().lower() == "close":
            lines.append("Connection: close")
        elif lower == "accept-encoding":
            lines.append(f"{name}: {_readable(value)}")
        elif lower == "content-encoding" and not compressed:
            continue  # the capture keeps bodies decoded
        elif lower not in _NOT_OURS and not lower.startswith(":"):
            if not _TOKEN.fullmatch(name):
                raise ValueError("a header's name is none")
            lines.append(f"{name}: {value}")
    if body is not None or planned.method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(body or b'')}")
    if _NOT_IN_A_PATH.search(url) or any(_NOT_IN_A_LINE.search(line) for line in lines):
        raise ValueError("a header or the path breaks out of its line")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + (body or b"")


def _readable(accept_encoding: str) -> str:
    """What the client accepted of those codings that are read here."""
    codings = [coding.strip() for coding in accept_encoding.split(",")]
    return ", ".join(c for c in codings if c.partition(";")[0].lower() in {"gzip", "deflate", "identity"}) or "identity"


def _connections_allowed() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_CONNECTIONS if limit == resource.RLIM_INFINITY else limit - _FILES_FOR_OTHERS
    return max(1, min(_MOST_CONNECTIONS, files))


def _words(error: Exception) -> str:
    """An error in words that are the same each time: no addresses, no numbers."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    if isinstance(error, BrokenPipeError):
        return "connection closed while sending"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text or type(error).__name__
