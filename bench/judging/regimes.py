"""Simulated rehearsals of real size: two workloads, twenty endpoints, 80,000 requests an arm, and a Stage's own noise.

The regimes are those of the study that the judge began with (I, M, S, X) and one more (H):

- I: failures and latencies are independent
- M: 30% of the failures come in bursts of 1 s, latency is correlated over 3 s, Stage stands still in every other arm
- S: 70% in bursts of 2 s, 5 s, one stall an arm in which requests fail
- X: 70% in bursts of 3 s, 8 s, two stalls an arm whose lengths have a heavy tail (Pareto, 2.5), and arms that differ:
  all latencies by a factor (log-normal, 0.1), all failure rates too
- H: a pause every 17 s, of 0.5 to 2 s and with a phase of its own in every arm, that holds the same half of the
  endpoints up and fails a tenth of their requests; failures that keep to a few clients, other ones in every arm; lists
  that lose two fifths of their items for good, at a moment of their own in every arm, as a tenth of them do until its
  end; and a rehearsal's first arm starts cold: slow for ten seconds, a tenth of the requests fail in the first five

In all of them Stage has state: a list in twenty is another one in every arm, and so is the shape of one answer in fifty
where the capture has two shapes.

An arm is arrays, so that effects are planted quickly; `evidence` makes of arms what `replay.judge.verdict.judge` takes.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "judge"))

import simulate

from replay.evidence.run import Evidence

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DURATION_S, STEP_S = 120.0, 40.0
ENDPOINTS, FEWEST, MOST = 20, 100, 20_000
CLIENTS = 40
_SPREAD = 0.5  # standard deviation of log latency
_MEDIANS_S = (0.02, 0.05, 0.2, 0.6)
_ITEMS, _LISTS = 12.0, 50  # items of a list, and lists of an endpoint
_OTHER_LIST, _SECOND_SHAPE, _OTHER_SHAPE, _KEPT = 0.05, 0.1, 0.02, 0.6


@dataclass(frozen=True)
class Regime(simulate.Regime):
    """What a Stage does anyway. ``heavy`` is the tail of the stalls' lengths, ``drift`` how much arms differ."""

    heavy: float = 0.0
    drift: float = 0.0
    pause_every_s: float = 0.0
    by_client: bool = False
    cold_start: bool = False
    lists_drift_s: float = 0.0


REGIMES = {
    "I": Regime(),
    "M": Regime(bursts=0.3, burst_s=1.0, correlated_s=3.0, stalls=0.5),
    "S": Regime(bursts=0.7, burst_s=2.0, correlated_s=5.0, stalls=1.0, failing_stalls=True),
    "X": Regime(bursts=0.7, burst_s=3.0, correlated_s=8.0, stalls=2.0, failing_stalls=True, heavy=2.5, drift=0.1),
    "H": Regime(correlated_s=3.0, pause_every_s=17.0, by_client=True, cold_start=True, lists_drift_s=1200.0),
}


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of a mix: its requests an arm, the share that fails anyway, and its median latency."""

    name: str
    requests: int
    rate: float
    median_s: float


@dataclass
class Plan:
    """A workload's schedule: ``due_s`` in order, and for every request its endpoint, client and list by number.

    ``items`` and ``second`` (whether it has the second of two shapes) are of the captured answers.
    """

    name: str
    role: str
    mix: list[Endpoint]
    due_s: Numbers
    endpoint: npt.NDArray[np.int64]
    client: npt.NDArray[np.int64]
    listed: npt.NDArray[np.int64]
    items: Numbers
    second: Flags
    rows: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        order = np.argsort(self.endpoint, kind="stable")
        self.rows = np.split(order, np.cumsum([one.requests for one in self.mix])[:-1])

    def number(self, endpoint: str) -> int:
        """The number of an endpoint by its name."""
        return next(number for number, one in enumerate(self.mix) if one.name == endpoint)


@dataclass
class Arm:
    """One pass over a plan: when each request was sent and done, whether it failed, how slow it was, and what it got.

    ``own`` is the part of a request's log latency that has nothing to do with the moment.
    """

    plan: Plan
    sent_s: Numbers
    done_s: Numbers
    bad: Flags
    own: Numbers
    items: Numbers
    second: Flags


@dataclass
class Pair:
    """The arms of one workload without the steps and with them."""

    control: Arm
    steps: Arm


def mixed(rng: np.random.Generator, special: Iterable[Endpoint] = ()) -> list[Endpoint]:
    """Twenty endpoints with 100 to 20,000 requests, in no order, and ``special`` ones in the place of the last."""
    kept = list(special)
    counts = rng.permutation(np.geomspace(FEWEST, MOST, ENDPOINTS).round().astype(int))
    rates = rng.choice([0.0, 0.0, 0.003, 0.01, 0.03], size=ENDPOINTS)
    medians = rng.choice(_MEDIANS_S, size=ENDPOINTS)
    made = [
        Endpoint(f"GET /v1/things/{number}", int(count), float(rate), float(median))
        for number, (count, rate, median) in enumerate(zip(counts, rates, medians, strict=True))
    ]
    return [*made[: ENDPOINTS - len(kept)], *kept]


def scheduled(rng: np.random.Generator, name: str, role: str, mix: list[Endpoint]) -> Plan:
    """A workload's requests, spread over the arm. A client is there for a third of it and visits all endpoints."""
    endpoint = np.repeat(np.arange(len(mix)), [one.requests for one in mix])
    due_s = rng.uniform(0.0, DURATION_S - 1.0, len(endpoint))
    order = np.argsort(due_s, kind="stable")
    # Whoever is there at a moment: clients begin one after another, a third of them overlap.
    wave = due_s / DURATION_S * CLIENTS
    client = (wave + rng.uniform(0.0, CLIENTS / 3, len(endpoint))).astype(np.int64) % CLIENTS
    n = len(endpoint)
    listed, items = rng.integers(0, _LISTS, n), rng.poisson(_ITEMS, n).astype(np.float64)
    second = rng.random(n) < _SECOND_SHAPE
    return Plan(name, role, mix, due_s[order], endpoint[order], client[order], listed, items, second)


