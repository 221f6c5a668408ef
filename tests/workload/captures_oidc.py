"""OpenID Connect with a site's own server between: the code is redeemed elsewhere; camel case; a device's login."""

import base64
from typing import Any


def record(log: Any) -> None:
    """Four people and three devices at once."""
    for number in range(4):
        _person(log, number, 1 + number * 0.83)
    for number in range(3):
        _device(log, number, 1.5 + number * 0.57)
    for number in range(60):
        log.noise(0.5 + number * 0.4)


def _person(log: Any, number: int, at_s: float) -> None:
    browser, server = f"10.6.1.{number}", "10.6.9.9"
    state, nonce, code = log.token(18), log.token(18), log.token(24)
    ask = f"client_id=site&response_type=code&scope=openid&state={state}&nonce={nonce}"
    session, mine = log.token(), log.token()
    got = {"Location": f"/idp/authorize?{ask}", "Set-Cookie": f"site_session={session}; Path=/"}
    begun = log.add(at_s, "GET /start", client=browser, status=302, got=got)
    flow = log.token(20)
    page = f"<form method=post action='/idp/login'><input type=hidden name=flow value={flow}></form>"
    asked = log.add(at_s + 0.1, f"GET /idp/authorize?{ask}", client=browser, page=f"<html>{page}</html>")
    log.true("token", begun, "location:query/state", asked, "query:state")
    log.true("opaque", begun, "location:query/nonce", asked, "query:nonce")
    form = {"flow": flow, "email": f"person{number}@example.org", "password": f"hidden-{number}"}
    got = {
        "Location": f"/back?code={code}&state={state}&iss=https%3A%2F%2Fshop.test",
        "Set-Cookie": f"idp_sid={mine}; Path=/idp",
    }
    logged = log.add(at_s + 3, "POST /idp/login", client=browser, form=form, status=302, got=got)
    log.true("token", asked, "html:hidden/flow", logged, "form:flow")
    cookie = {"Cookie": f"site_session={session}"}
    back = log.add(
        at_s + 3.2,
        f"GET /back?code={code}&state={state}",
        client=browser,
        sent=cookie,
        took_s=0.5,
        status=302,
        got={"Location": "/home"},
    )
    log.true("token", logged, "location:query/code", back, "query:code")
    # The state is the site's own: the login only repeats it.
    log.true("token", begun, "location:query/state", back, "query:state")
    log.true("token", begun, "cookie:site_session", back, "cookie:site_session")
    basic = {"Authorization": "Basic " + base64.b64encode(b"site:hidden-site").decode()}
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": "https://shop.test/back"}
    access, refresh = log.token(30), log.token(30)
    answer = {"access_token": access, "refresh_token": refresh, "id_token": log.token(90), "token_type": "Bearer"}
    redeemed = log.add(at_s + 3.3, "POST /idp/token", client=server, sent=basic, form=form, answer=answer)
    log.true("token", logged, "location:query/code", redeemed, "form:code")
    used = log.add(
        at_s + 3.4,
        "GET /idp/userinfo",
        client=server,
        sent={"Authorization": f"Bearer {access}"},
        answer={"sub": f"{number}"},
    )
    log.true("token", redeemed, "json:/access_token", used, "bearer")
    used = log.add(at_s + 4, "GET /home", client=browser, sent=cookie, page="<html>Hello</html>")
    log.true("token", begun, "cookie:site_session", used, "cookie:site_session")
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    renewed = log.add(
        at_s + 20, "POST /idp/token", client=server, sent=basic, form=form, answer={"access_token": log.token(30)}
    )
    log.true("token", redeemed, "json:/refresh_token", renewed, "form:refresh_token")


def _device(log: Any, number: int, at_s: float) -> None:
    me = f"10.6.2.{number}"
    device, access, refresh = log.token(30), log.token(30), log.token(30)
    answer = {"deviceCode": device, "userCode": "BDWP-HQPK", "interval": 5, "expiresIn": 600}
    begun = log.add(at_s, "POST /device/code", client=me, body={"clientId": "tv"}, answer=answer)
    for turn in range(3):
        body = {"grantType": "device_code", "clientId": "tv", "deviceCode": device}
        done = turn == 2
        answer = {"accessToken": access, "refreshToken": refresh} if done else {"error": "authorization_pending"}
        polled = log.add(
            at_s + 5 + 5 * turn, "POST /device/token", client=me, body=body, status=200 if done else 400, answer=answer
        )
        log.true("token", begun, "json:/deviceCode", polled, "json:/deviceCode")
    for turn in range(2):
        sent = {"Authorization": f"Bearer {access}"}
        used = log.add(at_s + 17 + turn, "GET /api/programme?page=1", client=me, sent=sent, answer=[])
        log.true("token", polled, "json:/accessToken", used, "bearer")
    renewed = log.add(
        at_s + 20,
        "POST /device/refresh",
        client=me,
        body={"refreshToken": refresh},
        answer={"accessToken": log.token(30)},
    )
    log.true("token", polled, "json:/refreshToken", renewed, "json:/refreshToken")
