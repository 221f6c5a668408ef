"""Why requests are not sent, in words: before a replay what credentials are lacking, after it what kept them back."""

import re
from pathlib import Path

from replay.scenario.identities import Identities, needed_credentials, tell_lack
from replay.scenario.schedule import Schedule
from replay.scenario.words import many

CREDENTIAL = "no credential"
PREPARE = "prepare "
_OWN = re.compile(
    r" for client .*|(?<= from )request \d+|(?<=prepare raised )(\w+):.*|(?<=prepare gave a wrong request):.*",
    re.DOTALL,
)


def tell_lacking(schedule: Schedule, identities: Identities, file: Path | None) -> str:
    """A sentence on the credentials that a schedule needs and ``file`` does not have (None: none was given).

    A copy of a client counts as its original, whose credentials it has at least. Empty where nothing is lacking.
    """
    needed = {(schedule.copies.get(client, client), column) for client, column in needed_credentials(schedule)}
    if file is None:
        clients = len({client for client, _ in needed})
        lack = f"{many(clients, 'client')}, as no --identities are given" if needed else ""
    else:
        lack = tell_lack(sorted(needed), identities, file.name)
    return f"Credentials are lacking for {lack}: requests that need them are not sent." if lack else ""


def tell_example(data: Path) -> str:
    """What to do about it; ``data`` is the scenario's folder."""
    return f"Fill in a copy of {data / 'identities.example.csv'} and give it with --identities."


def kind_of(error: str) -> str:
    """What an observation's ``error`` has in common with others: without its client, its request, its own words."""
    return _OWN.sub(lambda own: own[1] or ("an earlier one" if own[0].startswith("request") else ""), error)
