"""Who sent what in a capture of any size: clients found from the distinct values that exchanges present."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import ibis
import numpy as np
import pandas as pd

from replay.traffic import Client, Exchange, Request, Response
from replay.workload.correlations.places import sent_values
from replay.workload.engine import Engine
from replay.workload.profile.clients import find_clients
from replay.workload.profile.facts import SEPARATOR

_AT = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Senders:
    """The clients of a capture, and which of them sent what.

    ``numbers`` has the columns ``sender`` (what ``sender_of`` gives for an exchange) and ``client`` (a number in
    ``clients``).
    """

    clients: tuple[Client, ...]
    numbers: pd.DataFrame


def sender_of(facts: ibis.Table, engine: Engine) -> ibis.Value:
    """What stands for all that an exchange tells of who sent it."""
    return engine.fingerprint(facts.who + SEPARATOR + facts.given)


def find_senders(facts: ibis.Table, engine: Engine) -> Senders:
    """Find the clients of a capture, by the rules of ``clients``."""
    presented = facts.select("who", "given", sender=sender_of(facts, engine)).distinct()
    rows = engine.frame(presented.order_by("who", "given"))
    shown = [_as_exchange(who, given) for who, given in rows[["who", "given"]].itertuples(index=False, name=None)]
    sent = [sent_values(exchange.request, "/", _unnamed(exchange.request.path)) for exchange in shown]
    found = find_clients(shown, sent)
    clients = tuple(dict.fromkeys(found))
    numbers = {client: number for number, client in enumerate(clients)}
    own = np.array([numbers[client] for client in found], dtype=np.int64)
    # Only who presents what is a text: the engine joins numbers from now on.
    return Senders(clients, pd.DataFrame({"sender": rows["sender"], "client": own}))


def _as_exchange(who: str, given: str) -> Exchange:
    """An exchange that presents just what such exchanges present, and hands out what they do."""
    client, authorization, cookie, header, query, body = who.split(SEPARATOR, 5)
    headers: list[tuple[str, str]] = []
    if authorization:
        headers.append(("authorization", _unescaped(authorization)))
    if cookie:
        headers.append(("cookie", _unescaped(cookie)))
    if header:
        name, text = json.loads(header)
        headers.append((str(name), str(text)))
    if body:
        is_json = body.lstrip()[:1] in {"{", "["}
        headers.append(("content-type", "application/json" if is_json else "application/x-www-form-urlencoded"))
    reads, renews, *handed = given.split(SEPARATOR, 6) if given else ("", "")
    method, path = "GET" if reads else "POST", "/refresh" if renews else "/"
    request = Request(method, "", path, query, tuple(headers), _bytes(body))
    return Exchange(_AT, 0.0, client, "", request, _handing_out(*map(_unescaped, handed)) if handed else None)


def _handing_out(session: str, access: str, identity: str, renewal: str, code: str) -> Response:
    headers = (("set-cookie", session), ("location", f"/?code={code}" if code else ""))
    tokens = {"access_token": access, "id_token": identity, "refresh_token": renewal}
    body = json.dumps({name: text for name, text in tokens.items() if text})
    return Response(200, tuple(header for header in headers if header[1]), body.encode("utf-8", "surrogatepass"))


def _bytes(body: str) -> bytes | None:
    return body.encode("utf-8", "surrogatepass") if body else None


def _unescaped(text: str) -> str:
    """A text as it stands in JSON, read; what is none stays as it is."""
    if "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


def _unnamed(path: str) -> tuple[str, ...]:
    return ("",) * (path.count("/") or 1)
