"""Which client sent each of many requests."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.clients import client_names, client_of
from replay.capture.logs.cutting import Mask, Positions, amend
from replay.capture.pseudonyms import Key
from replay.traffic import Request

_REQUEST = "request_header:"
# Headers that say nothing of who sent a request, or are dealt with here.
_NO_NAMES = frozenset(
    "accept accept-encoding accept-language cache-control connection content-length content-type host origin referer "
    "traceparent user-agent via x-amzn-trace-id x-correlation-id x-forwarded-for x-forwarded-host x-forwarded-port "
    "x-forwarded-proto x-request-id x-requested-with x-trace-id".split()
)
_REMEMBERED_MOST = 40_000
_KEYED_MOST = 15_000


class Clients:
    """Names of clients, by the rule of ``client_of``. Those seen lately are remembered."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._keyed: dict[tuple[str | None, ...], str] = {}
        self._identities = self._names = pa.array([], pa.string())

    def names(self, table: pa.Table, keyed: Mask) -> pa.Array:
        """The name of each row's client. ``keyed`` marks rows whose query may hold a key.

        Most clients are known by nothing but their address and user agent.
        """
        address, user, query = (one(table[name]) for name in ("address", "user", "query"))
        agent, forwarded = _header(table, "User-Agent"), _header(table, "X-Forwarded-For")
        first = amend(forwarded, pc.is_valid(forwarded), lambda value: value.partition(",")[0].strip())
        address = pc.if_else(pc.greater(pc.binary_length(first).fill_null(0), 0), first, address)
        names = self._by_address(pc.binary_join_element_wise(address, agent.fill_null(""), " "))
        headers = {
            name.removeprefix(_REQUEST): one(table[name])
            for name in table.column_names
            if name.startswith(_REQUEST) and name.removeprefix(_REQUEST).lower() not in _NO_NAMES
        }
        told = pc.or_(pc.not_equal(user, ""), pa.array(keyed))
        for column in headers.values():
            told = pc.or_(told, pc.is_valid(column))
        if not pc.any(told).as_py():
            return names
        columns = [column.filter(told) for column in (address, user, query, agent, *headers.values())]
        return pc.replace_with_mask(names, told, self._by_all(["User-Agent", *headers], columns))

    def _by_address(self, identities: pa.Array) -> pa.Array:
        encoded = identities.dictionary_encode()
        different = encoded.dictionary
        found = pc.index_in(different, self._identities)
        if found.null_count:
            fresh = different.filter(pc.is_null(found))
            named = pa.array(client_names("address", fresh.to_pylist(), self._key), pa.string())
            names = pc.replace_with_mask(self._names.take(found), pc.is_null(found), named)
            if len(self._identities) > _REMEMBERED_MOST:
                self._identities, self._names = fresh, named
            else:
                self._identities = pa.concat_arrays([self._identities, fresh])
                self._names = pa.concat_arrays([self._names, named])
        else:
            names = self._names.take(found)
        return names.take(encoded.indices)

    def _by_all(self, headers: list[str], columns: list[pa.Array]) -> pa.Array:
        first, which = _distinct(columns)
        names = []
        for identity in zip(*(column.take(pa.array(first)).to_pylist() for column in columns), strict=True):
            name = self._keyed.get(identity)
            if name is None:
                if len(self._keyed) >= _KEYED_MOST:
                    self._keyed.clear()
                name = self._keyed[identity] = self._name(headers, *identity)
            names.append(name)
        return pa.array(names, pa.string()).take(pa.array(which))

    def _name(self, headers: list[str], address: str, user: str, query: str, *values: str | None) -> str:
        pairs = tuple((name, value) for name, value in zip(headers, values, strict=True) if value is not None)
        return client_of(Request("GET", "", "/", query, pairs), address, self._key, user=user)


def one(column: pa.ChunkedArray) -> pa.Array:
    """A table's column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _header(table: pa.Table, header: str) -> pa.Array:
    """The column of a request's header; nulls where there is none."""
    wanted = f"{_REQUEST}{header}".lower()
    found = next((name for name in table.column_names if name.lower() == wanted), None)
    return one(table[found]) if found else pa.nulls(table.num_rows, pa.string())


def _distinct(columns: list[pa.Array]) -> tuple[Positions, Positions]:
    """Where each combination of the columns' values stands first, and which of these each row is."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        encoded = column.dictionary_encode()
        size = len(encoded.dictionary) + 1
        codes = codes * size + encoded.indices.fill_null(size - 1).to_numpy()
        codes = np.unique(codes, return_inverse=True)[1]
    _, first, which = np.unique(codes, return_index=True, return_inverse=True)
    return first, which
