import math
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.capture.sources.moments import parse_duration_s, parse_moment, started

AT = datetime(2025, 12, 31, 16, 37, 40, 493035, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2025-12-31T17:37:40.493035218+01:00",
        "2025-12-31T16:37:40.493035218Z",
        "2025-12-31T16:37:40.493035Z",
        "2025-12-31t16:37:40.493035z",
        "2025-12-31 16:37:40.493035 UTC",
        "2025-12-31 16:37:40.493035218 +0000 UTC",
        "2025-12-31 16:37:40,493035",
        "2025/12/31 16:37:40.493035",
        "20251231T163740.493035Z",
        "2025-12-31T11:37:40.493035-0500",
        "2025-12-31T17:37:40.493035+01",
        " [2025-12-31T16:37:40.493035Z] ",
        "31/Dec/2025:16:37:40.493035",
        "[31/Dec/2025:17:37:40.493035 +0100]",
        "31/Dec/2025:16:37:40.493035 +00:00",
        1767199060.493035,
        "1767199060.493035",
        1767199060493035,
        1767199060493035218,
        "1767199060493035218",
        datetime(2025, 12, 31, 16, 37, 40, 493035, tzinfo=UTC),
    ],
)
def test_one_moment_in_every_writing(value):
    assert parse_moment(value) == AT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10/Oct/2000:13:55:36 -0700", datetime(2000, 10, 10, 20, 55, 36, tzinfo=UTC)),
        ("Wed, 08 Dec 2021 14:02:43 GMT", datetime(2021, 12, 8, 14, 2, 43, tzinfo=UTC)),
        ("Wed Dec  8 14:02:43 2021", datetime(2021, 12, 8, 14, 2, 43, tzinfo=UTC)),
        ("2025-12-31", datetime(2025, 12, 31, tzinfo=UTC)),
        ("20251231", datetime(2025, 12, 31, tzinfo=UTC)),
        ("20251231163740", datetime(2025, 12, 31, 16, 37, 40, tzinfo=UTC)),
        ("2025-W01-2T10:00Z", datetime(2024, 12, 31, 10, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        (1767199060, datetime(2025, 12, 31, 16, 37, 40, tzinfo=UTC)),
        (1767199060493, datetime(2025, 12, 31, 16, 37, 40, 493000, tzinfo=UTC)),
        ("1612123012345", datetime(2021, 1, 31, 19, 56, 52, 345000, tzinfo=UTC)),  # no 30 December 1612, 23:45
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_other_moments(value, expected):
    assert parse_moment(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None, True, "", "-", "yesterday", "GET / HTTP/1.1", "12/31/2025 10:00", "2025-13-01", "2025-02-30T00:00Z",
        "31/Foo/2025:16:37:40", math.nan, math.inf, -math.inf, 10**400, "1e99", "9" * 300, [1], {},
        "0001-01-01T00:00+09:00", "Mon, Mon Mon", "²³",
    ],
)  # fmt: skip
def test_what_is_no_moment(value):
    assert parse_moment(value) is None


def test_a_zone_counts_only_where_none_is_named():
    berlin = ZoneInfo("Europe/Berlin")
    for text in ("2025-12-31T17:37:40", "31/Dec/2025:17:37:40", "2025/12/31 17:37:40"):
        assert parse_moment(text, berlin) == AT.replace(microsecond=0)
    for text in ("2025-12-31T16:37:40Z", "31/Dec/2025:16:37:40 +0000", "1767199060"):
        assert parse_moment(text, berlin) == AT.replace(microsecond=0)


@given(
    st.integers(0, 4_000_000_000_000_000),
    st.timedeltas(timedelta(hours=-14), timedelta(hours=14)),
)
def test_moments_survive_being_written(microseconds, away):
    at = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    at = at.astimezone(timezone(timedelta(minutes=away // timedelta(minutes=1))))
    assert parse_moment(at.isoformat()) == at
    assert parse_moment(at.strftime("%Y-%m-%d %H:%M:%S.%f999%z")) == at
    assert parse_moment(at.strftime("%d/%b/%Y:%H:%M:%S.%f %z")) == at
    assert parse_moment((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000) == at


@given(st.one_of(st.text(), st.floats(), st.integers(), st.from_regex(r"[0-9T:/+. Z,-]{0,40}")))
def test_anything_may_stand_in_a_time_s_place(value):
    parse_moment(value)
    parse_duration_s(value)


@pytest.mark.parametrize(
    ("value", "unit_s", "expected"),
    [
        (0.25, 1.0, 0.25), ("0.250", 1.0, 0.25), (250, 1e-3, 0.25), ("250000000", 1e-9, 0.25), ("250ms", 1.0, 0.25),
        ("1m2.5s", 1e-9, 62.5), ("2.2µs", 1.0, 2.2e-6), (0, 1.0, 0.0),
        ("-", 1.0, None), ("", 1.0, None), (None, 1.0, None), (True, 1.0, None), (-1, 1.0, None), (math.nan, 1.0, None),
        (10**400, 1.0, None), ("1e99", 1.0, 1e99), ("12 apples", 1.0, None),
    ],
)  # fmt: skip
def test_durations(value, unit_s, expected):
    assert parse_duration_s(value, unit_s) == (None if expected is None else pytest.approx(expected))


def test_what_ended_had_started_before():
    assert started(AT, 0.493035) == AT.replace(microsecond=0)
    assert started(AT, 1e99) == AT
