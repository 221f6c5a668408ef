"""Rows of a table that are plain, read column by column: what most rows of exports without bodies are.

A row is plain where it can be read in one way only. Whatever is odd about one (a URL for a path, a time of another
shape, a port that may be left out) is left to ``entries.to_record``, which has the same to say of plain rows.
"""

from datetime import UTC
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.segments import SCHEMA
from replay.capture.sources.roles import HEADERS, UNITS_S, Reading, Role
from replay.capture.sources.source import ReadOptions

Mask = npt.NDArray[np.bool_]

_G = "[0-9A-Fa-f]{1,4}"
_PATTERNS = {
    "method": r"^[A-Z]{1,32}$",
    "path": r"^/[!-\"$-~]*$",
    "query": r"^[!-\"$->@-~][!-\"$-~]*$",
    "host": r"^[0-9A-Za-z][0-9A-Za-z.-]*(:[0-9]{1,5})?$",
    "address": rf"^([0-9]{{1,3}}(\.[0-9]{{1,3}}){{3}}|{_G}(:{_G}){{7}}|{_G}(:{_G}){{0,3}}::{_G}(:{_G}){{0,2}})$",
}
_OWN_PORT = r":(80|443)$"
_VISIBLE = r"^[^\x00-\x1f]*$"
_STATUS, _SIZE, _DURATION = r"^[1-9][0-9]{2}(\.0)?$", r"^[0-9]{1,15}(\.0)?$", r"^[0-9]{1,9}(\.[0-9]{1,20})?$"
_EPOCH = r"^([0-9]{10}|[0-9]{13}|[0-9]{16}|[0-9]{19})$"
_KNOWN = frozenset(_PATTERNS) | {"at", "ended", "logged", "duration", "status", "size", "user", "connection", "error"}
_FIRST_US, _LAST_US = (int(np.datetime64(year, "us").astype(np.int64)) for year in ("1990", "2200"))
_MOMENT = pa.timestamp("us", tz="UTC")
_NONE = pa.array(["", "-"])


class Plain(NamedTuple):
    """The plain rows as ``source.Lines`` has them, and which of all they are."""

    table: pa.Table
    rows: Mask


class _Odd(Exception):
    """The columns cannot be read so."""


def plain_rows(columns: list[tuple[str, pa.Array]], reading: Reading, options: ReadOptions) -> Plain | None:
    """The plain rows of ``columns``; None where the columns are such that each row has to be looked at."""
    if reading.constants or not columns:
        return None
    try:
        return _Columns(columns, reading, options).plain()
    except (_Odd, pa.ArrowException):
        return None


