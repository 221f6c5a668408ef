"""Whether a plan measures what its criteria limit: what it does not could only end INCONCLUSIVE."""

from replay.errors import PlanError
from replay.judge.phases import undoing
from replay.judge.soak.long_arms import LONG_S
from replay.judge.trust.limits import LONG, ROLLBACK, STEP, Measure, measures_of, tell_unmeasured
from replay.rehearsal.outline import Outline


def check_measured(outline: Outline) -> None:
    """Raise PlanError for a limit of ``[criteria]`` that nothing in the plan can measure, saying what to add.

    What reads anything, such as a probe of another package, is trusted to.
    """
    plan = outline.plan
    if not plan.steps:
        return  # nothing is held against a change, and another check says so
    for measure, limits in measures_of(plan.criteria):
        if not _can_measure(measure, outline):
            raise PlanError(
                f"{plan.file}: {tell_unmeasured(limits, 'in the plan')}", f"{measure.add}, or leave the limit out."
            )


def _can_measure(measure: Measure, outline: Outline) -> bool:
    steps = outline.plan.steps
    if measure.needs == STEP:
        return any(step.kind == "migrate" for step in steps)
    if measure.needs == ROLLBACK:
        return undoing(step.kind for step in steps) is not None and bool(outline.plan.dsns)
    if measure.needs == LONG:
        latest_s = max((moment_s for step in steps for moment_s in step.moments_s), default=0.0)
        return all(one.duration_s - latest_s >= LONG_S for one in outline.workloads if one.plan.role == "production")
    return any(probe.reads is None or probe.reads & measure.metrics for probe in outline.plan.probes)
