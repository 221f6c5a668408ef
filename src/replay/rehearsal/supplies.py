"""What an arm's load gets of Stage's own: ids for its pools, and credentials, read from files or asked of its database.

Ids are evidence and stay in the arm's folder. Credentials never do: they go to the load in a file that has no name, so
that nothing of it is left whoever is killed when.
"""

import csv
import hashlib
import os
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg

from replay.errors import InputError, StageError
from replay.rehearsal.plan import Plan, WorkloadPlan
from replay.rehearsal.queries import PoolPlan, Query
from replay.rehearsal.secrets import identity_words
from replay.rehearsal.sessions import ENCODING
from replay.scenario.identities import read_identities, tell_lack
from replay.scenario.pools import MOST_VALUES, first_values, not_empty, read_values, write_values

_TIMEOUT_S = 60
_AT_ONCE = 10_000
# So many of a pool are kept at least, for payloads to choose from; captured values beyond get one each.
_KEPT = 10_000


class Unnamed:
    """A table in a file without a name, which is gone with the last process that has it. A context manager."""

    def __init__(self, rows: Iterable[Sequence[str]]) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 - it stays open
        try:
            csv.writer(self._file).writerows(rows)
            self._file.flush()
        except BaseException:
            self._file.close()
            raise

    @property
    def descriptor(self) -> int:
        """By which a child process gets it."""
        return self._file.fileno()

    @property
    def path(self) -> Path:
        """Where it is read from its beginning, here and by a process that it was handed to."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)  # where /dev/fd gives no view of its own
        return Path(f"/dev/fd/{self.descriptor}")

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Supplies:
    """``pools`` as locust's ``--pool`` takes them; ``digests`` tell whether two arms got the same, by pool.

    Credentials are in the plan's ``file``, or ``held`` where they came from elsewhere; ``secrets`` are the words of
    those that came from the database. A context manager, which lets go of what is held.
    """

    file: Path | None
    pools: tuple[str, ...]
    digests: dict[str, str]
    secrets: frozenset[str]
    held: Unnamed | None = None

    @property
    def identities(self) -> Path | None:
        """Where the credentials are read, None where there are none."""
        return self.held.path if self.held is not None else self.file

    @property
    def handed(self) -> tuple[int, ...]:
        """The descriptors that whoever reads the credentials needs."""
        return (self.held.descriptor,) if self.held is not None else ()

    def close(self) -> None:
        """They have been read: keep them no longer."""
        if self.held is not None:
            self.held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def asks_stage(plan: Plan, workload: WorkloadPlan) -> bool:
    """Whether supplies come from Stage's database, which must be put back before it is asked."""
    return workload.credentials is not None or any(pool.query for pool in plan.pools)


def gather(
    plan: Plan,
    workload: WorkloadPlan,
    *,
    captured: Sequence[int],
    needed: Sequence[tuple[str, str]],
    ranked: Sequence[str],
    folder: Path,
) -> Supplies:
    """Get what a workload's load needs. ``captured`` says for each pool how many values it is to be bound to.

    ``needed`` are its clients and their columns, ``ranked`` the clients by their requests; pools are written to
    ``folder``. Raises StageError where the database cannot be asked, and InputError where a
    pool is empty or a client of the workload gets no credentials from the query.
    """
    pools, digests = [], {}
    for pool, count in zip(plan.pools, captured, strict=True):
        values = pool_values(pool, max(count, _KEPT))
        file = folder / f"{pool.name}.csv"
        write_values(values, file)
        pools.append(f"{','.join(pool.parameters)}={file.absolute()}")
        digests[pool.name] = hashlib.blake2b("\n".join(values).encode(), digest_size=16).hexdigest()
    if workload.credentials is None:
        return Supplies(workload.identities, tuple(pools), digests, frozenset())
    what = f"The identities of the workload {workload.name!r}"
    held = _hold(workload.credentials, what)
    try:
        secrets = identity_words(held.path)
        _check(held.path, what, needed, ranked)
    except BaseException:
        held.close()
        raise
    return Supplies(None, tuple(pools), digests, frozenset(secrets), held)


def pool_values(pool: PoolPlan, most: int = MOST_VALUES) -> tuple[str, ...]:
    """A pool's values, at most so many. Raises InputError where it is empty, StageError where the query fails."""
    if pool.csv is not None:
        return read_values(pool.csv, pool.name, pool.parameters, pool.column)[:most]
    assert pool.query is not None  # noqa: S101 - a pool has one of the two
    with closing(_rows(pool.query, f"The pool {pool.name}")) as rows:
        next(rows)
        values = first_values((_text(row[0]) for row in rows), most)
    return not_empty(values, pool.name, "its query")


def _hold(query: Query, what: str) -> Unnamed:
    with closing(_rows(query, what, secret=True)) as rows:
        return Unnamed([_text(value) for value in row] for row in rows)


def _check(file: Path, what: str, needed: Sequence[tuple[str, str]], ranked: Sequence[str]) -> None:
    try:
        given = read_identities(file, ranked)
    except InputError as error:
        raise InputError(
            f"{what}: the query gives no rows, or two for one client.", "It gives a row a client."
        ) from error
    if lack := tell_lack(needed, given, "the query"):
        raise InputError(f"{what} lack {lack}.", "The query's columns are called like the credentials.")


def _rows(query: Query, what: str, *, secret: bool = False) -> Generator[Sequence[Any]]:
    """The names of the columns, then the rows, a batch at a time. Whatever the query is, it changes nothing."""
    try:
        with (
            psycopg.connect(
                query.dsn.value, connect_timeout=10, application_name="replay pool", client_encoding=ENCODING
            ) as connection,
            connection.cursor("replay_pool") as cursor,
        ):
            connection.read_only = True
            connection.execute(f"SET LOCAL statement_timeout = '{_TIMEOUT_S}s'".encode())
            cursor.itersize = _AT_ONCE
            cursor.execute(query.sql.encode())
            yield [column.name for column in cursor.description or ()]
            for number, row in enumerate(cursor):
                if number >= MOST_VALUES:
                    break
                yield row
    except psycopg.Error as error:
        # PostgreSQL may quote a value that it stumbles over, and here that is a credential.
        connected = not isinstance(error, psycopg.OperationalError)
        words = "" if secret and connected else next(iter(str(error).strip().splitlines()), "")
        words = words or f"{type(error).__name__} {error.sqlstate or ''}".strip()
        raise StageError(
            f"{what} cannot be read: {words}.", "See that dsn and sql are right: one query that reads."
        ) from error


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