class _Columns:
    """The columns of each role. ``_good`` gathers which rows are plain."""

    def __init__(self, columns: list[tuple[str, pa.Array]], reading: Reading, options: ReadOptions) -> None:
        self._options = options
        self._count = len(columns[0][1])
        self._good = np.ones(self._count, np.bool_)
        self._by_role: dict[str, list[tuple[Role, pa.Array]]] = {}
        for name, array in columns:
            for role in reading.roles(name):
                self._by_role.setdefault(role.name, []).append((role, _decoded(array)))
        for found in self._by_role.values():
            found.sort(key=lambda pair: pair[0].rank)
        if not self._by_role.keys() <= _KNOWN | (HEADERS - {"request_cookie"}):
            raise _Odd

    def plain(self) -> Plain:
        texts = {name: self._text(name) for name in ("address", "user", "connection", "error", *_PATTERNS)}
        for name in ("method", "path"):
            self._need(pc.is_valid(texts[name]))
        self._need(pc.not_equal(texts["method"], "CONNECT"))
        self._need(pc.invert(pc.match_substring_regex(texts["host"], _OWN_PORT)).fill_null(True))
        at, duration_s = self._times()
        status = self._numbers("status", _STATUS).cast(pa.int32())
        self._need(pc.and_(pc.greater_equal(status, 100), pc.less(status, 1000)).fill_null(True))
        size = self._numbers("size", _SIZE)
        answered = pc.is_valid(status)
        path, query = _split(texts["path"])
        columns = {
            "at": at,
            "duration_s": duration_s,
            "address": texts["address"].fill_null(""),
            "user": texts["user"].fill_null(""),
            "connection": texts["connection"].fill_null(""),
            "method": texts["method"],
            "host": texts["host"].fill_null(self._options.host),
            "path": path,
            "query": pc.coalesce(query, texts["query"], pa.scalar("")),
            "status": status,
            "response_bytes": pc.if_else(answered, size.fill_null(0), pa.scalar(None, pa.int64())),
            "error": pc.if_else(answered, "", texts["error"].fill_null("")),
        }
        table = pa.table(columns | self._headers())
        return Plain(table if self._good.all() else table.filter(pa.array(self._good)), self._good)

    def _need(self, good: pa.Array) -> None:
        self._good &= good.fill_null(False).to_numpy(zero_copy_only=False)

    def _text(self, role: str) -> pa.Array:
        """What the columns of a role say, the first known value of each row; only what fits is plain."""
        found = [_texts(array) for _, array in self._by_role.get(role, ())]
        if not found:
            return pa.nulls(self._count, pa.string())
        text = pc.coalesce(*found)
        self._need(pc.match_substring_regex(text, _PATTERNS.get(role, _VISIBLE)).fill_null(True))
        return text

    def _numbers(self, role: str, form: str) -> pa.Array:
        found = self._by_role.get(role, [])
        if len(found) > 1:
            raise _Odd
        if not found:
            return pa.nulls(self._count, pa.int64())
        (_, array) = found[0]
        if not pa.types.is_integer(array.type):
            text = _texts(array)
            fits = pc.match_substring_regex(text, form)
            self._need(fits.fill_null(True))
            array = pc.replace_substring_regex(pc.if_else(fits, text, pa.scalar(None, pa.string())), r"\.0$", "")
        numbers = array.cast(pa.int64())
        self._need(pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, 1 << 53)).fill_null(True))
        return numbers

    def _times(self) -> tuple[pa.Array, pa.Array]:
        roles = [role for role in ("at", "ended", "logged") if role in self._by_role]
        if len(roles) != 1 or len(self._by_role[roles[0]]) > 1 or len(self._by_role.get("duration", ())) > 1:
            raise _Odd
        (_, array) = self._by_role[roles[0]][0]
        us = self._moments(array)
        durations_s = self._durations()
        if roles[0] != "at":
            us = us - np.rint(durations_s * 1e6).astype(np.int64)
        self._good &= (us >= _FIRST_US) & (us < _LAST_US)
        return pa.array(np.where(self._good, us, 0), pa.timestamp("us")).cast(SCHEMA.field("at").type), durations_s

    def _moments(self, array: pa.Array) -> npt.NDArray[np.int64]:
        kind = array.type
        if not pa.types.is_timestamp(kind) and not pa.types.is_integer(kind):
            array = _texts(array)
            try:
                array = array.cast(pa.int64() if pc.all(pc.match_substring_regex(array, _EPOCH)).as_py() else _MOMENT)
            except pa.ArrowInvalid:
                array = array.cast(pa.timestamp("us"))
            kind = array.type
        self._need(pc.is_valid(array))
        if pa.types.is_timestamp(kind):
            if kind.tz is None and self._options.timezone is not UTC and str(self._options.timezone) != "UTC":
                raise _Odd
            array = array.cast(pa.timestamp("us", kind.tz), safe=False)
        numbers: npt.NDArray[np.int64] = array.cast(pa.int64()).fill_null(0).to_numpy()
        if pa.types.is_timestamp(kind):
            return numbers
        self._good &= numbers >= 0
        limits = [numbers < 10**11, numbers < 10**14, numbers < 10**17]
        return np.select(limits, [numbers * 1_000_000, numbers * 1000, numbers], numbers // 1000)

    def _durations(self) -> npt.NDArray[np.float64]:
        found = self._by_role.get("duration", [])
        if not found:
            return np.zeros(self._count)
        ((role, array),) = found
        if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
            numbers = array.cast(pa.float64(), safe=False)
        else:
            text = _texts(array)
            fits = pc.match_substring_regex(text, _DURATION)
            self._need(fits.fill_null(True))
            numbers = pc.if_else(fits, text, pa.scalar(None, pa.string())).cast(pa.float64())
        seconds: npt.NDArray[np.float64] = numbers.fill_null(0).to_numpy() * UNITS_S[role.detail or "s"]
        good = (seconds >= 0) & (seconds <= 1e9)
        self._good &= good
        rounded: npt.NDArray[np.float64] = np.where(good, seconds, 0.0).round(9)
        return rounded

    def _headers(self) -> dict[str, pa.Array]:
        headers: dict[str, pa.Array] = {}
        for name in HEADERS:
            for role, array in self._by_role.get(name, ()):
                column = f"{name}:{role.detail}"
                if role.is_behind or role.detail.lower() == "host" or column.lower() in map(str.lower, headers):
                    raise _Odd
                headers[column] = _texts(array)
                self._need(pc.match_substring_regex(headers[column], _VISIBLE).fill_null(True))
        return headers


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _texts(array: pa.Array) -> pa.Array:
    """As text, null where there is none."""
    kind = array.type
    if pa.types.is_null(kind):
        return array.cast(pa.string())
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise _Odd
    text = array.cast(pa.binary()).cast(pa.string()) if pa.types.is_large_string(kind) else array.cast(pa.string())
    text.validate(full=True)
    return pc.if_else(pc.is_in(text, _NONE), pa.scalar(None, pa.string()), text)


def _split(target: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The path, and the query or null."""
    parts = pc.split_pattern(target, "?", max_splits=1)
    counts = pc.list_value_length(parts).fill_null(0).to_numpy()
    if not (counts > 1).any():
        return target, pa.nulls(len(target), pa.string())
    path = pc.list_element(pc.if_else(pa.array(counts > 0), parts, pa.scalar([""], parts.type)), 0)
    query = pc.list_element(pc.if_else(pa.array(counts > 1), parts, pa.scalar(["", ""], parts.type)), 1)
    return path, pc.if_else(pc.equal(query, ""), pa.scalar(None, pa.string()), query)
