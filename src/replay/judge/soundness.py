"""Whether the evidence can carry a verdict at all. What fails here makes it INCONCLUSIVE, and says what to do."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.evidence.heartbeat import last_sign
from replay.evidence.run import ArmEvidence, Evidence
from replay.evidence.values import Outcome
from replay.judge.criteria import Criteria
from replay.judge.databases import check_steps_seen
from replay.judge.differences import OUTCOMES, expected_outcomes, numbers, paired
from replay.judge.findings import Check, percent, seconds
from replay.judge.locks import detail_of
from replay.judge.noise import BLOCK_S, Times
from replay.judge.phases import Span, step_spans
from replay.judge.probes import replica_lag
from replay.judge.repetitions import Trial
from replay.judge.statistics import chance_of_so_many, dispersion
from replay.judge.texts import alike, texts_of

_BLIND_S = 2.0
_APART_S = 0.5
_CHANCE = 0.005  # many endpoints of many arms are looked at
_SEE_LOCKS = ("postgres", "mysql")
REQUESTS = "requests"
UNPROVEN = "unproven"


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
    wrong = [*(f"arm {name} is missing" for name in missing), said, *([reason] if reason else [])]
    production = {arm.info.workload for arm in arms if arm.info.role == "production" and arm.info.steps}
    checks = [
        _check(
            "run_complete",
            passed=state == "complete" and not missing,
            workload=None,
            limit="complete",
            observed=f"missing {', '.join(missing)}" if missing else state,
            well="The run is complete.",
            wrong=f"The run is not complete: {'; '.join(wrong)}.",
            hint="Rehearse again, and let it come to its end.",
            voids=UNPROVEN,
        ),
        _check(
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
        *_check_fingerprints(evidence),
    ]
    known = {str(name) for arm in arms for name in arm.observations["endpoint"].unique()}
    unknown = [name for name, _ in criteria.endpoints if name not in known]
    if unknown:
        checks.append(
            _check(
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
        _check(
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
        _check(
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
    checks += [_check_arm(arm) for arm in arms]
    checks += [_check_probe(arm, *probe) for arm in arms if arm.info.steps for probe in _probes(evidence).items()]
    checks += [
        check for arm in arms if arm.info.steps for name in _probes(evidence) for check in _check_replicas(arm, name)
    ]
    checks += [_check_lateness(arm, criteria.lateness_s) for arm in arms if len(arm.observations)]
    checks += [_check_clocks(arm) for arm in arms if len(arm.observations)]
    checks += [_check_schedule(arms[0], arm) for arm in arms[1:] if control]
    checks += [check for arm in trial.all_controls for check in _check_control(arm, criteria)]
    checks += [check for arm in trial.all_steps for check in _check_steps(evidence, arm, criteria)]
    checks += [check_steps_seen(evidence, arm) for arm in trial.all_steps]
    return checks


def _check_arm(arm: ArmEvidence) -> Check:
    info, observed = arm.info, len(arm.observations)
    twice = int(arm.observations["request"].duplicated().sum())
    wrong = [
        *([f"it is {info.state}{f' ({info.reason})' if info.reason else ''}"] if info.state != "complete" else []),
        *([f"{observed} of {info.planned} planned requests were observed"] if observed != info.planned else []),
        *([f"{twice} requests were observed twice"] if twice else []),
        *([f"damaged: {', '.join(arm.damaged)}"] if arm.damaged else []),
        *(["it has no requests"] if not observed and not info.planned else []),
    ]
    return _check(
        "arm_complete",
        passed=not wrong,
        workload=info.workload,
        limit=float(info.planned),
        observed=float(observed),
        well=f"Arm {info.arm} is complete: {observed} of {info.planned} planned requests were observed.",
        wrong=f"Arm {info.arm} is not complete: {'; '.join(wrong)}.",
        hint="Rehearse again; what is damaged or missing cannot be judged.",
        # An arm that a rule cut short, because everything failed perhaps, is judged on what it has.
        voids="" if info.state == "aborted" and not (twice or arm.damaged) else UNPROVEN if observed else REQUESTS,
    )


def _probes(evidence: Evidence) -> dict[str, str]:
    """The plan's probes, each with its kind."""
    plan = evidence.rehearsal.get("plan")
    probes = plan.get("probes") if isinstance(plan, dict) else None
    found = probes if isinstance(probes, dict) else {}
    return {
        str(name): str(found[name].get("kind", "")) if isinstance(found[name], dict) else "" for name in sorted(found)
    }


