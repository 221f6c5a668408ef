"""From the values that were cut out of lines to the columns of exchanges."""

import ipaddress
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.logs.cutting import Mask, Positions, amend, column_text
from replay.capture.logs.pattern import LinePattern, Variable
from replay.capture.logs.requests import (
    are_methods,
    as_sent,
    split_requests,
    split_targets,
    with_marks_encoded,
    without_port,
)
from replay.capture.logs.times import Moments, Seconds, durations_s, moments
from replay.capture.segments import SCHEMA
from replay.capture.sources.source import ReadOptions

NOT_HTTP = "the request is not HTTP"
TUNNEL = "a tunnel is opened, which is no request"
NO_TIME = "the time cannot be read"
NO_STATUS = "the status is no number"
NO_RESPONSE = "no response was logged"

LINE = "line"  # the column of the lines' numbers, which a table has until its lines are put in order
_BINARY = pa.binary()
_NULL = pa.scalar(None, _BINARY)
_NONE = pa.array([b"", b"-"], _BINARY)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_COOKIE = "request_header:Cookie"
_LONGEST_INTEGER = 18

EMPTY = pa.table(
    {
        "at": pa.array([], SCHEMA.field("at").type),
        "duration_s": pa.array([], pa.float64()),
        **{name: pa.array([], pa.string()) for name in "address user connection method host path query".split()},
        "status": pa.array([], pa.int32()),
        "response_bytes": pa.array([], pa.int64()),
        "error": pa.array([], pa.string()),
    }
)


@dataclass(frozen=True, slots=True)
class Extract:
    """Exchanges of lines, as ``sources.source.Lines`` has them with the number of each line, and of others why not."""

    table: pa.Table
    refused: tuple[tuple[int, str], ...]


def extract(
    pattern: LinePattern,
    values: list[pa.Array | None],
    numbers: Positions,
    options: ReadOptions,
    *,
    escapes: bool = True,
) -> Extract:
    """What lines that were cut by ``pattern`` say; ``numbers`` are the lines', ``escapes`` whether there may be any."""
    found = _Values(pattern, values, len(numbers), options, escapes=escapes and pattern.escaped)
    columns, reasons = found.columns()
    columns[LINE] = pa.array(numbers)
    table = pa.table(columns)
    refused: list[tuple[int, str]] = []
    kept = np.ones(len(numbers), bool)
    for reason, bad in reasons:
        refused += ((int(number), reason) for number in numbers[kept & bad])
        kept &= ~bad
    return Extract(table if kept.all() else table.filter(pa.array(kept)), tuple(refused))


def extract_texts(pattern: LinePattern, values: list[pa.Array | None], count: int) -> pa.Table:
    """What may hold a secret: ``path``, ``query``, ``error`` and headers of lines that were cut by ``pattern``."""
    found = _Values(pattern, values, count, ReadOptions(), escapes=pattern.escaped)
    return pa.table(found.texts())


