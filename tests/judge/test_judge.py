"""Whole rehearsals, simulated: what is planted is found, and what is not is not."""

import dataclasses
import json
from functools import cache

import numpy as np
import pytest
import simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from incident import CHECK_IN, EVENTS, PRODUCTION, incident, of, production, qa
from simulate import ALTER, EXPORT, STEP, TOKEN

from replay.cli.main import run
from replay.cli.main import run as command_line
from replay.judge.verdict import judge, judge_run


@pytest.mark.parametrize("regime", [simulate.I, simulate.M, simulate.S], ids=["I", "M", "S"])
def test_two_equal_arms_are_go(regime):
    """One pair may suspect something now and then; a second one does not show it again."""
    for seed in range(5):
        mix = simulate.endpoints(np.random.default_rng(seed), 12, 1500)
        arms = simulate.workload(seed, regime=regime, mix=mix)
        arms.step(20, 25)
        mixes = {"production": mix, "qa": simulate.endpoints(np.random.default_rng(seed + 100), 6, 300)}
        other = simulate.workload(seed + 100, "qa", "pre-production", regime, mix=mixes["qa"])
        other.step(20, 25)
        verdict = judge(simulate.evidence(arms, other))
        assert verdict.verdict != "NO_GO", (seed, verdict.reasons)
        if verdict.unconfirmed:
            again = [simulate.again(one, seed, 2, mixes[one.workload], regime) for one in (arms, other)]
            for second in again:
                second.step(20, 25)
            pairs = {name: {"control": f"{name}-control-2", "steps": f"{name}-steps-2"} for name in mixes}
            verdict = judge(simulate.evidence(arms, other, *again, confirming=pairs))
        assert verdict.verdict == "GO", (seed, verdict.reasons)
        assert verdict.reasons


@pytest.mark.parametrize("seed", range(3))
def test_brief_waits_behind_a_careful_step_are_go(seed):
    planted = production(seed, simulate.M)
    for at_s in range(20, 50, 3):
        planted.lock(at_s, at_s + 0.6)
    assert judge(simulate.evidence(planted, qa())).verdict == "GO"


def test_a_few_failures_are_enough_where_a_lock_proves_them():
    planted = production()
    planted.lock(20, 21.8)
    planted.fail(CHECK_IN, 20, 21.8, 0.35)
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    assert not of(verdict, metric="lock_wait_s")
    (finding,) = of(verdict, endpoint=CHECK_IN)
    assert finding["proven"]
    assert finding["failures"] < 15


def test_errors_that_name_what_the_step_changed_prove_it():
    planted = production()
    planted.fail(CHECK_IN, 30, 32, 0.4, "server error")
    planted.lines({30: 3, 31: 3, 32: 2}, template='column "scopes" of oauth_token does not exist')
    planted.lines({}, "control")
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    (finding,) = of(verdict, endpoint=CHECK_IN)
    assert "does not exist" in finding["root"]


@pytest.mark.parametrize(
    "line",
    [
        'LOG: automatic vacuum of table "events.public.oauth_token": index scans: <n>',
        "WARNING slow query (<n> ms): SELECT id FROM oauth_token WHERE digest = ?",
        "SELECT id FROM oauth_token WHERE digest = ?",
    ],
)
def test_lines_that_merely_mention_what_the_step_changed_prove_nothing(line):
    planted = production()
    planted.fail(CHECK_IN, 30, 32, 0.4, "server error")
    planted.lines({30: 3, 31: 3, 32: 2}, template=line)
    planted.lines({}, "control")
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict != "NO_GO"
    assert not any(finding["proven"] for finding in of(verdict, endpoint=CHECK_IN))


