"""Answers that come later than clients wait."""

import pytest
import simulate
from incident import CHECK_IN, EVENTS, of, production, qa

from replay.judge.verdict import judge


@pytest.mark.parametrize("endpoint", [EVENTS, CHECK_IN])
@pytest.mark.parametrize("seed", [3, 4])
def test_an_endpoint_that_answers_too_late_is_out(endpoint, seed):
    planted = production(seed)
    planted.marks.clear()
    planted.step(20, 40)
    planted.slow(endpoint, 20, 32, 20.0)
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO", verdict.reasons
    found = of(verdict, endpoint=endpoint, outcome="too late", severity="blocking")
    assert found
    assert "were answered later than their clients wait" in found[0]["explanation"]


def test_how_long_clients_wait_can_be_said():
    planted = production()
    planted.slow(CHECK_IN, 20, 27, 4.0)
    assert not of(judge(simulate.evidence(planted, qa())), outcome="too late")
    sooner = {"endpoints": {CHECK_IN: {"patience_s": 3}}}
    assert of(judge(simulate.evidence(planted, qa(), criteria=sooner)), outcome="too late")


def test_what_takes_long_anyway_is_not_late():
    planted = production()
    for frame in (planted.control, planted.steps):
        frame.loc[frame["endpoint"] == CHECK_IN, "done_s"] += 4.9
    planted.slow(CHECK_IN, 20, 60, 0.3)
    assert not of(judge(simulate.evidence(planted, qa())), outcome="too late")


def test_an_error_that_comes_sooner_does_not_make_the_usual_late():
    planted = production()
    for frame in (planted.control, planted.steps):
        frame.loc[frame["endpoint"] == CHECK_IN, "done_s"] += 8.0
    planted.fail(CHECK_IN, 20, 60, 1.0, "server error")
    verdict = judge(simulate.evidence(planted, qa()))
    assert verdict.verdict == "NO_GO"
    assert of(verdict, endpoint=CHECK_IN, outcome="server error", severity="blocking")
    assert not of(verdict, outcome="too late")
