"""OAuth2: a machine's own tokens with rotating refreshes, a password login, and a browser's code with PKCE."""

import hashlib
from base64 import urlsafe_b64encode
from typing import Any


def record(log: Any) -> None:
    """Five machines, four password users and three browsers, at once."""
    for number in range(5):
        _machine(log, number, 1 + number * 0.31)
    for number in range(4):
        _password(log, number, 2 + number * 0.57)
    for number in range(3):
        _browser(log, number, 3 + number * 0.73)
    for number in range(60):
        log.noise(0.5 + number * 0.5)


def _machine(log: Any, number: int, at_s: float) -> None:
    me = f"10.1.0.{number}"
    form = {"grant_type": "client_credentials", "client_id": f"machine-{number}", "client_secret": f"hidden-m{number}"}
    access, refresh = log.token(), log.token()
    given = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 10}
    origin = log.add(at_s, "POST /oauth/token", client=me, form=form, answer=given)
    # A second token with another scope, used side by side with the first.
    reports = log.token()
    answer = {"access_token": reports, "token_type": "Bearer", "expires_in": 3600}
    second = log.add(at_s + 0.1, "POST /oauth/token", client=me, form={**form, "scope": "reports"}, answer=answer)
    for turn in range(3):
        base_s = at_s + 1 + turn * 10
        for step in range(3):
            path = f"GET /v1/products/{log.number()}"
            used = log.add(
                base_s + step, path, client=me, sent={"Authorization": f"Bearer {access}"}, answer={"price": 5}
            )
            log.true("token", origin, "json:/access_token", used, "bearer")
        used = log.add(
            base_s + 3, "GET /v1/reports?page=2", client=me, sent={"Authorization": f"Bearer {reports}"}, answer=[]
        )
        log.true("token", second, "json:/access_token", used, "bearer")
        # Expired: refused, refreshed, sent again.
        path = f"GET /v1/orders/{log.number()}"
        used = log.add(base_s + 4, path, client=me, sent={"Authorization": f"Bearer {access}"}, status=401)
        log.true("token", origin, "json:/access_token", used, "bearer")
        form = {"grant_type": "refresh_token", "client_id": f"machine-{number}", "refresh_token": refresh}
        access, refresh = log.token(), log.token()
        given = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 10}
        renewed = log.add(base_s + 4.2, "POST /oauth/token", client=me, form=form, answer=given)
        log.true("token", origin, "json:/refresh_token", renewed, "form:refresh_token")
        origin = renewed
        used = log.add(
            base_s + 4.4, path, client=me, sent={"Authorization": f"Bearer {access}"}, answer={"status": "open"}
        )
        log.true("token", origin, "json:/access_token", used, "bearer")


def _password(log: Any, number: int, at_s: float) -> None:
    me = f"10.2.0.{number}"
    form = {"grant_type": "password", "client_id": "app", "username": f"user-{number}", "password": f"hidden-p{number}"}
    access, refresh = log.token(), log.token()
    given = {"access_token": access, "refresh_token": refresh, "expires_in": 10}
    origin = log.add(at_s, "POST /oauth/token", client=me, form=form, answer=given)
    for step in range(4):
        used = log.add(
            at_s + 1 + step, "GET /v1/me", client=me, sent={"Authorization": f"Bearer {access}"}, answer={"id": number}
        )
        log.true("token", origin, "json:/access_token", used, "bearer")
    # This server keeps the refresh token and hands it out no more.
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": refresh}
    for turn in range(2):
        access = log.token()
        answer = {"access_token": access, "expires_in": 10}
        renewed = log.add(at_s + 10 + turn * 5, "POST /oauth/token", client=me, form=form, answer=answer)
        log.true("token", origin, "json:/refresh_token", renewed, "form:refresh_token")
        sent = {"Authorization": f"Bearer {access}"}
        used = log.add(at_s + 11 + turn * 5, "GET /v1/me", client=me, sent=sent, answer={"id": number})
        log.true("token", renewed, "json:/access_token", used, "bearer")


def _browser(log: Any, number: int, at_s: float) -> None:
    me = f"10.3.0.{number}"
    verifier, state, code, session = log.token(32), log.token(12), log.token(16), log.token()
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    ask = (
        f"response_type=code&client_id=site&redirect_uri=https%3A%2F%2Fshop.test%2Fcallback&scope=openid&state={state}"
    )
    # The site's own server makes the state, the page makes the verifier: nobody hands that out.
    begun = log.add(at_s, "GET /login", client=me, status=302, got={"Location": f"https://shop.test/authorize?{ask}"})
    asked = log.add(
        at_s + 0.2,
        f"GET /authorize?{ask}&code_challenge={challenge}&code_challenge_method=S256",
        client=me,
        got={"Set-Cookie": f"sid={session}; Path=/; HttpOnly"},
        page="<html><form action='/authorize' method=post><input name=username><input type=submit></form></html>",
    )
    log.true("token", begun, "location:query/state", asked, "query:state")
    form = {"username": f"person-{number}", "password": f"hidden-b{number}"}
    answered = log.add(
        at_s + 2,
        "POST /authorize",
        client=me,
        sent={"Cookie": f"theme=dark; sid={session}"},
        form=form,
        status=302,
        got={"Location": f"https://shop.test/callback?code={code}&state={state}"},
    )
    log.true("token", asked, "cookie:sid", answered, "cookie:sid")
    called = log.add(
        at_s + 2.2, f"GET /callback?code={code}&state={state}", client=me, sent={"Cookie": f"theme=dark; sid={session}"}
    )
    log.true("token", answered, "location:query/code", called, "query:code")
    log.true("token", answered, "location:query/state", called, "query:state")
    log.true("token", asked, "cookie:sid", called, "cookie:sid")
    access, refresh = log.token(), log.token()
    form = {
        "grant_type": "authorization_code",
        "client_id": "site",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": "https://shop.test/callback",
    }
    given = {"access_token": access, "refresh_token": refresh, "id_token": log.token(60), "expires_in": 300}
    redeemed = log.add(at_s + 2.4, "POST /oauth/token", client=me, form=form, answer=given)
    log.true("token", answered, "location:query/code", redeemed, "form:code")
    for step in range(3):
        sent = {"Authorization": f"Bearer {access}"}
        used = log.add(at_s + 3 + step, "GET /v1/me", client=me, sent=sent, answer={"id": number, "age": 33})
        log.true("token", redeemed, "json:/access_token", used, "bearer")
