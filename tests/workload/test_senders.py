"""Clients of a capture of any size, against those that are found exchange by exchange."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from engines import exchange, made_capture
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.segments import to_table
from replay.traffic import Client, Exchange
from replay.workload.correlations.places import sent_values
from replay.workload.engine import Engine
from replay.workload.profile.clients import find_clients
from replay.workload.profile.facts import facts
from replay.workload.profile.senders import find_senders, sender_of

JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
OWN = {"user", "address"}  # of these, a client's name does not depend on which of its exchanges came first


def one_by_one(exchanges: Sequence[Exchange]) -> list[Client]:
    sent = [sent_values(one.request, "/", ("",) * (one.request.path.count("/") or 1)) for one in exchanges]
    return list(find_clients(exchanges, sent))


def by_engine(exchanges: Sequence[Exchange], engine: Engine) -> list[Client]:
    read = engine.keep(facts(engine.given(to_table(exchanges)), engine).select("who", "given", number="t"))
    found = find_senders(read, engine)
    rows = engine.frame(read.select("number", sender=sender_of(read, engine)))
    joined = rows.merge(found.numbers, on="sender", how="left", validate="many_to_one").sort_values("number")
    return [found.clients[client] for client in joined["client"].astype(int)]


def parts(labels: Sequence[Any]) -> list[int]:
    """Which of them are the same, by the first."""
    first: dict[Any, int] = {}
    return [first.setdefault(label, number) for number, label in enumerate(labels)]


def assert_same(exchanges: Sequence[Exchange], engine: Engine) -> list[Client]:
    """The clients, which are the same both ways."""
    ordered = sorted(exchanges, key=lambda one: one.at)
    assert len({one.at for one in ordered}) == len(ordered)
    clients, found = one_by_one(ordered), by_engine(ordered, engine)
    assert parts(found) == parts(clients)
    for own, its in zip(clients, found, strict=True):
        assert (own.kind in OWN) == (its.kind in OWN)
        if own.kind in OWN:
            assert its.kind == own.kind
            assert own.name == its.name or own.name.rpartition("-")[0] == its.name.rpartition("-")[0]
    return found


class Traffic:
    """Exchanges one second apart."""

    def __init__(self) -> None:
        self.made: list[Exchange] = []

    def add(self, request: str, *headers: tuple[str, str], **more: Any) -> None:
        self.made.append(exchange(len(self.made), request, headers=headers, **more))

    def bearer(self, token: str, **more: Any) -> None:
        self.add("GET /v1/things", ("Authorization", f"Bearer {token}"), **more)


def test_a_login_is_joined_with_the_tokens_that_it_is_given(duckdb: Engine) -> None:
    traffic = Traffic()
    for user in ("ada", "bea"):
        secret = json.dumps({"username": user, "password": "made up"})
        traffic.add("POST /login", JSON, body=secret, answer={"data": {"token": f"first-{user}"}})
        traffic.bearer(f"first-{user}")
        form = f"username={user}&password=made+up&grant_type=password"
        both = {"id_token": f"identity-{user}", "access_token": f"second-{user}", "expires_in": 5}
        traffic.add("POST /token", FORM, body=form, answer=both)
        traffic.bearer(f"second-{user}")
        traffic.bearer(f"identity-{user}")
    names = [client.name for client in assert_same(traffic.made, duckdb)]
    assert names == ["ada"] * 5 + ["bea"] * 5


def test_refreshes_are_followed_through(duckdb: Engine) -> None:
    traffic = Traffic()
    for seat in range(2):
        for turn in range(5):
            form = f"grant_type=refresh_token&client_id=app&refresh_token=renewal-{seat}-{turn}"
            tokens = {"access_token": f"access-{seat}-{turn}", "refresh_token": f"renewal-{seat}-{turn + 1}"}
            traffic.add("POST /oauth/token", FORM, body=form, answer=tokens)
            traffic.bearer(f"access-{seat}-{turn}")
        for turn in range(3):
            traffic.add(
                "POST /session/refresh", ("Authorization", f"Bearer again-{seat}-{turn}"),
                answer={"token": f"again-{seat}-{turn + 1}"},
            )  # fmt: skip
    assert len(set(assert_same(traffic.made, duckdb))) == 4


def test_a_token_with_escapes_is_the_one_that_is_sent(duckdb: Engine) -> None:
    traffic = Traffic()
    body = json.dumps({"username": "ada", "password": "made up"})
    answer = rb'{"access_token": "a\/b\u002bc=="}'
    traffic.add("POST /login", JSON, body=body, answer=answer)
    traffic.bearer("a/b+c==")
    assert {client.name for client in assert_same(traffic.made, duckdb)} == {"ada"}


def test_a_refused_login_hands_nothing_out(duckdb: Engine) -> None:
    traffic = Traffic()
    for status in (401, 500, 0):
        body = json.dumps({"username": f"user-{status}", "password": "made up"})
        traffic.add("POST /login", JSON, body=body, status=status, answer={"token": "the same"})
    traffic.bearer("the same")
    assert len(set(assert_same(traffic.made, duckdb))) == 4


def test_cookies_are_followed_as_they_rotate(duckdb: Engine) -> None:
    traffic = Traffic()
    for number in range(3):
        traffic.add("GET /", answered=(("Set-Cookie", f'sid="a{number}"; Path=/'),), client=f"10.0.0.{number}")
        for turn in "abcd":
            after = (("Set-Cookie", "theme=dark"), ("set-cookie", f"sid={chr(ord(turn) + 1)}{number}; HttpOnly"))
            own = (("cookie", "lang=de; theme=dark"), ("Cookie", f"x=1; sid={turn}{number}"))
            traffic.add("POST /step", *own, answered=after)
        traffic.add("GET /", ("Cookie", "lang=de"), client=f"10.0.0.{number}")
    found = assert_same(traffic.made, duckdb)
    assert len(set(found)) == 6
    assert [client.kind for client in found[:6]] == ["cookie"] * 5 + ["address"]


def test_cookies_that_guard_forms_and_those_that_tell_nothing(duckdb: Engine) -> None:
    traffic = Traffic()
    for number, guard in enumerate(("xK9vQ2mZ8tR4wB7n", "pL3sD6fG1hJ5kC0y", "short")):
        traffic.add("GET /form", answered=(("Set-Cookie", f"csrftoken={guard}"),), client="a")
        traffic.add("POST /form", ("Cookie", f"csrftoken={guard}; seen={number}"), client="a")
        traffic.add("GET /", ("Cookie", f"seen={number}; tracker=authentic"), client="a")
    assert_same(traffic.made, duckdb)


def test_keys_in_headers_and_queries(duckdb: Engine) -> None:
    traffic = Traffic()
    for number in range(6):
        traffic.add("POST /", ("Idempotency-Key", f"once-{number}"), ("X-Api-Key", f"key-{number % 2}"))
        traffic.add("POST /", ("X-CSRF-Token", f"guard-{number}"), ("x-auth-token", f"token-{number % 2}"))
        traffic.add("GET /", ("Sec-WebSocket-Key", f"once-{number}"), ("Ocp-Apim-Subscription-Key", f"{number % 2}"))
        traffic.add(f"GET /?page_token=p{number}&api_key=key-{number % 2}")
        traffic.add(f"GET /?key=k{number}&access_token=query-{number % 2}&x=1")
        traffic.add(f"GET /?sort=key&monkey={number}&page={number}")
    assert len(set(assert_same(traffic.made, duckdb))) == 9


def test_a_key_of_an_app_does_not_join_its_users(duckdb: Engine) -> None:
    traffic = Traffic()
    key = ("X-Api-Key", "of the app")
    for user in ("ada", "bea"):
        form = f"grant_type=password&username={user}&password=made+up"
        traffic.add("POST /token", key, FORM, body=form, answer={"access_token": f"token-of-{user}"})
        traffic.add("GET /me", key, ("Authorization", f"Bearer token-of-{user}"))
    pair = base64.b64encode(b"crm:made up").decode()
    traffic.add("POST /token", ("Authorization", f"Basic {pair}"), answer={"access_token": "token-of-crm"})
    traffic.bearer("token-of-crm")
    traffic.add("GET /signed", ("Authorization", "Digest username=x, response=y"))
    assert [client.name for client in assert_same(traffic.made, duckdb)] == [
        *"ada ada bea bea crm crm".split(),
        "address-1",
    ]


def test_a_code_joins_who_was_given_it_and_who_trades_it(duckdb: Engine) -> None:
    traffic = Traffic()
    for number in range(3):
        there = (("Location", f"https://app.test/back?state=s&code=c%2Fde-{number}&x=1"),)
        traffic.add("GET /authorize", ("Cookie", f"sid=s{number}"), status=302, answered=there)
        form = f"grant_type=authorization_code&code=c%2Fde-{number}&client_id=app"
        traffic.add("POST /token", FORM, body=form, answer={"access_token": f"token-{number}"})
        traffic.bearer(f"token-{number}")
    assert len(set(assert_same(traffic.made, duckdb))) == 3


def test_who_presents_nothing_is_given_something_or_not(duckdb: Engine) -> None:
    traffic = Traffic()
    for number in range(4):
        traffic.add("GET /", client="proxy")
        traffic.add("GET /", client="proxy", answered=(("Set-Cookie", f"PHPSESSID=s{number}"),))
        traffic.add("GET /next", ("Cookie", f"PHPSESSID=s{number}"), client="proxy")
    found = assert_same(traffic.made, duckdb)
    assert len(set(found)) == 5
    assert found[1] == found[2]


def test_the_made_capture(duckdb: Engine) -> None:
    unique = [one for number, one in enumerate(made_capture()) if number % 3]
    moments = {one.at: one for one in unique}
    assert_same(list(moments.values()), duckdb)


def test_hostile_headers_are_no_error(duckdb: Engine) -> None:
    traffic = Traffic()
    for text in ('"', "\\", '\\"', "\x1f" * 9, "\U0001f600", 'sid="a\\"b";', "sid=\x1f;", "=", "sid", "sid=;sid="):
        traffic.add("GET /", ("Cookie", text), ("Authorization", text), ("X-Api-Key", text), client=text)
        traffic.add("GET /", answered=(("Set-Cookie", text), ("Location", f"/?code={text}")), status=302)
        traffic.add("POST /login", body=f'{{"password": "{text}"}}', answer=f'{{"token": "{text}"}}'.encode())
    assert len(by_engine(traffic.made, duckdb)) == len(traffic.made)


@st.composite
def traffics(draw: Any) -> list[Exchange]:
    """What a few users and apps do in any order: tokens, cookies and keys are taken, shown and traded."""
    traffic = Traffic()
    for _ in range(draw(st.integers(1, 25))):
        user, turn = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        where = {
            "client": draw(st.sampled_from(["", "a", "b"])),
            "connection": draw(st.sampled_from(["", "1", "2"])),
            "status": draw(st.sampled_from([200, 200, 200, 302, 401, 0])),
        }
        given_tokens = {"access_token": f"access-{user}-{turn}", "refresh_token": f"renewal-{user}-{turn}"}
        cookie = (("Set-Cookie", f"sid=session-{user}-{turn}; Path=/"),)
        match draw(st.integers(0, 9)):
            case 0:
                traffic.add("GET /", **where)
            case 1:
                traffic.bearer(f"access-{user}-{turn}", **where)
            case 2:
                body = json.dumps({"email": f"user-{user}@example.org", "password": "made up"})
                traffic.add("POST /login", JSON, body=body, answer=given_tokens, answered=cookie, **where)
            case 3:
                form = f"grant_type=refresh_token&refresh_token=renewal-{user}-{turn}"
                new = {"access_token": f"access-{user}-{turn + 1}", "refresh_token": f"renewal-{user}-{turn + 1}"}
                traffic.add("POST /token", FORM, body=form, answer=new, **where)
            case 4:
                traffic.add("GET /", ("Cookie", f"sid=session-{user}-{turn}"), **where)
            case 5:
                traffic.add("GET /", answered=cookie, **where)
            case 6:
                old = ("Cookie", f"sid=session-{user}-{turn}")
                new_cookie = (("Set-Cookie", f"sid=session-{user}-{turn + 1}"),)
                traffic.add("POST /rotate", old, answered=new_cookie, **where)
            case 7:
                traffic.add("GET /", ("X-Api-Key", f"key-{user}"), **where)
            case 8:
                traffic.add(f"GET /?api_key=key-{user}", **where)
            case _:
                form = f"grant_type=client_credentials&client_id=app-{user}&client_secret=made+up"
                traffic.add("POST /token", FORM, body=form, answer={"access_token": f"access-{user}-{turn}"}, **where)
    return traffic.made


@pytest.mark.slow
@settings(max_examples=60)
@given(traffics())
def test_whatever_is_presented_gives_the_same_clients(duckdb: Engine, made: list[Exchange]) -> None:
    assert_same(made, duckdb)


@pytest.mark.slow
def test_spark_finds_the_same(duckdb: Engine, spark: Engine) -> None:
    made = list({one.at: one for one in made_capture()}.values())
    assert by_engine(made, duckdb) == by_engine(made, spark)


def test_nobody_sends_nothing(duckdb: Engine) -> None:
    found = find_senders(facts(duckdb.given(to_table([])), duckdb), duckdb)
    assert found.clients == ()
    assert isinstance(found.numbers, pd.DataFrame)
    assert found.numbers.empty


@pytest.mark.slow
def test_a_hundred_thousand_clients(duckdb: Engine) -> None:
    traffic = Traffic()
    for number in range(100_000):
        traffic.bearer(f"token-{number}")
    assert len(set(by_engine(traffic.made, duckdb))) == 100_000
