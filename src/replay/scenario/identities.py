"""Stage's credentials for the clients of a scenario, as a plan or a command names their file."""

import csv
from collections.abc import Mapping
from pathlib import Path

from replay.errors import InputError

Identities = Mapping[str, Mapping[str, str]]


def read_identities(file: Path) -> dict[str, dict[str, str]]:
    """Stage's credentials by client and column. Raises InputError where the file is not a table with ``client``."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The identities file {file} cannot be read: {error}.") from error
    if any(row.get("client") is None for row in rows) or not rows:
        raise InputError(
            f"The identities file {file} has no rows with a column client.",
            "Its first line names the columns: client, and one a credential.",
        )
    identities: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["client"] in identities:
            raise InputError(f"The identities file {file} has two rows for client {row['client']}.")
        identities[row["client"]] = {
            name: value for name, value in row.items() if isinstance(name, str) and name != "client" and value
        }
    return identities
