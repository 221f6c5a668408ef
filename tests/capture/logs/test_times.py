from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.logs.times import durations_s, moments
from replay.capture.sources.moments import parse_moment

ZONES = st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-9))])
WRITTEN = st.one_of(
    st.builds(
        lambda at, separator, fraction, end: (
            at.strftime(f"%Y-%m-%d{separator}%H:%M:%S").rjust(19, "0") + fraction + end
        ),
        st.datetimes(),
        st.sampled_from([" ", "T"]),
        st.from_regex(r"(\.\d{1,12})?", fullmatch=True),
        st.sampled_from(["", "Z", "+02:00", " UTC"]),
    ),
    st.from_regex(r"20[0-9]{2}-[0-3][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z?", fullmatch=True),
    st.text(max_size=20),
)


def slowly(text: str, zone: tzinfo) -> np.datetime64:
    at = parse_moment(text, zone)
    return np.datetime64(at.replace(tzinfo=None), "us") if at else np.datetime64("NaT", "us")


@given(st.lists(WRITTEN, max_size=12), ZONES)
@settings(deadline=None)
def test_the_fast_way_reads_what_the_slow_way_reads(texts: list[str], zone: tzinfo):
    values = pa.array([text.encode("utf-8", "replace") for text in texts], pa.binary())
    expected = np.array([slowly(text, zone) for text in texts], "M8[us]")
    np.testing.assert_array_equal(moments(values, "any", zone), expected)
    in_utc = np.array([slowly(text, UTC) for text in texts], "M8[us]")
    np.testing.assert_array_equal(moments(values, "utc", zone), in_utc)


def test_what_names_no_zone_is_in_the_zone_given():
    values = pa.array([b"2026-03-01 12:00:00", b"2026-03-01T12:00:00Z", None])
    berlin = ZoneInfo("Europe/Berlin")
    assert moments(values, "any", berlin).tolist() == [datetime(2026, 3, 1, 11), datetime(2026, 3, 1, 12), None]  # noqa: DTZ001
    assert moments(values, "utc", berlin).tolist() == [datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 12), None]  # noqa: DTZ001


@pytest.mark.parametrize(
    ("written", "unit", "seconds"),
    [
        ("0.25", "s", 0.25),
        ("250", "ms", 0.25),
        ("-1", "s", None),
        ("-", "s", None),
        ("nan", "s", None),
        ("1e400", "s", None),
    ],
)
def test_durations(written: str, unit: str, seconds: float | None):
    (found,) = durations_s(pa.array([written.encode()]), unit)
    assert seconds is None if np.isnan(found) else found == seconds
