"""A rehearsal at a moment, as it is followed: one value for the terminal and for the page that locust serves."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from replay.evidence.files import write_json
from replay.evidence.values import Mark
from replay.rehearsal.arms import ArmOutline
from replay.rehearsal.observer import Observer
from replay.rehearsal.outline import Outline
from replay.rehearsal.watch import Sight
from replay.scenario.process import Web

LIVE = "live.json"
_WRITE_EVERY_S = 0.9  # the evidence that a sight is taken from comes once a second
_MOST_ENDPOINTS = 2_000
_LONGEST_STATEMENT = 2_000


@dataclass(frozen=True, slots=True)
class Live:
    """A rehearsal at a moment.

    ``arm`` is the one that goes on, number ``number`` of ``arms``; None before the first. ``at_s`` is its time, None
    while its clock does not run: then it is prepared, by ``doing``. ``step`` and ``statement`` are the marks with which
    those began that are running. ``back`` maps endpoints that have failed to since when they are seen well again.
    """

    arm: ArmOutline | None = None
    number: int = 0
    arms: int = 0
    left_s: float = 0.0
    doing: str = ""
    at_s: float | None = None
    sight: Sight = field(default_factory=lambda: Sight(0.0))
    step: Mark | None = None
    statement: Mark | None = None
    back: tuple[tuple[str, float], ...] = ()
    probed: bool = False

    def to_json(self) -> dict[str, Any]:
        """The keys that the page shows; ``endpoints`` are name, failing since, and well again since."""
        arm, sight, step, statement = self.arm, self.sight, self.step, self.statement
        back = dict(self.back)
        worst_first = sorted(sight.endpoints, key=lambda one: one[1] is None)[:_MOST_ENDPOINTS]
        return {
            "arm": arm.name if arm else "",
            "role": arm.role if arm else "",
            "steps": bool(arm and arm.steps),
            "duration_s": arm.duration_s if arm else 0.0,
            "planned": arm.planned if arm else 0,
            "number": self.number,
            "arms": self.arms,
            "left_s": self.left_s,
            "doing": self.doing,
            "at_s": self.at_s,
            "observed": sight.observed,
            "asked_per_s": sight.asked_per_s,
            "answered_per_s": sight.answered_per_s,
            "endpoints": [[name, since_s, back.get(name)] for name, since_s in worst_first],
            "probed": self.probed,
            "lock": dataclasses.asdict(sight.lock) if sight.lock else None,
            "lag_s": sight.lag_s,
            "step": {"name": step.step, "kind": step.kind, "at_s": step.at_s} if step else None,
            "statement": None
            if statement is None
            else {
                "index": statement.index,
                "at_s": statement.at_s,
                "text": _shortened(" ".join(statement.statement.split())),
            },
        }


class Follower(Observer):
    """Follows a rehearsal: ``live`` is how it stands, from whichever thread it is asked for.

    With ``web``, it is also written to the file that locust's page is told by, each time that there is news.
    """

    def __init__(self, web: Web | None = None) -> None:
        self.web = web
        self.live = Live()
        self._lock = threading.RLock()
        self._outline: Outline | None = None
        self._written = float("-inf")

    def begins(self, outline: Outline) -> None:
        """See Observer."""
        with self._lock:
            self._outline = outline
            self._news(arms=len(outline.arms), probed=bool(outline.plan.probes))

    def confirms(self, outline: Outline, workloads: Sequence[str]) -> None:  # noqa: ARG002 - an observer's signature
        """See Observer."""
        with self._lock:
            self._outline = outline
            self._news(arms=len(outline.arms))

    def doing(self, arm: ArmOutline, what: str) -> None:
        """See Observer."""
        with self._lock:
            number = 1 + self._outline.arms.index(arm) if self._outline else 0
            before = Live(arms=self.live.arms, probed=self.live.probed)
            self._news(before, arm=arm, number=number, doing=what)

    def started(self, arm: ArmOutline, number: int) -> None:  # noqa: ARG002 - an observer's signature
        """See Observer."""
        self._news(doing="", at_s=0.0)

    def mark(self, arm: ArmOutline, mark: Mark) -> None:  # noqa: ARG002 - an observer's signature
        """See Observer."""
        if not mark.step:
            return
        begins = mark.event == "started"
        if mark.index:
            self._news(statement=mark if begins else None)
        else:
            self._news(step=mark if begins else None, statement=None)

    def progress(self, arm: ArmOutline, at_s: float, sight: Sight) -> None:  # noqa: ARG002 - an observer's signature
        """See Observer."""
        with self._lock:
            back = dict(self.live.back)
            now_red = dict(sight.red)
            back |= {name: sight.at_s for name, _ in self.live.sight.red if name not in now_red}
            back = {name: since_s for name, since_s in back.items() if name not in now_red}
            self._news(at_s=at_s, sight=sight, back=tuple(back.items()), at_once=False)

    def forget(self) -> None:
        """The rehearsal is over: there is nothing to be told any more."""
        if self.web is not None and self.web.live is not None:
            with contextlib.suppress(OSError):
                self.web.live.unlink(missing_ok=True)

    def _news(self, before: Live | None = None, *, at_once: bool = True, **changes: Any) -> None:
        with self._lock:
            changed = dataclasses.replace(before or self.live, **changes)
            self.live = dataclasses.replace(changed, left_s=self._left_s(changed))
            now = time.monotonic()
            if self.web is None or self.web.live is None or not (at_once or now - self._written >= _WRITE_EVERY_S):
                return
            self._written = now
            with contextlib.suppress(OSError):  # a full disk ends the rehearsal for other reasons, or not
                write_json(self.web.live, self.live.to_json())

    def _left_s(self, live: Live) -> float:
        if self._outline is None or live.arm is None:
            return 0.0
        later = [arm for arm in self._outline.arms[live.number :] if arm.name not in self._outline.there]
        own = live.arm.duration_s - max(0.0, live.at_s or 0.0)
        return max(0.0, own) + sum(arm.duration_s + self._outline.overhead_s for arm in later)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_STATEMENT else text[: _LONGEST_STATEMENT - 3] + "..."
