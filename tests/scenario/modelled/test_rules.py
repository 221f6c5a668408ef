"""A modelled schedule is right for a shop that checks it: what is its client's, how often, page by page."""

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.scenario.modelled.schedule import Ask, Modelled, model_schedule
from replay.scenario.runtime.carried import CarriedValues, Missing
from replay.scenario.runtime.places import inject
from replay.scenario.schedule import Inject, PlannedRequest
from replay.traffic import Exchange, Headers, Request, Response
from replay.workload.model import Workload, model_workload

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


@dataclass(frozen=True)
class Played:
    """What a shop refused of a schedule, the requests that lacked a value, and whether all answers were expected."""

    refused: list[str]
    unsent: list[str]
    is_expected: bool


@dataclass(frozen=True)
class Recording:
    """The shop of a capture, and the capture's workload."""

    shop: Any
    workload: Workload


def play(modelled: Modelled, shop: Any, password: Callable[[str], str]) -> Played:
    """Send each planned request in turn, with the values that the shop's own answers hand out."""
    schedule = modelled.schedule
    owner = {planned.client: schedule.copies.get(planned.client, planned.client) for planned in schedule}
    carried = CarriedValues({client: {"password": password(own)} for client, own in owner.items()}, {})
    unsent: list[str] = []
    is_expected = True
    for planned in schedule:
        values = carried.needed(planned)
        if isinstance(values, Missing):
            unsent.append(f"{planned.endpoint}: {values.error}")
            continue
        sent = inject(planned, values)
        response = shop.answer(Request(sent.method, "shop.test", sent.path, sent.query, sent.headers, sent.body))
        carried.answered(planned, response)
        is_expected = is_expected and planned.expected_status == response.status
    return Played(shop.refused, unsent, is_expected)


@pytest.fixture(scope="module")
def recording(shop: ModuleType) -> Recording:
    own = shop.Shop(random.Random(3))  # noqa: S311 - the same each time
    workload = model_workload(shop.recorded(own, clients=8, visits=5))
    assert not own.refused
    assert {link.kind for link in workload.correlations} == {"token", "cursor", "created"}
    return Recording(own, workload)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.sampled_from([30.0, 300.0, 1500.0]), st.sampled_from([0.5, 1.0, 3.0]), st.integers(0, 99))
def test_a_shop_that_checks_refuses_nothing(
    shop: ModuleType, recording: Recording, duration_s: float, scale: float, seed: int
) -> None:
    modelled = model_schedule(recording.workload, Ask(duration_s, scale, seed))
    dice = random.Random(seed)  # noqa: S311 - the same each time
    assert play(modelled, shop.Shop(dice), shop.password) == Played([], [], is_expected=True)


@pytest.fixture(scope="module")
def modelled(recording: Recording) -> Modelled:
    return model_schedule(recording.workload, Ask(recording.workload.duration_s * 4, 2.0, 5))


def taken(modelled: Modelled, *places: str) -> list[tuple[PlannedRequest, Inject, PlannedRequest]]:
    """Each request with what it is handed for one of these places, and the request that hands it out."""
    return [
        (planned, one, modelled.schedule.requests[one.origin])
        for planned in modelled.schedule
        for one in planned.injects
        if one.origin is not None and one.place in places
    ]


def test_what_can_be_used_once_is_used_once(modelled: Modelled) -> None:
    used = taken(modelled, "form:refresh_token", "form:csrf_ticket")
    assert len(used) > 200
    times = Counter((one.place, origin.request) for _, one, origin in used)
    assert set(times.values()) == {1}
    assert all(planned.client == origin.client for planned, _, origin in used)


def test_each_page_goes_on_with_the_one_before_it(recording: Recording, modelled: Modelled) -> None:
    """The third page recorded is sent as a third page, of the list that the first two were of."""
    depth = {planned.request: 0 for planned in modelled.schedule}
    pages = taken(modelled, "query:cursor")
    for planned, one, origin in pages:
        depth[planned.request] = depth[origin.request] + 1
        assert recording.shop.page_of(one.captured) == depth[planned.request]
        assert planned.query.partition("&")[0] == origin.query.partition("&")[0]
        assert planned.client == origin.client
    assert Counter(depth.values())[3] > 50
    assert set(Counter(origin.request for _, _, origin in pages).values()) == {1}


def test_what_follows_what_is_drawn_by_variant(modelled: Modelled) -> None:
    """Logins come before renewals, and first pages before others: hardly anything is put in, or changed."""
    assert sum(modelled.changed.values()) < 0.05 * modelled.events
    assert sum(modelled.put_in.values()) < 0.08 * modelled.events


