"""What follows what, and after how long.

A step is an endpoint and a pace, which tells roughly how long the visit was idle before. The next step depends on the
class of the visit, on how far it is, on its mood (how hasty it has been of late) and on its last steps, as far as the
capture has enough of such situations, else on less: a Markov chain of variable order, as in Ron, Singer and Tishby,
The Power of Amnesia (1996). With the pace in it, a page brings its pictures in one run. How long exactly a visit waits
comes from the steps of that pace.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.workload.synthesis.ladder import Ladder, fit_ladder
from replay.workload.synthesis.quantiles import Floats, Integers, cumulate, draw, measure_quantiles, spread_chances

BEGIN = -1  # in place of a step that was before the visit began
UNKNOWN = -2
_ENOUGH = 2
_ENOUGH_IDLE = 5
_MOST = 10_000
_MOST_CHOICES = 1_000_000
_MOST_IDLE = 5_000
_PACES_S = np.array([-1e-9, 0.0, 0.1, 0.5, 1.5, 5.0, 15.0, 60.0, 400.0])
PACES = _PACES_S.size + 2
BREAK = PACES - 1  # the pace of a resident's pause between two visits
# class, stage; last but one; mood; last, and its pace
_NEXT = (
    (True, True, True, True, True, True),
    (True, True, False, True, True, True),
    (True, False, True, True, True, True),
    (True, True, True, False, True, True),
    (True, False, False, True, True, True),
    (True, True, False, False, True, True),
    (True, False, False, False, True, True),
    (True, True, False, False, True, False),
    (True, False, False, False, True, False),
    (True, True, False, False, False, False),
    (True, False, False, False, False, False),
    (False, False, False, False, True, True),
    (False, False, False, False, True, False),
    (False, False, False, False, False, False),
)
_STAGES, _LAST, _MOST_STEPS = 8, 6, 12
_FORGETS = 0.15
_SHORTEST_S = 0.01
_LEVELS = 14
# class, last; next, and its pace
_IDLE = (
    (True, True, True, True),
    (True, False, True, True),
    (True, False, False, True),
    (False, False, False, True),
    (False, False, False, False),
)


@dataclass(frozen=True, slots=True)
class Habits:
    """Situations and what comes of them.

    Situation ``n`` of ``contexts`` has choices: their ``step`` (endpoint times ``PACES`` plus pace) and ``chance``,
    which is ``n`` plus the cumulative chance. Situation ``n`` of ``pauses`` has the row ``wait_s[n]`` of times.
    """

    contexts: Ladder
    chance: Floats
    step: Integers
    pauses: Ladder
    wait_s: Floats

    def choose(
        self, rng: np.random.Generator, *, kind: Integers, stage: Integers, two: Integers, mood: Floats, one: Integers
    ) -> Integers:
        """The next steps, where the last but one were ``two`` and the last ``one``."""
        context = self.contexts.find(kind, stage, split_step(two)[0], _level(mood), *split_step(one))
        return self.step[np.searchsorted(self.chance, context + spread_chances(context, rng), side="right")]

    def wait(self, kind: Integers, one: Integers, step: Integers, rng: np.random.Generator) -> Floats:
        """How long visits wait between ``one`` and ``step``, in seconds.

        That is how long they are idle or, where the two overlap (a pace of 0), how long after ``one`` the next is sent.
        """
        rows = self.pauses.find(kind, split_step(one)[0], *split_step(step))
        return draw(self.wait_s, rows, spread_chances(rows, rng))


def fit_habits(ordered: pd.DataFrame) -> Habits:
    """Fit events in order, with ``first``, ``visit``, ``kind`` (the class), ``stage``, ``endpoint`` and ``idle_s``.

    Where ``visit`` changes within what is walked at once, a resident begins a new one.
    """
    begins, idle = ordered["first"].to_numpy(), ordered["idle_s"].to_numpy()
    visit = ordered["visit"].to_numpy()
    pace = np.where(begins, 0, np.searchsorted(_PACES_S, idle, side="left"))
    pace[~begins & (visit != np.roll(visit, 1))] = BREAK
    step = ordered["endpoint"].to_numpy(np.int64) * PACES + pace
    one = _shifted(step, begins)
    kind, stage = ordered["kind"].to_numpy(np.int64), ordered["stage"].to_numpy(np.int64)
    situation = (kind, stage, split_step(_shifted(one, begins))[0], _level(_moods(idle, begins)), *split_step(one))
    contexts, choices = _count_choices(situation, step)
    within = ~begins
    between = tuple(part[within] for part in (kind, split_step(one)[0], *split_step(step)))
    pauses = fit_ladder(between, np.ones(between[0].size, dtype=np.int64), _IDLE, _ENOUGH_IDLE, _MOST_IDLE)
    rows, numbers = pauses.members(*between)
    wait = np.where(idle < 0, np.diff(ordered["at_s"].to_numpy(), prepend=0.0), idle)[within]
    wait_s = np.nan_to_num(measure_quantiles(wait[numbers], rows, pauses.keys.size)).round(6)
    at = choices["at"].to_numpy()
    return Habits(contexts, cumulate(at, choices["count"].to_numpy(float)), choices["step"].to_numpy(), pauses, wait_s)


def _count_choices(situation: tuple[Integers, ...], step: Integers) -> tuple[Ladder, pd.DataFrame]:
    """How often each step was taken in each situation. Where there are too many, each situation keeps its likeliest."""
    names = [str(number) for number in range(len(situation))]
    steps = pd.DataFrame({**dict(zip(names, situation, strict=True)), "step": step})
    met = steps.groupby([*names, "step"]).size().rename("size").reset_index()
    parts = [met[name].to_numpy() for name in names]
    sizes = met["size"].to_numpy()
    contexts = fit_ladder(parts, sizes, _NEXT, _ENOUGH, _MOST)
    where, which = contexts.members(*parts)
    each = pd.DataFrame({"at": where, "step": met["step"].to_numpy()[which], "count": sizes[which]})
    choices = pd.DataFrame(each.groupby(["at", "step"])["count"].sum().reset_index())
    if len(choices) > _MOST_CHOICES:
        ranked = choices.sort_values("count", ascending=False, kind="stable")
        ranked = ranked.assign(other=ranked["at"].duplicated()).sort_values("other", kind="stable")
        choices = ranked.head(_MOST_CHOICES).sort_values(["at", "step"])
    return contexts, choices


def stage_of(position: Integers, length: Integers) -> Integers:
    """How far a visit is: eighths of its length, then its last steps one by one.

    What people come for is often the last that they do: an order needs all the steps before it. Where it is not known
    when a visit ends (a length of 0), it is the steps so far that tell, up to some; ``UNKNOWN`` stays so.
    """
    left = length - 1 - position
    stage = np.where(left < _LAST, _STAGES + left, position * _STAGES // np.maximum(length, 1))
    return np.where(length == 0, np.minimum(position, _MOST_STEPS), stage)


def change_mood(mood: Floats, idle_s: Floats) -> Floats:
    """The mood after one more pause: a running mean of the pauses' orders of magnitude, that forgets."""
    order = np.log10(np.maximum(idle_s, _SHORTEST_S))
    return np.where(np.isnan(mood), order, mood + _FORGETS * (order - mood))