def test_a_quarter_more_among_what_met_an_error_is_nobodys_doing():
    """Errors all the time that nobody made: 36% fail since the step, 30% failed anyway."""
    error, proven = 'column "scopes" of oauth_token does not exist', []
    for ratio in (1.0, 1.25):
        planted = simulate.workload(1, mix={CHECK_IN: (3000, 0.0)})
        planted.step(20, 25)
        planted.fail(CHECK_IN, 0, 60, 0.30, "server error", arm="control", seed=1)
        planted.fail(CHECK_IN, 0, 20, 0.30, "server error", seed=2)
        planted.fail(CHECK_IN, 20, 60, 0.36, "server error", seed=3)
        planted.lines(dict.fromkeys(range(20, 60), 1), template=error)
        planted.lines({}, "control")
        verdict = judge(simulate.evidence(planted, criteria={"failure_ratio": ratio, "control_agreement": 0.5}))
        proven.append(any(finding["proven"] for finding in of(verdict, endpoint=CHECK_IN)))
    assert proven == [True, False]


def test_the_error_itself_is_told_and_not_what_stands_around_it():
    planted = production()
    planted.fail(CHECK_IN, 30, 32, 0.4, "server error")
    error = 'psycopg.errors.NotNullViolation: null value in column "scopes" of relation "oauth_token"'
    around = (
        'CONTEXT:  SQL statement "UPDATE oauth_token SET scopes = default_scopes"',
        "DETAIL:  Failing row of oauth_token contains no scopes, default_scopes.",
        "PL/pgSQL function set_scopes() line 3, of oauth_token (scopes)",
    )
    for line in (*around, error):
        planted.lines({30: 3, 31: 3, 32: 2}, template=line)
    planted.lines({}, "control")
    (finding,) = of(judge(simulate.evidence(planted, qa())), endpoint=CHECK_IN)
    assert finding["root"] == f"error new since the steps: {error}"


def test_a_lock_outage_is_no_go_only_in_production_with_its_root():
    verdict = judge(simulate.evidence(incident(), qa()))
    assert verdict.verdict == "NO_GO"
    assert verdict.workload_verdicts == {"production": "NO_GO", "qa": "GO"}
    (token,) = of(verdict, endpoint=TOKEN, phase=f"during {STEP}")
    assert token["outcome"] == "empty"
    assert token["difference"] == "emptied"
    assert token["proven"]
    assert token["only_in_production"] is True
    assert token["root"] == f"lock queue behind {ALTER!r} of step {STEP!r}, which waited for {EXPORT}"
    assert (
        "came back empty during 'add token scopes'; without the steps none of the same requests did"
        in (token["explanation"])
    )
    low, high = token["interval"]
    assert 0 < low < token["effect"] < high < 1
    assert token["p_value"] < 1e-6
    assert token["interaction"]["effect"] == pytest.approx(token["effect"], abs=0.05)
    (wait,) = of(verdict, metric="lock_wait_s")
    assert wait["evidence"]["held_up_by"] == EXPORT
    assert wait["evidence"]["queued"] == 12
    assert wait["evidence"]["statement"] == ALTER
    assert 4.5 <= wait["observed"] <= 5
    assert 20 < token["first_bad_s"] < token["recovered_s"] < 30


def test_what_fails_under_both_workloads_is_not_only_in_production():
    both = qa()
    both.lock()
    both.fail(TOKEN, 20, 25, 0.6)
    verdict = judge(simulate.evidence(incident(), both))
    assert {finding["only_in_production"] for finding in of(verdict, endpoint=TOKEN, workload="production")} == {False}
    assert {finding["only_in_production"] for finding in of(verdict, workload="qa")} == {None}
    assert any("Under pre-production's traffic too." in reason for reason in verdict.reasons)
    assert not any("Seen under qa." in reason for reason in verdict.reasons)  # it has been said


def test_what_is_lost_for_good_and_fails_under_pre_production_too_is_not_only_in_production():
    planted, both = production(), qa()
    planted.lock()
    both.lock()
    planted.fail(TOKEN, 20, 60, 1.0, "server error")
    both.fail(TOKEN, 20, 25, 0.9, "server error")
    verdict = judge(simulate.evidence(planted, both))
    (lost,) = of(verdict, metric="never_recovered", workload="production")
    assert lost["only_in_production"] is False
    assert not of(verdict, metric="never_recovered", workload="qa")


