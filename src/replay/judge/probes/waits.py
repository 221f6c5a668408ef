"""Who was seen waiting for a lock, and behind whom: the readings of a probe as values."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from replay.traffic import Endpoint

Session = dict[str, Any]
_LOOKS = ("waiting_backends", "lock_wait_s")  # a probe that sees who waits reads the first at each look


@dataclass(frozen=True, slots=True)
class Wait:
    """A session that was seen ``waiting`` at a moment, for ``lasted_s`` by then, with the ``chain`` before it.

    ``ring`` says that one of the chain waits for this one, ``guess`` why the chain is only likely. Sessions are as the
    probe kept them.
    """

    at_s: float
    probe: str
    lasted_s: float
    waiting: Session
    chain: list[Session]
    ring: bool
    guess: str

    @property
    def of_step(self) -> Session | None:
        """The nearest session that is a step's, the waiting one too; None where no step has a part in it."""
        return next((one for one in (self.waiting, *self.chain) if one.get("step")), None)


def waits_of(readings: pd.DataFrame) -> Iterator[Wait]:
    """The waits in readings, as they were kept; what is no number or no object is left out. Columns of Reading."""
    rows = readings[readings["metric"] == "lock_wait_s"]
    for at_s, probe, value, text in zip(rows["at_s"], rows["probe"], rows["value"], rows["detail"], strict=True):
        if not np.isfinite(value) or not np.isfinite(at_s):
            continue
        detail = detail_of(text)
        chain = detail.get("blocked_by")
        yield Wait(
            at_s=float(at_s),
            probe=str(probe),
            lasted_s=float(value),
            waiting=_object(detail.get("waiting")),
            chain=[one for one in chain if isinstance(one, dict)] if isinstance(chain, list) else [],
            ring=bool(detail.get("ring")),
            guess=str(detail.get("guess") or ""),
        )


class StepWaits:
    """How long the sessions of an arm's steps waited for locks, as its probes saw it. ``readings`` as of Reading."""

    def __init__(self, readings: pd.DataFrame) -> None:
        self._looks = np.sort(readings["at_s"][readings["metric"].isin(_LOOKS)].to_numpy(dtype=np.float64))
        self._waits = [
            (str(wait.waiting["step"]), wait.at_s, wait.lasted_s)
            for wait in waits_of(readings)
            if wait.waiting.get("step")
        ]

    def longest_s(self, step: str, from_s: float, to_s: float | None) -> float | None:
        """The longest that a step was seen to wait between two moments (``to_s`` None: until the arm's end).

        0 where a probe looked and it did not wait; None where none looked, as where all of it lay between two looks.
        """
        end_s = np.inf if to_s is None else to_s
        if np.searchsorted(self._looks, from_s) == np.searchsorted(self._looks, end_s, side="right"):
            return None
        own = (lasted_s for name, at_s, lasted_s in self._waits if name == step and from_s <= at_s <= end_s)
        return max(own, default=0.0)


def endpoint_of(session: Session) -> str:
    """The endpoint that a session serves: as the probe knew it, or by its application_name; empty where none tells."""
    application = str(session.get("application") or "")
    return str(session.get("endpoint") or (application if Endpoint.is_named_by(application) else ""))


def waits_itself(session: Session) -> bool:
    """Whether a session of a chain waits for others beyond it. True in evidence that does not tell."""
    return bool(session.get("awaits", True))


def beyond(chain: list[Session], step: Session | None = None) -> list[Session]:
    """Who of a chain holds the step up that is in it, or the first of all; nobody where the step does not wait."""
    if step is None:
        return [one for one in chain if not one.get("step")]
    further = [one for one in chain if level_of(one) > level_of(step) and not one.get("step")]
    return further if waits_itself(step) else []


def level_of(session: Session) -> int:
    """How many waits lie between a session of a chain and the one that waits."""
    level = session.get("level")
    return level if isinstance(level, int) else 1


def detail_of(text: object) -> dict[str, Any]:
    """The detail of a reading; empty where it is no JSON object."""
    try:
        return _object(json.loads(str(text)))
    except (ValueError, RecursionError):
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
