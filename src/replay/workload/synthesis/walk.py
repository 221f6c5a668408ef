"""Walking many visits at once, each step of all of them in one look-up."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.workload.synthesis.habits import BEGIN, BREAK, PACES, UNKNOWN, change_mood, stage_of
from replay.workload.synthesis.model import VisitModel
from replay.workload.synthesis.quantiles import Integers, draw, spread_chances

_OVERLAP = 0.9  # of what an answer still takes, at most, before what overlaps is sent


@dataclass(frozen=True, slots=True)
class Legs:
    """What is walked at once. A long way is cut into legs, which are walked side by side and then set end to end.

    Each has the ``unit`` that it belongs to, its class, its own ``length``, the ``offset`` of its first step within the
    unit, and the unit's ``whole`` length, 0 where that has no end.
    """

    unit: Integers
    kind: Integers
    length: Integers
    offset: Integers
    whole: Integers


def cut_legs(kind: Integers, length: Integers, endless: npt.NDArray[np.bool_], longest: Integers) -> Legs:
    """Cut units into legs of at most ``longest`` steps each."""
    count = -(-length // longest)
    unit = np.repeat(np.arange(length.size), count)
    offset = (np.arange(unit.size) - np.repeat(np.cumsum(count) - count, count)) * longest[unit]
    own = np.minimum(length[unit] - offset, longest[unit])
    return Legs(unit, kind[unit], own, offset, np.where(endless, 0, length)[unit])


def walk(model: VisitModel, legs: Legs, rng: np.random.Generator) -> pd.DataFrame:
    """The steps of all units, in order: ``unit``, ``endpoint``, ``at_s`` from the unit's beginning, ``duration_s``.

    ``breaks`` tells where a new visit begins within a unit.
    """
    order = np.argsort(-legs.length, kind="stable")  # those that are still under way come first
    kind, offset, whole = legs.kind[order], legs.offset[order], legs.whole[order]
    going = np.searchsorted(-legs.length[order], -np.arange(1, legs.length.max(initial=0) + 1), side="right")
    one = np.where((offset > 0) | (whole == 0), UNKNOWN, BEGIN)  # nobody saw a resident begin
    two = one.copy()
    position = np.where(whole == 0, UNKNOWN, offset)
    mood = np.full(order.size, np.nan)
    at_s, busy_s = np.zeros(order.size), np.zeros(order.size)
    taken = []
    for number, count in enumerate(going):
        stage = stage_of(position[:count], whole[:count])
        step = model.habits.choose(
            rng, kind=kind[:count], stage=stage, two=two[:count], mood=mood[:count], one=one[:count]
        )
        endpoint = step // PACES
        wait = model.habits.wait(kind[:count], one[:count], step, rng)
        overlaps = step % PACES == 0
        if number == 0:
            wait = np.where(offset > 0, wait, 0.0)
        else:
            mood[:count] = change_mood(mood[:count], np.where(overlaps, 0.0, wait))
        soon = at_s[:count] + np.minimum(wait, _OVERLAP * (busy_s[:count] - at_s[:count]))
        at_s[:count] = np.where(overlaps, soon, busy_s[:count] + wait)
        takes = draw(model.duration_s, endpoint, spread_chances(endpoint, rng))
        busy_s[:count] = np.maximum(busy_s[:count], at_s[:count] + takes)
        breaks = step % PACES == BREAK
        taken.append((order[:count], endpoint, at_s[:count].copy(), takes, breaks))
        position[:count] = np.where(breaks, 1, position[:count] + (position[:count] != UNKNOWN))
        two[:count], one[:count] = one[:count], step
    return _set_end_to_end(legs, [np.concatenate(part) for part in zip(*taken, strict=True)])


def _set_end_to_end(legs: Legs, taken: list[npt.NDArray[np.generic]]) -> pd.DataFrame:
    names = ("leg", "endpoint", "at_s", "duration_s", "breaks")
    steps = pd.DataFrame(dict(zip(names, taken, strict=True)) if taken else {name: np.zeros(0) for name in names})
    steps = steps.astype({"leg": "int64", "endpoint": "int64", "breaks": "bool"})
    steps = steps.sort_values("leg", kind="stable").reset_index(drop=True)
    spans = (steps["at_s"] + steps["duration_s"]).groupby(steps["leg"]).max().to_numpy(float)
    before = pd.Series(spans).groupby(legs.unit).cumsum().to_numpy() - spans
    leg = steps["leg"].to_numpy()
    return steps.assign(unit=legs.unit[leg], at_s=steps["at_s"] + before[leg]).drop(columns="leg")
