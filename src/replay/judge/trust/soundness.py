"""Whether the evidence can carry a verdict at all. What fails here makes it INCONCLUSIVE, and says what to do."""

from collections.abc import Iterator

import numpy as np

from replay.evidence.heartbeat import last_sign
from replay.evidence.run import ArmEvidence, Evidence
from replay.evidence.values import QUIET, WAIT
from replay.judge.case import as_far_as_played
from replay.judge.criteria import Criteria
from replay.judge.findings import REQUESTS, UNPROVEN, Check, evidence_check
from replay.judge.pairs.repetitions import Trial
from replay.judge.phases import Span, step_spans
from replay.judge.trust.arms import check_answered, check_copies, contradictions
from replay.judge.trust.databases import check_steps_seen
from replay.judge.trust.faithful import check_clocks, check_control, check_lateness, check_schedule
from replay.judge.trust.noted import check_noted
from replay.judge.trust.seeing import check_probe, check_replicas, probes_of, replicas_of


def check_run(evidence: Evidence, criteria: Criteria) -> list[Check]:
    """Checks of the run as a whole: it is complete, and has what a rehearsal needs."""
    state = str(evidence.rehearsal.get("state", "unknown"))
    reason = str(evidence.rehearsal.get("reason") or "")
    arms = list(evidence.arms.values())
    order = evidence.rehearsal.get("order")
    planned = [str(name) for name in order] if isinstance(order, list) else []
    missing = [name for name in planned if name not in evidence.arms]
    sign = last_sign(evidence.path) if state == "running" else None
    said = f"its last sign of life is of {sign.get('time')}" if sign else f"it is {state}"
    ended = [] if state == "complete" else [said]
    wrong = [*(f"arm {name} is missing" for name in missing), *ended, *([reason] if reason else [])]
    production = {arm.info.workload for arm in arms if arm.info.role == "production" and arm.info.steps}
    checks = [
        evidence_check(
            "run_complete",
            passed=state == "complete" and not missing,
            workload=None,
            limit="complete",
            observed=f"missing {', '.join(missing)}" if missing else state,
            well="The run is complete.",
            wrong=f"The run is not complete: {'; '.join(wrong)}.",
            hint="Go on with it (--resume), or rehearse again.",
            voids=UNPROVEN,
        ),
        evidence_check(
            "production_rehearsed",
            passed=bool(production),
            workload=None,
            limit=1.0,
            observed=float(len(production)),
            well="A production workload met the steps.",
            wrong="No production workload met the steps: nothing is known about the release.",
            hint='Give one of the plan\'s workloads role = "production", and the plan its [[steps]].',
            voids="",
        ),
        check_noted(evidence),
        *_check_fingerprints(evidence),
    ]
    known = {str(name) for arm in arms for name in arm.observations["endpoint"].unique()}
    unknown = [name for name, _ in criteria.endpoints if name not in known]
    if unknown:
        checks.append(
            evidence_check(
                "criteria_endpoints",
                passed=False,
                workload=None,
                limit="",
                observed=", ".join(unknown),
                well="",
                wrong=f"The criteria name endpoints that no arm has: {', '.join(unknown)}.",
                hint='Write them as `replay inspect` shows them, such as "GET /v2/events/{event_id}".',
                voids="",
            )
        )
    return checks


def _check_fingerprints(evidence: Evidence) -> list[Check]:
    stage = evidence.rehearsal.get("stage")
    prints = stage.get("fingerprints") if isinstance(stage, dict) else None
    if not isinstance(prints, dict) or len(prints) < 2 or not evidence.rehearsal.get("reset", True):
        return []
    distinct = {str(value) for value in prints.values()}
    return [
        evidence_check(
            "stage_the_same",
            passed=len(distinct) == 1,
            workload=None,
            limit=1.0,
            observed=float(len(distinct)),
            well="Stage was the same before every arm.",
            wrong="Stage was not the same before every arm: what differs between arms may come from that.",
            hint="See that the plan's reset puts back everything, then rehearse again.",
            voids=UNPROVEN,
        )
    ]


def check_workload(evidence: Evidence, trial: Trial, criteria: Criteria) -> list[Check]:
    """Checks of one workload's arms."""
    workload, control = trial.workload, bool(trial.controls)
    checks = [
        evidence_check(
            "arms_present",
            passed=control and bool(trial.steps),
            workload=workload,
            limit="control and steps",
            observed=" and ".join(name for name, arms in (("control", trial.controls), ("steps", trial.steps)) if arms)
            or "none",
            well=f"{workload} was played with the steps and without them.",
            wrong=f"{workload} lacks its arm {'with' if control else 'without'} the steps.",
            hint="Rehearse again with both arms.",
            voids=REQUESTS,
        )
    ]
    arms = [*trial.all_controls, *trial.all_steps]
    checks += [_check_arm(evidence, arm) for arm in arms]
    checks += [check_probe(arm, *probe) for arm in arms for probe in probes_of(evidence).items()]
    checks += [
        check
        for arm in arms
        for name, replicas in replicas_of(evidence).items()
        for check in check_replicas(arm, name, replicas)
    ]
    checks += [check_lateness(arm, criteria.lateness_s) for arm in arms if len(arm.observations)]
    checks += [check_clocks(arm) for arm in arms if len(arm.observations)]
    checks += [check_schedule(arms[0], arm) for arm in arms[1:] if control]
    controls = [as_far_as_played(arm) for arm in trial.all_controls]
    checks += [check for arm in controls for check in check_control(arm, criteria)]
    checks += [check for arm in controls for check in check_answered(arm)]
    checks += check_copies(arms)
    checks += [_check_finished(evidence, arm) for arm in trial.all_steps]
    checks += [_check_met(arm, criteria) for arm in trial.all_steps]
    checks += [check_steps_seen(evidence, arm, criteria) for arm in trial.all_steps]
    return checks


