"""Evidence that cannot carry a verdict."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import simulate
from incident import CHECK_IN, PRODUCTION, TOKEN, failed, incident, production, qa
from simulate import EXPORT, STEP

from replay.evidence.files import write_json
from replay.evidence.seal import seal
from replay.evidence.values import Mark, Reading
from replay.judge.verdict import judge, judge_run


def test_wrong_credentials_in_every_arm_prove_nothing():
    planted, other = incident(), qa()
    for one in (planted, other):
        for arm in ("control", "steps"):
            one.fail(None, 0, 60, 1.0, "refused", arm=arm)
    verdict = judge(simulate.evidence(planted, other))
    assert verdict.verdict == "INCONCLUSIVE"
    assert "control_agreement" in failed(verdict)
    assert "credentials" in " ".join(verdict.reasons)
    planted.step(35, 36, "duplicate key", "roll back", "rollback")
    assert judge(simulate.evidence(planted, other)).verdict == "NO_GO"


def test_one_endpoint_that_the_control_gets_wrong_is_enough():
    planted = production()
    for arm in ("control", "steps"):
        planted.fail(EXPORT, 0, 60, 0.2, "refused", arm=arm, seed=5)
    verdict = judge(simulate.evidence(planted))
    assert verdict.verdict == "INCONCLUSIVE"
    assert EXPORT in " ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("moments", "length_s", "well"),
    [((4, 11, 18, 25, 33, 41, 48, 55), 0.7, True), (tuple(range(3, 58, 5)), 0.55, False)],
)
def test_a_control_that_stood_still_is_laid_to_no_endpoint_unless_it_did_so_for_long(moments, length_s, well):
    planted = production()
    for arm in ("control", "steps"):
        for from_s in moments:
            planted.fail(None, from_s, from_s + length_s, 1.0, "server error", arm=arm)
        planted.fail(EXPORT, 0, 60, 0.03, "server error", arm=arm, seed=5)
    assert ("control_agreement" not in failed(judge(simulate.evidence(planted)))) == well


def test_an_endpoint_that_is_asked_alone_and_refused_is_no_stall():
    """A batch job whose credentials are wrong, at a moment at which nobody else asks."""
    batch = "POST /v1/batch"
    planted = simulate.workload(1, mix={**PRODUCTION, batch: (30, 0.0)})
    planted.step(20, 25)
    for arm in ("control", "steps"):
        frame = getattr(planted, arm)
        others = (frame["endpoint"] != batch) & frame["due_s"].between(39.5, 43.2)
        mine = frame["endpoint"] == batch
        at_s = np.where(others, frame["due_s"] - 10, np.where(mine, 40 + 3 * mine.cumsum() / 31, frame["due_s"]))
        moved_s = at_s - frame["due_s"]
        for name in ("due_s", "sent_s", "first_byte_s", "done_s"):
            frame[name] += moved_s
        planted.fail(batch, 0, 60, 1.0, "refused", arm=arm)
    assert "control_agreement" in failed(judge(simulate.evidence(planted)))


def test_a_burst_in_the_control_is_no_other_behaviour():
    """Four seconds of sixty: more than the twentieth that may miss, and yet no reason to doubt the other fifty-six."""
    planted = production()
    planted.fail(CHECK_IN, 40, 44, 1.0, arm="control")
    assert judge(simulate.evidence(planted, qa())).verdict == "GO"


def _late(frame):
    return frame.assign(sent_s=frame["sent_s"] + 0.4, done_s=frame["done_s"] + 0.4)


def _shifted(frame, by_s, *names):
    return frame.assign(**{name: frame[name] + by_s for name in names})


def _with(name, value, rows, arm):
    values = arm.observations[name].to_numpy(copy=True)
    values[rows] = value
    return {"observations": arm.observations.assign(**{name: values})}


# What is wrong with the evidence of a run that would be GO otherwise: the check that fails, and what replaces what.
SPOILT_ARMS = {
    "cut arm": ("arm_complete", lambda arm: {"observations": arm.observations.iloc[:1500]}),
    "other schedule": (
        "same_schedule",
        lambda arm: {"observations": arm.observations.assign(endpoint=arm.observations["endpoint"].to_numpy()[::-1])},
    ),
    "other request": (
        "same_schedule",
        lambda arm: {"observations": arm.observations.assign(request=arm.observations["request"].replace(7, 10**15))},
    ),
    "damaged": ("arm_complete", lambda _: {"damaged": ("observations/x.parquet: broken",)}),
    "starved generator": ("engine_lateness", lambda arm: {"observations": _late(arm.observations)}),
    "a generator's clock that is behind": (
        "clocks_agree",
        lambda arm: {"observations": _shifted(arm.observations, -2.0, "sent_s", "first_byte_s", "done_s")},
    ),
    "answers before their requests": (
        "clocks_agree",
        lambda arm: {"observations": _shifted(arm.observations, -2.0, "done_s")},
    ),
    "a step after its arm": (
        "clocks_agree",
        lambda arm: {"marks": (*arm.marks, Mark(75.0, "another", "migrate", "started"))},
    ),
    "a control with steps": ("arm_complete", lambda arm: {"info": dataclasses.replace(arm.info, steps=False)}),
    "an event that is none": ("arm_complete", lambda arm: {"marks": (*arm.marks, Mark(30.0, STEP, "migrate", "wat"))}),
    "no end of the arm": ("arm_complete", lambda arm: {"marks": arm.marks[:-1]}),
    "an end without a beginning": (
        "arm_complete",
        lambda arm: {"marks": tuple(mark for mark in arm.marks if not mark.step or mark.event != "started")},
    ),
    "another length": (
        "same_schedule",
        lambda arm: {"info": dataclasses.replace(arm.info, duration_s=120.0)},
    ),
    "requests that were sent before their predecessors' answers": (
        "clocks_agree",
        lambda arm: {"observations": arm.observations.assign(waited_s=10.0)},
    ),
    "answers without a status": (
        "arm_complete",
        lambda arm: {"observations": arm.observations.assign(status=np.nan)},
    ),
    "requests whose endpoint has no name": (
        "arm_complete",
        lambda arm: {"observations": arm.observations.assign(endpoint="")},
    ),
    "requests of an endpoint that is called like the whole Stage": (
        "arm_complete",
        lambda arm: {"observations": arm.observations.assign(endpoint="*")},
    ),
    "no length": ("arm_complete", lambda arm: {"info": dataclasses.replace(arm.info, duration_s=0.0)}),
    "errors that are called well": ("arm_complete", lambda arm: {"observations": arm.observations.assign(status=500)}),
    "well without an end": (
        "arm_complete",
        lambda arm: {"observations": arm.observations.assign(done_s=np.nan)},
    ),
    "twice": ("arm_complete", lambda arm: {"observations": arm.observations.iloc[[*range(len(arm.observations)), 0]]}),
    "interrupted": ("arm_complete", lambda arm: {"info": dataclasses.replace(arm.info, state="interrupted")}),
    "no end": ("steps_finished", lambda arm: {"marks": tuple(one for one in arm.marks if one.event != "ended")}),
    "no step": ("steps_finished", lambda arm: {"marks": tuple(one for one in arm.marks if not one.step)}),
    "late step": (
        "min_requests",
        lambda _: {"marks": (Mark(59.9, STEP, "migrate", "started"), Mark(59.95, STEP, "migrate", "ended"))},
    ),
    "no observations": ("arm_complete", lambda arm: {"observations": arm.observations.iloc[:0]}),
}
SPOILT_ARMS |= {
    f"{name} of {value} in {which} request": ("arm_complete", partial(_with, name, value, slice(*rows)))
    for name in ("due_s", "waited_s", "done_s")
    for value in (np.nan, np.inf, 1e12)
    for which, rows in (("one", (7, 8)), ("every", (None,)))
}
SPOILT_ARMS |= {
    "requests of no endpoint": ("arm_complete", lambda arm: {"observations": arm.observations.assign(endpoint=None)}),
    "lines without end": (
        "arm_complete",
        lambda arm: {
            "readings": arm.readings.reindex(range(1)).assign(
                at_s=30.0, probe="errors", metric="log_lines", value=np.inf, detail="{}"
            )
        },
    ),
}
SPOILT_RUNS = {
    **{
        f"{key} is {told!r}": ("run_noted", {key: told})
        for key in ("order", "reset", "confirming", "criteria", "migrations", "seals")
        for told in (None, "x", 0)
        if key != "criteria" or told is None
    },
    "no order": ("run_noted", {"order": []}),
    "no steps": ("run_noted", {"plan": {"steps": []}}),
    "steps that are none": ("run_noted", {"plan": {"steps": 5}}),
    "no probes": ("run_noted", {"plan": {"probes": None}}),
    "a step twice": ("run_noted", {"plan": {"steps": [{"name": STEP}, {"name": STEP}]}}),
    "a step without a name": ("run_noted", {"plan": {"steps": [{"name": STEP}, {"kind": "migrate"}]}}),
    "no prints": ("run_noted", {"stage": {"fingerprints": {}}}),
    "prints of one": ("run_noted", {"stage": {"fingerprints": {"qa-control": "1"}}}),
    "no databases": ("run_noted", {"stage": {"databases": None}}),
    "a workload that was not played": ("run_noted", {"plan": {"workloads": {"production": {}, "qa": {}, "bots": {}}}}),
    "an arm of another plan": ("run_noted", {"plan": {"workloads": {"production": {}}}}),
    "a role that the plan has not": (
        "run_noted",
        {"plan": {"workloads": {"production": {"role": "pre-production"}, "qa": {"role": "pre-production"}}}},
    ),
    "played at another time": ("run_noted", {"started_at": "2026-01-02T00:00:00+00:00"}),
    "confirmed by the first pair": (
        "arms_present",
        {"confirming": {"production": {"control": "production-control", "steps": "production-steps"}}},
    ),
    **{
        f"seals are {value!r}": ("arm_complete", {"seals": value}) for value in (None, {}, {"production-control": None})
    },
    "planned step missing": ("steps_finished", {"plan": {"steps": [{"name": STEP}, {"name": "another"}]}}),
    "blind probe": ("probe_read", {"plan": {"probes": {"database": {"kind": "postgres"}}}}),
    "failed": ("run_complete", {"state": "failed", "reason": "the load died"}),
    "arm never played": ("run_complete", {"order": ["production-control", "production-steps", "production-third"]}),
    "another Stage": ("stage_the_same", {"stage": {"fingerprints": {"a-control": "1", "a-steps": "2"}}}),
    "criteria for nobody": ("criteria_endpoints", {"criteria": {"endpoints": {"GET /nowhere": {"p_value": 0.01}}}}),
}


def is_inconclusive(evidence, check):
    verdict = judge(evidence)
    assert verdict.verdict == "INCONCLUSIVE"
    assert check in failed(verdict)
    assert all(one.hint for one in verdict.checks if one.about == "evidence" and not one.passed)


@pytest.mark.parametrize("name", SPOILT_ARMS)
def test_a_bad_arm_is_inconclusive_and_the_reason_says_what_to_do(name):
    check, spoil = SPOILT_ARMS[name]
    evidence = simulate.evidence(production(), qa())
    arm = evidence.arms["production-steps"]
    evidence.arms["production-steps"] = dataclasses.replace(arm, **spoil(arm))
    is_inconclusive(evidence, check)


def test_arms_of_no_endpoint_at_all_are_inconclusive():
    evidence = simulate.evidence(production(), qa())
    for name, arm in evidence.arms.items():
        evidence.arms[name] = dataclasses.replace(arm, observations=arm.observations.assign(endpoint=None))
    is_inconclusive(evidence, "arm_complete")


@pytest.mark.parametrize("name", SPOILT_RUNS)
def test_a_bad_run_is_inconclusive_and_the_reason_says_what_to_do(name):
    check, rehearsal = SPOILT_RUNS[name]
    is_inconclusive(simulate.evidence(production(), qa(), **rehearsal), check)


SPOILT_QUIET = {
    "failed and without marks": (
        "arm_complete",
        lambda arm: {"info": dataclasses.replace(arm.info, state="failed"), "marks": ()},
    ),
    "damaged": ("arm_complete", lambda _: {"damaged": ("marks.jsonl: changed",)}),
    "no end": ("steps_finished", lambda arm: {"marks": arm.marks[:2]}),
    "no step": ("steps_finished", lambda _: {"marks": ()}),
    "a step after its arm": (
        "clocks_agree",
        lambda arm: {"marks": (*arm.marks, Mark(75.0, "another", "migrate", "started"))},
    ),
}


def with_quiet(**rehearsal):
    return simulate.with_quiet(simulate.evidence(production(), qa(), **rehearsal))


def test_an_arm_without_traffic_needs_no_requests():
    verdict = judge(with_quiet())
    assert verdict.verdict == "GO", verdict.reasons
    mine = {one.name for one in verdict.checks if one.workload == "quiet"}
    assert mine >= {"arm_complete", "clocks_agree", "steps_finished", "steps_succeed"}


@pytest.mark.parametrize("name", SPOILT_QUIET)
def test_a_bad_arm_without_traffic_is_inconclusive(name):
    check, spoil = SPOILT_QUIET[name]
    evidence = with_quiet()
    arm = evidence.arms["quiet-steps"]
    evidence.arms["quiet-steps"] = dataclasses.replace(arm, **spoil(arm))
    is_inconclusive(evidence, check)


def test_a_planned_step_that_the_arm_without_traffic_lacks():
    evidence = with_quiet(plan={"steps": [{"name": STEP}, {"name": "another"}]})
    assert any(
        not one.passed for one in judge(evidence).checks if (one.name, one.workload) == ("steps_finished", "quiet")
    )


@pytest.mark.parametrize(
    "write", [lambda text: text.replace('"failed"', '"ended"'), lambda _: "garbage\n", lambda _: ""]
)
def test_marks_that_were_changed_after_the_arm_without_traffic(tmp_path, write):
    evidence = simulate.with_quiet(simulate.evidence(production(), qa()), "lock timeout")
    run = simulate.write(evidence, tmp_path / "run")
    rehearsal = evidence.rehearsal | {"seals": {arm.name: seal(arm) for arm in (run / "arms").iterdir()}}
    write_json(run / "rehearsal.json", rehearsal)
    assert judge_run(run).verdict == "NO_GO"
    marks = run / "arms" / "quiet-steps" / "marks.jsonl"
    marks.write_text(write(marks.read_text()))
    verdict = judge_run(run)
    assert verdict.verdict == "INCONCLUSIVE"
    assert "quiet-steps is not complete: damaged" in " ".join(verdict.reasons)


def test_a_blind_probe_of_the_arm_without_traffic():
    planted, other = production(), qa()
    for one in (planted, other):
        for arm in ("control", "steps"):
            one.readings[arm] = [
                Reading(at_s, "database", "waiting_backends", 0.0, {}) for at_s in np.arange(0, 60, 0.5).tolist()
            ]
    evidence = simulate.evidence(planted, other, plan={"probes": {"database": {"kind": "postgres"}}})
    assert judge(evidence).verdict == "GO"
    verdict = judge(simulate.with_quiet(evidence, read=False))
    assert verdict.verdict == "INCONCLUSIVE"
    assert "Probe 'database' read nothing" in verdict.reasons[0]
    assert "during quiet-steps" in verdict.reasons[0]


@pytest.mark.parametrize(("until_s", "verdict"), [(60, "GO"), (15, "INCONCLUSIVE"), (0, "INCONCLUSIVE")])
def test_replicas_of_the_plan_that_were_never_read(until_s, verdict):
    planted = production()
    for arm in ("control", "steps"):
        planted.lag(0.2, arm=arm)
        own = [one for one in planted.readings[arm] if one.at_s < until_s]
        looked = [Reading(at_s, "database", "waiting_backends", 0.0, {}) for at_s in np.arange(0, 60, 0.5).tolist()]
        planted.readings[arm] = own + looked
    plan = {"probes": {"database": {"kind": "postgres", "replicas": ["${REPLICA_DSN}"]}}}
    judged = judge(simulate.evidence(planted, plan=plan))
    assert judged.verdict == verdict
    assert ("replica_read" in failed(judged)) == (verdict != "GO")


def test_a_replica_that_was_not_read_without_the_steps():
    planted = production()
    planted.lag(0.2)
    for arm in ("control", "steps"):
        planted.readings[arm] += [
            Reading(float(second), "database", "waiting_backends", 0.0, {}) for second in range(61)
        ]
    plan = {"probes": {"database": {"kind": "postgres", "replicas": ["${REPLICA_DSN}"]}}}
    judged = judge(simulate.evidence(planted, plan=plan))
    assert (judged.verdict, failed(judged)) == ("INCONCLUSIVE", {"replica_read"})
    assert "read only 0 during production-control" in judged.reasons[0]


@pytest.mark.parametrize("second", [False, True])
def test_a_copy_of_an_arm_is_no_arm(second):
    evidence = simulate.evidence(production(), qa())
    whole = evidence.arms["production-steps"]
    name = "production-steps-2" if second else "production-control"
    info = dataclasses.replace(whole.info, arm=name, steps=second)
    marks = whole.marks if second else tuple(mark for mark in whole.marks if not mark.step)
    evidence.arms[name] = dataclasses.replace(whole, info=info, marks=marks)
    is_inconclusive(evidence, "arms_differ")


def test_what_was_refused_in_the_capture_too_proves_nothing():
    planted = production()
    for frame in (planted.control, planted.steps):
        frame["outcome"], frame["status"], frame["expected_status"] = "refused", 401, 401
        frame["shape"] = frame["expected_shape"] = "text/plain"
    evidence = simulate.evidence(planted, qa())
    is_inconclusive(evidence, "answered_well")
    assert "only 0% of production-control's requests were answered well" in " ".join(judge(evidence).reasons)


@pytest.mark.parametrize("arm", ["control", "steps"])
@pytest.mark.parametrize("until_s", [0.0, 20.0])
def test_a_probe_that_stops_without_a_word(arm, until_s):
    planted = production()
    for one in ("control", "steps"):
        planted.lines({}, arm=one)
    planted.readings[arm] = [reading for reading in planted.readings[arm] if reading.at_s < until_s]
    plan = {"probes": {"errors": {"kind": "log"}}}
    evidence = simulate.evidence(planted, plan=plan)
    is_inconclusive(evidence, "probe_read")
    assert "Probe 'errors' read nothing" in judge(evidence).reasons[0]


@pytest.mark.parametrize(
    ("until_s", "said"),
    [
        (0.0, "Of 1 replicas probe 'database' read only 0"),
        (20.0, "The replica reporting was not read from 20.0 s to 60"),
    ],
)
def test_a_replica_of_which_nothing_is_read(until_s, said):
    planted = production()
    for arm in ("control", "steps"):
        planted.lag(0.2, arm=arm)
        own = [reading for reading in planted.readings[arm] if reading.at_s < until_s or arm == "control"]
        waiting = [Reading(float(at_s), "database", "waiting_backends", 0.0, {}) for at_s in range(61)]
        planted.readings[arm] = own + waiting
    plan = {"probes": {"database": {"kind": "postgres", "replicas": ["x"]}}}
    evidence = simulate.evidence(planted, plan=plan)
    is_inconclusive(evidence, "replica_read")
    assert said in judge(evidence).reasons[0]


def test_a_pre_production_that_has_ended_before_the_step_is_inconclusive():
    other = qa()
    for frame in (other.control, other.steps):
        frame[["due_s", "sent_s", "first_byte_s", "done_s"]] *= 0.3
    is_inconclusive(simulate.evidence(production(), other), "min_requests")


@pytest.mark.parametrize("arm", ["production-control", "production-steps", "qa-control", "qa-steps"])
def test_an_arm_without_a_seal_is_inconclusive(arm):
    evidence = simulate.evidence(production(), qa())
    del evidence.rehearsal["seals"][arm]
    is_inconclusive(evidence, "arm_complete")
    (reason,) = judge(evidence).reasons
    assert f"Arm {arm} is not complete: nothing seals it" in reason
    evidence.rehearsal.pop("seals")
    is_inconclusive(evidence, "arm_complete")


def test_a_missing_arm_of_a_complete_run_is_told_once():
    evidence = simulate.evidence(production(), qa())
    del evidence.arms["qa-control"]
    (check,) = (one for one in judge(evidence).checks if one.name == "run_complete")
    assert check.sentence == "The run is not complete: arm qa-control is missing."


def test_a_control_that_was_killed_is_no_matter_of_credentials():
    evidence = simulate.evidence(production(), qa())
    verdict = judge(_aborted(evidence, "production-control", 30.0))
    assert "arm_complete" in failed(verdict)
    assert "control_agreement" not in failed(verdict)


def test_a_small_pre_production_is_well():
    other = simulate.workload(3, name="qa", role="pre-production", mix={TOKEN: (12, 0.0), EXPORT: (6, 0.0)})
    other.step(20, 25)
    assert judge(simulate.evidence(production(), other)).verdict == "GO"


def _aborted(evidence, name, at_s):
    """The evidence with an arm that a rule of the plan has ended at a moment."""
    arm = evidence.arms[name]
    rows = arm.observations.copy()
    unsent = {"sent_s": np.nan, "first_byte_s": np.nan, "done_s": np.nan, "outcome": "unsent", "error": "aborted"}
    rows.loc[rows["due_s"] > at_s, list(unsent)] = list(unsent.values())
    info = dataclasses.replace(arm.info, state="aborted", reason="80% of the requests failed")
    marks = tuple(one for one in arm.marks if one.at_s < at_s)
    return dataclasses.replace(
        evidence, arms=evidence.arms | {name: dataclasses.replace(arm, info=info, observations=rows, marks=marks)}
    )


def test_an_arm_that_was_cut_short_because_all_failed_is_judged_on_what_it_has():
    planted = production()
    planted.marks.clear()
    planted.step(20, 50)
    planted.fail(None, 20, 60, 0.9, "server error")
    verdict = judge(_aborted(simulate.evidence(planted, qa()), "production-steps", 32.0))
    assert (verdict.verdict, verdict.rests_on) == ("NO_GO", "one pair of arms")
    assert {"arm_complete", "steps_finished"} <= failed(verdict)


def test_an_arm_that_was_cut_short_while_all_was_well_is_never_go():
    verdict = judge(_aborted(simulate.evidence(production(), qa()), "production-steps", 40.0))
    assert verdict.verdict == "INCONCLUSIVE"
    assert not [finding for finding in verdict.findings if finding.severity != "note"]


@pytest.mark.parametrize("arm", ["production-control", "production-steps", "qa-control"])
def test_a_missing_arm_is_inconclusive(arm):
    evidence = simulate.evidence(incident() if arm == "production-control" else production(), qa())
    del evidence.arms[arm]
    is_inconclusive(evidence, "arms_present")


def test_a_proven_no_go_outranks_bad_evidence():
    planted = incident()
    evidence = simulate.evidence(planted, state="interrupted", reason="Ctrl-C")
    assert judge(evidence).verdict == "NO_GO"
    unproven = production()
    unproven.fail(TOKEN, 20, 40, 0.2, "server error")
    assert judge(simulate.evidence(unproven, state="interrupted")).verdict == "INCONCLUSIVE"


def test_what_an_interruption_left_undone_is_no_finding():
    evidence = simulate.evidence(production(), qa(), state="interrupted", reason="Ctrl-C")
    arm = evidence.arms["production-steps"]
    unsent = {"sent_s": np.nan, "first_byte_s": np.nan, "done_s": np.nan, "outcome": "unsent", "error": "interrupted"}
    rows = arm.observations.copy()
    rows.loc[rows["due_s"] > 25, list(unsent)] = list(unsent.values())
    evidence.arms["production-steps"] = dataclasses.replace(
        arm,
        info=dataclasses.replace(arm.info, state="interrupted"),
        observations=rows,
        marks=(
            Mark(20.0, STEP, "migrate", "started"),
            Mark(25.0, STEP, "migrate", "interrupted", error="interrupted"),
            Mark(25.0, "roll back", "rollback", "not done", error="interrupted"),
        ),
    )
    is_inconclusive(evidence, "steps_finished")
    verdict = judge(evidence)
    assert not [finding for finding in verdict.findings if finding.severity != "note"]
    assert any("Go on with it (--resume), or rehearse again." in reason for reason in verdict.reasons)
    assert not any("longer duration, or the steps an earlier start" in reason for reason in verdict.reasons)


def test_a_step_whose_moment_never_came_is_inconclusive():
    evidence = simulate.evidence(production(), qa(), plan={"steps": [{"name": STEP}, {"name": "roll back"}]})
    for name in ("qa-steps", "production-steps"):
        arm = evidence.arms[name]
        late = Mark(59.9, "roll back", "rollback", "not done", error="the load had ended")
        evidence.arms[name] = dataclasses.replace(arm, marks=(*arm.marks, late))
    is_inconclusive(evidence, "steps_finished")
    assert not judge(evidence).findings


def test_no_data_is_never_go():
    assert judge(simulate.evidence()).verdict == "INCONCLUSIVE"
    only_qa = judge(simulate.evidence(qa()))
    assert only_qa.verdict == "INCONCLUSIVE"
    assert "production_rehearsed" in failed(only_qa)


@pytest.mark.parametrize(("failed_s", "counts"), [(31.0, True), (29.0, False)])
def test_a_replica_that_is_gone_in_the_end_is_no_evidence(failed_s, counts):
    planted = production()
    planted.lag(0.2)
    own = planted.readings["steps"]
    own[:] = [one for one in own if one.at_s < 30 or not counts]
    own += [Reading(float(second), "database", "waiting_backends", 0.0, {}) for second in range(60)]
    planted.readings["control"] = list(own)
    own.append(Reading(failed_s, "database", "probe_failed", 1.0, {"error": "it is gone", "replica": "reporting"}))
    evidence = simulate.evidence(planted)
    plan = (evidence.rehearsal.get("plan") or {}) | {"probes": {"database": {"kind": "postgres"}}}
    verdict = judge(dataclasses.replace(evidence, rehearsal=evidence.rehearsal | {"plan": plan}))
    assert ("replica_read" in failed(verdict)) == counts
    assert verdict.verdict == ("INCONCLUSIVE" if counts else "GO")
    said = "The replica reporting could not be read in the end of production-steps: it is gone."
    assert any(said in reason for reason in verdict.reasons) == counts


@pytest.mark.parametrize(("until_s", "passes"), [(60.0, True), (57.0, False), (20.5, False)])
def test_a_probe_that_goes_blind_while_the_steps_run(until_s: float, passes: bool) -> None:
    planted = production()
    planted.readings["steps"] = [
        Reading(at_s, "database", "waiting_backends", 0.0, {}) for at_s in np.arange(0.0, until_s, 0.2).tolist()
    ]
    planted.readings["control"] = [Reading(float(s), "database", "waiting_backends", 0.0, {}) for s in range(61)]
    planted.readings["steps"] += [
        Reading(min(until_s, 59.9), "database", "probe_failed", 1.0, {"error": "password authentication failed"})
    ]
    plan = {"probes": {"database": {"kind": "postgres"}}}
    verdict = judge(simulate.evidence(planted, plan=plan))
    check, beside = sorted((one for one in verdict.checks if one.name == "probe_read"), key=lambda one: one.passed)
    assert beside.passed
    assert check.passed == passes
    assert verdict.verdict == ("GO" if passes else "INCONCLUSIVE"), verdict.reasons
    if not passes:
        assert check.sentence.startswith(f"Probe 'database' read nothing from {until_s // 1:.0f}".replace("57", "56"))
        assert "to 60.0 s during production-steps: password authentication failed." in check.sentence


def test_a_probe_that_failed_last_of_all() -> None:
    planted = production()
    planted.readings["steps"] = [
        Reading(10.0, "host", "process_memory_bytes", 1.0, {}),
        Reading(30.0, "host", "probe_failed", 1.0, {"error": "no such process"}),
    ]
    verdict = judge(simulate.evidence(planted, plan={"probes": {"host": {"kind": "process"}}}))
    assert verdict.verdict == "INCONCLUSIVE"
    assert any("read nothing from 10.0 s on" in reason for reason in verdict.reasons)