def _check_probe(arm: ArmEvidence, probe: str, kind: str) -> Check:
    """A probe that read nothing while the steps ran: what it would have seen is unknown, and unknown is not well.

    One of a database must have seen who waits, and all the time from the first step on: its other figures do not tell.
    Another one must not have failed last of all.
    """
    mine = arm.readings[arm.readings["probe"] == probe]
    failed = mine[mine["metric"] == "probe_failed"]
    told = mine[mine["metric"] == "waiting_backends"] if kind in _SEE_LOCKS else mine.drop(failed.index)
    read = len(told)
    blind = _blind(
        arm, told["at_s"].to_numpy(np.float64), failed["at_s"].to_numpy(np.float64), steady=kind in _SEE_LOCKS
    )
    error = str(detail_of(failed["detail"].iloc[-1]).get("error") or "") if len(failed) else ""
    return _check(
        "probe_read",
        passed=read > 0 and not blind,
        workload=arm.info.workload,
        limit=None,
        observed=float(read),
        well=f"Probe {probe!r} was read {read} times during {arm.info.arm}.",
        wrong=f"Probe {probe!r} read nothing {blind or 'at all'} during {arm.info.arm}{f': {error}' if error else ''}.",
        hint="See that the probe reaches what it reads, then rehearse again.",
        voids="",
    )


def _blind(arm: ArmEvidence, read_s: Times, failed_s: Times, *, steady: bool) -> str:
    """When a probe saw nothing from the first step's start to the arm's end, in words; empty where it did all along.

    One that reads ``steady`` must have read every two seconds, or at five times its own interval where that is longer.
    """
    spans = step_spans(arm.marks)
    end_s = max((mark.at_s for mark in arm.marks), default=arm.info.duration_s)
    start_s = min((span.started_s for span in spans), default=end_s)
    if not steady:
        last_s = float(read_s.max(initial=-np.inf))
        return f"from {seconds(last_s)} on" if len(read_s) and (failed_s > max(last_s, start_s)).any() else ""
    edges = np.concatenate(([start_s], np.sort(read_s[(read_s > start_s) & (read_s < end_s)]), [end_s]))
    usual_s = float(np.median(np.diff(np.sort(read_s)))) if len(read_s) > 1 else 0.0
    longest = int(np.argmax(np.diff(edges)))
    if edges[longest + 1] - edges[longest] <= max(_BLIND_S, 5 * usual_s):
        return ""
    return f"from {seconds(float(edges[longest]))} to {seconds(float(edges[longest + 1]))}"


def _check_replicas(arm: ArmEvidence, probe: str) -> list[Check]:
    """The replicas that a probe could not read in the end: how far they fell behind is unknown."""
    mine = arm.readings[arm.readings["probe"] == probe]
    missed: dict[str, tuple[float, str]] = {}
    for at_s, text in mine.loc[mine["metric"] == "probe_failed", ["at_s", "detail"]].itertuples(index=False):
        detail = detail_of(text)
        if replica := str(detail.get("replica") or ""):
            missed[replica] = (float(at_s), str(detail.get("error") or ""))
    seen = replica_lag(mine, "replica_lag_s")
    return [
        _check(
            "replica_read",
            passed=False,
            workload=arm.info.workload,
            limit=None,
            observed=float(len(seen[replica][0])) if replica in seen else 0.0,
            well="",
            wrong=f"The replica {replica} could not be read in the end of {arm.info.arm}: {error}.",
            hint="See that the replica runs and that the probe reaches it, then rehearse again.",
            voids="",
        )
        for replica, (at_s, error) in sorted(missed.items())
        if replica not in seen or seen[replica][0].max() < at_s
    ]


def _check_lateness(arm: ArmEvidence, limit_s: float) -> Check:
    late_s = lateness_p99_s(arm.observations)
    return _check(
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
    )


