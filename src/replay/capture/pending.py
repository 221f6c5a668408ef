"""What was added to a capture and is in no segment yet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from replay.capture.segments import SCHEMA, bytes_of, find_groups, is_sorted, moments_of, row_bytes, to_table
from replay.traffic import Exchange

_SOURCE, _ORIGINAL = "source", "original"


@dataclass(frozen=True, slots=True)
class Batch:
    """Exchanges for a segment: the rows ``order`` of ``table``, which are in order of ``at``.

    ``sources`` has the number of the source of each of them. ``undecided`` says where those are that are not judged
    yet, and ``originals`` has these as they came. ``cuts`` are its row groups.
    """

    table: pa.Table
    order: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int32]
    undecided: npt.NDArray[np.int64]
    originals: Sequence[Exchange]
    cuts: Sequence[tuple[int, int]]

    def rows(self, start: int, end: int) -> pa.Table:
        """Its exchanges from ``start`` to before ``end``, copied only where they are not in order."""
        order = self.order[start:end]
        first, last = int(order.min()), int(order.max())
        piece = self.table.slice(first, last + 1 - first)
        return piece if is_sorted(order) and order.size == piece.num_rows else piece.take(pa.array(order - first))


class Pending:
    """Collects exchanges and tables in the order of reading."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._tables: list[pa.Table] = []
        self._exchanges: list[Exchange] = []
        self._sources: list[int] = []
        self._positions: list[int] = []
        self._originals: list[Exchange] = []

    def __bool__(self) -> bool:
        return bool(self._tables or self._exchanges)

    @property
    def rows(self) -> int:
        """How many exchanges there are."""
        return len(self._exchanges) + sum(int(table.num_rows) for table in self._tables)

    def add(self, exchange: Exchange, source: int, original: Exchange | None = None) -> None:
        """Take an exchange; ``original`` is what it was, where that is not judged yet."""
        if original is not None:
            self._originals.append(original)
            self.size_bytes += bytes_of(original)
        self._positions.append(-1 if original is None else len(self._originals) - 1)
        self._exchanges.append(exchange)
        self._sources.append(source)
        self.size_bytes += bytes_of(exchange)

    def add_table(self, table: pa.Table, source: int) -> None:
        """Take a table of SCHEMA."""
        self._join()
        self._take(table, np.full(table.num_rows, source, np.int32), np.full(table.num_rows, -1, np.int32))
        self.size_bytes += table.nbytes

    def cut(self, hold_back: float = 0.0) -> Batch:
        """Everything so far as a batch, but for the share ``hold_back`` that is last in time, which stays."""
        self._join()
        table = pa.concat_tables(self._tables)
        order = np.argsort(moments_of(table), kind="stable")
        count = order.size - int(order.size * hold_back)
        batch = _batch(table, order[:count], self._originals)
        self._tables, self._originals = [], []
        if count < order.size:
            self._tables = [table.take(pa.array(np.sort(order[count:])))]
        self.size_bytes = sum(table.nbytes for table in self._tables)
        return batch

    def _join(self) -> None:
        if self._exchanges:
            table = to_table(self._exchanges)
            self._take(table, np.array(self._sources, np.int32), np.array(self._positions, np.int32))
            self._exchanges, self._sources, self._positions = [], [], []

    def _take(self, table: pa.Table, sources: npt.NDArray[np.int32], originals: npt.NDArray[np.int32]) -> None:
        table = table.append_column(_SOURCE, pa.array(sources)).append_column(_ORIGINAL, pa.array(originals))
        self._tables.append(table)


def _batch(table: pa.Table, order: npt.NDArray[np.int64], originals: Sequence[Exchange]) -> Batch:
    numbers = table[_ORIGINAL].to_numpy()[order]
    undecided = np.flatnonzero(numbers >= 0)
    return Batch(
        table.select(SCHEMA.names),
        order,
        table[_SOURCE].to_numpy()[order],
        undecided,
        [originals[number] for number in numbers[undecided].tolist()],
        find_groups(row_bytes(table)[order]),
    )
