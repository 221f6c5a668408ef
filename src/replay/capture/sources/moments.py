"""Times and durations as logs and exports write them."""

import math
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime

_LONGEST = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# From here on a number of seconds since 1970 (the year 5138) is one of milliseconds, microseconds, nanoseconds.
_SECONDS_BELOW = 1e11
_MONTHS = {name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_CLOCK = r"(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?"
_ZONE = r"(?: ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?(?: [A-Z]{3,5})?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.]?)(\d\d)\2(\d\d)(?:[T _:]?{_CLOCK}{_ZONE})?", re.ASCII | re.IGNORECASE)
_DAY_FIRST = re.compile(rf"(\d\d?)[/ -]([a-z]{{3}})[/ -](\d{{4}})[: T]{_CLOCK}{_ZONE}", re.ASCII | re.IGNORECASE)
_WEEKDAY_FIRST = re.compile(r"[A-Z][a-z]{2,8},? ", re.ASCII)

_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_moment(value: object, zone: tzinfo = UTC) -> datetime | None:
    """A moment as UTC with microseconds (finer digits cut off), or None where ``value`` is none.

    Reads ISO 8601 and RFC 3339 in all their shapes, also with spaces, slashes, a comma and any number of digits;
    ``10/Oct/2000:13:55:36 -0700`` with or without brackets, zone and fraction; RFC 1123; numbers since 1970, whose unit
    (seconds to nanoseconds) their size tells. ``zone`` is that of times that name none.
    """
    try:
        if isinstance(value, str):
            return _from_text(value, zone)
        if isinstance(value, datetime):
            return _in_utc(value, zone)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _from_number(value)
    except (ValueError, OverflowError, IndexError, TypeError):  # what dates outside of the calendar raise
        return None
    return None


def parse_duration_s(value: object, unit_s: float = 1.0) -> float | None:
    """A duration in seconds, or None where ``value`` is none. ``unit_s`` is the length of the unit of plain numbers.

    Reads numbers, also as text, and ``1m2.5s`` and ``12ms``, as Go and others write them.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()[:_LONGEST]
        if _NUMBER.fullmatch(text):
            value = float(text)
        else:
            parts = _DURATION_PART.findall(text)
            if not parts or _DURATION_PART.sub("", text).strip():
                return None
            return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if not isinstance(value, int | float):
        return None
    try:
        seconds = float(value) * unit_s
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def started(at: datetime, duration_s: float) -> datetime:
    """When what ended at ``at`` after ``duration_s`` had started."""
    try:
        return at - timedelta(seconds=duration_s)
    except OverflowError:
        return at


def _from_text(text: str, zone: tzinfo) -> datetime | None:
    text = text.strip(" \t\r\n[]\"'")
    if not text or len(text) > _LONGEST:
        return None
    if _NUMBER.fullmatch(text):
        if text.isdigit() and len(text) in {8, 14}:  # 20251231173740; a number since 1970 has 13 digits until 2286
            return _from_calendar(text, zone)
        return _from_number(int(text) if text.lstrip("+-").isdigit() else float(text))
    try:
        return _in_utc(datetime.fromisoformat(text), zone)
    except ValueError:
        return _from_calendar(text, zone)


def _from_number(number: float) -> datetime | None:
    size = abs(number)
    if size < _SECONDS_BELOW:
        microseconds = round(number * 1_000_000)
    elif size < _SECONDS_BELOW * 1e3:
        microseconds = round(number * 1_000)
    elif size < _SECONDS_BELOW * 1e6:
        microseconds = int(number)
    elif size < _SECONDS_BELOW * 1e9:
        microseconds = int(number // 1_000)
    else:
        return None  # NaN comes here too
    return _EPOCH + timedelta(microseconds=microseconds)


def _from_calendar(text: str, zone: tzinfo) -> datetime | None:
    if found := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, *rest = found.groups()
        return _built(int(year), int(month), int(day), rest, zone)
    if found := _DAY_FIRST.fullmatch(text):
        day, name, year, *rest = found.groups()
        month_number = _MONTHS.get(name.lower())
        return _built(int(year), month_number, int(day), rest, zone) if month_number else None
    if _WEEKDAY_FIRST.match(text):
        return _in_utc(parsedate_to_datetime(text), zone)
    return None


def _built(year: int, month: int, day: int, clock: list[str | None], zone: tzinfo) -> datetime:
    hours, minutes, seconds, fraction, offset = clock
    microseconds = int((fraction or "0")[:6].ljust(6, "0"))
    at = datetime(year, month, day, int(hours or 0), int(minutes or 0), tzinfo=_zone(offset) or zone)
    # A leap second is the 60th: it is added, not given.
    return _in_utc(at, zone) + timedelta(seconds=min(int(seconds or 0), 60), microseconds=microseconds)


def _zone(offset: str | None) -> tzinfo | None:
    if not offset:
        return None
    if offset[0] not in "+-":
        return UTC
    digits = offset[1:].replace(":", "").ljust(4, "0")
    away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-away if offset[0] == "-" else away)


def _in_utc(at: datetime, zone: tzinfo) -> datetime:
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
