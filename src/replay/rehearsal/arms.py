"""The arms that a plan comes to, in the order in which they are played."""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from replay.evidence.values import QUIET
from replay.rehearsal.plan import Plan
from replay.rehearsal.steps.plan import count_repetitions
from replay.rehearsal.steps.runner import Step
from replay.rehearsal.workloads import WorkloadOutline

_QUIET_BEFORE_S = 1.0  # so that the probes have seen Stage at rest


@dataclass(frozen=True, slots=True)
class ArmOutline:
    """One arm to play: a workload, or none (quiet), with the ``steps`` or without any (a control)."""

    name: str
    workload: WorkloadOutline | None
    steps: tuple[Step, ...]

    @property
    def workload_name(self) -> str:
        """Its workload's name."""
        return QUIET if self.workload is None else self.workload.plan.name

    @property
    def role(self) -> str:
        """Its workload's role."""
        return QUIET if self.workload is None else self.workload.plan.role

    @property
    def planned(self) -> int:
        """How many requests it has."""
        return 0 if self.workload is None else self.workload.planned

    @property
    def duration_s(self) -> float:
        """How long its schedule is: without traffic, until the last step that has a moment of its own."""
        if self.workload is not None:
            return self.workload.duration_s
        return max((step.plan.at_s for step in self.steps if step.plan.at_s is not None), default=0.0)


def arms_of(plan: Plan, workloads: Sequence[WorkloadOutline], steps: tuple[Step, ...]) -> tuple[ArmOutline, ...]:
    """The arms of a plan in their order: of each workload its controls, and its steps once for each repetition.

    As the plan's seed shuffles them, unless it wants them as listed: pre-production first, each control before its
    steps, the quiet arm last. Where nothing puts Stage back, the steps come last: controls would otherwise meet them.
    """
    arms = []
    for workload in workloads:
        name = workload.plan.name
        arms += [ArmOutline(_numbered(f"{name}-control", number), workload, ()) for number in range(plan.controls)]
        if steps:
            arms += [
                ArmOutline(_numbered(f"{name}-steps", number), workload, _in_repetition(steps, number))
                for number in range(count_repetitions(plan.steps))
            ]
    if plan.quiet and steps:
        arms.append(ArmOutline(f"{QUIET}-steps", None, _at_once(_in_repetition(steps, 0))))
    if plan.shuffled:
        random.Random(plan.seed).shuffle(arms)  # noqa: S311 - an order, not a secret
    return tuple(arms if plan.target.reset else sorted(arms, key=lambda arm: bool(arm.steps)))


def second_pairs(arms: Sequence[ArmOutline], wanted: Mapping[str, str]) -> tuple[tuple[ArmOutline, ArmOutline], ...]:
    """A further pair (control, steps) for each workload, that repeats the steps arm which ``wanted`` names for it."""
    pairs = []
    for name in sorted(wanted):
        mine = [arm for arm in arms if arm.workload_name == name]
        controls, steps = [arm for arm in mine if not arm.steps], [arm for arm in mine if arm.steps]
        repeated = next((arm for arm in steps if arm.name == wanted[name]), None)
        if controls and repeated is not None:
            control = dataclasses.replace(controls[0], name=_numbered(f"{name}-control", len(controls)))
            pairs.append((control, dataclasses.replace(repeated, name=_numbered(f"{name}-steps", len(steps)))))
    return tuple(pairs)


def balanced(
    arms: Sequence[ArmOutline], pairs: Sequence[tuple[ArmOutline, ArmOutline]], wanted: Mapping[str, str]
) -> tuple[ArmOutline, ...]:
    """The arms of second pairs in their order: the other way round than those that they repeat were played."""
    names = [arm.name for arm in arms]
    ordered = []
    for control, steps in pairs:
        first = next(arm.name for arm in arms if arm.workload is control.workload and not arm.steps)
        control_was_first = names.index(first) < names.index(wanted[control.workload_name])
        ordered += [steps, control] if control_was_first else [control, steps]
    return tuple(ordered)


def _numbered(name: str, number: int) -> str:
    return name if not number else f"{name}-{number + 1}"


def _in_repetition(steps: Sequence[Step], number: int) -> tuple[Step, ...]:
    return tuple(dataclasses.replace(step, plan=step.plan.in_repetition(number)) for step in steps)


def _at_once(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps as they follow each other, the first without waiting for its moment."""
    first_s = min((step.plan.at_s for step in steps if step.plan.at_s is not None), default=0.0)
    sooner_s = max(0.0, first_s - _QUIET_BEFORE_S)
    return tuple(
        step
        if step.plan.at_s is None
        else dataclasses.replace(step, plan=dataclasses.replace(step.plan, at_s=step.plan.at_s - sooner_s))
        for step in steps
    )
