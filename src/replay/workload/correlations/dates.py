"""Texts that say a date or a moment: which form one has, and which time that is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

_DATES = {
    "%Y-%m-%d": re.compile(r"(\d{4})-(\d\d)-(\d\d)"),
    "%Y/%m/%d": re.compile(r"(\d{4})/(\d\d)/(\d\d)"),
    "%Y%m%d": re.compile(r"(\d{4})(\d\d)(\d\d)"),
    "%d.%m.%Y": re.compile(r"(?P<d>\d\d)\.(?P<m>\d\d)\.(?P<y>\d{4})"),
    "%d/%m/%Y": re.compile(r"(?P<d>\d\d)/(?P<m>\d\d)/(?P<y>\d{4})"),
    "%m/%d/%Y": re.compile(r"(?P<m>\d\d)/(?P<d>\d\d)/(?P<y>\d{4})"),
}
_MOMENT = re.compile(
    r"(\d{4})(-?)(\d\d)(-?)(\d\d)([T ]?)(\d\d)(:?)(\d\d)(?:(:?)(\d\d)(?:([.,])(\d{1,9}))?)?(Z|z|[+-]\d\d:?\d\d)?"
)
_WHOLE_DAY = re.compile(r"00:?00(?::?00(?:[.,]0+)?)?|23:?59(?::?59(?:[.,]9+)?)?")
_EPOCHS = {10: ("epoch_s", 1), 13: ("epoch_ms", 1000)}
_CENTURY = range(1990, 2100)


@dataclass(frozen=True, slots=True)
class Said:
    """A time that a text says.

    ``clock`` is its form: what strftime takes, with ``%3f`` for so many digits of a second and an offset from UTC as it
    stands at the end, or ``epoch_s`` or ``epoch_ms``. ``day`` is set where only the date moves, and the time stands in
    the form. ``zoned`` is unset where the text leaves the zone open; UTC is taken.
    """

    at: datetime
    clock: str
    day: bool
    zoned: bool


@lru_cache(maxsize=65536)
def read_said(text: str) -> tuple[Said, ...]:
    """The times that a text may say: none, or one, or two where days and months cannot be told apart."""
    if not 8 <= len(text) <= 35 or not (text[0].isdigit() and (text[-1].isdigit() or text[-1] in "Zz")):
        return ()
    if text.isdigit() and len(text) in _EPOCHS:
        clock, unit = _EPOCHS[len(text)]
        at = datetime.fromtimestamp(int(text) / unit, UTC)
        return (Said(at, clock, day=False, zoned=True),) if at.year in _CENTURY else ()
    found = tuple(_days(text)) if len(text) <= 10 else ()
    return found or tuple(_moments(text))


def _days(text: str) -> Iterator[Said]:
    for clock, form in _DATES.items():
        if match := form.fullmatch(text):
            named = match.groupdict()
            year, month, day = (named["y"], named["m"], named["d"]) if named else match.groups()
            if at := _time(year, month, day, (0, 0, 0, 0), UTC):
                yield Said(at, clock, day=True, zoned=False)


def _moments(text: str) -> Iterator[Said]:
    match = _MOMENT.fullmatch(text)
    if not match:
        return
    year, dash, month, dash2, day, between, hour, colon, minute, colon2, second, point, fraction, zone = match.groups()
    if dash != dash2 or (not between and (dash or colon)) or (second and colon != colon2):
        return
    offset = _offset(zone)
    micro = int((fraction or "").ljust(6, "0")[:6])
    at = _time(year, month, day, (int(hour), int(minute), int(second or 0), micro), offset)
    if at is None:
        return
    date = f"%Y{dash}%m{dash}%d{between}"
    written = text[len(year + dash + month + dash + day + between) :].removesuffix(zone or "")
    if _WHOLE_DAY.fullmatch(written):
        yield Said(
            at.replace(hour=0, minute=0, second=0, microsecond=0), f"{date}{written}{zone or ''}", True, bool(zone)
        )
        return
    clock = f"{date}%H{colon}%M" + (f"{colon}%S" if second else "") + (f"{point}%{len(fraction)}f" if fraction else "")
    yield Said(at, f"{clock}{zone or ''}", False, bool(zone))


def _offset(zone: str | None) -> timezone:
    if not zone or zone in "Zz":
        return UTC
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if zone[0] == "-" else span) if span < timedelta(hours=24) else UTC


def _time(year: str, month: str, day: str, time: tuple[int, int, int, int], zone: timezone) -> datetime | None:
    if int(year) not in _CENTURY:
        return None
    try:
        return datetime(int(year), int(month), int(day), *time, tzinfo=zone)
    except ValueError:
        return None