def played(rng: np.random.Generator, plan: Plan, regime: Regime, *, first: bool = False) -> Arm:
    """One pass over ``plan`` without any step; ``first`` says that it is the rehearsal's first arm."""
    n, due_s = len(plan.due_s), plan.due_s
    factor = np.exp(rng.normal(0.0, regime.drift)) if regime.drift else 1.0
    failing = np.exp(rng.normal(0.0, regime.drift)) if regime.drift else 1.0
    own = rng.normal(0.0, _SPREAD, n)
    wave = np.zeros(n)
    if regime.correlated_s:
        knots = np.arange(0.0, DURATION_S + regime.correlated_s, regime.correlated_s)
        wave = np.interp(due_s, knots, rng.normal(0.0, 0.4, len(knots)))
    medians = np.array([one.median_s for one in plan.mix])
    latency = factor * medians[plan.endpoint] * np.exp(own + wave)
    bad = _failing(rng, plan, regime, failing)
    sent_s = due_s + rng.exponential(0.001, n)
    if first and regime.cold_start:
        latency *= 1.0 + 4.0 * np.exp(-due_s / 3.0)
        early = due_s < 5.0
        bad[early] |= rng.random(int(early.sum())) < 0.1
    done_s = sent_s + latency
    for start_s in rng.uniform(2.0, DURATION_S - 5.0, rng.poisson(regime.stalls)):
        length_s = 0.6 * (1.0 + rng.pareto(regime.heavy)) if regime.heavy else rng.uniform(0.6, 1.8)
        _hold(rng, (sent_s, done_s, bad), (start_s, min(length_s, 10.0)), 0.7 if regime.failing_stalls else 0.0)
    if regime.pause_every_s:
        among = plan.endpoint % 2 == 0
        for start_s in np.arange(rng.uniform(0.0, regime.pause_every_s), DURATION_S, regime.pause_every_s):
            at_s = start_s + rng.normal(0.0, 0.5)
            _hold(rng, (sent_s, done_s, bad), (at_s, rng.uniform(0.5, 2.0)), 0.1, among)
    return Arm(plan, sent_s, done_s, bad, own, _items(rng, plan, regime), plan.second ^ (rng.random(n) < _OTHER_SHAPE))


def _items(rng: np.random.Generator, plan: Plan, regime: Regime) -> Numbers:
    """The items that Stage's answers have."""
    items, n = plan.items.copy(), len(plan.items)
    others = rng.random(n) < _OTHER_LIST
    items[others] = rng.poisson(_ITEMS, int(others.sum()))
    if regime.lists_drift_s:
        from_s = rng.uniform(0.0, regime.lists_drift_s, (len(plan.mix), _LISTS))
        items[plan.due_s >= from_s[plan.endpoint, plan.listed]] *= _KEPT
    return np.floor(items)