def split_step(step: Integers) -> tuple[Integers, Integers]:
    """The endpoint and the pace of steps; what is not known stays so."""
    known = step >= 0
    return np.where(known, step // PACES, step), np.where(known, step % PACES, step)


def _moods(idle_s: Floats, begins: npt.NDArray[np.bool_]) -> Floats:
    """The mood before each event, NaN where there is none yet: what the pauses up to the one before it left."""
    orders = pd.Series(np.log10(np.maximum(idle_s, _SHORTEST_S)))  # NaN at each beginning
    unit = np.cumsum(begins)
    mood = orders.groupby(unit).ewm(alpha=_FORGETS, adjust=False, ignore_na=True).mean()
    return mood.reset_index(drop=True).groupby(unit).shift(1).to_numpy().astype(np.float64)


def _level(mood: Floats) -> Integers:
    """Moods as numbers, two to each order of magnitude; -1 for none yet."""
    level = np.floor((np.nan_to_num(mood) - np.log10(_SHORTEST_S)) * 2).clip(0, _LEVELS).astype(np.int64)
    return np.where(np.isnan(mood), -1, level)


def _shifted(numbers: Integers, begins: npt.NDArray[np.bool_]) -> Integers:
    before = np.roll(numbers, 1)
    before[begins] = BEGIN
    return before
