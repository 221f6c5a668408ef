"""Which exchanges are wanted: by time, host, endpoint and client."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.sampling import is_sampled
from replay.errors import InputError
from replay.traffic import Exchange

_LENGTH = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_LENGTH_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PARAMETER = re.compile(r"\{[^{}/]*\}")
_METHOD = re.compile(r"\*|[A-Za-z][A-Za-z-]*")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Selection:
    """Exchanges that began from ``since`` to before ``until``, of one of each of those hosts, endpoints and clients.

    What is None or empty selects all. A ``timedelta`` counts from the start of what is selected from, which ``from_``
    tells. A host without a port is meant at every port. An endpoint is ``GET /v2/events/{event_id}``: what is in braces
    is anything but a slash, and ``*`` any method. ``client_share`` (0 to 1) takes such a share of the clients, always
    the same ones, each with all its exchanges.
    """

    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None
    hosts: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    client_share: float | None = None

    @classmethod
    def parse(
        cls,
        *,
        since: str | None = None,
        until: str | None = None,
        hosts: Sequence[str] = (),
        endpoints: Sequence[str] = (),
        clients: Sequence[str] = (),
        client_share: float | None = None,
    ) -> Self:
        """A selection as options give it. Raises InputError where one of them is none."""
        if client_share is not None and not 0 < client_share <= 1:
            raise InputError("--client-share is a number above 0 and up to 1.", "Such as 0.1, for a tenth.")
        wanted = cls(
            _parse_moment("--since", since),
            _parse_moment("--until", until),
            tuple(hosts),
            tuple(endpoints),
            tuple(clients),
            client_share,
        )
        for endpoint in wanted.endpoints:
            _parse_endpoint(endpoint)
        return wanted

    @property
    def is_relative(self) -> bool:
        """Whether it has to be told when that begins from which it selects."""
        return isinstance(self.since, timedelta) or isinstance(self.until, timedelta)

    def from_(self, start: datetime) -> Self:
        """The same, with moments that count from ``start``."""
        return replace(self, since=_moment(self.since, start), until=_moment(self.until, start))

    def reason_to_leave_out(self, exchange: Exchange) -> str | None:
        """The first option that leaves out ``exchange``, or None where it is wanted."""
        request = exchange.request
        if self.since is not None and exchange.at < _absolute(self.since):
            return "--since"
        if self.until is not None and exchange.at >= _absolute(self.until):
            return "--until"
        if self.hosts and not self._host_pattern.search(request.host):
            return "--only-host"
        if self.endpoints and not self._endpoint_pattern.search(f"{request.method} {request.path}"):
            return "--endpoint"
        if self.clients and exchange.client not in self.clients:
            return "--client"
        if self.client_share is not None and not is_sampled(exchange.client, self.client_share):
            return "--client-share"
        return None

    def leave_out(self, table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """What is wanted of a table of ``segments.SCHEMA``, and how many rows the options left out, by the first."""
        kept = np.ones(table.num_rows, np.bool_)
        left_out: dict[str, int] = {}
        for option, wanted in self._masks(table):
            count = int((kept & ~wanted).sum())
            if count:
                left_out[option] = count
                kept &= wanted
        return (table.filter(pa.array(kept)), left_out) if left_out else (table, {})

    def _masks(self, table: pa.Table) -> Iterable[tuple[str, Mask]]:
        if self.since is not None:
            yield "--since", _array(pc.greater_equal(table["at"], _scalar(self.since)))
        if self.until is not None:
            yield "--until", _array(pc.less(table["at"], _scalar(self.until)))
        if self.hosts:
            yield "--only-host", _array(pc.match_substring_regex(table["host"], self._host_pattern.pattern))
        if self.endpoints:
            lines = pc.binary_join_element_wise(table["method"], table["path"], " ")
            yield "--endpoint", _array(pc.match_substring_regex(lines, self._endpoint_pattern.pattern))
        if self.clients:
            yield "--client", _array(pc.is_in(table["client"], pa.array(self.clients, pa.string())))
        if self.client_share is not None:
            names = pc.unique(table["client"])
            taken = [name for name in names.to_pylist() if is_sampled(name, self.client_share)]
            yield "--client-share", _array(pc.is_in(table["client"], pa.array(taken, pa.string())))

    # Patterns that Python and RE2 read alike

    @cached_property
    def _host_pattern(self) -> re.Pattern[str]:
        hosts = (f"{re.escape(host.lower())}{'' if _has_port(host) else '(?::[0-9]+)?'}" for host in self.hosts)
        return re.compile(f"(?i)^(?:{'|'.join(hosts)})$")

    @cached_property
    def _endpoint_pattern(self) -> re.Pattern[str]:
        return re.compile(f"(?s)^(?:{'|'.join(map(_parse_endpoint, self.endpoints))})$")


EVERYTHING = Selection()


def parse_length(text: str) -> timedelta | None:
    """``10m``, ``1h30m`` or ``2.5s`` as a length of time, or None where it is none."""
    if not _LENGTH.fullmatch(text):
        return None
    try:
        return timedelta(seconds=sum(float(count) * _UNITS_S[unit] for count, unit in _LENGTH_PART.findall(text)))
    except OverflowError:
        return None


def _parse_moment(option: str, text: str | None) -> datetime | timedelta | None:
    if text is None:
        return None
    length = parse_length(text.strip())
    if length is not None:
        return length
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{option} {text!r} is not a moment.", "Give one such as 2026-03-01T12:00Z, or 10m from the start."
        ) from error


def _parse_endpoint(text: str) -> str:
    """The pattern of an endpoint."""
    method, _, path = text.strip().rpartition(" ")
    method = method.strip() or "*"
    if not path.startswith("/") or not _METHOD.fullmatch(method):
        raise InputError(
            f"{text!r} is not an endpoint.", 'Give a method and a path, such as "GET /v2/events/{id}"; * is any method.'
        )
    words, parameters = _PARAMETER.split(path), len(_PARAMETER.findall(path))
    pattern = "".join(re.escape(word) + ("[^/]+" if n < parameters else "") for n, word in enumerate(words))
    return f"{'[^ ]+' if method == '*' else re.escape(method.upper())} {pattern}"


def _has_port(host: str) -> bool:
    _, colon, port = host.rpartition(":")
    return bool(colon) and port.isdigit()


def _moment(moment: datetime | timedelta | None, start: datetime) -> datetime | None:
    if not isinstance(moment, timedelta):
        return moment
    try:
        return start + moment
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _absolute(moment: datetime | timedelta) -> datetime:
    if isinstance(moment, timedelta):
        raise TypeError("a relative moment needs a start: see from_()")
    return moment


def _scalar(moment: datetime | timedelta) -> pa.Scalar:
    return pa.scalar(_absolute(moment), pa.timestamp("us", tz="UTC"))


def _array(mask: pa.ChunkedArray) -> Mask:
    found: Mask = mask.to_numpy()
    return found
