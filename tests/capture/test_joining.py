"""A mirror's requests with the answers that logs tell of: each answer once, no request lost, all of it counted."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_parts import KEY, capture_of, combined, exchange, imported, importing, json_line, moment, targets, write

from replay.capture.clients import client_name
from replay.capture.importing import try_import
from replay.capture.joining import Join
from replay.capture.pseudonyms import Key
from replay.capture.segments import to_exchanges, to_table
from replay.capture.selection import Selection
from replay.capture.sources.source import ReadOptions
from replay.traffic import Exchange, Headers, Response

LOG_FORMAT = '$remote_addr [$time_local] "$request" $status $body_bytes_sent "$http_user_agent" $request_id'
AGENT = (("User-Agent", "one/1"),)
IDS = [f"{number:032x}" for number in range(1, 6)]


def client(address: str = "192.0.2.7") -> str:
    """As the log's client is called too."""
    return client_name("address", f"{address} one/1", KEY)


def asked(second: float, target: str = "/v2/events/7", identity: str = "", address: str = "192.0.2.7") -> Exchange:
    """A request as a mirror records it."""
    headers = (*AGENT, ("X-Request-Id", identity)) if identity else AGENT
    return exchange(second, target, headers, client(address), status=None)


def logged(second: int, target: str, status: int, identity: str = "-", address: str = "192.0.2.7") -> str:
    at = f"{moment(second):%d/%b/%Y:%H:%M:%S +0000}"
    return f'{address} [{at}] "GET {target} HTTP/1.1" {status} 12 "one/1" {identity}\n'


def mirror(path: Path, *requests: Exchange, key: Key | None = KEY) -> Path:
    return capture_of(path, requests, source="mirror", key=key, environment="production")


def statuses(exchanges) -> dict[str, int | None]:
    return {one.request.path: one.response and one.response.status for one in exchanges}


def sources(manifest) -> dict[str, tuple]:
    return {Path(one.name).name: (one.read, one.kept, one.left_out) for one in manifest.sources}


USED, NOT_USED = "--join, as part of a request of the mirror", "--join, as no request of the mirror"


def test_by_the_id_of_the_request(tmp_path):
    """The log's clock is a minute late, and its lines are in another order."""
    path = mirror(
        tmp_path / "m", *(asked(n, f"/{n}", identity) for n, identity in enumerate(IDS)), asked(9, "/9", "f" * 32)
    )
    log = write(tmp_path / "a.log", [logged(64 - n, f"/{n}", 200 + n, identity) for n, identity in enumerate(IDS)])
    capture = imported(tmp_path / "out", path, log, options=ReadOptions(LOG_FORMAT))
    assert statuses(capture.exchanges()) == {"/0": 200, "/1": 201, "/2": 202, "/3": 203, "/4": 204, "/9": None}
    assert sources(capture.manifest) == {"m": (6, 6, {}), "a.log": (5, 0, {USED: 5})}
    (note,) = capture.manifest.notes
    assert note == (
        "5 of the mirror's 6 requests (83.3%) were joined with an answer of the log: 5 by X-Request-Id, 0 by time, "
        "client and request line."
    )


@pytest.mark.parametrize(
    "identity",
    [
        "287779c6-9443-47ff-8109-cdaad7e4eed9",
        "req_9fGh7Jk2Lm4Np6Qr8St0",
        "F95enMPSpU5jWCHWh+7xlw==",
        "Root=1-67891233-abcdef012345678912345678",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0HMVD9LE5M2C8:00000001",
        "b7e1-2",
    ],
)
def test_an_id_of_any_form(identity, tmp_path):
    """Whether it looks like a secret or not, it is the same on both sides."""
    path = mirror(tmp_path / "m", asked(1, "/x", identity))
    log = write(tmp_path / "a.log", logged(100, "/x", 201, identity))
    lines = write(tmp_path / "b.json", json_line(100, "/x", 201, request_id=identity))
    for number, (file, log_format) in enumerate([(log, LOG_FORMAT), (lines, None)]):
        (one,) = imported(tmp_path / f"out{number}", path, file, options=ReadOptions(log_format)).exchanges()
        assert one.response
        assert one.response.status == 201


