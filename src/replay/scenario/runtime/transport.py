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


@dataclass(slots=True)
class Opened:
    """A connection that is there for a request, or why there is none; when it was asked for, and when that was done.

    ``pushed`` bytes of the request have left by it, the first at ``sent_s``.
    """

    begun_s: float
    ended_s: float = 0.0
    connection: "_Connection | None" = None
    error: OSError | None = None
    is_used: bool = False
    sent_s: float | None = None
    pushed: int = 0


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

    def encode(self, planned: PlannedRequest) -> bytes:
        """The request as it goes over the wire. Raises ValueError where it cannot be written."""
        return request_bytes(self._target, planned)

    def open(self, client: str) -> "Opened":
        """A connection for a request of ``client``'s that is about to be sent: a kept one, or a new one.

        Never raises for what the target does. It is to be given to ``send``, or back to ``release``.
        """
        begun_s = self._clock()
        opened = Opened(begun_s, connection=self._kept(client))
        opened.is_used = opened.connection is not None
        if opened.connection is None:
            try:
                opened.connection = self._connect(begun_s + self._timeout_s)
            except OSError as error:
                opened.error = error
        opened.ended_s = self._clock()
        return opened

    def push(self, opened: "Opened", data: bytes) -> None:
        """Begin to send: as much as leaves without waiting. Never raises; ``send`` does the rest."""
        opened.sent_s = self._clock()
        if opened.connection:
            opened.pushed = opened.connection.push(data)

    def release(self, client: str, opened: "Opened") -> None:
        """Keep a connection that was not needed after all."""
        if opened.connection:
            self._idle.setdefault(client, []).append(opened.connection)

    def send(
        self, planned: PlannedRequest, data: bytes | None = None, opened: "Opened | None" = None, due_s: float = 0.0
    ) -> Reply:
        """Send a request on behalf of its client and read the answer.

        ``data`` is what ``encode`` made of it and ``opened`` its connection, where that was done before; ``due_s`` is
        then the moment that it was done for: a connection that took until after it is the target's doing, and the
        request counts as sent when it was due. Never raises for what the target does; raises ValueError where the
        request itself cannot be written.
        """
        data = self.encode(planned) if data is None else data
        opened = opened or self.open(planned.client)
        sent_s = self._clock() if opened.sent_s is None else opened.sent_s
        reply = Reply(sent_s=max(due_s, opened.begun_s) if opened.ended_s > due_s else sent_s)
        deadline = (reply.sent_s or 0.0) + self._timeout_s
        try:
            try:
                self._exchange(planned, data, deadline, reply, opened)
            except _StaleError:
                if planned.method not in _IDEMPOTENT:
                    raise ConnectionError("a kept connection was closed before the answer") from None
                fresh = Opened(self._clock(), connection=self._connect(deadline))
                self._exchange(planned, data, deadline, reply, fresh)
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

    def _exchange(self, planned: PlannedRequest, data: bytes, deadline: float, reply: Reply, opened: "Opened") -> None:
        connection = opened.connection
        if connection is None:
            if isinstance(opened.error, (_FullError, gevent.socket.gaierror)):
                reply.sent_s = None  # not even that was tried
            raise opened.error or ConnectionError("there is no connection")
        answer = Answer(planned.method)
        kept = False
        try:
            try:
                if opened.pushed < len(data):
                    connection.write(data[opened.pushed :], self._left(deadline))
                chunk = connection.read(self._left(deadline))
            except (BrokenPipeError, ConnectionResetError) as error:
                raise (_StaleError() if opened.is_used else error) from None
            if not chunk and opened.is_used:
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
                self._idle.setdefault(planned.client, []).append(connection)
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

    def _connect(self, deadline: float) -> "_Connection":
        if self._open >= self._most and not self._evict():
            raise _FullError(f"all {self._most} connections wait for answers")
        self._open += 1
        try:
            return self._connect_to(self._resolve(), deadline)
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


class _FullError(ConnectionError):
    pass


class _Connection:
    """One socket, plain or TLS."""

    def __init__(self, sock: "gevent.socket.socket") -> None:
        self._sock = sock

    def push(self, data: bytes) -> int:
        """Write what can be written at once; how many bytes. What goes wrong shows at the next write or read."""
        if isinstance(self._sock, gevent.ssl.SSLSocket):
            return 0  # which would want the same bytes again
        self._sock.settimeout(0.0)
        try:
            return int(self._sock.send(data))
        except OSError:
            return 0

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
    whole_server = planned.path == "*" and planned.method == "OPTIONS"  # (RFC 9112, 3.2.4)
    if planned.path and not planned.path.startswith("/") and not whole_server:
        raise ValueError("the path does not begin with a slash")
    path = "*" if whole_server else f"{target.base_path}{planned.path or '/'}"
    url = path + (f"?{planned.query}" if planned.query else "")
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