def test_where_pre_production_is_silent_nothing_is_said_of_it():
    planted = incident()
    planted.fail(CHECK_IN, 20, 25, 0.6)
    verdict = judge(simulate.evidence(planted, qa()))
    assert {finding["only_in_production"] for finding in of(verdict, endpoint=CHECK_IN)} == {None}
    assert any("Pre-production's traffic never calls it." in reason for reason in verdict.reasons)
    alone = judge(simulate.evidence(incident()))
    assert alone.verdict == "NO_GO"
    assert not any("never calls" in reason for reason in alone.reasons)
    assert {finding["only_in_production"] for finding in alone.to_json()["findings"]} == {None}


def test_an_unproven_but_strong_effect_is_no_go():
    planted = production()
    planted.fail(TOKEN, 20, 40, 0.2, "server error")
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    assert {finding["root"] for finding in of(verdict, endpoint=TOKEN)} == {None}


def test_a_spell_of_failures_with_the_step_is_no_go_without_a_probe_once_it_was_seen_twice():
    first = production()
    second = simulate.again(first, 1, 2, PRODUCTION)
    for planted in (first, second):
        planted.marks.clear()
        planted.step(15, 45)
        planted.fail(TOKEN, 16, 21, 0.4, seed=planted.repetition)
    once = judge(simulate.evidence(first, qa()))
    assert (once.verdict, once.unconfirmed) == ("INCONCLUSIVE", {"production": "production-steps"})
    pair = {"production": {"control": "production-control-2", "steps": "production-steps-2"}}
    assert judge(simulate.evidence(first, second, qa(), confirming=pair)).verdict == "NO_GO"


def test_a_tail_that_became_slow_is_no_go_once_it_was_seen_twice():
    """A twentieth of the answers takes twice the time: no p95 tells it."""
    first = production()
    second = simulate.again(first, 1, 2, PRODUCTION)
    second.step(20, 25)
    for planted in (first, second):
        rows = planted.steps
        mine = (rows["endpoint"] == EVENTS) & (rows["due_s"] >= 20)
        took = rows["done_s"] - rows["sent_s"]
        slowest = mine & (took >= took[mine].quantile(0.95))
        rows.loc[slowest, "done_s"] += took[slowest]
    once = judge(simulate.evidence(first, qa()))
    assert once.verdict == "INCONCLUSIVE", once.reasons
    pair = {"production": {"control": "production-control-2", "steps": "production-steps-2"}}
    twice = judge(simulate.evidence(first, second, qa(), confirming=pair))
    assert twice.verdict == "NO_GO"
    assert {finding["endpoint"] for finding in of(twice, severity="blocking")} == {EVENTS}


def test_the_slow_answers_of_a_small_endpoint_that_got_slower_are_no_go():
    """Seven answers of 140 are no number; how far they are from the slow ones before is told."""
    mix = {**PRODUCTION, CHECK_IN: (240, 0.0)}
    first = simulate.workload(3, mix=mix)
    second = simulate.again(first, 53, 2, mix)
    for planted in (first, second):
        planted.marks.clear()
        planted.step(20, 25)
        rows = planted.steps
        took, mine = rows["done_s"] - rows["sent_s"], rows["endpoint"] == CHECK_IN
        slowest = mine & (took >= took[mine].quantile(0.95)) & (rows["due_s"] >= 20)
        rows.loc[slowest, "done_s"] += took[slowest]
    pair = {"production": {"control": "production-control-2", "steps": "production-steps-2"}}
    twice = judge(simulate.evidence(first, second, qa(), confirming=pair))
    assert twice.verdict == "NO_GO"
    (found,) = of(twice, severity="blocking")
    assert found["endpoint"] == CHECK_IN
    assert "times as long after 'add token scopes' as the slowest 5% did without the steps" in found["explanation"]
    assert 1.5 < found["evidence"]["times"] < 3


