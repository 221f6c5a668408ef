"""Whether an arm played what it should, when it should, and a control what its capture had."""

import numpy as np
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import Outcome
from replay.judge.answers.differences import OUTCOMES, expected_outcomes, paired
from replay.judge.answers.texts import Texts, alike, texts_of
from replay.judge.arrays import Flags, Times, numbers
from replay.judge.criteria import Criteria
from replay.judge.effects.noise import NOISE_BLOCK_S, find_stalls, near_stall
from replay.judge.findings import REQUESTS, UNPROVEN, Check, evidence_check, percent, seconds
from replay.judge.statistics import chance_of_so_many, dispersion
from replay.judge.trust.unlike import unlike

_APART_S = 0.5
_CHANCE = 0.005  # many endpoints of many arms are looked at
_OTHER = "answers of another kind, such as a redirect, a login page or an error with status 200"
_SHOWN = 5
_STOOD_STILL = 0.1  # of an arm, at most, that is laid to no single endpoint


def check_lateness(arm: ArmEvidence, limit_s: float) -> Check:
    """Whether the load generator itself was on time."""
    late_s = lateness_p99_s(arm.observations)
    return evidence_check(
        "engine_lateness",
        passed=late_s is not None and late_s <= limit_s,
        workload=arm.info.workload,
        limit=limit_s,
        observed=late_s,
        well=f"The load generator sent {arm.info.arm}'s requests on time (p99 {seconds(late_s or 0.0)} late).",
        wrong=f"The load generator itself sent {arm.info.arm}'s requests late "
        f"(p99 {seconds(late_s or 0.0)}, limit {seconds(limit_s)})."
        if late_s is not None
        else f"The load generator sent none of {arm.info.arm}'s requests.",
        hint="Give it more of the machine, or lower speed or scale.",
        voids=UNPROVEN,
        unit="s",
    )


def check_clocks(arm: ArmEvidence) -> Check:
    """A request that was sent before it might be, an answer before its request, a step after its arm."""
    rows = arm.observations
    early_s = (rows["due_s"] + rows["waited_s"] - rows["sent_s"]).max()
    backwards_s = (rows["sent_s"] - rows["done_s"]).max()
    marks = [mark.at_s for mark in arm.marks if mark.step]
    ended = [mark.at_s for mark in arm.marks if not mark.step and mark.event == "ended"]
    outside_s = max([0.0, -min(marks, default=0.0), *(max(marks) - end for end in ended if marks)])
    apart_s = float(np.nanmax([early_s, backwards_s, outside_s, 0.0]))
    return evidence_check(
        "clocks_agree",
        passed=apart_s <= _APART_S,
        workload=arm.info.workload,
        limit=_APART_S,
        observed=apart_s,
        well=f"The moments of {arm.info.arm} fit each other.",
        wrong=f"The moments of {arm.info.arm} do not fit each other: they are up to {seconds(apart_s)} apart, as where "
        "a request was sent before it was due, or a step was done after the arm.",
        hint="See that the clocks of all machines that send load agree (NTP), then rehearse again.",
        voids=REQUESTS,
    )


def lateness_p99_s(observations: pd.DataFrame) -> float | None:
    """99th percentile of the engine's own lateness; None where nothing was sent."""
    late = (observations["sent_s"] - observations["due_s"] - observations["waited_s"]).dropna()
    return float(np.quantile(late.to_numpy(np.float64), 0.99)) if len(late) else None


def check_schedule(control: ArmEvidence, steps: ArmEvidence) -> Check:
    """Whether two arms played the same requests at the same moments."""
    left, right = control.observations, steps.observations
    here, there = paired(left, right)
    endpoint, endpoint_steps = alike(texts_of(left["endpoint"]).of(here), texts_of(right["endpoint"]).of(there))
    moved_s = numbers(left, "due_s")[here] - numbers(right, "due_s")[there]
    other = int(((endpoint.codes != endpoint_steps.codes) | (np.abs(moved_s) > 1e-6)).sum())
    most = max(left["request"].nunique(), right["request"].nunique())
    alone = most - len(here)
    # What a cut arm lacks is the matter of another check; too little in common leaves nothing to compare.
    apart = 2 * len(here) < max(most, 1)
    apart |= bool(alone) and len(left) == len(right) == control.info.planned
    lengths = [f"{arm.info.planned} requests in {arm.info.duration_s:g} s" for arm in (control, steps)]
    apart |= lengths[0] != lengths[1]
    return evidence_check(
        "same_schedule",
        passed=not other and not apart,
        workload=control.info.workload,
        limit=0.0,
        observed=float(other + alone),
        well=f"{control.info.arm} and {steps.info.arm} played the same schedule.",
        wrong=f"{control.info.arm} and {steps.info.arm} did not play the same schedule: "
        + (f"{other + alone} requests differ." if other + alone else f"{' and '.join(lengths)} were planned."),
        hint="Rehearse again with all arms from one scenario.",
        voids=REQUESTS,
    )


