"""Whether Stage's clocks tell the time that ours does: evidence of both stands beside each other."""

import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from replay.rehearsal.checks.check import STAGE, Check, failed, not_asked, passed
from replay.rehearsal.plan import TargetPlan
from replay.target import Target

DATABASE_LIMIT_S = 1.0
DATE_LIMIT_S = 2.0  # a Date header knows whole seconds only
_LOOKS = 3
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """Another clock's time between two of ours, all in seconds since the epoch.

    ``resolution_s`` is what the other one cut off below: its time is at least ``theirs_s``, and less than that later.
    """

    asked_s: float
    theirs_s: float
    came_s: float
    resolution_s: float = 0.0

    @property
    def apart_s(self) -> float:
        """How far the other clock is ahead, as far as that can be told; below 0 where it is behind."""
        return self.theirs_s + self.resolution_s / 2 - (self.asked_s + self.came_s) / 2

    @property
    def uncertain_s(self) -> float:
        """How far off that may be: half of the round trip, as nobody knows when in it the clock was read."""
        return max(0.0, self.came_s - self.asked_s) / 2


def judge_clock(name: str, looks: Sequence[Look], limit_s: float) -> Check:
    """A clock by its quickest answer: failed where it is surely more than ``limit_s`` apart."""
    look = min(looks, key=lambda look: look.uncertain_s)
    figures = {"apart_s": round(look.apart_s, 4), "uncertain_s": round(look.uncertain_s, 4), "limit_s": limit_s}
    way = "ahead of" if look.apart_s > 0 else "behind"
    give_s = look.uncertain_s + look.resolution_s / 2
    told = f"{abs(look.apart_s):.2f} s {way} this machine's (give or take {give_s:.2f} s)"
    if abs(look.apart_s) - look.uncertain_s > limit_s:
        hint = "Let both follow one time server: moments of Stage's logs would stand beside the wrong requests."
        return failed(name, f"It is {told}; {limit_s:g} s is the most.", hint, fault=STAGE, figures=figures)
    return passed(name, f"It is {told}.", figures=figures)


def look_at(read: Callable[[], float]) -> tuple[Look, ...]:
    """Three looks at a clock. Raises what ``read`` raises."""
    return tuple(Look(time.time(), read(), time.time()) for _ in range(_LOOKS))


def check_target_clock(plan: TargetPlan) -> Check:
    """The clock of the target by the Date of an answer."""
    name = "clock of the target"
    method, path = plan.ready or ("HEAD", "/")
    try:
        looks = [_ask(plan.target, method, path) for _ in range(_LOOKS)]
    except (OSError, http.client.HTTPException) as error:
        return not_asked(name, f"It did not answer {method} {path}: {error or type(error).__name__}.")
    told = [look for look in looks if look is not None]
    if not told:
        return not_asked(name, f"Its answer to {method} {path} has no Date.")
    return judge_clock(name, told, DATE_LIMIT_S)


def _ask(target: Target, method: str, path: str) -> Look | None:
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(target.host, target.port, timeout=_PATIENCE_S)
    try:
        connection.connect()  # before the clock is looked at: only the answer's way counts
        asked_s = time.time()
        connection.request(method, target.base_path + path)
        date = connection.getresponse().getheader("date")
        came_s = time.time()
    finally:
        connection.close()
    try:
        return Look(asked_s, parsedate_to_datetime(date or "").timestamp(), came_s, 1.0)
    except (ValueError, TypeError):
        return None
