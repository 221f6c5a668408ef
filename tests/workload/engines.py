"""Engines for tests, exchanges to give them, and a capture in which most of what can go apart is met."""

import dataclasses
import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from replay.capture.segments import to_table
from replay.traffic import Exchange, Headers, Request, Response
from replay.workload.engine import Engine
from replay.workload.profile.profile import Profile, profile

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SPARK = "local[2]"
# What is asked of both engines: Spark takes so long to start that it is asked with the slow tests.
EITHER = pytest.mark.parametrize("either", ["duckdb", pytest.param("spark", marks=pytest.mark.slow)], indirect=True)


@contextmanager
def spark_or_skip() -> Iterator[Engine]:
    """Spark in this process, or the test is left out."""
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    try:
        with Engine(SPARK) as engine:
            engine._session.conf.set("spark.sql.shuffle.partitions", "2")  # the tables of tests are small
            yield engine
    finally:
        _end_java()


def _end_java() -> None:
    """pyspark leaves its Java running until this process ends, and the next session would use it."""
    from pyspark import SparkContext  # noqa: PLC0415 - an extra

    gateway, SparkContext._gateway, SparkContext._jvm = SparkContext._gateway, None, None
    if gateway is not None:
        gateway.shutdown()
        gateway.proc.stdin.close()  # which is what Java waits for
        gateway.proc.wait(60)


def exchange(
    at_s: float,
    request: str,
    *,
    headers: Headers = (),
    body: bytes | str | None = None,
    status: int = 200,
    answer: Any = b"",
    answered: Headers = (),
    took_s: float = 0.1,
    client: str = "address-1",
    connection: str = "",
) -> Exchange:
    """An exchange. ``request`` is such as ``GET /v1/events?limit=5``; no ``status`` is no answer."""
    method, _, target = request.partition(" ")
    path, _, query = target.partition("?")
    sent = body.encode() if isinstance(body, str) else body
    payload = answer if isinstance(answer, bytes) or answer is None else json.dumps(answer).encode()
    return Exchange(
        at=START + timedelta(seconds=at_s),
        duration_s=took_s,
        client=client,
        connection=connection,
        request=Request(method, "api.test", path, query, headers, sent),
        response=Response(status, answered, payload, len(payload or b"")) if status else None,
        error="" if status else "connection reset",
    )


def table_of(exchanges: Sequence[Exchange], engine: Engine) -> ibis.Table:
    """Exchanges as an engine reads them from a capture."""
    return engine.spooled([to_table(exchanges)])


def profile_of(exchanges: Sequence[Exchange], engine: Engine) -> Profile:
    return profile(table_of(exchanges, engine), engine)


