"""Forms that are guarded: a cookie with a hidden field (as Django has it), and a meta tag (as Rails has it)."""

from typing import Any


def record(log: Any) -> None:
    """Six people fill in forms of one kind, five of the other."""
    for number in range(6):
        _hidden(log, number, 1 + number * 0.41)
    for number in range(5):
        _meta(log, number, 2 + number * 0.63)
    for number in range(60):
        log.noise(0.5 + number * 0.4)


def _hidden(log: Any, number: int, at_s: float) -> None:
    me, cookie, masked, session = f"10.1.1.{number}", log.token(), log.token(48), log.token()
    page = f"""<!DOCTYPE html><html><head><title>Log in</title><meta name="viewport" content="width=device-width">
    <link rel="stylesheet" href="/static/site.css?v=0a1b2c3d4e5f60718293"></head><body>
    <!-- <input type="hidden" name="csrfmiddlewaretoken" value="not-this-one-0123456789"> -->
    <form method="post" action="/login/"><input type="hidden" name="csrfmiddlewaretoken" value="{masked}">
    <input type="hidden" name="next" value="/account/"><input name="username"><input type="password" name="password">
    <input type="checkbox" name="remember" value="yes"></form></body></html>"""
    got = {"Set-Cookie": f"csrftoken={cookie}; Path=/; SameSite=Lax"}
    shown = log.add(at_s, "GET /login/", client=me, got=got, page=page)
    form = {
        "csrfmiddlewaretoken": masked,
        "next": "/account/",
        "username": f"person-{number}",
        "password": f"hidden-{number}",
        "remember": "yes",
    }
    entered = log.add(
        at_s + 3,
        "POST /login/",
        client=me,
        sent={"Cookie": f"csrftoken={cookie}"},
        form=form,
        status=302,
        got={"Location": "/account/", "Set-Cookie": f"sessionid={session}; Path=/; HttpOnly"},
    )
    log.true("token", shown, "html:hidden/csrfmiddlewaretoken", entered, "form:csrfmiddlewaretoken")
    log.true("token", shown, "cookie:csrftoken", entered, "cookie:csrftoken")
    both = {"Cookie": f"csrftoken={cookie}; sessionid={session}; seen=2026-02-11"}
    masked, wish = log.token(48), log.number()
    page = f"""<html><body><form action="/newsletter/" method="post">
    <input type='hidden' name='csrfmiddlewaretoken' value='{log.token(48)}'></form>
    <form action="/wishes/{wish}/" method="post"><input type=hidden name=csrfmiddlewaretoken value={masked}>
    <input type=hidden name=wish_id value={wish}><input name=quantity value=2></form></body></html>"""
    account = log.add(at_s + 3.2, "GET /account/", client=me, sent=both, page=page)
    form = {"csrfmiddlewaretoken": masked, "wish_id": f"{wish}", "quantity": "2"}
    wished = log.add(
        at_s + 8, f"POST /wishes/{wish}/", client=me, sent=both, form=form, status=302, got={"Location": "/account/"}
    )
    log.true("token", account, "html:hidden/csrfmiddlewaretoken@/wishes/*", wished, "form:csrfmiddlewaretoken")
    asked = log.add(
        at_s + 9,
        "POST /api/seen/",
        client=me,
        sent={**both, "X-CSRFToken": cookie},
        body={"seen": True},
        answer={"ok": 1},
    )
    log.true("token", shown, "cookie:csrftoken", asked, "header:x-csrftoken")
    for used in (account, wished, asked):
        log.true("token", shown, "cookie:csrftoken", used, "cookie:csrftoken")
        log.true("token", entered, "cookie:sessionid", used, "cookie:sessionid")


def _meta(log: Any, number: int, at_s: float) -> None:
    me = f"10.1.2.{number}"
    session, token, field = log.token(), log.token(32) + "+/==", log.token(32) + "&amp;=="
    page = f"""<html><head><meta name="csrf-param" content="authenticity_token"/>
    <meta name="csrf-token" content="{token}" /><meta property="og:title" content="Orders"/></head>
    <body><a href="/orders?status=open&page=2">More</a>
    <form accept-charset="UTF-8" action="/orders" method="post"><input name="utf8" type="hidden" value="&#x2713;"/>
    <input type="hidden" name="authenticity_token" value="{field}"/>
    <input name="order[amount]" value="2"></form></body>"""
    cookie = f"_shop_session={session}; path=/; HttpOnly"
    shown = log.add(at_s, "GET /orders/new", client=me, got={"Set-Cookie": cookie}, page=page)
    sent = {"Cookie": f"_shop_session={session}"}
    form = {"utf8": "✓", "authenticity_token": field.replace("&amp;", "&"), "order[amount]": "2"}
    order = 700_000 + number
    made = log.add(
        at_s + 4,
        "POST /orders",
        client=me,
        sent=sent,
        form=form,
        status=302,
        got={"Location": f"https://shop.test/orders/{order}"},
    )
    log.true("token", shown, "html:hidden/authenticity_token", made, "form:authenticity_token")
    page = page.replace(token, other := log.token(32))
    seen = log.add(at_s + 4.2, f"GET /orders/{order}", client=me, sent=sent, page=page)
    log.true("created", made, "location", seen, "path")
    sent_too = {**sent, "X-CSRF-Token": other, "X-Requested-With": "XMLHttpRequest"}
    gone = log.add(at_s + 6, f"DELETE /orders/{order}", client=me, sent=sent_too, answer={"deleted": True})
    log.true("token", seen, "html:meta/csrf-token", gone, "header:x-csrf-token")
    log.true("created", made, "location", gone, "path")
    for used in (made, seen, gone):
        log.true("token", shown, "cookie:_shop_session", used, "cookie:_shop_session")
