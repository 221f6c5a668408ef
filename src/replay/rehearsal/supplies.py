"""What an arm's load gets of Stage's own: ids for its pools, and credentials, read from files or asked of its database.

Ids are evidence and stay in the arm's folder. Credentials never do: they go to the load in a file of a private folder.
"""

import csv
import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from replay.errors import InputError, StageError
from replay.rehearsal.plan import Plan, WorkloadPlan
from replay.rehearsal.queries import PoolPlan, Query
from replay.rehearsal.secrets import identity_words
from replay.scenario.identities import read_identities, tell_lack
from replay.scenario.pools import MOST_VALUES, first_values, not_empty, read_values, write_values

_TIMEOUT_S = 60
_AT_ONCE = 10_000
# So many of a pool are kept at least, for payloads to choose from; captured values beyond get one each.
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Supplies:
    """``pools`` as locust's ``--pool`` takes them; ``digests`` tell whether two arms got the same, by pool.

    ``secrets`` are the words of the credentials that came from the database.
    """

    identities: Path | None
    pools: tuple[str, ...]
    digests: dict[str, str]
    secrets: frozenset[str]


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
    private: Path,
) -> Supplies:
    """Get what a workload's load needs. ``captured`` says for each pool how many values it is to be bound to.

    ``needed`` are its clients and their columns, ``ranked`` the clients by their requests; pools are written to
    ``folder``, credentials to ``private``. Raises StageError where the database cannot be asked, and InputError where a
    pool is empty or a client of the workload gets no credentials from the query.
    """
    pools, digests = [], {}
    for pool, count in zip(plan.pools, captured, strict=True):
        values = pool_values(pool, max(count, _KEPT))
        file = folder / f"{pool.name}.csv"
        write_values(values, file)
        pools.append(f"{','.join(pool.parameters)}={file.absolute()}")
        digests[pool.name] = hashlib.blake2b("\n".join(values).encode(), digest_size=16).hexdigest()
    identities, secrets = workload.identities, set[str]()
    if workload.credentials is not None:
        identities = private / "identities.csv"
        what = f"The identities of the workload {workload.name!r}"
        _save(workload.credentials, what, identities)
        secrets = identity_words(identities)
        _check(identities, what, needed, ranked)
    return Supplies(identities, tuple(pools), digests, frozenset(secrets))


def pool_values(pool: PoolPlan, most: int = MOST_VALUES) -> tuple[str, ...]:
    """A pool's values, at most so many. Raises InputError where it is empty, StageError where the query fails."""
    if pool.csv is not None:
        return read_values(pool.csv, pool.name, pool.parameters, pool.column)[:most]
    assert pool.query is not None  # noqa: S101 - a pool has one of the two
    with closing(_rows(pool.query, f"The pool {pool.name}")) as rows:
        next(rows)
        values = first_values((_text(row[0]) for row in rows), most)
    return not_empty(values, pool.name, "its query")


def _save(query: Query, what: str, file: Path) -> None:
    with closing(_rows(query, what, secret=True)) as rows, file.open("w", encoding="utf-8", newline="") as lines:
        file.chmod(0o600)
        table = csv.writer(lines)
        table.writerows([_text(value) for value in row] for row in rows)


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
            psycopg.connect(query.dsn.value, connect_timeout=10, application_name="replay pool") as connection,
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
