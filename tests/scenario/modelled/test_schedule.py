"""Traffic drawn from a model of a capture: every request can be sent, and it is like what was recorded."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.store import CaptureWriter
from replay.errors import InputError
from replay.scenario.identities import needed_credentials
from replay.scenario.locustfile import build_scenario, read_scenario
from replay.scenario.modelled.rekey import rekey
from replay.scenario.modelled.schedule import Ask, Modelled, model_schedule
from replay.scenario.process import LocustProcess, locust_command
from replay.scenario.runtime.pacing import check
from replay.scenario.schedule import PlannedRequest, Schedule
from replay.traffic import Exchange, Request, Response
from replay.workload.model import Workload, model_workload, read_workload

PRODUCTION = Path(__file__).parents[3] / "captures" / "production"
LINKED = Path(__file__).parents[2] / "workload"
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
JSON = (("Content-Type", "application/json"),)


def exchange(at_s: float, method: str, path: str, answer: Any = None, status: int = 200, **request: Any) -> Exchange:
    got = tuple(request.pop("got", ()))
    body = b"" if answer is None else json.dumps(answer).encode()
    asked = Request(method, "api.test", path, **request)
    return Exchange(
        START + timedelta(seconds=at_s), 0.05, "", "", asked, Response(status, (*JSON, *got), body, len(body))
    )


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("Authorization", f"Bearer {token}"),)


@st.composite
def traffic(draw: st.DrawFn) -> list[Exchange]:
    """A few clients that log in or were logged in already, page through lists, make things and change them."""
    found: list[Exchange] = []
    made = 700
    for client in range(draw(st.integers(1, 4))):
        at_s = draw(st.floats(0, 30))
        headers = bearer(f"before-{client}-Qx7Rk2Vm9Tz4")
        if draw(st.booleans()):
            token = f"tok{client}Aa9Bb8Cc7Dd6Ee5"
            body = f"client_id=client-{client}&client_secret=hidden{client}Zz9Yy8".encode()
            found.append(exchange(at_s, "POST", "/token", {"access_token": token}, headers=FORM, body=body))
            headers = bearer(token)
        for step in draw(st.lists(st.sampled_from(["list", "make", "look", "change"]), max_size=6)):
            at_s += draw(st.floats(0.1, 9))
            event = draw(st.integers(1, 4))
            if step == "list":
                cursor = f"c{client}K{event}w7Xq3Zt9Lp{len(found)}"
                path = f"/events/{event}/seats"
                found.append(exchange(at_s, "GET", path, {"next_cursor": cursor}, headers=headers))
                found.append(exchange(at_s + 0.09, "GET", path, {}, headers=headers, query=f"cursor={cursor}"))
            elif step == "make":
                made += 1
                path = f"/events/{event}/orders"
                found.append(
                    exchange(at_s, "POST", path, {"id": made, "order_id": made}, 201, headers=headers, body=b"{}")
                )
                found.append(exchange(at_s + 0.09, "GET", f"/orders/{made}", {"id": made}, headers=headers))
            elif step == "look":
                found.append(exchange(at_s, "GET", f"/events/{event}", {"id": event}, headers=headers))
            else:
                tag = f'"{client}-{len(found)}-Wq8"'
                path = f"/carts/{event}"
                found.append(exchange(at_s, "GET", path, {}, headers=headers, got=(("ETag", tag),)))
                changing = (*headers, ("If-Match", tag))
                found.append(exchange(at_s + 0.09, "PUT", path, {}, headers=changing, body=b"{}"))
    return found


def hold_together(modelled: Modelled, duration_s: float) -> None:
    """Every request waits for earlier ones only, and each of its values comes from somewhere."""
    schedule = modelled.schedule
    check(schedule, "visits")
    assert all(0 <= planned.due_s < duration_s for planned in schedule)
    assert len(schedule) == modelled.events + sum(modelled.put_in.values()) - sum(modelled.left_out.values())
    for planned in schedule:
        for inject in planned.injects:
            if inject.origin is None:
                assert inject.credential or inject.clock
                continue
            origin = schedule.requests[inject.origin]
            assert inject.captured in {wanted.captured for wanted in origin.extracts}
            if inject.place == "path":
                assert inject.captured in planned.path or inject.captured in unquote(planned.path)


@pytest.mark.slow
@settings(max_examples=60)
@given(traffic(), st.sampled_from([0.5, 1.0, 3.0]), st.sampled_from([20.0, 200.0]), st.integers(0, 3))
def test_everything_can_be_sent(exchanges: list[Exchange], scale: float, duration_s: float, seed: int) -> None:
    workload = model_workload(exchanges)
    ask = Ask(duration_s, scale, seed)
    try:
        modelled = model_schedule(workload, ask)
    except InputError as error:
        if "no request" not in error.message:
            raise
        return
    hold_together(modelled, duration_s)
    assert model_schedule(workload, ask) == modelled
    for planned in modelled.schedule:  # who logs in is who it is
        name = parse_qs((planned.body or b"").decode()).get("client_id")
        if name:
            assert planned.client.partition("~")[0] == name[0]


@pytest.mark.parametrize("name", ["oauth", "csrf", "paging", "created", "etags", "spa", "oidc", "legacy"])
def test_every_kind_of_link_is_carried_over(name: str) -> None:
    log: Any = module("captures_log").Log(7)
    module(f"captures_{name}").record(log)
    workload = model_workload(log.exchanges)
    modelled = model_schedule(workload, Ask(workload.duration_s * 4, 2.0, 5))
    hold_together(modelled, workload.duration_s * 4)
    places = Counter(link.sent for link in workload.correlations if link.sent != "header:if-modified-since")
    carried = Counter(
        inject.place for planned in modelled.schedule for inject in planned.injects if inject.origin is not None
    )
    assert {place for place, count in places.items() if count > 4} <= carried.keys()
    assert sum(modelled.left_out.values()) < 0.05 * modelled.events
    assert difference(workload, modelled) < 0.1


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"modelled_{name}", LINKED / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def difference(workload: Workload, modelled: Modelled) -> float:
    """The total variation between two mixes of endpoints; what was put in is not counted."""
    recorded = Counter(str(endpoint) for endpoint in workload.endpoints)
    drawn = Counter(planned.endpoint for planned in modelled.schedule)
    drawn.subtract(modelled.put_in)
    names = recorded.keys() | drawn.keys()
    return sum(abs(recorded[name] / recorded.total() - drawn[name] / drawn.total()) for name in names) / 2


@pytest.fixture(scope="module")
def production() -> Workload:
    return read_workload(PRODUCTION)


@pytest.mark.slow
def test_three_times_the_clients_ten_times_as_long(production: Workload) -> None:
    modelled = model_schedule(production, Ask(500.0, 3.0, 7))
    schedule = modelled.schedule
    hold_together(modelled, 500.0)
    assert 0.7 * 30 < len(schedule) / len(production.exchanges) < 1.4 * 30
    assert difference(production, modelled) < 0.1
    assert sum(modelled.left_out.values()) < 0.001 * modelled.events
    names = {client.name for client in production.clients}
    assert {planned.client for planned in schedule} - schedule.copies.keys() <= names
    assert schedule.copies
    assert all(copy.startswith(f"{own}~") and own in names for copy, own in schedule.copies.items())
    assert {client.partition("~")[0] for client, _ in needed_credentials(schedule)} <= names
    pages = [planned for planned in schedule if "cursor=" in planned.query]
    recorded = sum("cursor=" in one.request.query for one in production.exchanges) / len(production.exchanges)
    assert len(pages) / len(schedule) > 0.8 * recorded
    for planned in pages:  # a page follows one of the same list
        origin = next(one.origin for one in planned.injects if one.place == "query:cursor" and one.origin is not None)
        assert schedule.requests[origin].path == planned.path
        assert schedule.requests[origin].client == planned.client


@pytest.mark.slow
def test_a_seed_gives_the_same_and_another_one_does_not(production: Workload) -> None:
    first, again, other = (model_schedule(production, Ask(20.0, 1.0, seed)).schedule for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_who_was_logged_in_before_gets_a_login_that_is_counted() -> None:
    """One login in the capture, long before most of what needs it: more clients need more logins."""
    token = "tokAa9Bb8Cc7Dd6Ee5"
    body = b"client_id=crm&client_secret=hidden0Zz9Yy8"
    exchanges = [exchange(0, "POST", "/token", {"access_token": token}, headers=FORM, body=body)]
    exchanges += [exchange(1 + n * 0.5, "GET", "/events", {}, headers=bearer(token)) for n in range(60)]
    modelled = model_schedule(model_workload(exchanges), Ask(60.0, 4.0, 1))
    hold_together(modelled, 60.0)
    assert set(modelled.put_in) == {"POST /token"}
    logins = [planned for planned in modelled.schedule if planned.method == "POST"]
    assert {planned.client for planned in logins} == {planned.client for planned in modelled.schedule}
    for planned in modelled.schedule:
        if planned.method == "GET":
            (inject,) = planned.injects
            assert inject.origin is not None
            origin = modelled.schedule.requests[inject.origin]
            assert (origin.client, origin.method) == (planned.client, "POST")
            assert planned.due_s - origin.due_s <= 31.0  # nobody knows of a token that lives longer


def test_a_token_whose_life_is_told_is_used_that_long() -> None:
    token = "tokAa9Bb8Cc7Dd6Ee5"
    body = b"client_id=crm&client_secret=hidden0Zz9Yy8"
    answer = {"access_token": token, "expires_in": 86400}
    exchanges = [exchange(0, "POST", "/token", answer, headers=FORM, body=body)]
    exchanges += [exchange(1 + n * 0.5, "GET", "/events", {}, headers=bearer(token)) for n in range(60)]
    modelled = model_schedule(model_workload(exchanges), Ask(600.0, 1.0, 1))
    clients = {planned.client for planned in modelled.schedule}
    drawn = sum(planned.method == "POST" for planned in modelled.schedule) - sum(modelled.put_in.values())
    assert sum(modelled.put_in.values()) <= len(clients)
    assert drawn < len(modelled.schedule) / 10


@pytest.mark.parametrize("count", [1, 3])
def test_hardly_any_traffic(count: int) -> None:
    workload = model_workload([exchange(number, "GET", "/health") for number in range(count)])
    modelled = model_schedule(workload, Ask(3600.0, 1.0, 1))
    hold_together(modelled, 3600.0)
    assert {planned.client for planned in modelled.schedule} <= {workload.clients[0].name, *modelled.schedule.copies}


def test_no_traffic_at_all() -> None:
    assert model_schedule(model_workload([]), Ask()) == Modelled(Schedule((), 1.0), Ask(), 0, {}, {}, {})


def test_what_is_too_much_is_refused(production: Workload) -> None:
    with pytest.raises(InputError, match="more than 5,000,000"):
        model_schedule(production, Ask(86400.0, 100.0, 1))


def test_another_key_goes_wherever_the_first_one_stood() -> None:
    planned = PlannedRequest(
        request=0,
        visit=0,
        client="c",
        endpoint="PUT /events/{event_id}/seats/{seat_id}",
        due_s=0.0,
        after=None,
        method="PUT",
        path="/events/5/seats/5",
        query="event_id=5&limit=5",
        headers=JSON,
        body=b'{"event_id": 5, "seats": [{"seat_id": "5"}], "count": 5}',
        expected_status=200,
        expected_shape=None,
    )
    moved = rekey(planned, ("7/8", "9"))
    assert (moved.path, moved.query) == ("/events/7%2F8/seats/9", "event_id=7%2F8&limit=5")
    assert json.loads(moved.body or b"") == {"event_id": "7/8", "seats": [{"seat_id": "9"}], "count": 5}
    assert rekey(planned, ("5", "5")) == planned
    assert rekey(planned, ("7",)) == planned


@contextmanager
def stage(folder: Path) -> Iterator[tuple[int, Path]]:
    notes = folder / "stage.jsonl"
    notes.touch()
    command = [sys.executable, str(Path(__file__).parents[1] / "runtime" / "stage.py"), str(notes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline()), notes
        finally:
            process.kill()


@pytest.mark.slow
def test_a_modelled_schedule_is_played(tmp_path: Path) -> None:
    """Stage hands out tokens of its own, and refuses those of the capture: nothing is sent with one."""
    with CaptureWriter(tmp_path / "capture", environment="qa", hosts=["api.test"], scrubber=None) as writer:
        exchanges = []
        for client in range(6):
            token = f"tok{client}Aa9Bb8Cc7Dd6Ee5"
            body = f"client_id=client-{client}&client_secret=hidden{client}Zz9Yy8".encode()
            at_s = client * 0.3
            exchanges.append(exchange(at_s, "POST", "/token", {"access_token": token}, headers=FORM, body=body))
            for number in range(8):
                at_s += 0.2
                exchanges.append(exchange(at_s, "GET", f"/guarded/{number % 3}", {"id": 1}, headers=bearer(token)))
        for one in sorted(exchanges, key=lambda one: one.at):
            writer.add(one)
    scenario = build_scenario(tmp_path / "capture", tmp_path / "built.py", model=Ask(5.0, 2.0, 7))
    assert scenario.schedule.copies
    assert read_scenario(scenario.path).schedule == scenario.schedule
    clients = sorted({client for client, _ in needed_credentials(scenario.schedule)})
    identities = tmp_path / "identities.csv"
    identities.touch(mode=0o600)
    identities.write_text("client,client_secret\n" + "".join(f"{client},made-up\n" for client in clients))
    with stage(tmp_path) as (port, notes):
        command = locust_command(
            tmp_path / "built.py",
            target_url=f"http://127.0.0.1:{port}",
            evidence=tmp_path / "arm",
            start_at=None,
            duration_s=None,
            speed=1.0,
            scale=1.0,
            identities=identities,
            allow=["127.0.0.1"],
        )
        with LocustProcess(command, tmp_path / "locust.log") as process:
            code = process.wait(120)
    assert code == 0, (tmp_path / "locust.log").read_text()
    files = sorted((tmp_path / "arm" / "observations").glob("*.parquet"))
    seen = pd.concat([pq.read_table(file).to_pandas() for file in files])
    assert sorted(seen.request) == [planned.request for planned in scenario.schedule]
    assert len(seen) > 20
    assert set(seen.outcome) == {"ok"}
    assert set(seen.status) == {200}
    came = [json.loads(line) for line in notes.read_text().splitlines()]
    guarded = [note for note in came if note["path"].startswith("/guarded")]
    assert guarded
    assert all(note["headers"]["authorization"].startswith("Bearer stage-token-") for note in guarded)
