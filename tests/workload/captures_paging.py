"""Long lists, page by page: a cursor in the body, a URL in the body, a Link header, GraphQL, and plain page numbers."""

from typing import Any


def record(log: Any) -> None:
    """Four readers of each kind, at once."""
    for number in range(4):
        _cursor(log, number, 1 + number * 0.31)
        _url(log, number, 1.1 + number * 0.47)
        _header(log, number, 1.2 + number * 0.53)
        _graphql(log, number, 1.3 + number * 0.61)
        _pages(log, number, 1.4 + number * 0.67)
    for number in range(60):
        log.noise(0.5 + number * 0.3)


def _key(who: str) -> dict[str, str]:
    return {"X-Api-Key": f"key-of-{who}"}


def _cursor(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.2.1.{number}", "sent": _key(f"cursor-{number}")}
    cursor, before = "", -1
    for turn in range(4):
        following = log.token(6)  # too short to be sure of by its looks
        answer = {"items": [{"id": log.number(), "stock": 3}], "paging": {"next_cursor": following, "limit": 20}}
        query = f"&cursor={cursor}" if cursor else ""
        used = log.add(at_s + turn, f"GET /v1/customers?limit=20&status=open{query}", answer=answer, **me)
        if cursor:
            log.true("cursor", before, "json:/paging/next_cursor", used, "query:cursor")
        cursor, before = following, used


def _url(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.2.2.{number}", "sent": _key(f"url-{number}")}
    target, before = "/v1/invoices?limit=50&year=2026", -1
    for turn in range(4):
        after = log.token(18)
        following = f"/v1/invoices?limit=50&year=2026&after={after}"
        links = {"self": f"https://shop.test{target}", "next": f"https://shop.test{following}", "first": None}
        answer = {"data": [{"number": log.number(), "amount": 1200}], "links": links}
        used = log.add(at_s + turn, f"GET {target}", answer=answer, **me)
        if turn:
            log.true("cursor", before, "json:/links/next~query/after", used, "query:after")
        target, before = following, used


def _header(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.2.3.{number}", "sent": _key(f"header-{number}")}
    target, before = "/v1/commits?per_page=100", -1
    for turn in range(4):
        after = log.token(15)
        following = f"/v1/commits?per_page=100&page_token={after}"
        got = {
            "Link": f'<https://shop.test/v1/commits>; rel="first", <https://shop.test{following}>; rel="next"',
            "X-RateLimit-Remaining": f"{500 - turn}",
        }
        used = log.add(at_s + turn, f"GET {target}", answer=[{"sha": "0a1b2c3d", "files": 3}], got=got, **me)
        if turn:
            log.true("cursor", before, "link:next/query/page_token", used, "query:page_token")
        target, before = following, used


def _graphql(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.2.4.{number}", "sent": _key(f"graph-{number}")}
    shop, cursor, before = f"shop-{number}", None, -1
    query = (
        "query Orders($shop: ID!, $after: String) { shop(id: $shop) { orders(first: 10, after: $after) { edges } } }"
    )
    for turn in range(4):
        following = log.token(12)
        page = {"hasNextPage": True, "endCursor": following}
        orders = {"edges": [{"node": {"id": f"{log.number()}"}}], "pageInfo": page}
        body = {"query": query, "operationName": "Orders", "variables": {"shop": shop, "after": cursor, "first": 10}}
        used = log.add(at_s + turn, "POST /graphql", body=body, answer={"data": {"shop": {"orders": orders}}}, **me)
        if cursor:
            log.true("cursor", before, "json:/data/shop/orders/pageInfo/endCursor", used, "json:/variables/after")
        cursor, before = following, used


def _pages(log: Any, number: int, at_s: float) -> None:
    """Numbers that go up by themselves: nothing to follow, though the answer says the next one."""
    me: dict[str, Any] = {"client": f"10.2.5.{number}", "sent": _key(f"pages-{number}")}
    for page in range(1, 5):
        following = f"https://shop.test/v1/stores?page={page + 1}&offset={page * 20}"
        answer = {"page": page, "next_page": page + 1, "total": 400, "next": following, "items": [{"id": log.number()}]}
        got = {"Link": f'<{following}>; rel="next"'}
        target = f"GET /v1/stores?page={page}&offset={(page - 1) * 20}"
        log.add(at_s + page, target, answer=answer, got=got, **me)
