"""A shop that checks all that it is sent, and a capture of its clients.

Each token is known with whose it is; renewals and tickets are taken once; a cursor leads to one page of one list of its
client. What is wrong is refused, with a reason.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode

from replay.traffic import Exchange, Headers, Request, Response

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
PAGES = 4


class RefusedError(Exception):
    """What the shop says to a request that is not right."""


@dataclass
class Shop:
    """The state of a shop. Values are random texts of ``dice``; ``refused`` has the reasons of all refusals."""

    dice: random.Random
    refused: list[str] = field(default_factory=list)
    _bearers: dict[str, str] = field(default_factory=dict)
    _renewals: dict[str, str] = field(default_factory=dict)
    _tickets: dict[str, str] = field(default_factory=dict)
    _cursors: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    _orders: dict[str, str] = field(default_factory=dict)

    def answer(self, request: Request) -> Response:
        """The answer to a request."""
        known: dict[str, Callable[[Request], Response]] = {
            "POST /token": self._login,
            "GET /form": self._form,
            "POST /orders": self._order,
            "GET /events": self._events,
        }
        answer = known.get(f"{request.method} {request.path}", self._look)
        try:
            return answer(request)
        except RefusedError as why:
            self.refused.append(f"{request.method} {request.path}: {why}")
            return said(403, {"error": str(why)})

    def page_of(self, cursor: str) -> int:
        """How many pages there are before the one that a cursor leads to."""
        return self._cursors[cursor][2]

    def _login(self, request: Request) -> Response:
        sent = fields(request)
        if sent["grant_type"] == "refresh_token":
            who = take(self._renewals, sent["refresh_token"], "a renewal")
        else:
            who = sent["username"]
            check(sent["password"] == password(who), "the password is another's")
        bearer, renewal = self._token(), self._token()
        self._bearers[bearer], self._renewals[renewal] = who, who
        return said(200, {"access_token": bearer, "refresh_token": renewal, "expires_in": 3600})

    def _form(self, request: Request) -> Response:
        ticket = self._token()
        self._tickets[ticket] = self._who(request)
        page = f'<html><form action=/orders method=post><input type=hidden name=csrf_ticket value="{ticket}"></form>'
        return Response(200, (("Content-Type", "text/html"),), page.encode(), len(page))

    def _order(self, request: Request) -> Response:
        who = self._who(request)
        check(take(self._tickets, fields(request)["csrf_ticket"], "a ticket") == who, "the ticket is another's")
        order = f"{700_000 + len(self._orders)}"
        self._orders[order] = who
        return said(201, {"order_id": int(order)})

    def _look(self, request: Request) -> Response:
        order = request.path.rpartition("/")[2]
        check(self._orders.get(order) == self._who(request), "the order is another's")
        return said(200, {"order_id": int(order), "state": "open"})

    def _events(self, request: Request) -> Response:
        who = self._who(request)
        asked = {name: values[0] for name, values in parse_qs(request.query).items()}
        page = 0
        if cursor := asked.get("cursor"):
            check(cursor in self._cursors, "nobody has this cursor")
            whose, state, page = self._cursors[cursor]
            check((whose, state) == (who, asked["state"]), "the cursor is of another list")
        following = self._token() if page + 1 < PAGES else None
        if following:
            self._cursors[following] = (who, asked["state"], page + 1)
        return said(200, {"items": [{"name": "a"}], **({"next_cursor": following} if following else {})})

    def _who(self, request: Request) -> str:
        bearer = (request.header("authorization") or "").removeprefix("Bearer ")
        check(bearer in self._bearers, "nobody has this token")
        return self._bearers[bearer]

    def _token(self) -> str:
        return "".join(self.dice.choices("ABCDEFghijklmn0123456789", k=24))


def password(who: str) -> str:
    """The password of a client."""
    return f"hidden-{who}-Zz9Yy8"


def said(status: int, value: object) -> Response:
    """An answer in JSON."""
    body = json.dumps(value).encode()
    return Response(status, (("Content-Type", "application/json"),), body, len(body))


def fields(request: Request) -> dict[str, str]:
    """The fields of a request's form."""
    return {name: values[0] for name, values in parse_qs((request.body or b"").decode()).items()}


def check(right: object, why: str) -> None:
    """Refuse what is not right."""
    if not right:
        raise RefusedError(why)


def take(known: dict[str, str], value: str, what: str) -> str:
    """Whose a value is that can be used once."""
    check(value in known, f"{what} is unknown, or used")
    return known.pop(value)


def recorded(shop: Shop, clients: int, visits: int) -> list[Exchange]:
    """What so many clients do in a shop, in so many visits each: log in or renew, page through lists, order."""
    exchanges: list[Exchange] = []
    for number in range(clients):
        client = _Client(shop, f"user-{number}", exchanges, shop.dice.uniform(0, 20))
        for _ in range(visits):
            client.visit()
    return exchanges


@dataclass
class _Client:
    shop: Shop
    name: str
    exchanges: list[Exchange]
    at_s: float
    renewal: str = ""
    bearer: str = ""
    orders: list[int] = field(default_factory=list)

    def visit(self) -> None:
        dice = self.shop.dice
        self.login()
        if self.orders:
            self.send("GET", f"/orders/{dice.choice(self.orders)}")
        for _ in range(dice.randrange(1, 4)):
            if dice.random() < 0.6:
                self.page(dice.choice(["open", "sold", "held"]), dice.randrange(1, PAGES + 1))
            else:
                self.order()
        self.at_s += dice.uniform(20, 60)

    def login(self) -> None:
        sent = {"grant_type": "password", "username": self.name, "password": password(self.name)}
        if self.renewal:
            sent = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": self.renewal}
        got = json.loads(self.send("POST", "/token", sent=sent).body or b"")
        self.bearer, self.renewal = got["access_token"], got["refresh_token"]

    def page(self, state: str, pages: int) -> None:
        cursor = ""
        for _ in range(pages):
            query = urlencode({"state": state, "limit": 2} | ({"cursor": cursor} if cursor else {}))
            cursor = json.loads(self.send("GET", "/events", query).body or b"").get("next_cursor", "")

    def order(self) -> None:
        """Opens two forms, and sends both."""
        pages = [(self.send("GET", "/form").body or b"").decode() for _ in range(2)]
        for page in pages:
            sent = {"csrf_ticket": page.partition('value="')[2].partition('"')[0], "item": "lamp"}
            made = json.loads(self.send("POST", "/orders", sent=sent).body or b"")
            self.orders.append(made["order_id"])
            self.send("GET", f"/orders/{made['order_id']}")

    def send(self, method: str, path: str, query: str = "", sent: dict[str, str] | None = None) -> Response:
        self.at_s += self.shop.dice.uniform(0.2, 1.5)
        headers: Headers = FORM if sent else ()
        if path != "/token":
            headers = (*headers, ("Authorization", f"Bearer {self.bearer}"))
        body = urlencode(sent).encode() if sent else None
        request = Request(method, "shop.test", path, query, headers, body)
        response = self.shop.answer(request)
        self.exchanges.append(Exchange(START + timedelta(seconds=self.at_s), 0.05, "", "", request, response))
        return response
