"""The secrets that clients send and that no response handed out: each client's identity must have them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from replay.workload.correlations.links import Correlation, Traffic
from replay.workload.correlations.values import TOKEN_FIELDS, USER_FIELDS, Value, secret_column


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that exchange ``exchange`` sends at ``place`` and that no response of the capture handed out.

    At replay, column ``column`` of the client's identity has it.
    """

    exchange: int
    place: str
    value: str
    column: str


def find_credentials(traffic: Traffic, correlations: Sequence[Correlation]) -> tuple[Credential, ...]:
    """The secrets that no response handed out.

    A secret that was refused (401) every time it was sent stays as it is: it is refused at replay just so. So does one
    that a client that is logged in sends in a body, a new user's password say: it is made there, not checked. What a
    client computes (a signature, a PKCE verifier) is none: ``prepare`` can make it anew.
    """
    known = {(link.consumer, link.sent, link.value) for link in correlations}
    accepted = {
        (value.place, value.text)
        for exchange, values in zip(traffic.exchanges, traffic.sent, strict=True)
        for value in values
        if secret_column(value) and (exchange.response is None or exchange.response.status != 401)
    }
    credentials: list[Credential] = []
    for number, values in enumerate(traffic.sent):
        secrets = [value for value in dict.fromkeys(values) if secret_column(value)]
        if any(value.place.partition(":")[0] in {"bearer", "cookie"} for value in secrets):
            secrets = [value for value in secrets if not _in_body(value) or value.name in TOKEN_FIELDS]
        own = [
            Credential(number, value.place, value.text, secret_column(value))
            for value in secrets
            if (value.place, value.text) in accepted and (number, value.place, value.text) not in known
        ]
        credentials += own
        if any(credential.column == "password" for credential in own):
            credentials += _addresses(number, values)
    return tuple(credentials)


def _in_body(value: Value) -> bool:
    return value.place.startswith(("form:", "json:", "xml:"))


def _addresses(number: int, values: Sequence[Value]) -> Iterator[Credential]:
    """The e-mail addresses that stand beside a password as user names: a capture has only stand-ins for them."""
    for value in values:
        kind, _, name = value.place.partition(":")
        if "@" in value.text and value.name in USER_FIELDS and kind in {"basic", "form", "json", "xml"}:
            yield Credential(number, value.place, value.text, name.rpartition("/")[2])
