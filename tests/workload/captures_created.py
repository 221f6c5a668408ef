"""Things that are made and used later: by who made them and by others, in paths, forms, JSON, XML and GraphQL."""

from typing import Any


def record(log: Any) -> None:
    """Several clients of each kind, at once; two kinds of ids count up side by side."""
    for number in range(5):
        _json(log, number, 1 + number * 0.37)
        _location(log, number, 1.1 + number * 0.43)
        _xml(log, number, 1.2 + number * 0.59)
        _graphql(log, number, 1.3 + number * 0.71)
    for number in range(80):
        log.noise(0.5 + number * 0.25)


def _key(who: str) -> dict[str, str]:
    return {"X-Api-Key": f"key-of-{who}"}


def _json(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.3.1.{number}", "sent": _key(f"json-{number}")}
    other: dict[str, Any] = {"client": f"10.3.2.{number}", "sent": _key(f"packer-{number}")}
    order, product = 500_100 + number, log.number()
    body = {"product_id": product, "quantity": 2, "currency": "EUR", "gift": False, "reference": f"cart-{log.number()}"}
    answer = {"id": order, "status": "open", "quantity": 2, "total": 2400, "created_at": "2026-03-02T09:00:00Z", **body}
    made = log.add(at_s, "POST /v1/orders", body=body, status=201, answer=answer, **me)
    used = log.add(at_s + 1, f"GET /v1/orders/{order}", answer=answer, **me)
    log.true("created", made, "json:/id", used, "path")
    used = log.add(at_s + 2, "POST /v1/payments", body={"order_id": order, "amount": 2400}, answer={"paid": True}, **me)
    log.true("created", made, "json:/id", used, "json:/order_id")
    # Another client finds it in a list and packs it, together with one that has been there for long.
    old = log.number()
    log.add(at_s + 3, "GET /v1/orders?status=open&page=1", answer={"items": [answer, {"id": old}]}, **other)
    used = log.add(
        at_s + 4, f"POST /v1/orders/{order}/parcels", body={"weight": 3}, status=201, answer={"weight": 3}, **other
    )
    log.true("created", made, "json:/id", used, "path")
    log.add(at_s + 5, f"POST /v1/orders/{old}/parcels", body={"weight": 3}, status=201, answer={"weight": 3}, **other)


def _location(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.3.3.{number}", "sent": _key(f"location-{number}")}
    export, product = 81_000 + number * 7, log.number()
    place = f"https://shop.test/v1/products/{product}/exports/{export}"
    made = log.add(
        at_s, f"POST /v1/products/{product}/exports", body={"format": "csv"}, status=202, got={"Location": place}, **me
    )
    for step in range(3):
        state = {"state": "running", "percent": 30 * step}
        used = log.add(at_s + 1 + step, f"GET /v1/products/{product}/exports/{export}", answer=state, **me)
        log.true("created", made, "location", used, "path")
    used = log.add(
        at_s + 5,
        f"GET /v1/products/{product}/exports/{export}.csv",
        page="a;b\n1;2\n",
        got={"Content-Type": "text/csv"},
        **me,
    )
    log.true("created", made, "location", used, "path")
    # What a basket's redirect leads to has the id in its middle, and then in a form with a file.
    basket = 64_000 + number * 3
    place = f"/baskets/{basket}/checkout?step=2"
    begun = log.add(
        at_s + 6, "POST /baskets", form={"product_id": f"{product}"}, status=303, got={"Location": place}, **me
    )
    shown = log.add(at_s + 6.2, f"GET {place}", page="<html><p>Step 2</p></html>", **me)
    log.true("created", begun, "location:path/2", shown, "path")
    paid = log.add(at_s + 9, "POST /receipts", parts={"basket_id": f"{basket}", "step": "2"}, status=204, **me)
    log.true("created", begun, "location:path/2", paid, "form:basket_id")


def _xml(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.3.4.{number}", "sent": {**_key(f"xml-{number}"), "Content-Type": "text/xml"}}
    ticket, venue = 33_000 + number * 11, log.number()
    soap = 'xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:t="urn:tickets"'
    asked = f"<s:Envelope {soap}><s:Body><t:CreateTicket><t:venueId>{venue}</t:venueId><t:n>2</t:n></t:CreateTicket>"
    answer = (
        f"<s:Envelope {soap}><s:Body><t:CreateTicketResponse><t:ticket id='{ticket}' seats='2'><t:state>open</t:state>"
    )
    got = {"Content-Type": "text/xml; charset=utf-8"}
    made = log.add(
        at_s,
        "POST /soap",
        text=f"{asked}</s:Body></s:Envelope>",
        page=f"{answer}</t:ticket></t:CreateTicketResponse></s:Body></s:Envelope>",
        got=got,
        **me,
    )
    sent = (
        f"<s:Envelope {soap}><s:Body><t:PayTicket><t:ticketId>{ticket}</t:ticketId><t:seats>2</t:seats></t:PayTicket>"
    )
    page = f"<s:Envelope {soap}><s:Body><t:PayTicketResponse><t:paid>1</t:paid></t:PayTicketResponse>"
    page += "</s:Body></s:Envelope>"
    used = log.add(at_s + 1, "POST /soap", text=f"{sent}</s:Body></s:Envelope>", page=page, got=got, **me)
    log.true(
        "created",
        made,
        "xml:/Envelope/Body/CreateTicketResponse/ticket/@id",
        used,
        "xml:/Envelope/Body/PayTicket/ticketId",
    )
    sent = f"<s:Envelope {soap}><s:Body><t:GetVenue><t:venueId>{venue}</t:venueId></t:GetVenue></s:Body></s:Envelope>"
    page = f"<s:Envelope {soap}><s:Body><t:GetVenueResponse><t:ownerId>{log.number()}</t:ownerId></t:GetVenueResponse>"
    log.add(at_s + 2, "POST /soap", text=sent, page=f"{page}</s:Body></s:Envelope>", got=got, **me)


def _graphql(log: Any, number: int, at_s: float) -> None:
    me: dict[str, Any] = {"client": f"10.3.5.{number}", "sent": _key(f"graph-{number}")}
    review, product = 9_100 + number, log.number()
    body = {
        "query": "mutation Add($product: ID!, $stars: Int) { createReview(of: $product) { review { id } } }",
        "variables": {"product": f"{product}", "stars": 4},
    }
    answer = {"data": {"createReview": {"review": {"id": f"{review}", "stars": 4, "productId": f"{product}"}}}}
    made = log.add(at_s, "POST /graphql", body=body, answer=answer, **me)
    body = {
        "query": "query GetReview($id: ID!) { review(id: $id) { id stars author { id } } }",
        "operationName": "GetReview",
        "variables": {"id": f"{review}"},
    }
    author = log.number()
    answer = {"data": {"review": {"id": f"{review}", "stars": 4, "author": {"id": f"{author}"}}}}
    used = log.add(at_s + 1, "POST /graphql", body=body, answer=answer, **me)
    log.true("created", made, "json:/data/createReview/review/id", used, "json:/variables/id")
    body = {"query": "query GetAuthor($id: ID!) { author(id: $id) { id } }", "variables": {"id": f"{author}"}}
    log.add(at_s + 2, "POST /graphql", body=body, answer={"data": {"author": {"id": f"{author}"}}}, **me)