class _Values:
    """The values of each variable of a pattern."""

    def __init__(
        self, pattern: LinePattern, values: list[pa.Array | None], count: int, options: ReadOptions, *, escapes: bool
    ) -> None:
        self._count = count
        self._options = options
        self._pattern = pattern
        plain = _unquoted if pattern.words else _unescaped if escapes else lambda value: value
        self._found = [
            (variable, plain(value))
            for variable, value in zip(pattern.variables, values, strict=True)
            if value is not None
        ]

    def columns(self) -> tuple[dict[str, pa.Array], list[tuple[str, Mask]]]:
        """The columns by name, and which lines are no exchanges and why."""
        is_http, method, host, path, query = self._request()
        at, duration_s = self._times()
        status, no_status = self._status()
        error = self._text("error")
        if self._pattern.has("status"):
            why = pc.if_else(pc.equal(error, ""), NO_RESPONSE, error)
            error = pc.if_else(pc.is_valid(status), "", why)
        columns = {
            "at": pa.array(at, pa.timestamp("us")).cast(SCHEMA.field("at").type),
            "duration_s": pa.array(duration_s),
            "address": self._addresses(),
            "user": self._text("user"),
            "connection": self._text("connection"),
            "method": method,
            "host": host,
            "path": path,
            "query": query,
            "status": status,
            "response_bytes": self._size(status),
            "error": error,
        }
        columns |= self._headers()
        tunnel = pc.equal(method, "CONNECT").to_numpy(zero_copy_only=False)
        return columns, [(NO_TIME, np.isnat(at)), (NO_STATUS, no_status), (NOT_HTTP, ~is_http), (TUNNEL, tunnel)]

    def texts(self) -> dict[str, pa.Array]:
        """Those of the columns that may hold secrets."""
        _, _, _, path, query = self._request()
        error = {"error": self._text("error")} if self._pattern.has("error") else {}
        return {"path": path, "query": query} | error | self._headers()

    def _headers(self) -> dict[str, pa.Array]:
        headers = {variable.header: _text(_known(value)) for variable, value in self._found if variable.header}
        cookies = [
            pc.binary_join_element_wise(f"{variable.detail}=", _text(_known(value)), "")
            for variable, value in self._all("cookie")
        ]
        if cookies and _COOKIE not in headers:
            joined = pc.binary_join_element_wise(*cookies, "; ", null_handling="skip")
            headers[_COOKIE] = pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined)
        return headers

    def _all(self, role: str) -> list[tuple[Variable, pa.Array]]:
        return [(variable, value) for variable, value in self._found if variable.role == role]

    def _first(self, role: str) -> pa.Array:
        """The values of the variable of that role, the first known one of several; null where there is none."""
        known = [_known(value) for _, value in self._all(role)]
        if not known:
            return pa.nulls(self._count, _BINARY)
        return known[0] if len(known) == 1 else pc.coalesce(*known)

    def _text(self, role: str) -> pa.Array:
        return _text(self._first(role)).fill_null("")

    def _request(self) -> tuple[Mask, pa.Array, pa.Array, pa.Array, pa.Array]:
        is_http = np.ones(self._count, bool)
        if self._pattern.has("request"):
            is_http, method, target = split_requests(self._first("request"))
        else:
            method = self._first("method").fill_null(b"GET" if not self._pattern.has("method") else b"")
            has_target = self._pattern.has("target")
            target = self._first("target").fill_null(b"") if has_target else self._paths()
            _, offsets = column_text(target)
            is_http = (np.diff(offsets) > 0) & are_methods(method)
        targets = split_targets(target)
        query = targets.query
        if self._pattern.has("query"):
            given = as_sent(self._first("query").fill_null(b""))
            given = amend(given, pc.starts_with(given, "?"), lambda text: text[1:])
            query = pc.if_else(pc.equal(pc.binary_length(given), 0), query, given)
        return is_http, _text(method), self._host(targets.host), _text(targets.path), _text(query)

    def _paths(self) -> pa.Array:
        return with_marks_encoded(self._first("path").fill_null(b""))

    def _addresses(self) -> pa.Array:
        addresses = self._first("address")
        if any(variable.detail == "port" for variable, _ in self._all("address")):
            addresses = pc.replace_substring_regex(addresses, r":[0-9]+$", "")
        return amend_addresses(_text(addresses).fill_null(""))

    def _host(self, named: pa.Array) -> pa.Array:
        if not self._pattern.has("host"):
            return _text(named).fill_null(self._options.host)
        hosts, ports = self._first("host"), self._first("port")
        hosts = pc.if_else(pc.equal(hosts, b"_"), _NULL, hosts)  # nginx's name for a server that has none
        if ports.null_count < len(ports):
            bare = pc.invert(pc.match_substring_regex(hosts, r":[0-9]+$"))
            hosts = pc.if_else(
                pc.and_(bare, pc.is_valid(ports)), pc.binary_join_element_wise(hosts, ports, b":"), hosts
            )
        ported = pc.match_substring_regex(hosts, r":(80|443)$")
        hosts = amend(hosts, ported, without_port)
        return _text(pc.coalesce(named, hosts)).fill_null(self._options.host)

    def _times(self) -> tuple[Moments, Seconds]:
        """When each request started, and how long it took; 0 where that is not known."""
        durations = [durations_s(value, variable.detail) for variable, value in self._all("duration")]
        known = sum((np.nan_to_num(duration) for duration in durations), np.zeros(self._count))
        at, ended = self._moments("at"), self._moments("ended")
        if self._pattern.has("at") and self._pattern.has("ended"):
            between_s = np.where(np.isnat(ended - at), 0, ended - at).astype(np.float64) / 1e6
            silent = np.logical_and.reduce([np.isnan(duration) for duration in durations], initial=True)
            known = np.where(silent, np.maximum(between_s, 0), known)
        before = ended - np.minimum(np.round(known * 1e6), 1e15).astype("m8[us]")
        return np.where(np.isnat(at), before, at), known

    def _moments(self, role: str) -> Moments:
        parts = self._all(role)
        if not parts:
            return np.full(self._count, np.datetime64("NaT", "us"))
        day = [pa.scalar(self._pattern.day.encode(), _BINARY)] if self._pattern.day else []
        texts = [*day, *(value for _, value in parts)]
        text = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, b" ")
        return moments(text, parts[0][0].detail, self._options.timezone)

    def _status(self) -> tuple[pa.Array, Mask]:
        found = self._first("status").dictionary_encode()
        numbers = [_status(value) for value in found.dictionary.to_pylist()]
        missing = found.is_null().to_numpy(zero_copy_only=False)
        wrong = np.array([number is None for number in numbers] + [False], bool)
        indices = found.indices.fill_null(len(numbers)).to_numpy()
        values = pa.array([number or None for number in numbers] + [None], pa.int32())
        return values.take(pa.array(indices)), wrong[indices] & ~missing

    def _size(self, status: pa.Array) -> pa.Array:
        sizes = self._first("size")
        try:
            numbers = sizes.cast(pa.string()).cast(pa.int64())
        except pa.ArrowInvalid:
            good = pc.match_substring_regex(sizes, rf"^[0-9]{{1,{_LONGEST_INTEGER}}}$")
            numbers = pc.if_else(good, sizes, _NULL).cast(pa.string()).cast(pa.int64())
        numbers = pc.max_element_wise(numbers.fill_null(0), 0)
        return pc.if_else(pc.is_valid(status), numbers, pa.scalar(None, pa.int64()))