def assert_alike(one: Any, other: Any, where: str = "profile") -> None:
    """The two are the same: floats to one in 10 ** 9, and all else wholly."""
    if isinstance(one, pd.DataFrame):
        assert list(one.columns) == list(other.columns), where
        assert len(one) == len(other), where
        for name in one.columns:
            for number, (own, its) in enumerate(zip(one[name].tolist(), other[name].tolist(), strict=True)):
                assert_alike(own, its, f"{where}.{name}[{number}]")
    elif dataclasses.is_dataclass(one):
        assert type(one) is type(other), where
        for field in dataclasses.fields(one):
            assert_alike(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_alike(one[key], other[key], f"{where}[{key!r}]")
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(other), where
        for number, (own, its) in enumerate(zip(one, other, strict=True)):
            assert_alike(own, its, f"{where}[{number}]")
    elif isinstance(one, (float, np.floating)) or isinstance(other, (float, np.floating)):
        assert other == pytest.approx(one, rel=1e-9, abs=1e-12, nan_ok=True), where
    else:
        assert one == other, where


_AGENTS = ("app/2.1 (phone)", "scanner/7", 'odd "agent" \\ with\ttab', "\u30d6\u30e9\u30a6\u30b6/1")


def made_capture() -> list[Exchange]:
    """Logins and refreshes, cookies, keys, anonymous; bodies of all kinds; equal moments, and answers that are none."""
    made: list[Exchange] = []
    for user in range(6):
        made += _app(user)
    made += _browsers()
    made += _keys()
    made += _odd_bodies()
    made += _odd_moments()
    return sorted(made, key=lambda one: one.at)


def _app(user: int) -> Iterator[Exchange]:
    agent = ("User-Agent", _AGENTS[user % 4])
    form = f"grant_type=password&username=user-{user}&password=made%2Bup-{user}&client_id=app"
    tokens = {"access_token": f"access-{user}-0", "refresh_token": f"refresh-{user}-0", "expires_in": 600}
    as_form = ("Content-Type", "application/x-www-form-urlencoded")
    yield exchange(user, "POST /oauth/token", headers=(agent, as_form), body=form, answer=tokens)
    for turn in range(3):
        bearer = (agent, ("Authorization", f"Bearer access-{user}-{turn}"))
        for step in range(6):
            at_s = user + 0.25 + 900 * turn + 3.7 * step
            event = (user * 7 + step * step) % 11 + 123_456
            yield exchange(at_s, f"GET /v1/events?limit={step}&sort=name", headers=bearer, answer=_page(step))
            yield exchange(at_s + 0.3, f"GET /v1/events/{event}", headers=bearer, answer={"id": event, "tags": []})
            attendee = {"user_id": user, "seats": step, "note": None} if step else {"user_id": user, "seats": 1}
            yield exchange(
                at_s + 0.3,
                f"POST /v1/events/{event}/attendees/{uuid.UUID(int=event * 2**80 + step)}",
                headers=(*bearer, ("Content-Type", "application/json")),
                body=json.dumps(attendee),
                status=201 if step % 3 else 409,
                answer={"ok": step % 3 != 0},
                took_s=0.02 * step,
            )
        again = f"grant_type=refresh_token&refresh_token=refresh-{user}-{turn}&client_id=app"
        tokens = {"access_token": f"access-{user}-{turn + 1}", "refresh_token": f"refresh-{user}-{turn + 1}"}
        yield exchange(user + 880 + 900 * turn, "POST /oauth/token", headers=(as_form,), body=again, answer=tokens)


def _page(step: int) -> dict[str, Any]:
    return {"items": [{"id": step}] if step % 2 else [], "next": None, "total": step}


def _browsers() -> Iterator[Exchange]:
    for number in range(4):
        where = {"client": f"10.0.0.{number}", "connection": f"b{number}"}
        first = (("Set-Cookie", f'sid="before\\{number}"; Path=/; HttpOnly'),)
        yield exchange(10 + number, "GET /login", answered=first, answer=b"<html></html>", **where)
        cookie = (("Cookie", f'lang=de; sid="before\\{number}"'), ("User-Agent", _AGENTS[2]))
        body = json.dumps({"email": f"user{number}@example.org", "password": "made up"})
        after = (("Set-Cookie", f"theme=dark{number}"), ("Set-Cookie", f"sid=after{number}; Path=/"))
        headers = (*cookie, ("Content-Type", "application/json"))
        yield exchange(11 + number, "POST /login", headers=headers, body=body, answered=after, answer={}, **where)
        for step in range(5):
            cookie = (("cookie", f"lang=de; sid=after{number}"), ("User-Agent", _AGENTS[2]))
            yield exchange(12 + number + step, f"GET /shop/item-{step}/", headers=cookie, answer=b"[]", **where)
            yield exchange(12 + number + step, "GET /static/app.js", client=f"10.0.0.{number}", connection=f"s{step}")


def _keys() -> Iterator[Exchange]:
    for number in range(40):
        key = (("Idempotency-Key", f"once-{number}"), ("X-Api-Key", f"made-up-key-{number % 2}"))
        yield exchange(100 + 2 * number, "POST /v2/orders", headers=key, body=f"<order n='{number}'/>", status=202)
        yield exchange(
            101 + 2 * number, f"GET /v2/feed?page={number}&api_key=made-up-{number % 3}", answer={"items": []}
        )
        yield exchange(101 + 2 * number, "GET /status", status=204, answer=b"", took_s=0.0)


def _odd_bodies() -> Iterator[Exchange]:
    bodies = (
        None, b"", b" ", b"\xff\xfe\x00bin", b"a=b\n", b"a=b&a=c&d", b"\x0b{}", b"[1, 2.5e3, -4, null, true]", b"null",
        b'{"a": "b: 1, \\"c\\": [0]", "x:y": "\\\\", "n": [{"k": 1}, {"k": "v"}, {}]}', b'{"a": ', b"plain text",
        '{"\u00fc": "\u2028", "\\u00fc": 7}'.encode(), b'{"long": "' + b"x" * 20_000 + b'"}', b"  <a/>", b"[]",
    )  # fmt: skip
    for number, body in enumerate(bodies):
        yield exchange(200 + number, "PUT /bodies", body=body, answer=body, client="odd")
        yield exchange(200.5 + number, "PUT /bodies?x=%20&&y", body=body, answer=body, status=404, client="odd")


def _odd_moments() -> Iterator[Exchange]:
    for number in range(30):
        variant = '{"a": 1}' if number % 2 else '{"b": 1}'
        one = {"client": f"tie-{number % 3}", "connection": f"{number % 2}"}
        yield exchange(300 + number // 10, f"POST /ties/{number % 2 + 1}", body=variant, took_s=0.0, **one)
        yield exchange(300 + number // 10, f"POST /ties/{number % 2 + 1}", body=variant, took_s=(number % 3) / 2, **one)
    for number in range(10):
        yield exchange(400 + number, f"GET /lost/{number}", status=0, took_s=30.0, client="waiting")
    yield exchange(7200, "GET /v1/events", took_s=-5.0)
    yield exchange(7200, "GET /v1/events", took_s=4000.0)