def test_by_time_client_and_request_line(tmp_path):
    other = "198.51.100.9"
    path = mirror(
        tmp_path / "m",
        asked(1.2, "/a?x=1"),
        asked(1.3, "/a?x=1", address=other),
        asked(2.1, "/b"),
        asked(3, "/late"),
        asked(4, "/far"),
        asked(60, "/never"),
    )
    log = write(
        tmp_path / "a.log",
        [
            combined(1, "/a?x=1", 404, other),
            combined(1, "/a?x=1", 200),
            combined(1, "/b?x=1", 500),
            combined(2, "/b", 201, "203.0.113.4"),
            combined(30, "/late", 202),
            combined(40, "/far", 500),
        ],
    )
    capture = imported(tmp_path / "out", path, log)
    found = [(one.request.path, one.client, one.response and one.response.status) for one in capture.exchanges()]
    assert found == [
        ("/a", client(), 200),
        ("/a", client(other), 404),
        ("/b", client(), 201),
        ("/late", client(), 202),
        ("/far", client(), None),
        ("/never", client(), None),
    ]
    assert sources(capture.manifest) == {"m": (6, 6, {}), "a.log": (6, 0, {USED: 4, NOT_USED: 2})}
    assert "4 of the mirror's 6 requests (66.7%)" in capture.manifest.notes[0]
    assert "0 by X-Request-Id, 4 by time" in capture.manifest.notes[0]


def test_an_answer_is_given_once(tmp_path):
    path = mirror(tmp_path / "m", *(asked(1 + n / 10) for n in range(5)))
    log = write(tmp_path / "a.log", [combined(1, status=200), combined(1, status=201), combined(2, status=202)])
    capture = imported(tmp_path / "out", path, log)
    found = [one.response.status for one in capture.exchanges() if one.response]
    assert sorted(found) == [200, 201, 202]
    assert found[:2] == [200, 201]  # what is alike, in its order
    assert capture.manifest.exchanges == 5


def test_several_mirrors_and_several_logs(tmp_path):
    mirrors = [mirror(tmp_path / f"m{n}", *(asked(10 * k + n, f"/{n}/{k}") for k in range(4))) for n in range(3)]
    logs = [
        write(tmp_path / f"{n}.log", [combined(10 * k + k % 2, f"/{k % 2}/{k}", 200 + k) for k in range(n, 4, 2)])
        for n in range(2)
    ]
    lines = write(tmp_path / "more.json", [json_line(10 * k + 2, f"/2/{k}", 300 + k) for k in range(3)])
    capture = imported(tmp_path / "out", *mirrors, *logs, lines)
    exchanges = list(capture.exchanges())
    assert [one.at for one in exchanges] == sorted(one.at for one in exchanges)
    assert {target: status for target, status in statuses(exchanges).items() if status} == {
        "/0/0": 200,
        "/1/1": 201,
        "/0/2": 202,
        "/1/3": 203,
        "/2/0": 300,
        "/2/1": 301,
        "/2/2": 302,
    }
    assert sources(capture.manifest) == {
        **{f"m{n}": (4, 4, {}) for n in range(3)},
        **{f"{n}.log": (2, 0, {USED: 2}) for n in range(2)},
        "more.json": (3, 0, {USED: 3}),
    }


def test_without_joining_both_are_kept(tmp_path):
    path = mirror(tmp_path / "m", asked(1))
    log = write(tmp_path / "a.log", combined(1))
    capture = imported(tmp_path / "out", path, log, join=False)
    assert [one.response and one.response.status for one in capture.exchanges()] == [200, None]
    assert capture.manifest.notes == ()
    # A capture that no mirror recorded is joined with nothing.
    proxied = capture_of(tmp_path / "p", [asked(1)], environment="production")
    assert imported(tmp_path / "out2", proxied, log).manifest.exchanges == 2


