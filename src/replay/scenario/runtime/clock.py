"""Writing a time as the capture wrote one (see ``Inject``). Pure."""

import re
from datetime import UTC, datetime, timedelta, timezone

_ZONE = re.compile(r"([+-])(\d\d):?(\d\d)$")
_FRACTION = re.compile(r"%(\d)f")
_MOVES_WITHIN_A_DAY = ("%H", "epoch_")


def render(clock: str, now: datetime, offset_s: float) -> str:
    """The time ``offset_s`` from ``now`` in the form ``clock``. A form without a time of day counts whole days."""
    offset = timedelta(seconds=offset_s)
    if clock == "epoch_s":
        return str(int((now + offset).timestamp()))
    if clock == "epoch_ms":
        return str(int((now + offset).timestamp() * 1000))
    local = now.astimezone(_zone(clock))
    if not any(word in clock for word in _MOVES_WITHIN_A_DAY):
        offset = timedelta(days=round(offset / timedelta(days=1)))
        local = local.replace(hour=12)  # far from any midnight that a summer's hour might cross
    said = local + offset
    text = _FRACTION.sub(lambda match: f"{said.microsecond:06d}".ljust(9, "0")[: int(match[1])], clock)
    return said.strftime(text)


def _zone(clock: str) -> timezone:
    match = _ZONE.search(clock)
    if not match:
        return UTC
    span = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-span if match[1] == "-" else span)