def test_failures_that_fill_only_a_part_of_a_phase_are_no_burst():
    planted = production()
    planted.fail(EVENTS, 25, 40, 0.2)
    assert judge(simulate.evidence(planted, qa())).verdict != "GO"


def test_an_outage_is_no_go():
    planted = production()
    planted.fail(EXPORT, 21, 33, 1.0, "timeout")
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    assert {finding["outcome"] for finding in of(verdict, endpoint=EXPORT)} == {"timeout"}


def test_a_weak_effect_is_a_suspicion():
    planted = production()
    planted.fail(EVENTS, 20, 60, 0.013, "server error")
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "INCONCLUSIVE"
    assert "rehearse again" in " ".join(verdict.reasons)


def test_one_burst_away_from_the_step_changes_nothing():
    planted = production()
    planted.fail(EVENTS, 50, 51.5, 0.7, "server error")
    assert judge(simulate.evidence(planted, qa())).verdict == "GO"


def test_another_shape_is_found():
    planted = production()
    hit = (planted.steps["endpoint"] == EVENTS) & (planted.steps["due_s"] > 20)
    planted.steps.loc[hit, "shape"] = "{id:number,scopes:null}"
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    assert {finding["outcome"] for finding in of(verdict, endpoint=EVENTS, unit="share")} == {"wrong shape"}


def test_a_shape_that_the_control_has_too_is_none():
    planted = production()
    for arm in (planted.steps, planted.control):
        arm.loc[(arm["endpoint"] == EVENTS) & (arm["due_s"] > 20), "shape"] = "{id:number,scopes:null}"
    assert judge(simulate.evidence(planted, qa())).verdict == "GO"


def test_a_failed_step_is_no_go_with_the_databases_words():
    planted = production()
    planted.step(35, 36, 'duplicate key value violates "t_pkey"', "roll back", "rollback")
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    (finding,) = of(verdict, metric="rollback_failed")
    assert "duplicate key value" in finding["explanation"]
    assert finding["only_in_production"] is None  # pre-production's rehearsal has no such step here
    other = qa()
    other.step(35, 36, "", "roll back", "rollback")
    (finding,) = of(judge(simulate.evidence(planted, other)), metric="rollback_failed")
    assert finding["only_in_production"] is True


def test_what_never_comes_back_is_said():
    planted = incident()
    planted.fail(CHECK_IN, 22, 60, 0.95, "server error")
    verdict = judge(simulate.evidence(planted, qa()))
    (finding,) = of(verdict, metric="never_recovered")
    assert finding["endpoint"] == CHECK_IN
    rows = {row["endpoint"]: row for row in verdict.to_json()["endpoints"] if row["workload"] == "production"}
    assert rows[CHECK_IN]["never_recovered"]
    assert not rows[EVENTS]["never_recovered"]
    assert rows[TOKEN]["recovered_s"] > 20


@pytest.mark.parametrize(("from_s", "to_s", "verdict"), [(20, 60, "INCONCLUSIVE"), (20, 40, "GO"), (50, 60, "GO")])
def test_a_rare_endpoint_that_is_lost_for_good_is_not_go(from_s, to_s, verdict):
    planted = simulate.workload(1, mix={**PRODUCTION, EXPORT: (6, 0.0)})
    planted.step(20, 25)
    for due_s, frame in ((planted.control["due_s"], planted.control), (planted.steps["due_s"], planted.steps)):
        rare = frame["endpoint"] == EXPORT
        delay = [2.0, 10.0, 27.0, 35.0, 43.0, 51.0] - due_s[rare]
        frame.loc[rare, ["due_s", "sent_s", "first_byte_s", "done_s"]] += delay.to_numpy()[:, None]
    planted.fail(EXPORT, from_s, to_s, outcome="server error")
    judged = judge(simulate.evidence(planted, qa()))
    assert judged.verdict == verdict, judged.reasons
    assert bool(of(judged, endpoint=EXPORT, metric="never_recovered", severity="suspect")) == (verdict != "GO")


