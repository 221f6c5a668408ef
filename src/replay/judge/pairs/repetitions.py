"""A workload's arms, and the findings of its repetitions as one.

A rehearsal may play the steps several times, at other moments of the same traffic. What one repetition only suspects
and another one finds again, at the same endpoint and of the same kind, is confirmed: two independent pairs of arms saw
it. What a single repetition proves stands by itself: when the steps came may be what made the difference. A second pair
that was played to confirm is no repetition, see `replay.judge.pairs.confirmation`.
"""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from replay.evidence.run import ArmEvidence, Evidence, second_pairs
from replay.evidence.values import QUIET
from replay.judge.findings import BLOCKING, NOTE, ONE_PAIR, RANK, Finding
from replay.judge.pairs.again import is_weighed


@dataclass(frozen=True, slots=True)
class Trial:
    """The arms of one workload: those without the steps, and one with them for each repetition.

    ``second`` is the pair (control, steps) that was played afterwards to confirm what had been suspected.
    """

    workload: str
    controls: tuple[ArmEvidence, ...]
    steps: tuple[ArmEvidence, ...]
    second: tuple[ArmEvidence, ArmEvidence] | None = None

    @property
    def all_controls(self) -> tuple[ArmEvidence, ...]:
        """Its arms without the steps, that of the second pair too."""
        return self.controls + (self.second[:1] if self.second else ())

    @property
    def all_steps(self) -> tuple[ArmEvidence, ...]:
        """Its arms with the steps, that of the second pair too."""
        return self.steps + (self.second[1:] if self.second else ())

    def controls_for(self, number: int) -> tuple[ArmEvidence, ...]:
        """The controls as repetition ``number`` (from 0) takes them: the first is the one that it is paired with."""
        if not self.controls:
            return ()
        first = number % len(self.controls)
        return (self.controls[first], *self.controls[:first], *self.controls[first + 1 :])


def trials_of(evidence: Evidence) -> list[Trial]:
    """Every workload's arms, production first."""
    arms = sorted(
        (arm for arm in evidence.arms.values() if arm.info.role != QUIET),
        key=lambda arm: (arm.info.role != "production", arm.info.workload, _number(arm.info.arm), arm.info.arm),
    )
    return [
        _trial(name, [arm for arm in arms if arm.info.workload == name], second_pairs(evidence.rehearsal))
        for name in dict.fromkeys(arm.info.workload for arm in arms)
    ]


def _trial(workload: str, arms: Sequence[ArmEvidence], pairs: dict[str, tuple[str, str]]) -> Trial:
    control, steps = pairs.get(workload, ("", ""))
    planned = [arm for arm in arms if arm.info.arm not in {control, steps}]
    played = {arm.info.arm: arm for arm in arms if arm.info.arm in {control, steps}}
    return Trial(
        workload,
        controls=tuple(arm for arm in planned if not arm.info.steps),
        steps=tuple(arm for arm in planned if arm.info.steps),
        second=(played[control], played[steps]) if len(played) == 2 else None,
    )


def _number(arm: str) -> int:
    number = arm.rpartition("-")[2]
    return int(number) if number.isdecimal() else 1


def gather(
    findings: Sequence[Finding], repetitions: int, again: Collection[tuple[str, str]] = (), *, sound: bool = True
) -> list[Finding]:
    """The findings of a workload's ``repetitions``, those of one kind at one place as one: the weightiest.

    ``again`` are the keys of what two repetitions show by their evidence taken together (`replay.judge.pairs.again`):
    of an endpoint's failures and latency nothing else confirms a suspect; of other findings, that two repetitions have
    it.
    Where the evidence is not ``sound``, nothing is confirmed: what spoils one repetition may spoil another. A finding
    says in ``evidence["repetitions"]`` in which arms it was seen, of how many.
    """
    if repetitions < 2:
        return list(findings)
    alike: dict[tuple[str | None, ...], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((*finding.key, finding.outcome, finding.probe, finding.phase), []).append(finding)
    severities: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        if finding.severity != NOTE:
            severities.setdefault(finding.key, set()).add(finding.arm)
    several = {key for key, arms in severities.items() if len(arms) > 1 and not is_weighed(key)} | set(again)
    return [_as_one(same, repetitions, confirmed=sound and same[0].key in several) for same in alike.values()]


def _as_one(same: Sequence[Finding], repetitions: int, *, confirmed: bool) -> Finding:
    first = min(same, key=lambda one: (RANK[one.severity], not one.proven, -abs(one.effect or 0.0), one.arm))
    arms = sorted({one.arm for one in same})
    counts = confirmed and first.severity != NOTE and first.rests_on == ONE_PAIR
    told = first.explanation.rstrip(".")
    return dataclasses.replace(
        first,
        severity=BLOCKING if counts else first.severity,
        confirmed=True if counts else first.confirmed,
        explanation=f"{told} (in {len(arms)} of {repetitions} repetitions).",
        evidence={**first.evidence, "repetitions": {"arms": arms, "of": repetitions}},
    )
