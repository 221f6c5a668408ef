"""Stage's credentials for the clients of a scenario, as a plan or a command names their table."""

import contextlib
import csv
import logging
import os
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from replay.errors import InputError
from replay.scenario.schedule import Schedule

Identities = Mapping[str, Mapping[str, str]]
_log = logging.getLogger(__name__)
_CLIENT = "client"
_FOR_OTHERS = 0o077
_NOT_IN_A_CELL = re.compile(r"[\x00\r\n]")


def read_identities(
    file: Path, ranked: Sequence[str] | None = None, needed: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Stage's credentials by client and column. Spaces around a cell are no part of it.

    The table says in ``client`` whose a row is. Without that column the rows go to the clients of ``ranked`` in order,
    so that who sends most gets the first; rows that are left are there as ``row 7``. A file that others than its owner
    could read is made private, and a warning logged. Raises InputError where that cannot be, the file is no table, has
    no row, a column twice, or two rows for one client, where neither says whose a row is, where a cell holds what no
    credential does (NUL, the end of a line), and where it has no column of those that are ``needed``.
    """
    try:
        _keep_private(file)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            read = csv.reader(lines, skipinitialspace=True, strict=True)
            columns, *table = [[cell.strip() for cell in row] for row in read if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The identities file {file} cannot be read: {error}.") from error
    _check_columns(columns, file, needed)
    _check_cells(table, columns, file)
    rows = [dict(zip_longest(columns, row[: len(columns)], fillvalue="")) for row in table]
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


def needed_columns(schedule: Schedule) -> frozenset[str]:
    """The columns of the identities that any client needs."""
    return frozenset(inject.credential for one in schedule for inject in one.injects if inject.credential)


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


def _keep_private(file: Path) -> None:
    if os.name != "posix" or not (mode := file.stat().st_mode & 0o777) & _FOR_OTHERS:
        return
    told = f"The identities file {file} holds credentials, and others than its owner could use it (mode {mode:o})"
    with contextlib.suppress(OSError):  # another's file, or a file system that cannot be written to
        file.chmod(mode & ~_FOR_OTHERS)
    if file.stat().st_mode & _FOR_OTHERS:
        raise InputError(f"{told}.", f"chmod 600 {shlex.quote(str(file))}, or keep it where that is possible.")
    _log.warning("%s: it has mode %o now.", told, mode & ~_FOR_OTHERS)


def _check_columns(columns: Sequence[str], file: Path, needed: Collection[str]) -> None:
    twice = next((name for name, count in Counter(columns).items() if name and count > 1), None)
    if twice is not None:
        raise InputError(f"The identities file {file} has the column {twice} twice.")
    separator = next((mark for mark in ";\t" if len(columns) == 1 and mark in columns[0]), "")
    if separator:
        raise InputError(
            f"The columns of the identities file {file} are not separated by commas but by {separator!r}.",
            "Write it with commas.",
        )
    if columns and needed and not {*needed} & {*columns}:
        raise InputError(
            f"The identities file {file} has no column that is needed: it has {', '.join(columns)}.",
            f"Its first line names the columns; of these there should be {', '.join(sorted(needed))}.",
        )


def _check_cells(table: Sequence[Sequence[str]], columns: Sequence[str], file: Path) -> None:
    for number, row in enumerate(table, 1):
        for column, cell in zip(columns, row, strict=False):
            if _NOT_IN_A_CELL.search(cell):
                raise InputError(
                    f"Row {number} of the identities file {file} has NUL or the end of a line within {column}.",
                    "A quotation mark may be open before it.",
                )


def _by_name(rows: Sequence[Mapping[str, str]], file: Path) -> list[str]:
    names = [row[_CLIENT] for row in rows]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"The identities file {file} has two rows for client {twice}.")
    return names


def _by_rank(rows: int, ranked: Sequence[str]) -> list[str]:
    return [*ranked[:rows], *(f"row {number}" for number in range(len(ranked) + 1, rows + 1))]


def _credentials(row: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name and name != _CLIENT and value}