def test_what_follows_from_a_failed_token_folds_under_it():
    planted = incident()
    unsent = planted.fail(CHECK_IN, 23, 40, 0.6, "unsent")
    tokens = planted.steps[(planted.steps["endpoint"] == TOKEN) & (planted.steps["outcome"] == "empty")]
    planted.steps.loc[planted.steps["request"].isin(unsent), "caused_by"] = float(tokens["request"].iloc[0])
    verdict = judge(simulate.evidence(planted, qa()))
    found = of(verdict, endpoint=CHECK_IN, outcome="unsent")
    assert {finding["root"] for finding in found} == {TOKEN}
    assert all(finding["proven"] for finding in found)
    assert [row["endpoint"] for row in verdict.to_json()["broke_first"]] == [TOKEN]


def test_the_replica_that_falls_behind_is_found():
    planted, other = production(), qa()
    planted.lag(12.0)
    planted.lag(0.5, arm="control")
    other.lag(0.2)
    verdict = judge(simulate.evidence(planted, other))
    (finding,) = of(verdict, metric="replica_lag_s")
    assert verdict.verdict == "NO_GO"
    assert finding["evidence"]["replica"] == "reporting"
    assert finding["only_in_production"] is True
    assert finding["effect"] == pytest.approx(11.5, abs=0.6)
    assert finding["evidence"]["slope"] > 0.5
    assert not finding["evidence"]["growing"]
    rising = production()
    rising.lag(12.0, 30.0, 90.0)
    (finding,) = of(judge(simulate.evidence(rising)), metric="replica_lag_s")
    assert finding["evidence"]["growing"]
    assert "further and further" in finding["explanation"]


def test_a_flooded_log_is_found():
    planted = production()
    planted.lines(dict.fromkeys(range(20, 26), 80))
    planted.lines({3: 2}, "control", "another")
    verdict = judge(simulate.evidence(planted))
    (finding,) = of(verdict, metric="log_lines")
    assert verdict.verdict == "NO_GO"
    assert (finding["observed"], finding["control"]) == (80, 2)
    assert finding["evidence"]["templates"][0]["new"]
    quiet = production()
    quiet.lines({30: 12})
    quiet.lines({}, "control")
    assert judge(simulate.evidence(quiet)).verdict == "GO"


def test_an_endpoint_that_stays_slow_is_no_go_and_a_slow_moment_is_not():
    lasting, moment = production(), production()
    lasting.slow(EVENTS, 22, 60, 0.6)
    moment.slow(EVENTS, 30, 33, 0.6)
    verdict = judge(simulate.evidence(lasting))
    assert verdict.verdict == "NO_GO"
    assert of(verdict, metric="latency_p95_s", phase=f"after {STEP}")[0]["effect"] == pytest.approx(0.6, abs=0.1)
    assert judge(simulate.evidence(moment)).verdict == "GO"


def test_the_whole_stage_standing_still_is_one_event():
    planted = production()
    planted.fail(None, 21, 28, 1.0, "timeout")
    planted.steps.loc[planted.steps["outcome"] == "timeout", "done_s"] = 28.5
    verdict = judge(simulate.evidence(planted))
    assert verdict.verdict == "NO_GO"
    (stall,) = of(verdict, metric="stall_s")
    assert stall["endpoint"] == "*"
    assert 6.5 < stall["observed"] < 8


@cache
def strong(share):
    planted = production()
    planted.fail(TOKEN, 20, 40, share, "server error")
    return planted


