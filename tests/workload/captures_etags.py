"""Conditional requests: strong and weak ETags, numbers that count up alike for everything, and dates."""

from typing import Any


def record(log: Any) -> None:
    """Several readers and writers at once."""
    for number in range(5):
        _reader(log, number, 1 + number * 0.37)
        _writer(log, number, 1.1 + number * 0.53)
        _dated(log, number, 1.2 + number * 0.61)
    for number in range(60):
        log.noise(0.5 + number * 0.3)


def _key(who: str) -> dict[str, str]:
    return {"X-Api-Key": f"key-of-{who}"}


def _reader(log: Any, number: int, at_s: float) -> None:
    me, key = f"10.4.1.{number}", _key(f"reader-{number}")
    place, weak = f"/v1/articles/{log.number()}", number % 2 == 0
    first, second = f'"{log.token(9)}"', f'"{log.token(9)}"'
    said = f"W/{first}" if weak else first
    shown = log.add(at_s, f"GET {place}", client=me, sent=key, answer={"version": 1}, got={"ETag": said})
    # The same, then changed, then the same again; one asks with what it had before as well.
    same = log.add(
        at_s + 1, f"GET {place}", client=me, sent={**key, "If-None-Match": said}, status=304, got={"ETag": said}
    )
    log.true("validator", shown, "header:etag", same, "header:if-none-match")
    sent = {**key, "If-None-Match": said}
    changed = log.add(at_s + 2, f"GET {place}", client=me, sent=sent, answer={"version": 2}, got={"ETag": second})
    log.true("validator", same, "header:etag", changed, "header:if-none-match")
    sent = {**key, "If-None-Match": f"{said}, {second}"}
    again = log.add(at_s + 3, f"GET {place}", client=me, sent=sent, status=304, got={"ETag": second})
    log.true("validator", same, "header:etag", again, "header:if-none-match")
    log.true("validator", changed, "header:etag", again, "header:if-none-match")


def _writer(log: Any, number: int, at_s: float) -> None:
    """Every thing's ETag counts from 1: that of another one is no origin."""
    me, key = f"10.4.2.{number}", _key(f"writer-{number}")
    one, other = f"/v1/carts/{log.number()}", f"/v1/carts/{log.number()}"
    shown = log.add(at_s, f"GET {one}", client=me, sent=key, answer={"items": 1}, got={"ETag": '"1"'})
    log.add(at_s + 0.5, f"GET {other}", client=me, sent=key, answer={"items": 2}, got={"ETag": '"1"'})
    put = log.add(
        at_s + 1, f"PUT {one}", client=me, sent={**key, "If-Match": '"1"'}, body={"items": 2}, got={"ETag": '"2"'}
    )
    log.true("validator", shown, "header:etag", put, "header:if-match")
    put_again = log.add(
        at_s + 2, f"PUT {one}", client=me, sent={**key, "If-Match": '"2"'}, body={"items": 3}, got={"ETag": '"3"'}
    )
    log.true("validator", put, "header:etag", put_again, "header:if-match")
    log.add(at_s + 3, f"DELETE {one}", client=me, sent={**key, "If-Match": "*"}, status=204)
    # What is made has its first ETag at once, and its address in Location.
    cart = 120_000 + number
    got = {"ETag": '"1"', "Location": f"/v1/carts/{cart}"}
    made = log.add(at_s + 4, "POST /v1/carts", client=me, sent=key, body={"items": 1}, status=201, got=got)
    changed = log.add(at_s + 5, f"PUT /v1/carts/{cart}", client=me, sent={**key, "If-Match": '"1"'}, body={"items": 4})
    log.true("validator", made, "header:etag", changed, "header:if-match")
    log.true("created", made, "location", changed, "path")


def _dated(log: Any, number: int, at_s: float) -> None:
    me, key = f"10.4.3.{number}", _key(f"dated-{number}")
    said, place = "Sun, 01 Mar 2026 10:00:00 GMT", f"/v1/feeds/{log.number()}"
    log.add(at_s, f"GET /v1/feeds/{log.number()}", client=me, sent=key, answer=[], got={"Last-Modified": said})
    shown = log.add(at_s + 0.5, f"GET {place}", client=me, sent=key, answer=[1], got={"Last-Modified": said})
    same = log.add(at_s + 1, f"GET {place}", client=me, sent={**key, "If-Modified-Since": said}, status=304)
    log.true("validator", shown, "header:last-modified", same, "header:if-modified-since")