def test_what_is_made_is_used_by_who_made_it(modelled: Modelled) -> None:
    used = taken(modelled, "path")
    assert used
    assert all(planned.client == origin.client for planned, _, origin in used)


def exchange(
    at_s: float, target: str, answer: Any = None, headers: Headers = (), body: bytes = b"", *, got: Headers = ()
) -> Exchange:
    method, _, path = target.partition(" ")
    content = json.dumps(answer or {}).encode()
    said = Response(200, (("Content-Type", "application/json"), *got), content, len(content))
    asked = Request(method, "shop.test", path, "", headers, body or None)
    return Exchange(START + timedelta(seconds=at_s), 0.05, "", "", asked, said)


def bearer(token: str) -> Headers:
    return (("Authorization", f"Bearer {token}"),)


def key_holder(number: int, at_s: float) -> list[Exchange]:
    """Opens a session with its key, and comes back with the session long after."""
    key, token = f"key-{number}-Qx7Rk2Vm9Tz4", f"tok{number}Aa9Bb8Cc7Dd6Ee5"
    opened = exchange(at_s, "POST /session", {"access_token": token}, (("X-Api-Key", key),))
    later = (2, 3, 4, 5, 2000, 2001, 2002, 2003, 4000, 4001)
    return [opened, *(exchange(at_s + after_s, "GET /things", {"mine": 1}, bearer(token)) for after_s in later)]


def passer_by(number: int, at_s: float) -> list[Exchange]:
    """Asks for the same without any session."""
    agent = (("User-Agent", f"reader-{number}"), ("X-Forwarded-For", f"10.0.1.{number}"))
    return [exchange(at_s + after_s, "GET /things", {"all": 9}, agent) for after_s in (0, 1, 2, 700, 701)]


def test_nobody_opens_a_session_with_credentials_that_are_anothers() -> None:
    exchanges = [one for n in range(6) for one in (*key_holder(n, n * 31.0), *passer_by(n, n * 57.0))]
    workload = model_workload(exchanges)
    columns = {client: set(own) for client, own in workload.columns().items()}
    assert columns
    assert {client.name for client in workload.clients} - columns.keys()
    for seed in range(4):
        schedule = model_schedule(workload, Ask(6000.0, 2.0, seed)).schedule
        assert any(planned.endpoint == "POST /session" for planned in schedule)
        for planned in schedule:
            own = columns.get(schedule.copies.get(planned.client, planned.client), set())
            assert {one.credential for one in planned.injects if one.credential} <= own


def code_login(number: int, at_s: float, *, known: bool) -> list[Exchange]:
    """A page, unless it is known who comes; who it is, for a code; a token for that; and what is asked for with it."""
    code, token, session = f"cod{number}Kk1Ll2Mm3Nn4", f"tok{number}Aa9Bb8Cc7Dd6Ee5", f"sess{number}Pp1Qq2Rr3Ss4"
    who = f"username=person-{number}&password=hidden-{number}-Zz9&challenge=proof-{number}".encode()
    cookie = (("Cookie", f"sid={session}"), *FORM)
    page = exchange(at_s - 0.5, "GET /start", got=(("Set-Cookie", f"sid={session}; Path=/"),))
    sent = f"grant_type=authorization_code&client_id=site&code={code}&proof=proof-{number}".encode()
    steps = [
        exchange(at_s, "POST /authorize", {"code": code}, cookie, who),
        exchange(at_s + 0.3, "POST /token", {"access_token": token}, FORM, sent),
        *(exchange(at_s + after_s, "GET /things", {}, bearer(token)) for after_s in (1, 2, 3, 2000, 2001, 2002)),
    ]
    return steps if known else [page, *steps]


@pytest.mark.parametrize("known", [True, False])
def test_a_login_of_two_steps_is_one_persons(*, known: bool) -> None:
    """Who asks for a code and who redeems it look like two clients. Those who have a key of their own get none."""
    exchanges = [one for n in range(5) for one in code_login(n, 1 + n * 3.0, known=known)]
    for n in range(5):
        key = (("X-Api-Key", f"key-{n}-Qx7Rk2Vm9Tz4"),)
        exchanges += [exchange(n * 2.0 + step, "GET /things", {}, key) for step in range(6)]
    workload = model_workload(exchanges)
    modelled = model_schedule(workload, Ask(6000.0, 3.0, 1))
    redeemed = taken(modelled, "form:code")
    assert len(redeemed) > 20
    assert len(modelled.schedule) > 0.9 * modelled.events
    assert set(Counter(origin.request for _, _, origin in redeemed).values()) == {1}
    for planned, _, origin in redeemed:
        assert (planned.body or b"").rpartition(b"=")[2] == (origin.body or b"").rpartition(b"=")[2]
    with_key = {planned.client for planned in modelled.schedule for one in planned.injects if "key" in one.credential}
    assert with_key
    assert with_key.isdisjoint(planned.client for planned, _, _ in redeemed)


