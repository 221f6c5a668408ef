"""What probes saw just when something failed: told beside it, and never as its cause."""

from typing import Any

import pytest
import simulate
from incident import CHECK_IN, EVENTS, of, production, qa

from replay.judge.verdict import Verdict, judge

POOL = "pool timeout after <n> s"


def failing() -> simulate.Planted:
    planted = production()
    planted.fail(EVENTS, 27, 40, 0.5, "timeout")
    return planted


def judged(planted: simulate.Planted) -> Verdict:
    return judge(simulate.evidence(planted, qa()))


def seen(verdict: Verdict, endpoint: str = EVENTS) -> list[dict[str, Any]]:
    """What was seen beside the endpoint's failures after the step."""
    (found,) = of(verdict, workload="production", endpoint=endpoint, unit="share", phase=f"after {simulate.STEP}")
    return found["evidence"].get("at_the_same_time", [])


def test_a_flood_of_the_log_stands_beside_what_fails_and_is_no_root() -> None:
    planted = failing()
    planted.lines(dict.fromkeys(range(28, 38), 60))
    planted.lines({}, "control")
    verdict = judged(planted)
    (told,) = seen(verdict)
    assert told["what"].startswith(f'up to 60 lines a second "{POOL}" in the error log')
    assert told["probe"] == "errors"
    assert told["overlap_s"] == pytest.approx(9.5, abs=0.2)
    (found,) = of(verdict, endpoint=EVENTS, unit="share", phase=f"after {simulate.STEP}")
    assert (found["root"], found["proven"]) == (None, False)
    assert not any("At the same time" in reason for reason in verdict.reasons)


def test_new_lines_below_a_flood_do_too_and_known_ones_do_not() -> None:
    for control, count in (({}, 1), ({5: 3}, 0)):
        planted = failing()
        planted.lines({30: 3})
        planted.lines(control, "control")
        told = seen(judged(planted))
        assert len(told) == count
        assert all(one["what"].startswith(f'3 lines "{POOL}" in the error log, which it never') for one in told)


def test_a_replica_that_lags_meanwhile_does() -> None:
    planted = failing()
    planted.lag(3.5, 26, 42)
    planted.lag(0.2, 26, 42, "control")
    verdict = judged(planted)
    assert not of(verdict, metric="replica_lag_s")
    (told,) = seen(verdict)
    assert told["what"] == "the replica reporting was up to 3.5 s behind"
    assert 5 < told["overlap_s"] < 13


def test_what_was_over_before_does_not() -> None:
    planted = failing()
    planted.lag(3.5, 20.5, 26)
    planted.lines({22: 3})
    planted.lines({}, "control")
    assert seen(judged(planted)) == []


def test_waits_for_a_lock_that_proves_nothing_do() -> None:
    planted = production()
    planted.lock(20, 24)
    failed = planted.steps["request"].isin(planted.fail(EVENTS, 20, 58, 0.5, "server error"))
    planted.steps.loc[failed, "done_s"] = planted.steps["sent_s"] + 0.02  # at once: they did not wait
    found = of(judged(planted), endpoint=EVENTS, unit="share", phase=f"during {simulate.STEP}")
    told = [one for finding in found if finding["root"] is None for one in finding["evidence"]["at_the_same_time"]]
    assert told
    assert all("for a lock behind" in one["what"] for one in told)


def test_the_proven_cause_is_not_told_beside_itself() -> None:
    planted = production()
    planted.lock()
    planted.fail(CHECK_IN, 20, 25, 0.5, "timeout")
    (found,) = of(judged(planted), endpoint=CHECK_IN, unit="share", proven=True)
    assert found["root"]
    assert "at_the_same_time" not in found["evidence"]
    named = production()
    named.fail(EVENTS, 27, 40, 0.5, "server error")
    line = 'ERROR: column "scopes" of oauth_token does not exist'
    named.lines(dict.fromkeys(range(27, 40), 30), template=line)
    named.lines({}, "control")
    (found,) = of(judged(named), endpoint=EVENTS, unit="share", proven=True)
    assert line in found["root"]
    assert "at_the_same_time" not in found["evidence"]


def test_three_are_told_those_that_overlap_most() -> None:
    planted = failing()
    for number, lasts in enumerate((1, 4, 3, 2)):
        planted.log["steps"] += [
            simulate.LogEvent(float(second), "errors", f"template {number}", 1, f"line {number}")
            for second in range(28, 28 + lasts)
        ]
    planted.lines({}, "control")
    planted.lines({})
    told = [one["what"] for one in seen(judged(planted))]
    assert [what.split('"')[1] for what in told] == ["template 1", "template 2", "template 3"]


def test_notes_and_probes_have_none() -> None:
    planted = failing()
    planted.lines(dict.fromkeys(range(28, 38), 60))
    planted.lines({}, "control")
    verdict = judged(planted)
    others = [one for one in verdict.findings if one.endpoint is None or one.severity == "note"]
    assert others
    assert not any("at_the_same_time" in one.evidence for one in others)


def test_of_lines_that_overlap_alike_the_most_frequent_are_told_and_no_lines_of_a_traceback() -> None:
    planted = failing()
    for count, template in ((1, "a"), (2, "b"), (3, "c"), (60, "d"), (90, "  File <path>"), (90, "Traceback (most")):
        planted.log["steps"] += [
            simulate.LogEvent(float(second), "errors", template, count, template) for second in range(29, 38)
        ]
    planted.lines({}, "control")
    planted.lines({})
    assert [one["what"].split('"')[1] for one in seen(judged(planted))] == ["d", "c", "b"]