def check_quiet(evidence: Evidence) -> list[Check]:
    """Checks of the arms without traffic: all that do not ask for requests."""
    arms = [arm for arm in evidence.arms.values() if arm.info.role == QUIET]
    return [check for arm in arms for check in _check_quiet(evidence, arm)]


def _check_quiet(evidence: Evidence, arm: ArmEvidence) -> Iterator[Check]:
    yield _check_arm(evidence, arm)
    yield check_clocks(arm)
    yield _check_finished(evidence, arm)
    for name, kind in probes_of(evidence).items():
        yield check_probe(arm, name, kind)
    for name, replicas in replicas_of(evidence).items():
        yield from check_replicas(arm, name, replicas)


def is_sealed(evidence: Evidence, arm: str) -> bool:
    """Whether something tells what was changed of an arm since it ended."""
    seals = evidence.rehearsal.get("seals")
    return isinstance(seals, dict) and isinstance(seals.get(arm), str)


def _check_arm(evidence: Evidence, arm: ArmEvidence) -> Check:
    info, observed = arm.info, len(arm.observations)
    unsealed = info.state in {"complete", "aborted"} and not is_sealed(evidence, info.arm)
    odd = list(contradictions(arm))
    twice = int(arm.observations["request"].duplicated().sum())
    wrong = [
        *([f"it is {info.state}{f' ({info.reason})' if info.reason else ''}"] if info.state != "complete" else []),
        *([f"{observed} of {info.planned} planned requests were observed"] if observed != info.planned else []),
        *([f"{twice} requests were observed twice"] if twice else []),
        *([f"damaged: {', '.join(arm.damaged)}"] if arm.damaged else []),
        *(["nothing seals it, so that what was changed since it ended would not be seen"] if unsealed else []),
        *odd,
        *(["it has no requests"] if not observed and not info.planned and info.role != QUIET else []),
    ]
    spoilt = bool(twice or arm.damaged or unsealed or odd)
    return evidence_check(
        "arm_complete",
        passed=not wrong,
        workload=info.workload,
        limit=float(info.planned),
        observed=float(observed),
        well=f"Arm {info.arm} is complete"
        + (f": {observed} of {info.planned} planned requests were observed." if info.role != QUIET else "."),
        wrong=f"Arm {info.arm} is not complete: {'; '.join(wrong)}.",
        hint="See what ended it, and rehearse again."
        if info.state == "aborted" and not spoilt
        else "Rehearse again; what is damaged or missing cannot be judged.",
        # An arm that a rule cut short, because everything failed perhaps, is judged on what it has.
        voids="" if info.state == "aborted" and not spoilt else UNPROVEN if observed else REQUESTS,
    )


def _check_finished(evidence: Evidence, steps: ArmEvidence) -> Check:
    spans, info = step_spans(steps.marks), steps.info
    plan = evidence.rehearsal.get("plan")
    listed = plan.get("steps") if isinstance(plan, dict) else None
    planned = listed if isinstance(listed, list) else []
    names = [str(step.get("name")) for step in planned if isinstance(step, dict) and step.get("name")]
    wrong = _unfinished(spans, names)
    return evidence_check(
        "steps_finished",
        passed=not wrong,
        workload=info.workload,
        limit=float(max(len(names), len(spans))),
        observed=float(sum(span.ended_s is not None for span in spans)),
        well=f"All {len(spans)} steps started and ended within {info.arm}.",
        wrong=f"Not all steps came to their end within {info.arm}: {'; '.join(wrong)}.",
        hint="Give the arm a longer duration, or the steps an earlier start, then rehearse again."
        if info.state == "complete"
        else "The arm was cut short.",
        voids="" if info.state == "aborted" else UNPROVEN,
    )


def _check_met(steps: ArmEvidence, criteria: Criteria) -> Check:
    info = steps.info
    first_s = min((span.started_s for span in step_spans(steps.marks) if span.kind != WAIT), default=np.inf)
    met = int((steps.observations["due_s"] >= first_s).sum())
    # A small pre-production workload says what it says; one that has ended before the steps says nothing.
    least = criteria.min_requests if info.role == "production" else min(criteria.min_requests, info.planned / 10)
    return evidence_check(
        "min_requests",
        passed=met >= max(1.0, least),
        workload=info.workload,
        limit=max(1.0, least),
        observed=float(met),
        well=f"{met} requests of {info.workload} fell due from the first step's start on.",
        wrong=f"Only {met} requests of {info.workload} fell due from the first step's start on "
        f"({max(1.0, least):.0f} are needed).",
        hint="Rehearse with more traffic, a longer arm, or an earlier step.",
        voids=UNPROVEN,
        unit="requests",
        limit_unit="or more",
    )


def _unfinished(spans: tuple[Span, ...], names: list[str]) -> list[str]:
    if not spans:
        return ["none started"]
    if all(span.kind == WAIT for span in spans):
        return ["all that was done is to wait"]
    wrong = [f"{span.step!r} never ended" for span in spans if span.ended_s is None]
    if not any(span.failed for span in spans):  # what comes after a failed step may rightly be left out
        started = {span.step for span in spans}
        wrong += [f"{name!r} never started" for name in names if name not in started]
    return wrong
