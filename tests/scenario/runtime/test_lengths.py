import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.scenario.runtime.lengths import Lengths


@given(st.lists(st.floats(-0.01, 100), min_size=1), st.sampled_from([0.5, 0.99]))
def test_quantiles_are_exact_to_a_hundredth(lengths: list[float], share: float) -> None:
    counted = Lengths()
    for one in lengths:
        counted.add(one)
    exact = sorted(lengths)[min(len(lengths) - 1, int(share * len(lengths)))]
    assert counted.quantile(share) == pytest.approx(max(exact, 0.0), rel=0.011, abs=2e-6)
    assert (counted.count, counted.longest) == (len(lengths), max(lengths))


def test_nothing_has_no_quantile() -> None:
    assert Lengths().quantile(0.5) is None
