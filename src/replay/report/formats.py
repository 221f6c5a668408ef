"""How numbers and moments are written, the same in every form of the report."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime

MISSING = "\N{EN DASH}"
# What a step of a comparison's coverage loses.
LOST_TO = {
    "endpoint": "never called",
    "variant": "other variants",
    "predecessor": "another order",
    "concurrency": "fewer at once",
}


def seconds(value: float | None) -> str:
    """A duration: ``0.02 s``, ``7.7 s``, ``45 s``, ``2 min 05 s``, ``30 min``, ``3 h 20 min``."""
    if value is None or math.isnan(value):
        return MISSING
    if value == 0:
        return "0 s"
    if value < 0.01:
        return f"{value * 1000:.1f} ms"
    if value < 1:
        return f"{value:.2f} s"
    if value < 99.95:
        return f"{value:.0f} s" if value >= 10 and float(value).is_integer() else f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def milliseconds(value: float | None) -> str:
    """A duration in a column of durations: ``9.7 ms``, ``97 ms``, ``6,800 ms``."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value * 1000:.1f} ms" if 0 < value < 0.00995 else f"{value * 1000:,.0f} ms"


def moment(value: float | None) -> str:
    """A moment of an arm: ``at 10.4 s``."""
    return MISSING if value is None or math.isnan(value) else f"{value:.1f} s"


def interval(from_s: float | None, to_s: float | None) -> str:
    """What holds a moment of an arm: ``10.02 to 11.84 s``, ``before 11.84 s``."""
    if to_s is None or math.isnan(to_s):
        return MISSING
    return f"before {to_s:.2f} s" if from_s is None else f"{from_s:.2f} to {to_s:.2f} s"


def share(value: float | None) -> str:
    """A share: ``0%``, ``<0.1%``, ``1.4%``, ``38%``."""
    if value is None or math.isnan(value):
        return MISSING
    percent = value * 100
    if percent == 0:
        return "0%"
    if percent < 0.1:
        return "<0.1%"
    return f"{percent:.1f}%" if percent < 9.95 else f"{percent:.0f}%"


def percent(value: float) -> str:
    """A share beside the sentences of a comparison, as these write it: ``38.4%``, and 100% only where it is all."""
    if value in {0, 1}:
        return f"{value:.0%}"
    if value < 0.001:
        return "<0.1%"
    return ">99.9%" if value > 0.999 else f"{value:.1%}"


def number(value: float | None) -> str:
    """A number with its thousands told apart: ``1,800``, ``4.25``, ``0.003``."""
    if value is None or math.isnan(value):
        return MISSING
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def times(value: float | None) -> str:
    """A multiple: ``1.7 times``, ``25 times``; 0 is none."""
    if not value or math.isnan(value):
        return MISSING
    return f"{value:,.0f} times" if value >= 10 else f"{value:.1f} times"


def endpoints(value: float) -> str:
    """So many endpoints: ``1 endpoint``, ``12 endpoints``."""
    return f"{number(value)} endpoint{'s' * (value != 1)}"


def size(value: float | None) -> str:
    """A size in bytes: ``0 B``, ``412 B``, ``16 kB``, ``54 MB``."""
    if value is None or math.isnan(value):
        return MISSING
    amount, unit = float(value), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, bigger
    return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"


def too_small(count: int, name: str) -> str:
    """How many blind spots cannot be told by the capture of that name, and why."""
    things = "thing is" if count == 1 else "things are"
    return f"{count:,} more {things} too rare for {name} to tell, or it is too short"


def day(value: str) -> str:
    """A moment of the world, from ISO 8601: ``2 March 2026, 09:00 UTC``. What cannot be read stays as it is."""
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return str(value or MISSING)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def plain(value: object) -> str:
    """A limit or an observed value, of which only the criterion's name says the unit."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int | float) else str(value)


def amount(value: object, criterion: str, unit: object = "") -> str:
    """A criterion's limit, or what was observed, in its unit: 2.0 s, 95% or more, p = 0.002, 146 failures.

    ``unit`` is as the judge gives it; where that is empty, the end of the criterion's name may say it.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(value)
    said = str(unit or criterion.rpartition("_")[2])
    first, _, more = said.partition(" ")
    if first in _WRITTEN:
        return f"{_WRITTEN[first](value)} {more}".strip()
    return f"{number(value)} {unit or ''}".strip()


def _probability(value: float) -> str:
    return f"p = {number(value)}"


_WRITTEN: dict[str, Callable[[float], str]] = {
    "s": seconds,
    "bytes": size,
    "share": share,
    "p": _probability,
    "times": times,
    "endpoints": endpoints,
}


def visible(text: str) -> str:
    """Text in which nothing is hidden: what moves a cursor, or turns the direction of what follows, is spelt out."""
    return "".join(letter if letter.isprintable() or letter in _SHOWN else repr(letter)[1:-1] for letter in text)


_SHOWN = "\n\t\N{NO-BREAK SPACE}"


def words(name: str) -> str:
    """A criterion's name in words: ``lock_wait_s`` is ``lock wait``."""
    return re.sub(r"_(s|bytes|share)$", "", name).replace("_", " ")


def between(started: str, ended: str) -> float | None:
    """The seconds from one ISO 8601 moment to another, or None where either cannot be read."""
    try:
        return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    except (TypeError, ValueError):
        return None
