"""A single-page application: an encoded guard in a cookie, uploads, links in pages, order numbers, JSON:API."""

from typing import Any
from urllib.parse import quote


def record(log: Any) -> None:
    """Five people at once."""
    for number in range(5):
        _person(log, number, 1 + number * 0.77)
    for number in range(60):
        log.noise(0.5 + number * 0.4)


def _person(log: Any, number: int, at_s: float) -> None:
    me = f"10.5.1.{number}"
    guard, session = f"{log.token(30)}/+=", log.token(30)
    got = {"Set-Cookie": [f"XSRF-TOKEN={quote(guard, safe='')}; Path=/", f"app_session={session}; HttpOnly; Path=/"]}
    begun = log.add(at_s, "GET /sanctum/csrf-cookie", client=me, status=204, got=got)
    cookies = {"Cookie": f"XSRF-TOKEN={quote(guard, safe='')}; app_session={session}", "X-XSRF-TOKEN": guard}

    def cookie_links(used: int) -> int:
        log.true("token", begun, "cookie:XSRF-TOKEN", used, "cookie:XSRF-TOKEN")
        log.true("token", begun, "cookie:app_session", used, "cookie:app_session")
        log.true("token", begun, "cookie:XSRF-TOKEN~decoded", used, "header:x-xsrf-token")
        return used

    # An upload in two parts, whose address is random and comes in Location and JSON.
    upload = log.random.randbytes(16).hex()
    upload = f"{upload[:8]}-{upload[8:12]}-{upload[12:16]}-{upload[16:20]}-{upload[20:]}"
    got = {"Location": f"/api/uploads/{upload}"}
    answer = {"data": {"type": "uploads", "id": upload, "attributes": {"parts": 2, "state": "open"}}}
    body = {"data": {"type": "uploads", "attributes": {"name": "a.png", "size": 20480}}}
    made = cookie_links(
        log.add(at_s + 1, "POST /api/uploads", client=me, sent=cookies, body=body, status=201, got=got, answer=answer)
    )
    for part in (1, 2):
        target = f"PUT /api/uploads/{upload}/parts/{part}"
        used = cookie_links(log.add(at_s + 1 + part, target, client=me, sent=cookies, text="x", status=204))
        log.true("created", made, "location", used, "path")
    # An order that has a number for people, known by that from now on, with the upload in it.
    number_of = f"ORD-2026-{4100 + number:06}"
    body = {"data": {"type": "orders", "relationships": {"upload": {"data": {"type": "uploads", "id": upload}}}}}
    answer = {"data": {"type": "orders", "attributes": {"order_number": number_of, "total": 1999, "currency": "EUR"}}}
    ordered = cookie_links(
        log.add(at_s + 5, "POST /api/orders", client=me, sent=cookies, body=body, status=201, answer=answer)
    )
    log.true("created", made, "location", ordered, "json:/data/relationships/upload/data/id")
    used = cookie_links(log.add(at_s + 6, f"GET /api/orders/{number_of}", client=me, sent=cookies, answer=answer))
    log.true("created", ordered, "json:/data/attributes/order_number", used, "path")
    page = f"/confirm/{log.token(21)}"
    html = f"<html><a href='/help?topic=orders'>Help</a> <a class=button href='{page}?locale=en'>Confirm</a></html>"
    target = f"GET /api/orders/{number_of}/letter"
    letter = cookie_links(log.add(at_s + 7, target, client=me, sent=cookies, page=html))
    log.true("created", ordered, "json:/data/attributes/order_number", letter, "path")
    confirmed = cookie_links(log.add(at_s + 9, f"GET {page}?locale=en", client=me, sent=cookies, answer={"ok": True}))
    log.true("token", letter, "html:href/path/1@/confirm/*", confirmed, "path")
    cursor, before = "", -1
    for turn in range(3):
        after = log.token(9)
        following = f"https://shop.test/api/lamps?page%5Bsize%5D=10&page%5Bafter%5D={after}"
        answer = {"data": [{"type": "lamps", "id": f"{log.number()}"}], "links": {"next": following}}
        query = f"page%5Bsize%5D=10{cursor and '&page%5Bafter%5D='}{cursor}"
        used = cookie_links(
            log.add(at_s + 10 + turn, f"GET /api/lamps?{query}", client=me, sent=cookies, answer=answer)
        )
        if cursor:
            log.true("cursor", before, "json:/links/next~query/page[after]", used, "query:page[after]")
        cursor, before = after, used
