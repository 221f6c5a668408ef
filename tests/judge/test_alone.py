"""An endpoint without others beside it: whether it is slow, or all of Stage is, one pair of arms cannot tell."""

import pytest
import simulate

from replay.judge.verdict import judge

PAIR = {"production": {"control": "production-control-2", "steps": "production-steps-2"}}
ALONE = {"GET /x": (1000, 0.0)}
HARDLY_OTHERS = {"GET /x": (1000, 0.0), "GET /y": (40, 0.0)}
BOTH = {"GET /x": (600, 0.0), "GET /y": (600, 0.0)}


def slowed(pair: simulate.Planted, which: str | None) -> simulate.Planted:
    pair.step(20, 25)
    pair.slow(which, 22, 60, 0.6)
    return pair


@pytest.mark.parametrize("mix", [ALONE, HARDLY_OTHERS, BOTH], ids=["alone", "hardly others", "both"])
def test_one_pair_suspects_what_a_second_one_proves(mix: dict[str, tuple[int, float]]) -> None:
    first = simulate.workload(1, mix=mix)
    second = simulate.again(first, 1, 2, mix)
    slowed(first, None)
    verdict = judge(simulate.evidence(first))
    assert (verdict.verdict, verdict.unconfirmed) == ("INCONCLUSIVE", {"production": "production-steps"})
    verdict = judge(simulate.evidence(first, slowed(second, None), confirming=PAIR))
    assert (verdict.verdict, verdict.rests_on) == ("NO_GO", "two pairs of arms")


def test_beside_others_one_pair_proves_it() -> None:
    verdict = judge(simulate.evidence(slowed(simulate.workload(1, mix=BOTH), "GET /x")))
    assert (verdict.verdict, verdict.rests_on) == ("NO_GO", "one pair of arms")
