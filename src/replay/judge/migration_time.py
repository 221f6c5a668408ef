"""How long the migration took, beside the window that the plan gives it.

All steps of kind ``migrate`` are the migration, whatever lies between them: what takes time is their own work, not the
waits, deploys and rollbacks before the next.
"""

from dataclasses import dataclass

from replay.evidence.values import QUIET
from replay.judge.case import Case
from replay.judge.findings import BLOCKING, Check, Finding, seconds
from replay.judge.phases import Span

TIME = "migration_s"


@dataclass(frozen=True, slots=True)
class _Migration:
    """The steps that migrate, at least one, and how long each took; what did not end took until the arm did."""

    spans: tuple[Span, ...]
    lengths_s: tuple[float, ...]

    @property
    def took_s(self) -> float:
        """How long all of them took together."""
        return sum(self.lengths_s)

    @property
    def told(self) -> str:
        """How long, in words, as the rest of a sentence."""
        ended = all(span.ended_s is not None for span in self.spans)
        steps = f" in {len(self.spans)} steps" if len(self.spans) > 1 else ""
        return f"{'took' if ended else 'had not ended after'} {seconds(self.took_s)}{steps}"

    def beyond(self, limit_s: float) -> tuple[Span, float]:
        """The step during which the limit was exceeded, and when; ``took_s`` must be above it."""
        spent_s = 0.0
        for span, length_s in zip(self.spans, self.lengths_s, strict=True):
            if spent_s + length_s > limit_s:
                return span, span.started_s + limit_s - spent_s
            spent_s += length_s
        raise ValueError("the limit was not exceeded")


def window_findings(case: Case) -> list[Finding]:
    """A finding where the migration took longer than the plan allows."""
    limit_s, migration = case.criteria.migration_s, _migration(case)
    if limit_s is None or migration is None or migration.took_s <= limit_s:
        return []
    span, at_s = migration.beyond(limit_s)
    return [
        Finding(
            workload=case.workload,
            arm=case.arm,
            phase=span.during,
            role=case.role,
            unit="s",
            observed=migration.took_s,
            control=0.0,
            explanation=f"The migration {migration.told} {under(case)}; the window is {seconds(limit_s)}.",
            severity=BLOCKING,
            probe="steps",
            metric=TIME,
            effect=migration.took_s,
            root=f"step {span.step!r}",
            proven=True,
            first_bad_s=at_s,
            evidence={"step": span.step, "limit_s": limit_s},
        )
    ]


def window_checks(case: Case, against: Finding | None) -> list[Check]:
    """The same as a criterion; none where there is no migration or no limit. ``against`` is what was found."""
    limit_s, migration = case.criteria.migration_s, _migration(case)
    if limit_s is None or migration is None:
        return []
    well = f"The migration {migration.told} {under(case)}; its window is {seconds(limit_s)}."
    sentence = well if against is None else against.explanation
    return [Check(TIME, "change", limit_s, migration.took_s, against is None, case.workload, sentence)]


def _migration(case: Case) -> _Migration | None:
    spans = tuple(span for span in case.spans if span.kind == "migrate")
    return _Migration(spans, tuple(span.end_s(case.end_s) - span.started_s for span in spans)) if spans else None


def under(case: Case) -> str:
    """Under which traffic, in words."""
    return "without any traffic" if case.role == QUIET else f"under the {case.workload} workload"
