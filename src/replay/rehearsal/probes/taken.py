"""Which statement of a step took a lock that others wait for. Reads nothing; tested without a database.

PostgreSQL does not keep since when a lock is held. So the locks of a step's sessions are looked at again and again, and
the first look that has a lock tells between which two moments it was taken.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

# Which modes cannot be held beside which, weakest first (PostgreSQL: "Table-level lock modes").
_MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_BESIDE = {  # the ranks of the modes that each conflicts with
    "AccessShareLock": range(7, 8),
    "RowShareLock": range(6, 8),
    "RowExclusiveLock": range(4, 8),
    "ShareUpdateExclusiveLock": range(3, 8),
    "ShareLock": (2, 3, 5, 6, 7),
    "ShareRowExclusiveLock": range(2, 8),
    "ExclusiveLock": range(1, 8),
    "AccessExclusiveLock": range(8),
}
KEEPING_OUT = _MODES[4:]  # modes that let nobody write, or read
_OF_ROWS = ("RowShareLock", "RowExclusiveLock")


def keep_out(held: Collection[str], wanted: str | None) -> tuple[str, ...]:
    """Those of the modes ``held`` that conflict with ``wanted``, strongest first."""
    ranks = _BESIDE.get(wanted or "", ())
    return tuple(_MODES[rank] for rank in sorted(ranks, reverse=True) if _MODES[rank] in held)


@dataclass(frozen=True, slots=True)
class Taken:
    """A lock was taken after ``after_s`` (None: before the first look) and by ``by_s``.

    ``query`` is what ran at the first look that had it.
    ``certain`` says that it took the lock: it had begun before a look that did not have the lock, and still ran at the
    one that had.
    """

    query: str
    after_s: float | None
    by_s: float
    certain: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What one session held at a moment: the modes by target, and the statement that ran. Of both clocks.

    ``from_s`` and ``to_s`` are the arm's time around the look; ``server_s`` is the server's at its start,
    ``query_start_s`` and ``transaction_start_s`` are by the same clock.
    """

    from_s: float
    to_s: float
    server_s: float
    transaction_start_s: float
    query_start_s: float
    query: str
    held: Mapping[str, frozenset[str]]


class Holdings:
    """What the steps' sessions hold, and since when."""

    def __init__(self) -> None:
        self._last: dict[int, Look] = {}
        self._taken: dict[int, dict[tuple[str, str], Taken]] = {}
        self._looked_s: float | None = None
        self._seen_s: dict[int, float] = {}  # when each session was looked at last: outside a transaction it is not

    def see(self, from_s: float, looks: Mapping[int, Look]) -> None:
        """Take in a look that began at ``from_s``: the steps' sessions in a transaction, by process id."""
        for pid, look in looks.items():
            self._taken[pid] = self._known(pid, look)
        for pid in self._last.keys() - looks.keys():
            # Outside a transaction a session keeps nothing but advisory locks.
            self._taken[pid] = {key: taken for key, taken in self._taken[pid].items() if _outlives(key[0])}
        self._last = dict(looks)
        self._looked_s = from_s
        self._seen_s |= {pid: look.from_s for pid, look in looks.items()}

    def taken(self, pid: int, target: str | None, modes: Collection[str]) -> Taken | None:
        """How the first of these modes was taken, or None where no look had one."""
        found = [self._taken.get(pid, {}).get((target or "", mode)) for mode in modes]
        return min((one for one in found if one is not None), key=lambda one: one.by_s, default=None)

    def taken_row(self, pid: int, table: str | None) -> Taken | None:
        """How a row's lock was taken: since when the session has locked rows of that table at all.

        Which statement locked which row is not to be seen. It is certain only where no other has run since.
        """
        first = self.taken(pid, table, _OF_ROWS)
        look = self._last.get(pid)
        if first is None or look is None:
            return None
        return Taken(first.query, first.after_s, look.to_s, first.certain and first.query == look.query)

    def _known(self, pid: int, look: Look) -> dict[tuple[str, str], Taken]:
        last = self._last.get(pid)
        same_transaction = last is not None and last.transaction_start_s == look.transaction_start_s
        before = self._taken.get(pid, {})
        # The locks were read before the statement: one that began before the last look ran all the time between.
        certain = last is not None and last.query_start_s == look.query_start_s < last.server_s
        after_s = last.from_s if last is not None else self._looked_s
        new = Taken(look.query, after_s, look.to_s, certain)
        lasting = Taken(look.query, self._seen_s.get(pid), look.to_s, certain)
        known: dict[tuple[str, str], Taken] = {}
        for target, modes in look.held.items():
            for key in ((target, mode) for mode in modes):
                if _outlives(target):
                    known[key] = before.get(key, lasting)
                else:
                    known[key] = before.get(key, new) if same_transaction else new
        return known


def _outlives(target: str) -> bool:
    """Whether a lock may be held beyond its transaction."""
    return target.startswith("advisory:")