def test_what_is_joined_is_selected_from_afterwards(tmp_path):
    path = mirror(tmp_path / "m", *(asked(n, f"/{n}") for n in range(10)))
    log = write(tmp_path / "a.log", [combined(n, f"/{n}", 200 + n) for n in range(10)])
    selection = Selection.parse(since="3s", until="6s", endpoints=["GET /3", "GET /4"])
    capture = imported(tmp_path / "out", path, log, selection=selection)
    assert statuses(capture.exchanges()) == {"/3": 203, "/4": 204}
    assert sources(capture.manifest) == {
        "m": (10, 2, {"--since": 3, "--until": 4, "--endpoint": 1}),
        "a.log": (10, 0, {USED: 10}),
    }


def test_secrets_are_joined_as_their_pseudonyms(tmp_path):
    secret = "hush-Hush-42x9"
    path = mirror(tmp_path / "m", asked(1, f"/v2?password={secret}"), asked(2, f"/v2/{secret}"))
    log = write(tmp_path / "a.log", [combined(1, f"/v2?password={secret}", 201), combined(2, f"/v2/{secret}", 202)])
    capture = imported(tmp_path / "out", path, log)
    assert [one.response and one.response.status for one in capture.exchanges()] == [201, 202]
    assert not any(secret in target for target in targets(capture))
    other = imported(tmp_path / "out2", path, log, key=Key(b"o" * 32))
    assert not any(one.response for one in other.exchanges())
    assert "recorded with another --scrub-key" in other.manifest.notes[1]


def test_a_mirror_that_was_not_scrubbed_is_joined_too(tmp_path):
    secret = "hush-Hush-42x9"
    path = mirror(tmp_path / "m", asked(1, f"/v2?password={secret}"), key=None)
    log = write(tmp_path / "a.log", combined(1, f"/v2?password={secret}", 201))
    (one,) = imported(tmp_path / "out", path, log).exchanges()
    assert one.response.status == 201
    assert secret not in one.request.query


def test_a_dry_run_of_a_join_counts_the_same(tmp_path):
    path = mirror(tmp_path / "m", *(asked(n, f"/{n}") for n in range(4)))
    log = write(tmp_path / "a.log", [combined(n, f"/{n}", 200 + n) for n in range(2, 9)] + ["nonsense\n"])
    tried = try_import(importing(path, log))
    manifest = imported(tmp_path / "out", path, log).manifest
    assert {one.source: (one.kept, one.skipped, one.left_out) for one in tried.tallies} == {
        one.name: (one.kept, one.skipped, one.left_out) for one in manifest.sources
    }
    assert tried.notes == manifest.notes
    assert tried.scrubbing == manifest.scrubbing


# Any requests with any answers

# No two of one kind at a moment, so that there is one nearest answer.
SECONDS = st.lists(st.integers(0, 300_000).map(lambda ms: ms / 1000), max_size=25, unique=True)
TARGETS = st.sampled_from(["/a", "/b", "/a?q=1"])
ADDRESSES = st.sampled_from(["192.0.2.7", "198.51.100.9"])
AGENTS = st.sampled_from([(), AGENT, (("user-agent", 'x "y"'),)])


@st.composite
def traffic(draw: st.DrawFn, *, with_ids: bool) -> list[list[Exchange]]:
    """Streams of exchanges, each in order of time."""
    streams = []
    for _ in range(draw(st.integers(1, 3))):
        seconds = sorted(draw(SECONDS))
        stream = []
        for second in seconds:
            headers: Headers = draw(AGENTS)
            if with_ids and draw(st.booleans()):
                headers = (*headers, ("X-Request-ID", draw(st.sampled_from(IDS))))
            one = exchange(second, draw(TARGETS), headers, client(draw(ADDRESSES)), status=None)
            stream.append(replace(one, duration_s=draw(st.sampled_from([0.0, 0.3]))))
        streams.append(stream)
    return streams


def tables(stream: list[Exchange], size: int):
    return [to_table(stream[start : start + size]) for start in range(0, len(stream), size)]


def answers_of(streams: list[list[Exchange]]) -> list[list[Exchange]]:
    """The same as answers, each with a number of its own."""
    numbers = itertools.count()
    return [[replace(one, response=Response(200, size_bytes=next(numbers))) for one in stream] for stream in streams]


