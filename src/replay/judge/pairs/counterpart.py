"""What pre-production's arms say of an effect that production has: how large it is there, and whether it would show."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from replay.judge.arrays import Flags, Rows
from replay.judge.case import Case
from replay.judge.effects.changes import differing
from replay.judge.effects.failures import tallied
from replay.judge.findings import CHANGED, WHOLE_STAGE, Finding
from replay.judge.pairs.again import FAILING, SLOW, Seen
from replay.judge.statistics import mover, quantile_difference, rate_difference

_FEW = 20  # answers: fewer of a phase are taken with all since the first step, and fewer of these have no latency
_LOST = frozenset({"never_recovered", "recovery_s"})


class _Effect(NamedTuple):
    """An effect with its 95% interval, in the unit of the finding that it stands beside."""

    size: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A pair of pre-production's arms, and what was seen of their endpoints."""

    case: Case
    seen: Seen

    def calls(self, endpoint: str, *, later: bool = True) -> bool:
        """Whether it calls an endpoint, from the first step's start on or ever."""
        rows = self.case.rows_of(endpoint)
        return bool(self.case.later[rows].any() if later else len(rows))

    def measures(self, probe: str) -> bool:
        """Whether a probe was read with the steps."""
        readings, log = self.case.steps.readings, self.case.steps.log
        return bool((readings["probe"] == probe).any() or (log["probe"] == probe).any())

    def effect_of(self, finding: Finding) -> _Effect | None:
        """The same effect here, in the same phase or, where there is little of that, since the first step.

        None of what is no effect on an endpoint's failures, answers or latency, and where nothing can tell.
        """
        if finding.key[1] == SLOW:
            return self._latency(finding)
        if finding.unit != "share" or finding.endpoint in {None, WHOLE_STAGE}:
            return None
        hits, control_hits, asked = _events(self.case, finding, self._near(finding))
        n, x, x0 = int(asked.sum()), int((hits & asked).sum()), int((control_hits & asked).sum())
        if not n:
            return None
        return _Effect((x - x0) / n, rate_difference(x, n, x0, n, self._phi(finding)))

    def could_show(self, finding: Finding, share: float) -> bool:
        """Whether the judge would see the effect here, by how often the endpoint is called.

        It would where such a ``share`` of the calls is what the judge sees at least, or surely more than failed here.
        """
        kind, endpoint = finding.key[1], str(finding.endpoint)
        if kind == SLOW:
            known = any(one.endpoint == endpoint for one in self.seen.slowdowns)
            return known and len(self._took(self._later(endpoint), "t")) >= _FEW
        if kind not in {FAILING, CHANGED, *_LOST}:
            return True
        _, _, asked = _events(self.case, finding, self._near(finding))
        if kind == CHANGED:
            return share * int(asked.sum()) >= self.case.criteria.of(endpoint).min_failures
        smallest = next((one.smallest for one in self.seen.effects if one.endpoint == endpoint), None)
        if smallest is not None and share * int(asked.sum()) >= smallest:
            return True
        apart = interaction(finding, [self])
        return apart is not None and apart.interval[0] > 0

    def shows(self, finding: Finding) -> bool:
        """Whether requests failed here in the same way since the first step, as none did without the steps.

        Of what never came back: whether the last one failed too.
        """
        rows = self.case.rows_of(str(finding.endpoint))
        if finding.metric == "never_recovered":
            last = rows[np.argsort(self.case.column("t_end")[rows], kind="stable")][-1:]
            return bool(self.case.flags("t_new")[last].any())
        if finding.key[1] not in {FAILING, *_LOST}:
            return False
        hits, control_hits, asked = _events(self.case, finding, rows)
        later, (control_masked, masked) = self.case.later[rows], self.case.masked
        hits, control_hits = hits & asked & ~masked[rows], control_hits & asked & ~control_masked[rows]
        return bool((hits & later).any() and not (hits & ~later).any() and not control_hits.any())

    def _later(self, endpoint: str) -> Rows:
        rows = self.case.rows_of(endpoint)
        return rows[self.case.later[rows]]

    def _near(self, finding: Finding) -> Rows:
        """The requests of the finding's phase, or all since the first step where those are few."""
        called = self._later(str(finding.endpoint))
        here = called[self.case.texts("phase")[called] == finding.phase]
        return here if len(here) >= _FEW else called

    def _phi(self, finding: Finding) -> float:
        """The dispersion of such events here."""
        endpoint = str(finding.endpoint)
        if finding.metric != CHANGED:
            return next((one.test.phi for one in self.seen.effects if one.endpoint == endpoint), 1.0)

        told = partial(differing, kind=str(finding.outcome))
        return max((one.phi for one in tallied(self.case, endpoint, told).values()), default=1.0)

    def _latency(self, finding: Finding) -> _Effect | None:
        rows = self._near(finding)
        with_steps, without = self._took(rows, "t"), self._took(rows, "c")
        if min(len(with_steps), len(without)) < _FEW:
            return None
        return _Effect(*quantile_difference(with_steps, without, 0.95))

    def _took(self, rows: Rows, arm: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """The latencies of good answers, in seconds."""
        latency = self.case.column(f"{arm}_latency")[rows[self.case.flags(f"{arm}_good")[rows]]]
        return latency[np.isfinite(latency)]


def _events(case: Case, finding: Finding, rows: Rows) -> tuple[Flags, Flags, Flags]:
    """(what went wrong as the finding says, the same in the control, what can tell) of requests, each (n,)."""
    flags, texts = case.flags, case.texts
    if finding.metric == CHANGED:
        events = differing(case, rows, str(finding.outcome))
        return events.hits, events.control_hits, events.asked
    new, control_new = flags("t_new")[rows], flags("c_new")[rows]
    if finding.outcome is not None:
        new = new & (texts("t_kind")[rows] == finding.outcome)
        control_new = control_new & (texts("c_kind")[rows] == finding.outcome)
    return new, control_new, np.ones(len(rows), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Interaction:
    """How much larger an effect is than pre-production's: ``effect``, with its 95% interval, and ``pre_production``."""

    effect: float
    interval: tuple[float, float]
    pre_production: float


def interaction(finding: Finding, others: Sequence[Counterpart]) -> Interaction | None:
    """How much larger an effect is than the first of ``others`` has it; None where nothing can tell."""
    if finding.effect is None or finding.interval is None:
        return None
    low, high = finding.interval
    if low is None or high is None:
        return None
    other = next((found for one in others if (found := one.effect_of(finding))), None)
    if other is None:
        return None
    return Interaction(
        finding.effect - other.size, mover(finding.effect, (low, high), other.size, other.interval), other.size
    )