def amend_addresses(column: pa.Array) -> pa.Array:
    """Addresses without ports and brackets."""
    text, _ = column_text(column)
    if not (text.has_byte(ord(":")) or text.has_byte(ord("["))):
        return column
    return amend(column, pc.match_substring_regex(column, r"\..*:|[\[\]]"), _address)


def _address(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, _, port = text.rpartition(":")
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return host if port.isdigit() else text
    return text


def _status(value: bytes | None) -> int | None:
    """A status, 0 where there was no response, None where it is neither."""
    if value is None or value in {b"0", b"000", b"-1"}:
        return 0
    return int(value) if len(value) == 3 and value.isdigit() and value >= b"100" else None


def _known(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_in(column, _NONE), _NULL, column)


def _text(column: pa.Array) -> pa.Array:
    """As text: UTF-8, and Latin-1 where a value is not."""
    if column_text(column)[0].is_ascii:
        return column.view(pa.string())
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if value is None else _decoded(value) for value in column.to_pylist()]
        return pa.array(texts, pa.string())


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _unquoted(column: pa.Array) -> pa.Array:
    """Without the quotes around values, and without the second of two in them."""
    text, _ = column_text(column)
    if not text.has_byte(ord('"')):
        return column
    quoted = pc.match_substring_regex(column, r'(?s)^".*"$')
    return amend(column, quoted, lambda value: value[1:-1].replace(b'""', b'"'))


def _unescaped(column: pa.Array) -> pa.Array:
    text, _ = column_text(column)
    if not text.has_byte(ord("\\")):
        return column
    return amend(column, pc.match_substring(column, "\\"), lambda value: _ESCAPE.sub(_plain, value))


def _plain(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes.fromhex(match[1].decode())
    if match[2]:
        return chr(int(match[2], 16)).encode("utf-8", "replace")
    return _ESCAPED.get(match[3], match[3] if match[3] in b"\"\\/'" else match[0])