def line(one: Exchange) -> tuple[str, str]:
    return one.request.path, one.request.query


def fits(asking: Exchange, answer: Exchange) -> bool:
    apart = (answer.at - asking.at).total_seconds()
    return line(asking) == line(answer) and -2 <= apart <= (2 if answer.duration_s else 30)


@pytest.mark.slow
@given(traffic(with_ids=True), traffic(with_ids=True), st.integers(1, 30), st.integers(1, 30))
@settings(deadline=None, max_examples=300)
def test_any_requests_with_any_answers(requests, answers, some, others):
    answers = answers_of(answers)
    join = Join([iter(tables(stream, some)) for stream in answers])
    joined: list[list[Exchange]] = [[] for _ in requests]
    for number, table in join.joined([iter(tables(stream, others)) for stream in requests]):
        joined[number] += to_exchanges(table)
    by_number = {one.response.size_bytes: one for stream in answers for one in stream}
    pairs, alone = [], []
    for before, after in zip(requests, joined, strict=True):  # no request is lost, and each is what it was
        assert [replace(one, response=None, duration_s=0.0) for one in after] == [
            replace(one, duration_s=0.0) for one in before
        ]
        pairs += [(one, by_number[one.response.size_bytes]) for one in after if one.response]
        alone += [one for one in after if not one.response]
    used = [answer.response.size_bytes for _, answer in pairs]
    assert len(set(used)) == len(used)
    for one, answer in pairs:
        same_id = one.request.header("x-request-id") and one.request.header("x-request-id") == answer.request.header(
            "x-request-id"
        )
        assert same_id or fits(one, answer)
        assert one.duration_s == answer.duration_s
    assert join.matched.requests == sum(map(len, requests))
    assert join.matched.by_id + join.matched.by_time == len(pairs) == sum(join.used)
    assert join.lines == [len(stream) for stream in answers]
    assert all(count <= lines for count, lines in zip(join.used, join.lines, strict=True))
    free = [answer for number, answer in by_number.items() if number not in used]
    assert not any(fits(one, answer) for one in alone for answer in free)


@given(traffic(with_ids=False), traffic(with_ids=False))
@settings(deadline=None, max_examples=300)
def test_the_nearest_answer_of_the_same_client_is_taken(requests, answers):
    """As it is when each request looks at every answer."""
    requests, answers = requests[:1], answers_of(answers)[:1]
    join = Join([iter(tables(answers[0], 100))])
    joined = [one for _, table in join.joined([iter(tables(requests[0], 100))]) for one in to_exchanges(table)]
    free = list(answers[0])
    for one in joined:
        near = [
            (
                answer.client != one.client,
                answer.request.header("user-agent") != one.request.header("user-agent"),
                abs(answer.at - one.at),
                answer.response.size_bytes,
            )
            for answer in free
            if fits(one, answer)
        ]
        assert (one.response and one.response.size_bytes) == (min(near)[3] if near else None)
        free = [answer for answer in free if not one.response or answer.response.size_bytes != one.response.size_bytes]


def test_many_requests_that_are_all_alike():
    """An answer that is taken is not looked at again: else this would take an hour."""
    rows = 60_000
    requests = to_table([exchange(number / 1000, status=None) for number in range(rows)])
    answers = to_table([exchange(number / 1000 + 0.4) for number in range(rows)])
    join = Join([iter([answers])])
    assert sum(table.num_rows for _, table in join.joined([iter([requests])])) == rows
    assert join.matched.by_time == rows


def test_the_note_survives_in_the_manifest(tmp_path):
    path = mirror(tmp_path / "m", asked(1))
    imported(tmp_path / "out", path, write(tmp_path / "a.log", combined(1)))
    (note,) = json.loads((tmp_path / "out" / "capture.json").read_text())["notes"]
    assert Counter(note)["1"] >= 2
    again = imported(tmp_path / "again", tmp_path / "out")
    assert again.manifest.notes == (f"out: {note}",)