def check_control(control: ArmEvidence, criteria: Criteria) -> list[Check]:
    """Whether a control behaves like its capture, by endpoint and in all; none where it has no requests.

    What met a time in which the whole Stage stood still counts in all, and not against an endpoint.
    """
    observations, name = control.observations, control.info.arm
    if not len(observations):
        return []
    outcome, endpoint = texts_of(observations["outcome"]), texts_of(observations["endpoint"])
    other = unlike(observations)
    missed = other | (outcome.as_in(OUTCOMES) != expected_outcomes(observations))
    due_s, everywhere = numbers(observations, "due_s", 0.0), np.ones(len(missed), dtype=np.bool_)
    stalled = _stood_still(control, due_s, ~missed | outcome.are(str(Outcome.OK)))
    calm = ~stalled | other | (missed & outcome.are(str(Outcome.REFUSED)))  # these are answers, and no stall's
    calm |= _mostly(stalled, endpoint)[endpoint.codes]
    asked = {"": len(observations), **endpoint.of(calm).counts()}
    misses = {"": int(missed.sum()), **endpoint.of(missed & calm).counts()}
    wrong, against = [], np.zeros(len(missed), dtype=np.bool_)
    for one, n in sorted(asked.items()):
        x, mine = misses.get(one, 0), endpoint.are(one) & calm if one else everywhere
        allowed = 1 - criteria.of(one).control_agreement
        if x > max(1, allowed * n + 1e-9) and _surely_above(allowed, due_s[mine], missed[mine]):
            counts = outcome.of(missed & ~other & mine).counts() | {_OTHER: int((other & mine).sum())}
            most = min(counts, key=lambda kind: (-counts[kind], kind))
            against |= missed & mine
            wrong.append(f"{one or 'in all'}: {x} of {n} did not ({_as(most)})")
    share = 1 - misses[""] / asked[""]
    return [
        evidence_check(
            "control_agreement",
            passed=not wrong,
            workload=control.info.workload,
            limit=criteria.control_agreement,
            observed=share,
            well=f"Without the steps, {percent(share)} of {name}'s requests were answered as in the capture.",
            wrong=f"Without the steps, {name} does not behave like its capture, so that nothing is proven: "
            f"{'; '.join(wrong[:6])}.",
            hint="See that Stage's credentials (identities) and data fit the capture, then rehearse again.",
            voids=REQUESTS,
            unit="share",
            limit_unit="share or more",
            place={"arm": name, "requests": _first(observations, due_s, against)},
        )
    ]


def _first(observations: pd.DataFrame, due_s: Times, which: Flags) -> list[int]:
    """The numbers of the first five of these requests."""
    rows = np.flatnonzero(which)
    rows = rows[np.argsort(due_s[rows], kind="stable")][:_SHOWN]
    return [int(number) for number in observations["request"].to_numpy()[rows]]


def _mostly(stalled: Flags, endpoint: Texts) -> Flags:
    """The endpoints that were asked mostly while the Stage stood still: little else tells of them."""
    kinds = len(endpoint.names)
    met = np.bincount(endpoint.codes[stalled], minlength=kinds)
    found: Flags = 2 * met > np.bincount(endpoint.codes, minlength=kinds)
    return found


def _stood_still(control: ArmEvidence, due_s: Times, good: Flags) -> Flags:
    """Which requests met a time in which the whole Stage gave no good answer; none where it did so for long."""
    done_s = numbers(control.observations, "done_s")
    stalls = find_stalls(due_s, done_s, good & np.isfinite(done_s), control.info.duration_s)
    if sum(stall.length_s for stall in stalls) > _STOOD_STILL * control.info.duration_s:
        return np.zeros(len(due_s), dtype=np.bool_)
    return near_stall(due_s, stalls)


def _surely_above(share: float, due_s: Times, missed: Flags) -> bool:
    """Whether so large a share misses by more than chance; misses that come in bursts tell less."""
    block = np.maximum(due_s // NOISE_BLOCK_S, 0).astype(np.int64)
    asked = np.bincount(block).astype(np.float64)
    misses = np.bincount(block[missed], minlength=len(asked)).astype(np.float64)
    phi = dispersion((misses, asked))
    return chance_of_so_many(float(misses.sum()) / phi, float(asked.sum()) / phi, share) <= _CHANCE


def _as(outcome: str) -> str:
    return "mostly ok, which the capture was not" if outcome == str(Outcome.OK) else f"mostly {outcome}"
