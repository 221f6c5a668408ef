"""Columns of exchanges read from a log: clients named, secrets replaced, as the columns of a capture.

Almost all values of a log are plain, and many are alike. So each different value of a column is looked at once, what
could hold a secret is found in all of them together, and the scrubber sees only these.
"""

import json
from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.logs.clients import Clients, one
from replay.capture.logs.cutting import Mask, amend, column_text
from replay.capture.pseudonyms import Key
from replay.capture.scrub import NO_RULES, SUSPICIOUS, Scrubber, words
from replay.capture.segments import SCHEMA

REQUEST, RESPONSE = "request_header:", "response_header:"
# Headers whose values are secret only for a reason in themselves. Of any other, the scrubber sees every value.
_PLAIN = frozenset(
    "accept accept-encoding accept-language cache-control connection content-encoding content-length content-type date "
    "etag host if-modified-since if-none-match last-modified location origin range referer server traceparent "
    "transfer-encoding upgrade user-agent vary via x-amzn-trace-id x-cache x-correlation-id x-forwarded-host "
    "x-forwarded-port x-forwarded-proto x-request-id x-requested-with x-trace-id".split()
)
# Headers that hold the id of a request, another one in each, and what such an id looks like.
_IDS = frozenset("etag traceparent x-amzn-trace-id x-correlation-id x-request-id x-trace-id".split())
_ID = r"^(?:Root=)?[0-9A-Fa-f.:;-]{0,80}$"
# A UUID by itself is no secret for its form.
_UUID = r"(^|[/=&,:])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}([/&?,]|$)"
# What JSON writes with an escape, when all that is not ASCII is escaped.
_ESCAPED = r"[^ !#-\[\]-~]"
_NUMBER = r"^[0-9]{0,10}$"
# The columns of texts, and what of the scrubber's changes them.
_CHANGES = {"method": "text", "host": "host", "path": "path", "query": "query", "error": "message"}
# What is looked at of columns that are hardly ever anything but a few short words.
_SELDOM = {"method": r"^.{8}", "host": r"[^0-9A-Za-z_.:\[\]-]", "error": r"(?s)^.{7}"}
_REMEMBERED_MOST = 20_000

# A value changed, and what was found in it, by kind.
_Change = tuple[str, tuple[tuple[str, int], ...]]