def _failing(rng: np.random.Generator, plan: Plan, regime: Regime, factor: float) -> Flags:
    """The requests that fail without anyone's doing."""
    bad = np.zeros(len(plan.due_s), dtype=bool)
    for one, rows in zip(plan.mix, plan.rows, strict=True):
        rate = min(1.0, one.rate * factor)
        if not rate:
            continue
        if regime.by_client:
            few = rng.permutation(CLIENTS)[:4]
            mine = rows[np.isin(plan.client[rows], few)]
            bad[mine[rng.random(len(mine)) < rate * CLIENTS / 4]] = True
            continue
        bad[rows[rng.random(len(rows)) < rate * (1.0 - regime.bursts)]] = True
        in_burst = max(1.0, 0.8 * one.requests / DURATION_S * regime.burst_s)
        at_s = plan.due_s[rows]
        for start_s in rng.uniform(0.0, DURATION_S, rng.poisson(one.requests * rate * regime.bursts / in_burst)):
            low, high = np.searchsorted(at_s, [start_s, start_s + regime.burst_s])
            hit = rows[low:high]
            bad[hit[rng.random(len(hit)) < 0.8]] = True
    return bad


def _hold(
    rng: np.random.Generator,
    arm: tuple[Numbers, Numbers, Flags],
    stall: tuple[float, float],
    failing: float,
    among: Flags | None = None,
) -> None:
    """Hold up what is under way at that time until it is over; a share of that fails."""
    (sent_s, done_s, bad), (start_s, length_s) = arm, stall
    met = (done_s > start_s) & (sent_s < start_s + length_s)
    if among is not None:
        met &= among
    rows = np.flatnonzero(met)
    done_s[rows] = np.maximum(done_s[rows], start_s + length_s + rng.uniform(0.0, 0.2, len(rows)))
    bad[rows[rng.random(len(rows)) < failing]] = True


def pair(rng: np.random.Generator, plan: Plan, regime: Regime, *, first: bool = False) -> Pair:
    """A control and a steps arm that differ by chance alone."""
    control = played(rng, plan, regime, first=first)
    return Pair(control, played(rng, plan, regime))


_KINDS = pd.CategoricalDtype(["ok", "server error", "empty"])
_SECOND = "{id:number,name:null}"
_SHAPES = pd.CategoricalDtype([simulate.SHAPE, "text/plain", _SECOND])


def observations(arm: Arm) -> pd.DataFrame:
    """The frame of an arm, with the columns of `replay.evidence.values.Observation`."""
    plan, n = arm.plan, len(arm.plan.due_s)
    code = arm.bad.astype(np.int8)
    names = pd.CategoricalDtype([one.name for one in plan.mix])
    frame = {
        "request": np.arange(n),
        "visit": plan.client,
        "client": pd.Categorical.from_codes(plan.client, categories=[f"client-{one}" for one in range(CLIENTS)]),
        "endpoint": pd.Categorical.from_codes(plan.endpoint, dtype=names),
        "due_s": plan.due_s,
        "waited_s": np.zeros(n),
        "sent_s": arm.sent_s,
        "first_byte_s": arm.done_s,
        "done_s": arm.done_s,
        "status": np.where(arm.bad, 500, 200),
        "size_bytes": np.full(n, 10),
        "digest": _same("0" * 16, n),
        "shape": pd.Categorical.from_codes(np.where(arm.bad, 1, 2 * arm.second), dtype=_SHAPES),
        "expected_status": np.full(n, 200),
        "expected_shape": pd.Categorical.from_codes(2 * plan.second, dtype=_SHAPES),
        "outcome": pd.Categorical.from_codes(code, dtype=_KINDS),
        "error": pd.Series([None], dtype=object).repeat(n).reset_index(drop=True),
        "caused_by": np.full(n, np.nan),
        "worker": _same("worker-0", n),
        "items": np.where(arm.bad, np.nan, arm.items),
        "expected_items": plan.items,
        "reads_back": np.full(n, np.nan),
    }
    return pd.DataFrame(frame, copy=False)


def _same(text: str, n: int) -> pd.Categorical:
    return pd.Categorical.from_codes(np.zeros(n, dtype=np.int8), categories=[text])


def evidence(*pairs: tuple[Pair, int], step_s: float = 20.0) -> Evidence:
    """The run that has these pairs, each with its number: 1, or 2 for one that was played to confirm the first.

    The step lasts ``step_s`` and begins at 40 s. What a control must agree with is left to the simulation's own rates.
    """
    planted, confirming = [], {}
    for one, number in pairs:
        plan = one.control.plan
        arms = simulate.Planted(
            plan.name, plan.role, observations(one.control), observations(one.steps), DURATION_S, number
        )
        arms.step(STEP_S, STEP_S + step_s)
        planted.append(arms)
        if number > 1:
            confirming[plan.name] = {
                "control": f"{plan.name}-control-{number}",
                "steps": f"{plan.name}-steps-{number}",
            }
    return simulate.evidence(*planted, confirming=confirming)
