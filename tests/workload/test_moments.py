from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from replay.traffic import Client, Endpoint, Exchange, Request, Response
from replay.workload.correlations.dates import read_said
from replay.workload.correlations.links import Traffic
from replay.workload.correlations.moments import find_moments
from replay.workload.correlations.places import sent_values

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def moments(*requests: tuple[datetime, str]) -> set[tuple[int, str, str, float]]:
    """Exchange, place, form and offset of what moves, of requests such as ``(at, "/v1/reports?from=2026-03-01")``."""
    exchanges, sent = [], []
    for at, target in requests:
        path, _, query = target.partition("?")
        request = Request("GET", "api.test", path, query)
        exchanges.append(Exchange(at, 0.1, "a", "1", request, Response(200)))
        names = tuple("report_date" if segment[:1].isdigit() else "" for segment in path.split("/")[1:])
        sent.append(sent_values(request, "/", names))
    starts = [(at - requests[0][0]).total_seconds() for at, _ in requests]
    same: Any = [Client("a", "address")] * len(sent)
    endpoints = [Endpoint("GET", "/v1/reports")] * len(sent)
    traffic = Traffic(exchanges, starts, starts, same, [0] * len(sent), endpoints, sent)
    return {(one.exchange, one.place, one.clock, round(one.offset_s, 3)) for one in find_moments(traffic)}


@pytest.mark.parametrize(
    ("text", "clock", "offset_s"),
    [
        ("2026-03-02T09:00:00Z", "%Y-%m-%dT%H:%M:%SZ", 0),
        ("2026-03-02T08:59:58.250Z", "%Y-%m-%dT%H:%M:%S.%3fZ", -1.75),
        ("2026-03-02T10:00:00%2B01:00", "%Y-%m-%dT%H:%M:%S+01:00", 0),
        ("20260302T090000Z", "%Y%m%dT%H%M%SZ", 0),
        ("1772442001", "epoch_s", 1),
        ("1772441999500", "epoch_ms", -0.5),
        ("2026-03-02", "%Y-%m-%d", 0),
        ("20260302", "%Y%m%d", 0),
        ("02.03.2026", "%d.%m.%Y", 0),
        ("2026-03-02T00:00:00Z", "%Y-%m-%dT00:00:00Z", 0),
        ("2026-03-02T23:59:59.999Z", "%Y-%m-%dT23:59:59.999Z", 0),
    ],
)
def test_now_and_today_move(text: str, clock: str, offset_s: float) -> None:
    assert moments((START, f"/v1/reports?at={text}")) == {(0, "query:at", clock, offset_s)}


def test_a_date_in_a_path_moves() -> None:
    assert moments((START, "/v1/reports/2026-03-02")) == {(0, "path", "%Y-%m-%d", 0)}


def test_the_other_end_of_a_range_moves_with_it() -> None:
    found = moments((START, "/v1/reports?from=2026-02-23&to=2026-03-02"))
    assert found == {(0, "query:from", "%Y-%m-%d", -7 * 86400), (0, "query:to", "%Y-%m-%d", 0)}


def test_yesterday_follows_the_clock_over_days() -> None:
    days = [(START + timedelta(days=day), f"/v1/reports?day=2026-03-0{day + 1}") for day in range(4)]
    assert {(number, offset_s) for number, _, _, offset_s in moments(*days)} == {(n, -86400) for n in range(4)}


def test_an_hour_ago_follows_the_clock_within_a_day() -> None:
    asked = [
        (
            START + timedelta(minutes=20 * n),
            f"/v1/reports?since={START + timedelta(minutes=20 * n - 60):%Y-%m-%dT%H:%M:%SZ}",
        )
        for n in range(5)
    ]
    assert {offset_s for *_, offset_s in moments(*asked)} == {-3600}


@pytest.mark.parametrize(
    "targets",
    [
        ["/v1/reports?day=2026-03-05"] * 8,  # an event's
        ["/v1/reports?birthday=2026-03-02"] * 8,
        ["/v1/reports?version=2026-03-02"] * 8,
        ["/v1/reports?day=1984-03-02", "/v1/reports?day=2031-12-24"] * 4,
        [f"/v1/reports?day=2026-03-{day:02}" for day in (9, 4, 28, 17, 11, 22, 6, 30)],
        ["/v1/reports?since=2026-03-01T12:34:56Z"] * 8,
        [f"/v1/reports?order=10000{n:05}" for n in range(8)],
        [f"/v1/reports?order=20269{n:03}" for n in range(8)],
    ],
)
def test_fixed_dates_and_numbers_stay(targets: list[str]) -> None:
    assert moments(*((START + timedelta(hours=9 * n), target) for n, target in enumerate(targets))) == set()


@pytest.mark.parametrize(
    "text", ["", "2026-13-01", "2026-02-30", "12345678", "99999999999999999999", "2026-03-02T25:00:00Z"]
)
def test_what_is_no_time_says_none(text: str) -> None:
    assert read_said(text) == ()