def guarded(number: int, at_s: float) -> list[Exchange]:
    """A page with a ticket, a login that takes one, and an order that takes one as well as the session."""
    first, second = (f"tick{number}{turn}Aa9Bb8Cc7Dd6" for turn in range(2))
    session = f"sess{number}Kk1Ll2Mm3Nn4"
    who = f"username=person-{number}&password=hidden-{number}-Zz9&csrf_ticket={first}".encode()
    order = f"item=lamp&csrf_ticket={second}".encode()
    return [
        exchange(at_s, "GET /page", {"csrf_ticket": first}),
        exchange(at_s + 1, "POST /login", {"access_token": session}, FORM, who),
        exchange(at_s + 2, "GET /page", {"csrf_ticket": second}, bearer(session)),
        exchange(at_s + 3, "POST /orders", {}, (*FORM, *bearer(session)), order),
    ]


def test_what_is_put_in_does_not_take_what_it_is_put_in_for() -> None:
    """Of a visit the login is left out by the model now and then: one put in needs a ticket of its own."""
    exchanges = [one for n in range(12) for one in guarded(n, n * 7.0)]
    exchanges = [one for place, one in enumerate(exchanges) if place % 8 > 1]  # half of them are logged in already
    workload = model_workload(exchanges)
    for seed in range(6):
        modelled = model_schedule(workload, Ask(400.0, 2.0, seed))
        times = Counter(origin.request for _, _, origin in taken(modelled, "form:csrf_ticket"))
        assert set(times.values()) == {1}


def two_forms(number: int, at_s: float) -> list[Exchange]:
    """Opens two forms, each in a session of its own, sends both, and looks what came of them."""
    agent = (("User-Agent", f"reader-{number}"), ("X-Forwarded-For", f"10.0.2.{number}"))
    opened, sent, seen = [], [], []
    for turn in range(2):
        session, ticket = f"sess{number}{turn}Pp1Qq2Rr3Ss4", f"tick{number}{turn}Aa9Bb8Cc7Dd6"
        got = (("Set-Cookie", f"flow={session}; Path=/"),)
        headers = (*agent, *FORM, ("Cookie", f"flow={session}"))
        body = f"item=lamp&csrf_ticket={ticket}".encode()
        opened.append(exchange(at_s + turn, "GET /form", {"csrf_ticket": ticket}, agent, got=got))
        sent.append(exchange(at_s + 3 + turn, "POST /orders", {}, headers, body))
        seen.append(exchange(at_s + 6 + turn, "GET /state", {}, headers))
    return [*opened, *sent, *seen]


def test_what_one_answer_handed_out_comes_from_one_answer() -> None:
    workload = model_workload([one for n in range(9) for one in two_forms(n, n * 11.0)])
    assert {link.sent for link in workload.correlations} == {"cookie:flow", "form:csrf_ticket"}
    schedule = model_schedule(workload, Ask(500.0, 2.0, 1)).schedule
    sent = [planned for planned in schedule if planned.method == "POST"]
    assert len(sent) > 50
    assert all(len({one.origin for one in planned.injects}) == 1 for planned in sent)


def test_a_token_that_was_refused_had_lived_its_life() -> None:
    """Each client uses its token for 20 s, is refused after 40 s, and logs in anew."""
    exchanges: list[Exchange] = []
    for turn in range(60):
        client, at_s = turn % 3, turn // 3 * 41.0
        token = f"tok{turn}Aa9Bb8Cc7Dd6Ee5"
        body = f"client_id=client-{client}&client_secret=hidden{client}Zz9Yy8".encode()
        exchanges.append(exchange(at_s, "POST /token", {"access_token": token}, FORM, body))
        exchanges += [exchange(at_s + after_s, "GET /things", {}, bearer(token)) for after_s in (1, 10, 20)]
        late = exchange(at_s + 40, "GET /things", {}, bearer(token))
        exchanges.append(dataclasses.replace(late, response=Response(401, (), b"", 0)))
    used = taken(model_schedule(model_workload(exchanges), Ask(2000.0, 2.0, 1)), "bearer")
    assert len(used) > 300
    assert max(planned.due_s - origin.due_s for planned, _, origin in used) < 21


def test_it_is_told_how_many_are_not_as_drawn() -> None:
    modelled = Modelled(
        model_schedule(model_workload([]), Ask()).schedule, Ask(), 9, {}, {}, {"GET /a": 3, "GET /b": 1}
    )
    assert "4 requests of another variant than was drawn" in modelled.told()[-1]
    assert modelled.to_json()["notes"] == modelled.told()[1:]