class Columns:
    """Turns the lines of a log into rows of a capture. For one thread.

    Without a ``scrubber``, nothing is replaced. ``key`` names the clients. What many lines have in common is
    remembered, within a bound.
    """

    def __init__(self, scrubber: Scrubber | None, key: Key) -> None:
        self._scrubber = scrubber
        self._clients = Clients(key)
        self._changes: dict[tuple[str, str], _Change] = {}
        self._version = -1
        self._learned: set[int] = set()

    def learn(self, table: pa.Table) -> None:
        """Note the secrets in rows as ``sources.source.Lines`` has them: the first of two passes."""
        if self._scrubber is None:
            return
        for name in _scrubbed_columns(table):
            note = self._noting(name)
            values = pc.unique(one(table[name]).drop_null())
            for value in values.filter(pa.array(self._suspicious(name, values))).to_pylist():
                mark = hash((name, value))
                if mark not in self._learned:
                    if len(self._learned) >= _REMEMBERED_MOST:
                        self._learned.clear()
                    self._learned.add(mark)
                    note(value)

    def rows(self, table: pa.Table) -> pa.Table:
        """Rows as ``sources.source.Lines`` has them, as a table of ``segments.SCHEMA`` in the same order, scrubbed."""
        count = table.num_rows
        status = one(table["status"])
        answers = pc.if_else(pc.is_valid(status), self._headers(table, RESPONSE), pa.scalar(None, pa.string()))
        columns = {
            **{name: table[name] for name in table.column_names if name in SCHEMA.names},
            "client": self._clients.names(table, self._suspicious("query", one(table["query"]))),
            "connection": self._connections(one(table["connection"])),
            **{name: self._without_secrets(name, one(table[name])) for name in _CHANGES},
            "request_headers": self._headers(table, REQUEST),
            "request_body": pa.nulls(count, pa.binary()),
            "response_headers": answers,
            "response_body": pa.nulls(count, pa.binary()),
        }
        return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)

    def _connections(self, column: pa.Array) -> pa.Array:
        if self._scrubber is None:
            return column
        return amend(column, pc.invert(pc.match_substring_regex(column, _NUMBER)), self._scrubber.connection)

    def _headers(self, table: pa.Table, kind: str) -> pa.Array:
        """The headers of each row as JSON: ``[[name, value], ...]``."""
        pairs = []
        for name in table.column_names:
            if name.startswith(kind):
                values, indices = self._values_without_secrets(name, one(table[name]))
                values = amend(values, pc.match_substring_regex(values, _ESCAPED), _escaped)
                pair = pc.binary_join_element_wise(f', [{json.dumps(name.removeprefix(kind))}, "', values, '"]', "")
                pairs.append(pair.take(indices))
        if not pairs:
            return pa.array(["[]"]).take(pa.array(np.zeros(table.num_rows, np.int32)))
        # Not with null_handling="skip", which loses rows where all are null.
        joined = pc.binary_join_element_wise(*pairs, "", null_handling="replace", null_replacement="")
        return pc.binary_join_element_wise("[", pc.utf8_slice_codeunits(joined, len(", ")), "]", "")

    def _without_secrets(self, name: str, column: pa.Array) -> pa.Array:
        if self._scrubber is None:
            return column
        values, indices = self._values_without_secrets(name, column)
        return values.take(indices)

    def _values_without_secrets(self, name: str, column: pa.Array) -> tuple[pa.Array, pa.Array]:
        """The column's different values without their secrets, and which of them stands in each row."""
        encoded = column.dictionary_encode()
        values, scrubber = encoded.dictionary, self._scrubber
        if scrubber is None:
            return values, encoded.indices
        if self._version != scrubber.known.version:
            self._changes.clear()
            self._version = scrubber.known.version
        chosen = self._suspicious(name, values)
        chosen |= self._holds_known(values, ~chosen)
        if not chosen.any():
            return values, encoded.indices
        counts = np.bincount(encoded.indices.drop_null().to_numpy(), minlength=len(values))
        chosen_values = values.filter(pa.array(chosen)).to_pylist()
        changed = [
            self._changed(name, value, int(count)) for value, count in zip(chosen_values, counts[chosen], strict=True)
        ]
        return pc.replace_with_mask(values, pa.array(chosen), pa.array(changed, pa.string())), encoded.indices

    def _changed(self, name: str, value: str, times: int) -> str:
        """``value`` without its secrets, and what was found in it counted as often as it stands there."""
        change = self._changes.get((name, value))
        if change is None:
            change = self._change(name, value)
            if len(self._changes) >= _REMEMBERED_MOST:
                self._changes.clear()
            self._changes[name, value] = change
        if self._scrubber:
            for kind, count in change[1]:
                self._scrubber.counts[kind] += count * times
        return change[0]

    def _change(self, name: str, value: str) -> _Change:
        scrubber = self._scrubber
        if scrubber is None:
            return value, ()
        kept, scrubber.counts = scrubber.counts, Counter()
        try:
            kind, _, header = name.partition(":")
            if header:
                return scrubber.header(header, value), tuple(scrubber.counts.items())
            return getattr(scrubber, _CHANGES[kind])(value), tuple(scrubber.counts.items())
        finally:
            scrubber.counts = kept

    def _noting(self, name: str) -> Callable[[str], None]:
        kind, _, header = name.partition(":")
        scrubber = self._scrubber
        if scrubber is None:
            return lambda _: None
        if header:
            return lambda value: scrubber.learn_header(header, value)
        return {"path": scrubber.learn_path, "query": scrubber.learn_query}.get(kind, scrubber.learn_text)

    def _suspicious(self, name: str, values: pa.Array) -> Mask:
        """Which values the scrubber could change for a reason in themselves, or in their header's name."""
        if (self._scrubber and self._scrubber.rules != NO_RULES) or (":" in name and not is_plain(name)):
            return _mask(pc.is_valid(values))
        if name in _SELDOM:
            return _mask(pc.match_substring_regex(values, _SELDOM[name]))
        header = name.partition(":")[2].lower()
        if header in _IDS:
            return _mask(pc.invert(pc.match_substring_regex(values, _ID)))
        if not header:
            ids = pc.match_substring_regex(values, _UUID)
            plain = pc.replace_substring_regex(values.filter(ids), _UUID, r"\1~\2")
            values = pc.replace_with_mask(values, ids, plain)
        return _matched(values, SUSPICIOUS)

    def _holds_known(self, values: pa.Array, among: Mask) -> Mask:
        """Which of the values hold a word that was seen to be a secret elsewhere."""
        holds = np.zeros(len(values), bool)
        if self._scrubber is None or not len(self._scrubber.known):
            return holds
        known = self._scrubber.known
        text, offsets = column_text(values)
        places = known.starts.found(text.bytes)
        may = np.unique(np.searchsorted(offsets, places, "right") - 1)
        may = may[among[may]]
        for index, value in zip(may, values.take(pa.array(may)).to_pylist(), strict=True):
            holds[index] = any(word in known for word in words(value))
        return holds


def is_plain(column: str) -> bool:
    """Whether a header's column holds secrets only for a reason in their values."""
    return column.partition(":")[2].lower() in _PLAIN


def _scrubbed_columns(table: pa.Table) -> list[str]:
    texts = {"path", "query", "error"}
    return [name for name in table.column_names if name in texts or name.startswith((REQUEST, RESPONSE))]


def _escaped(value: str) -> str:
    return json.dumps(value)[1:-1]


def _matched(values: pa.Array, patterns: tuple[str, ...]) -> Mask:
    """Which values one of the patterns matches."""
    found = _mask(pc.match_substring_regex(values, patterns[0]))
    for pattern in patterns[1:]:
        rest = np.flatnonzero(~found)
        found[rest] = _mask(pc.match_substring_regex(values.take(pa.array(rest)), pattern))
    return found


def _mask(array: pa.Array) -> Mask:
    found: Mask = pc.fill_null(array, False).to_numpy(zero_copy_only=False).copy()
    return found
