"""Pools and payloads through a real locust, against a server that notes what it gets."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from replay.scenario.pools import Pool, bindings_of
from replay.scenario.runtime.binding import bind
from replay.scenario.schedule import Extract, Inject, PlannedRequest, Schedule

Plan = Callable[..., PlannedRequest]
JSON = (("Content-Type", "application/json"),)


def bound(requests: list[PlannedRequest], *pools: Pool) -> list[PlannedRequest]:
    schedule = Schedule(tuple(requests), 1.0)
    return list(bind(schedule, bindings_of(schedule, pools)))


def test_every_place_gets_the_same_value_as_it_needs_it(planned: Plan) -> None:
    request = planned(
        0,
        "/events/a%2Fb/seats",
        method="POST",
        endpoint="POST /events/{event_id}/seats",
        query="x=1&event_id=a%2Fb",
        headers=(*JSON, ("X-Event-Id", "a/b")),
        body=b'{"event_id": "a/b", "note": "a/b"}',
    )
    (sent,) = bound([request], Pool("event_id", ("event_id",), ("c d",)))
    assert sent.path == "/events/c%20d/seats"
    assert sent.query == "x=1&event_id=c%20d"
    assert sent.headers == (*JSON, ("X-Event-Id", "c d"))
    assert json.loads(sent.body or b"") == {"event_id": "c d", "note": "a/b"}
    assert bound([request]) == [request]


def test_equal_values_of_two_parameters_are_not_mixed_up(planned: Plan) -> None:
    pools = Pool("org_id", ("org_id",), ("71",)), Pool("user_id", ("user_id",), ("72",))
    (sent,) = bound([planned(0, "/orgs/5/users/5", endpoint="GET /orgs/{org_id}/users/{user_id}")], *pools)
    assert sent.path == "/orgs/71/users/72"
    (part,) = bound(
        [planned(0, "/f/5-5.pdf", endpoint="GET /f/{org_id}-{user_id}.pdf")],
        *pools,
    )
    assert part.path == "/f/71-72.pdf"


def test_what_is_carried_is_left_alone(planned: Plan) -> None:
    pools = Pool("org_id", ("org_id",), ("9",)), Pool("user_id", ("user_id",), ("9",))
    carried = (Inject("path", "9", origin=0),)
    one = planned(1, "/orgs/9/users/5", endpoint="GET /orgs/{org_id}/users/{user_id}", injects=carried)
    other = planned(2, "/orgs/5/users/9", endpoint="GET /orgs/{org_id}/users/{user_id}", injects=carried)
    ambiguous, clear = bound([one, other], *pools)
    assert ambiguous.path == "/orgs/9/users/5"  # Stage's 9 for the user would be taken for the one to be carried
    assert clear.path == "/orgs/9/users/9"
    in_query = planned(3, "/x", query="user_id=9&user_id=5", injects=(Inject("query:user_id", "9", origin=0),))
    assert bound([in_query], *pools)[0].query == in_query.query


def test_the_hot_stays_hot(stage: Any, room: Any, planned: Plan, tmp_path: Path) -> None:
    ids = [f"prod-{rank}" for rank in range(1, 9) for _ in range(24 // rank)]
    ids = [ids[number * 37 % len(ids)] for number in range(len(ids))]  # in no order
    token = Extract("location", "41")
    requests = [
        planned(n, f"/ok/{one}", n * 0.01, endpoint="GET /ok/{event_id}", visit=n, client=f"c{n % 7}")
        for n, one in enumerate(ids)
    ]
    end = len(requests)
    requests += [
        planned(end, "/events", 1.0, method="POST", visit=end, expected_status=201, extracts=(token,)),
        planned(
            end + 1,
            "/ok/41",
            1.0,
            visit=end,
            after=end,
            endpoint="GET /ok/{event_id}",
            injects=(Inject("path", "41", origin=end),),
        ),
    ]
    room.write(requests)
    pool = tmp_path / "ids.csv"
    pool.write_text("event_id\n" + "".join(f"stage-{rank}\n" for rank in range(1, 21)))
    run = room.play(stage.url, pools=[f"event_id={pool}"])
    assert run.code == 0, run.said
    got = Counter(path.removeprefix("/ok/") for path in stage.paths() if path.startswith("/ok/"))
    assert got.pop("57") == 1  # made on Stage during the replay
    assert got == {f"stage-{rank}": 24 // rank for rank in range(1, 9)}
    assert "8 captured values of event_id" in run.said


def test_a_body_from_a_template(stage: Any, room: Any, planned: Plan, tmp_path: Path) -> None:
    endpoint = "PUT /ok/{event_id}"
    requests = [planned(n, f"/ok/{n % 3}", n * 0.02, method="PUT", endpoint=endpoint, visit=n) for n in range(30)]
    requests.append(planned(30, "/ok/0", 0.6, method="PUT", endpoint=endpoint, visit=30, body=b""))
    requests.append(planned(31, "/ok/0", 0.6, method="POST", endpoint="POST /ok/{event_id}", visit=31))
    room.write(requests)
    text = '["PUT /ok/{event_id}"]\njson = {event = "{event_id:number}", venue = "{venue_id}", key = "{uuid}"}\n'
    (room.folder / "production.data" / "payloads.toml").write_text(text)
    events, venues = tmp_path / "events.csv", tmp_path / "venues.csv"
    events.write_text("71\n72\n73\n")
    venues.write_text("".join(f"v{n}\n" for n in range(10)))
    missing = room.play(stage.url, pools=[f"event_id={events}"], evidence=room.folder / "none")
    assert missing.code == 2
    assert "needs a pool for venue_id" in missing.said
    run = room.play(stage.url, pools=[f"event_id={events}", f"venue_id={venues}"])
    assert run.code == 0, run.said
    puts = [note for note in stage.got() if note["method"] == "PUT"]
    filled = [note for note in puts if note["body"]]
    assert (len(puts), len(filled)) == (31, 30)
    bodies = [json.loads(note["body"]) for note in filled]
    assert all(note["path"] == f"/ok/{body['event']}" for note, body in zip(filled, bodies, strict=True))
    assert {note["headers"]["content-type"] for note in filled} == {"application/json"}
    assert len({body["key"] for body in bodies}) == 30
    assert len({body["venue"] for body in bodies}) > 3
    assert [note["body"] for note in stage.got() if note["method"] == "POST"] == [""]


def test_clients_get_rows_by_their_rank(stage: Any, room: Any, planned: Plan, tmp_path: Path) -> None:
    secret = (Inject("header:x-api-key", "x", credential="x-api-key"),)
    names = ["quiet", "busy", "busy"]
    room.write(
        [
            planned(n, f"/ok/{name}", n * 0.1, client=name, headers=(("X-Api-Key", "x"),), injects=secret)
            for n, name in enumerate(names)
        ]
    )
    identities = tmp_path / "keys.csv"
    identities.touch(mode=0o600)
    identities.write_text("x-api-key\nfirst-key\nsecond-key\n")
    run = room.play(stage.url, identities=identities)
    assert run.code == 0, run.said
    keys = {(note["path"], note["headers"]["x-api-key"]) for note in stage.got()}
    assert keys == {("/ok/busy", "first-key"), ("/ok/quiet", "second-key")}
