from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.scenario.runtime.carried import CarriedValues, Missing
from replay.scenario.runtime.clock import render
from replay.scenario.schedule import Inject
from replay.workload.correlations.dates import read_said

NOW = datetime(2026, 11, 30, 23, 30, 5, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("clock", "offset_s", "text"),
    [
        ("%Y-%m-%d", 0, "2026-11-30"),
        ("%Y-%m-%d", 86400, "2026-12-01"),
        ("%Y-%m-%d", -7 * 86400, "2026-11-23"),
        ("%Y-%m-%dT00:00:00Z", 86400, "2026-12-01T00:00:00Z"),
        ("%Y-%m-%dT00:00:00+01:00", 0, "2026-12-01T00:00:00+01:00"),
        ("%Y-%m-%dT%H:%M:%S.%3fZ", -0.5, "2026-11-30T23:30:04.623Z"),
        ("%Y-%m-%dT%H:%M+0530", 0, "2026-12-01T05:00+0530"),
        ("epoch_s", 0.9, "1796081406"),
        ("epoch_ms", 0, "1796081405123"),
    ],
)
def test_a_time_is_written_as_it_was(clock: str, offset_s: float, text: str) -> None:
    assert render(clock, NOW, offset_s) == text


CLOCKS = "%Y-%m-%d %Y%m%d %Y-%m-%dT%H:%M:%SZ %Y-%m-%dT%H:%M:%S.%6f+02:00 %Y%m%dT%H%M%SZ epoch_s epoch_ms".split()
years = st.datetimes(datetime.fromisoformat("2002-01-01"), datetime.fromisoformat("2090-01-01"))


@given(years, st.integers(-30, 30), st.sampled_from(CLOCKS))
def test_what_is_written_is_read_as_the_same_time(now: datetime, days: int, clock: str) -> None:
    now = now.replace(tzinfo=UTC)
    text = render(clock, now, days * 86400.0)
    said = {one.clock: one for one in read_said(text)}
    if "%H" in clock and clock not in said:
        return  # midnight by chance reads as a date
    if clock in said:
        wanted = now + timedelta(days=days)
        assert abs((said[clock].at - wanted).total_seconds()) < (86400 if said[clock].day else 1)


def test_a_request_is_given_its_time_when_it_is_sent() -> None:
    values = CarriedValues({}, {}, now=lambda: NOW)
    inject = Inject("query:from", "2026-03-01", clock="%Y-%m-%d", offset_s=-86400)

    class Planned:
        injects = (inject,)
        client = "a"

    needed = values.needed(Planned())  # type: ignore[arg-type]
    assert not isinstance(needed, Missing)
    assert needed == {inject: "2026-11-29"}
