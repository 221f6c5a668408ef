"""A capture written down as it happens, beside the links that are true in it, and the noise of everybody else."""

import base64
import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from replay.traffic import Exchange, Request, Response

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Link = tuple[str, int, str, int, str]


class Log:
    """Exchanges by number, and the true links: kind, producer, handed at, consumer, sent at."""

    def __init__(self, seed: int = 7, start: datetime = START) -> None:
        self.exchanges: list[Exchange] = []
        self.links: set[Link] = set()
        self.random = random.Random(seed)  # noqa: S311 - the same each time
        self._start = start

    def add(
        self,
        at_s: float,
        request: str,
        *,
        client: str = "10.0.0.1",
        connection: str = "",
        sent: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        parts: Mapping[str, str] | None = None,
        body: Any = None,
        text: str = "",
        status: int = 200,
        got: Mapping[str, Any] | None = None,
        answer: Any = None,
        page: str = "",
        took_s: float = 0.05,
    ) -> int:
        """Add an exchange. ``text`` and ``page`` are bodies as they stand; their types are among the headers."""
        method, _, target = request.partition(" ")
        path, _, query = target.partition("?")
        headers = {"Host": "shop.test", "User-Agent": "made-up/1.0", **(sent or {})}
        content = text.encode() or None
        if form is not None:
            headers["Content-Type"], content = "application/x-www-form-urlencoded", urlencode(form).encode()
        elif parts is not None:
            headers["Content-Type"] = "multipart/form-data; boundary=----edge7"
            content = _multipart(parts)
        elif body is not None:
            headers["Content-Type"], content = "application/json", json.dumps(body).encode()
        given: list[tuple[str, str]] = [("Date", "Mon, 02 Mar 2026 09:00:00 GMT"), ("Server", "made-up")]
        payload = page.encode()
        if answer is not None:
            payload = json.dumps(answer).encode()
            given.append(("Content-Type", "application/json"))
        elif page and not any(name.lower() == "content-type" for name in got or {}):
            given.append(("Content-Type", "text/html; charset=utf-8"))
        for name, value in (got or {}).items():
            given += [(name, one) for one in (value if isinstance(value, list) else [value])]
        self.exchanges.append(
            Exchange(
                self._start + timedelta(seconds=at_s),
                took_s,
                client,
                connection or client,
                Request(method, "shop.test", path, query, tuple(headers.items()), content),
                Response(status, tuple(given), payload, len(payload)),
            )
        )
        return len(self.exchanges) - 1

    def true(self, kind: str, producer: int, handed: str, consumer: int, sent: str) -> None:
        """Note a link that is there."""
        self.links.add((kind, producer, handed, consumer, sent))

    def token(self, size: int = 24) -> str:
        """A random text such as servers hand out."""
        return base64.urlsafe_b64encode(self.random.randbytes(size)).decode().rstrip("=")

    def number(self) -> int:
        """A random id of something that has been there for long."""
        return self.random.randrange(1000, 99_999)

    def noise(self, at_s: float) -> None:
        """What others do meanwhile: pages, prices, flags, dates, counts and ids that have nothing to do with it."""
        who = self.random.randrange(40)
        at = (self._start + timedelta(seconds=at_s)).isoformat().replace("+00:00", "Z")
        more: dict[str, Any] = {"client": f"10.9.0.{who}", "sent": {"X-Api-Key": f"key-of-reader-{who:04}"}}
        kind = self.random.randrange(6)
        if kind == 0:
            page = self.random.randrange(1, 9)
            items = [self._item(at) for _ in range(5)]
            following = f"/v1/products?page={page + 1}&limit=5"
            answer = {"items": items, "page": page, "next_page": page + 1, "total": 412, "next": following}
            self.add(at_s, f"GET /v1/products?page={page}&limit=5&sort=price&currency=EUR", answer=answer, **more)
            self.add(at_s + 0.4, f"GET {following}", answer={"items": [], "page": page + 1, "total": 412}, **more)
            self.add(at_s + 0.8, f"GET /v1/products/{items[2]['id']}", answer=items[2], **more)
        elif kind == 1:
            quantity, price = self.random.randrange(1, 9), self.random.randrange(5, 90) * 100
            total = quantity * price
            quote = {"quantity": quantity, "price": price}
            answer = {"total": total, "currency": "EUR", "in_stock": True, "status": "open", "valid_until": at}
            self.add(at_s, "POST /v1/quotes", body=quote, answer=answer, **more)
            paid = {"total": total, "currency": "EUR", "status": "open", "express": True, "valid_until": at}
            self.add(at_s + 0.5, "POST /v1/estimates", body=paid, answer={"days": 3, "carrier": "post"}, **more)
        elif kind == 2:
            known = self.number()
            self.add(at_s, f"GET /v1/products/{known}/reviews", answer={"count": 17, "items": []}, **more)
            self.add(at_s + 0.3, f"GET /v1/products/{known}", answer=self._item(at, known), **more)
        elif kind == 3:
            found = [self._item(at) for _ in range(3)]
            self.add(at_s, "POST /v1/search", body={"words": "lamp", "page": 1}, answer={"found": found}, **more)
            self.add(at_s + 0.3, f"GET /v1/products/{found[0]['id']}", answer=found[0], **more)
        elif kind == 4:
            answer = {"count": self.random.randrange(1, 9), "since": at, "unread": False}
            self.add(at_s, "POST /v1/views", body={"seen": 3, "at": at}, answer=answer, **more)
            self.add(at_s + 0.2, f"GET /v1/banners?slot={answer['count']}&since={at}", answer={"slot": 1}, **more)
        else:
            known = self.number()
            order = f'<order id="{known}"><status>open</status><total currency="EUR">12.50</total></order>'
            self.add(at_s, f"GET /v1/orders/{known}.xml", page=order, got={"Content-Type": "application/xml"}, **more)

    def _item(self, at: str, known: int = 0) -> dict[str, Any]:
        price = self.random.randrange(5, 90) * 100
        return {
            "id": known or self.number(),
            "sku": f"SKU-{self.random.randrange(100, 999)}",
            "price": price,
            "stock": self.random.randrange(30),
            "on_sale": bool(price % 200),
            "status": self.random.choice(["open", "draft", "sold"]),
            "updated_at": at,
            "image": f"/img/{self.random.randrange(1000, 9999)}.jpg?v=3",
        }


def _multipart(parts: Mapping[str, str]) -> bytes:
    pieces = [
        f'------edge7\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in parts.items()
    ]
    file = '------edge7\r\nContent-Disposition: form-data; name="photo"; filename="a.txt"\r\n\r\n12345\r\n'
    return "".join([*pieces, file, "------edge7--\r\n"]).encode()