@settings(max_examples=8)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([TOKEN, EVENTS, CHECK_IN, EXPORT, None]),
            st.floats(20, 55),
            st.floats(0.1, 30),
            st.floats(0.05, 1),
            st.sampled_from(["empty", "server error", "timeout", "unsent", "refused"]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_more_failures_never_turn_no_go_into_go(more):
    base = strong(0.2)
    planted = dataclasses.replace(base, steps=base.steps.copy())
    for seed, (endpoint, from_s, length_s, share, outcome) in enumerate(more):
        planted.fail(endpoint, from_s, from_s + length_s, share, outcome, seed=seed)
    assert judge(simulate.evidence(planted)).verdict != "GO"


@settings(max_examples=3)
@given(st.permutations(sorted(PRODUCTION)), st.integers(0, 2**32 - 1))
def test_neither_names_nor_the_order_of_rows_matter(names, seed):
    planted = incident()
    renamed = dict(zip(sorted(PRODUCTION), (f"X {name}" for name in names), strict=True))
    other = dataclasses.replace(
        planted,
        workload="renamed",
        **{
            arm: getattr(planted, arm).assign(endpoint=getattr(planted, arm)["endpoint"].map(renamed))
            for arm in ("control", "steps")
        },
    )
    evidence = simulate.evidence(other)
    rng = np.random.default_rng(seed)
    shuffled = {
        name: dataclasses.replace(
            arm, observations=arm.observations.iloc[rng.permutation(len(arm.observations))].reset_index(drop=True)
        )
        for name, arm in evidence.arms.items()
    }
    expected, found = judge(simulate.evidence(planted)), judge(dataclasses.replace(evidence, arms=shuffled))
    assert found.verdict == expected.verdict
    share = {renamed.get(one.endpoint or "", ""): one.observed for one in expected.findings if one.endpoint}
    assert {one.endpoint: one.observed for one in found.findings if one.endpoint} == share


def test_from_a_folder_to_the_same_bytes(tmp_path, capsys):
    planted = incident()
    planted.lines(dict.fromkeys(range(20, 26), 80))
    planted.lag(9.0)
    folder = simulate.write(simulate.evidence(planted, qa(), name="incident"), tmp_path / "run")
    verdict = judge_run(folder)
    first = (folder / "verdict.json").read_bytes()
    document = json.loads(first)
    assert document["verdict"] == verdict.verdict == "NO_GO"
    contract = (
        "workload endpoint probe outcome metric unit phase control observed effect interval p_value only_in_production "
        "root explanation"
    ).split()
    assert all(set(contract) <= set(finding) for finding in document["findings"])
    assert {"arms", "steps", "endpoints", "broke_first", "timeline", "criteria", "workload_verdicts"} <= set(document)
    capsys.readouterr()
    assert run(["judge", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == document
    assert (folder / "verdict.json").read_bytes() == first
    assert run(["judge", str(folder)]) == 1
    assert "NO_GO" in capsys.readouterr().out


def test_the_exit_code_says_the_verdict(tmp_path, capsys):
    calm = simulate.workload(1, mix={EVENTS: (200, 0.0)})
    calm.step(20, 25)
    go = simulate.write(simulate.evidence(calm), tmp_path / "go")
    assert run(["judge", str(go)]) == 0
    broken = simulate.write(simulate.evidence(calm), tmp_path / "broken")
    segment = next((broken / "arms" / "production-steps" / "observations").glob("*.parquet"))
    segment.write_bytes(b"PAR1 no longer")
    assert run(["judge", str(broken)]) == 3
    assert run(["judge", str(tmp_path)]) == 2
    wrong = simulate.write(simulate.evidence(calm, criteria={"lock_wait": 1}), tmp_path / "wrong")
    assert run(["judge", str(wrong)]) == 2
    assert not (wrong / "verdict.json").exists()
    capsys.readouterr()


def test_a_verdict_that_cannot_be_written_is_told_all_the_same(tmp_path, capsys):
    run = simulate.write(simulate.evidence(production(), qa()), tmp_path / "run")
    (run / "verdict.json").mkdir()
    code = command_line(["judge", str(run)])
    said = capsys.readouterr()
    assert code == 4
    assert said.out.startswith("GO")
    assert "The verdict is GO, but" in said.err
    assert "an older verdict" in said.err
    assert "replay judge" in said.err
