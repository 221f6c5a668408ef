"""Stage's credentials for the clients of a scenario, as a plan or a command names their table."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from replay.errors import InputError
from replay.scenario.schedule import Schedule

Identities = Mapping[str, Mapping[str, str]]
_CLIENT = "client"


def read_identities(file: Path, ranked: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
    """Stage's credentials by client and column.

    The table says in ``client`` whose a row is. Without that column the rows go to the clients of ``ranked`` in order,
    so that who sends most gets the first; rows that are left are there as ``row 7``. Raises InputError where the file
    is no table, has no row, or two rows for one client, and where neither says whose a row is.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, strict=True)
            columns, rows = list(table.fieldnames or ()), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The identities file {file} cannot be read: {error}.") from error
    if not rows:
        raise InputError(
            f"The identities file {file} has no rows.",
            "Its first line names the columns: one a credential, and client where rows belong to certain clients.",
        )
    if _CLIENT not in columns and ranked is None:
        raise InputError(f"The identities file {file} has no column client.", "It says whose a row is.")
    names = _by_name(rows, file) if _CLIENT in columns else _by_rank(len(rows), ranked or ())
    return {name: _credentials(row) for name, row in zip(names, rows, strict=True)}


def rank_clients(schedule: Schedule) -> tuple[str, ...]:
    """The clients that need credentials, those with the most requests first; as they come where equal."""
    needed = {client for client, _ in needed_credentials(schedule)}
    counts = Counter(planned.client for planned in schedule if planned.client in needed)
    return tuple(client for client, _ in counts.most_common())


def needed_credentials(schedule: Schedule) -> tuple[tuple[str, str], ...]:
    """The clients, and the columns of the identities that their requests need."""
    return tuple(
        sorted({(one.client, inject.credential) for one in schedule for inject in one.injects if inject.credential})
    )


def tell_lack(needed: Iterable[tuple[str, str]], identities: Identities, where: str) -> str:
    """Which clients lack what in ``where`` (``clients.csv``), and how many rows there should be; empty for none."""
    needed = tuple(needed)
    lacking = [(client, column) for client, column in needed if not identities.get(client, {}).get(column)]
    if not lacking:
        return ""
    clients, of_all = len({client for client, _ in lacking}), len({client for client, _ in needed})
    client, column = lacking[0]
    rows = f" and {len(identities):,} rows where {of_all:,} are needed" if len(identities) < of_all else ""
    has = f"{where} has no {column} for {client}, first of all{rows}" if where else "the plan names no identities"
    return f"{clients:,} of {of_all:,} clients ({has})"


def _by_name(rows: Sequence[Mapping[str, str]], file: Path) -> list[str]:
    names = [row[_CLIENT] for row in rows]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"The identities file {file} has two rows for client {twice}.")
    return names


def _by_rank(rows: int, ranked: Sequence[str]) -> list[str]:
    return [*ranked[:rows], *(f"row {number}" for number in range(len(ranked) + 1, rows + 1))]


def _credentials(row: Mapping[str, str]) -> dict[str, str]:
    # What a row has too much stands under None, and what it has too little is None.
    return {name: value for name, value in row.items() if isinstance(name, str) and name != _CLIENT and value}
