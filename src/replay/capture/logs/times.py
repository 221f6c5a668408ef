"""Times and durations of many lines at once."""

from datetime import UTC, tzinfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.logs.cutting import column_text
from replay.capture.sources.moments import parse_moment

_MICROSECONDS = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_CLF = b"10/Oct/2000:13:55:36 -0700"
_MONTHS = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"]
_NONE = np.datetime64("NaT", "us")
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
_NUMBER = r"^[0-9]{1,19}(\.[0-9]{0,12})?$"
_LATEST = 253_402_300_799_000_000.0  # the end of the year 9999
Moments = npt.NDArray[np.datetime64]
Seconds = npt.NDArray[np.float64]


def moments(values: pa.Array, detail: str, zone: tzinfo) -> Moments:
    """The moments in UTC, in microseconds, that texts say; NaT where one says none. ``detail`` as a pattern has it."""
    if detail in _MICROSECONDS:
        return _since_1970(values, _MICROSECONDS[detail])
    zone = UTC if detail == "utc" else zone
    encoded = values.dictionary_encode()
    different = encoded.dictionary
    found = _clf(different) if detail == "clf" else _iso(different, zone)
    for index in np.flatnonzero(np.isnat(found)):
        value = different[int(index)].as_py()
        moment = parse_moment(value.decode("ascii", "replace"), zone)
        if moment:
            found[index] = np.datetime64(moment.replace(tzinfo=None), "us")
    all_found: Moments = np.append(found, _NONE)[encoded.indices.fill_null(len(found)).to_numpy()]
    return all_found


def durations_s(values: pa.Array, unit: str) -> Seconds:
    """Durations in seconds; NaN where a text says none, or less than nothing."""
    numbers = _floats(values) * _SECONDS[unit]
    return np.round(numbers, 9)


def _floats(values: pa.Array) -> Seconds:
    try:
        numbers = values.cast(pa.string()).cast(pa.float64())
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(values, _NUMBER)
        numbers = pc.if_else(good, values, pa.scalar(None, pa.binary())).cast(pa.string()).cast(pa.float64())
    found: Seconds = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where((found >= 0) & (found < np.inf), found, np.nan)


def _since_1970(values: pa.Array, unit_us: float) -> Moments:
    numbers = np.round(_floats(values) * unit_us)
    good = numbers < _LATEST
    return np.where(good, np.where(good, numbers, 0).astype(np.int64).view("M8[us]"), _NONE)


def _iso(values: pa.Array, zone: tzinfo) -> Moments:
    """``2026-03-01T12:00:00.123Z``; NaT where one is written otherwise, or where one of them is not in the calendar.

    A space may stand for the T, and the Z may lack where ``zone`` is UTC.
    """
    good = pc.match_substring_regex(values, f"{_ISO}Z?$" if zone is UTC else f"{_ISO}Z$")
    texts = pc.utf8_rtrim(pc.if_else(good, values, pa.scalar(None, pa.binary())).cast(pa.string()), "Z")
    try:
        found: Moments = texts.cast(pa.timestamp("ns")).to_numpy(zero_copy_only=False).astype("M8[us]")
    except pa.ArrowInvalid:
        return np.full(len(values), _NONE)
    return found


def _clf(values: pa.Array) -> Moments:
    """``10/Oct/2000:13:55:36 -0700``; NaT where one is written otherwise, or is not of that length as all are."""
    text, offsets = column_text(values)
    if not len(values) or (np.diff(offsets) != len(_CLF)).any():
        return np.full(len(values), _NONE)
    signs = text.bytes[offsets[0] :].reshape(len(values), len(_CLF))
    template = np.frombuffer(_CLF, np.uint8)
    digits = (template >= ord("0")) & (template <= ord("9"))
    is_digit = (signs >= ord("0")) & (signs <= ord("9"))
    marks = [2, 6, 11, 14, 17, 20]
    good = is_digit[:, digits].all(axis=1) & (signs[:, marks] == template[marks]).all(axis=1)
    good &= (signs[:, 21] == ord("+")) | (signs[:, 21] == ord("-"))
    month = np.zeros(len(values), np.int64)
    for which, name in enumerate(_MONTHS, 1):
        month[(signs[:, 3:6] == np.frombuffer(name, np.uint8)).all(axis=1)] = which

    def number(start: int, size: int) -> npt.NDArray[np.int64]:
        return (signs[:, start : start + size].astype(np.int64) - ord("0")) @ (10 ** np.arange(size)[::-1])

    day, year, hour, minute, second = number(0, 2), number(7, 4), number(12, 2), number(15, 2), number(18, 2)
    good &= (month > 0) & (day >= 1) & (hour < 24) & (minute < 60) & (second <= 60)
    first = (np.where(good, year - 1970, 0) * 12 + np.maximum(month, 1) - 1).astype("M8[M]")
    date = first.astype("M8[D]") + (day - 1)
    good &= date.astype("M8[M]") == first
    away = (number(22, 2) * 60 + number(24, 2)) * np.where(signs[:, 21] == ord("-"), -60, 60)
    at = date.astype("M8[us]") + (hour * 3600 + minute * 60 + second - away) * np.timedelta64(1_000_000, "us")
    good &= (number(22, 2) < 24) & (number(24, 2) < 60)
    return np.where(good, at, _NONE)