def _check_clocks(arm: ArmEvidence) -> Check:
    """A request that was sent before it was due, an answer before its request, a step after its arm."""
    rows = arm.observations
    early_s = (rows["due_s"] - rows["sent_s"]).max()
    backwards_s = (rows["sent_s"] - rows["done_s"]).max()
    marks = [mark.at_s for mark in arm.marks if mark.step]
    ended = [mark.at_s for mark in arm.marks if not mark.step and mark.event == "ended"]
    outside_s = max([0.0, -min(marks, default=0.0), *(max(marks) - end for end in ended if marks)])
    apart_s = float(np.nanmax([early_s, backwards_s, outside_s, 0.0]))
    return _check(
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


def _check_schedule(control: ArmEvidence, steps: ArmEvidence) -> Check:
    left, right = control.observations, steps.observations
    here, there = paired(left, right)
    endpoint, endpoint_steps = alike(texts_of(left["endpoint"]).of(here), texts_of(right["endpoint"]).of(there))
    moved_s = numbers(left, "due_s")[here] - numbers(right, "due_s")[there]
    other = int(((endpoint.codes != endpoint_steps.codes) | (np.abs(moved_s) > 1e-6)).sum())
    most = max(left["request"].nunique(), right["request"].nunique())
    alone = most - len(here)
    # What a cut arm lacks is the matter of another check; too little in common leaves nothing to compare.
    apart = control.info.planned != steps.info.planned or 2 * len(here) < max(most, 1)
    apart |= bool(alone) and len(left) == len(right) == control.info.planned
    return _check(
        "same_schedule",
        passed=not other and not apart,
        workload=control.info.workload,
        limit=0.0,
        observed=float(other + alone),
        well=f"{control.info.arm} and {steps.info.arm} played the same schedule.",
        wrong=f"{control.info.arm} and {steps.info.arm} did not play the same schedule: "
        f"{other + alone} requests differ.",
        hint="Rehearse again with all arms from one scenario.",
        voids=REQUESTS,
    )


def _check_control(control: ArmEvidence, criteria: Criteria) -> list[Check]:
    observations, name = control.observations, control.info.arm
    if not len(observations):
        return []
    outcome, endpoint = texts_of(observations["outcome"]), texts_of(observations["endpoint"])
    missed = outcome.as_in(OUTCOMES) != expected_outcomes(observations)
    due_s = numbers(observations, "due_s", 0.0)
    asked = {"": len(observations), **endpoint.counts()}
    misses = {"": int(missed.sum()), **endpoint.of(missed).counts()}
    wrong = []
    for one, n in sorted(asked.items()):
        x, mine = misses.get(one, 0), endpoint.are(one) if one else np.ones(len(missed), dtype=np.bool_)
        allowed = 1 - criteria.of(one).control_agreement
        if x > max(1, allowed * n + 1e-9) and _surely_above(allowed, due_s[mine], missed[mine]):
            counts = outcome.of(missed & mine).counts()
            most = min(counts, key=lambda kind: (-counts[kind], kind))
            wrong.append(f"{one or 'in all'}: {x} of {n} did not ({_as(most)})")
    share = 1 - misses[""] / asked[""]
    return [
        _check(
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
        )
    ]


def _surely_above(share: float, due_s: Times, missed: npt.NDArray[np.bool_]) -> bool:
    """Whether so large a share misses by more than chance; misses that come in bursts tell less."""
    block = np.maximum(due_s // BLOCK_S, 0).astype(np.int64)
    asked = np.bincount(block).astype(np.float64)
    misses = np.bincount(block[missed], minlength=len(asked)).astype(np.float64)
    phi = dispersion((misses, asked))
    return chance_of_so_many(float(misses.sum()) / phi, float(asked.sum()) / phi, share) <= _CHANCE


def _as(outcome: str) -> str:
    return "mostly ok, which the capture was not" if outcome == str(Outcome.OK) else f"mostly {outcome}"


def _check_steps(evidence: Evidence, steps: ArmEvidence, criteria: Criteria) -> list[Check]:
    spans, info = step_spans(steps.marks), steps.info
    plan = evidence.rehearsal.get("plan")
    listed = plan.get("steps") if isinstance(plan, dict) else None
    planned = listed if isinstance(listed, list) else []
    names = [str(step.get("name")) for step in planned if isinstance(step, dict) and step.get("name")]
    wrong = _unfinished(spans, names)
    checks = [
        _check(
            "steps_finished",
            passed=not wrong,
            workload=info.workload,
            limit=float(max(len(names), len(spans))),
            observed=float(sum(span.ended_s is not None for span in spans)),
            well=f"All {len(spans)} steps started and ended within {info.arm}.",
            wrong=f"Not all steps came to their end within {info.arm}: {'; '.join(wrong)}.",
            hint="Give the arm a longer duration, or the steps an earlier start, then rehearse again.",
            voids="" if info.state == "aborted" else UNPROVEN,
        )
    ]
    first_s = min((span.started_s for span in spans), default=np.inf)
    met = int((steps.observations["due_s"] >= first_s).sum())
    # A small pre-production workload says what it says; one that has ended before the steps says nothing.
    least = criteria.min_requests if info.role == "production" else min(criteria.min_requests, info.planned / 10)
    checks.append(
        _check(
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
        )
    )
    return checks


def _unfinished(spans: tuple[Span, ...], names: list[str]) -> list[str]:
    if not spans:
        return ["none started"]
    wrong = [f"{span.step!r} never ended" for span in spans if span.ended_s is None]
    if not any(span.failed for span in spans):  # what comes after a failed step may rightly be left out
        started = {span.step for span in spans}
        wrong += [f"{name!r} never started" for name in names if name not in started]
    return wrong


def _check(
    name: str,
    *,
    passed: bool,
    workload: str | None,
    limit: float | str | None,
    observed: float | str | None,
    well: str,
    wrong: str,
    hint: str,
    voids: str,
) -> Check:
    return Check(
        name=name,
        about="evidence",
        limit=limit,
        observed=observed,
        passed=bool(passed),
        workload=workload,
        sentence=well if passed else wrong,
        hint="" if passed else hint,
        voids="" if passed else voids,
    )
