"""Refusals that follow from a token request that had failed."""

import numpy as np
import simulate
from hypothesis import given
from hypothesis import strategies as st
from incident import EVENTS, of, production, qa
from simulate import TOKEN

from replay.judge.answers.cascade import refused_for_want_of_a_token
from replay.judge.verdict import judge


def causes(*requests: tuple[int, float, float, str]) -> list[int]:
    """Of requests as (visit, start, end, what): T or t is a token request, well or failed; R is refused, o is well."""
    visit, start, end, what = zip(*requests, strict=True)
    kinds = np.array(what)
    found = refused_for_want_of_a_token(
        np.array(visit),
        np.array(start, float),
        np.array(end, float),
        gives=np.isin(kinds, ["T", "t"]),
        failed=kinds == "t",
        refused=np.isin(kinds, ["R", "t"]),
    )
    return found.tolist()


def test_a_refusal_follows_from_the_token_that_failed_before_it() -> None:
    assert causes((1, 0, 1, "t"), (1, 2, 3, "R"), (1, 4, 5, "o"), (1, 6, 7, "R")) == [-1, 0, -1, 0]


def test_what_another_visit_lacks_is_no_cause() -> None:
    assert causes((1, 0, 1, "t"), (2, 2, 3, "R")) == [-1, -1]


def test_a_token_that_came_since_ends_it() -> None:
    assert causes((1, 0, 1, "t"), (1, 2, 3, "T"), (1, 4, 5, "R")) == [-1, -1, -1]


def test_a_token_that_had_not_come_yet_is_no_cause() -> None:
    assert causes((1, 0, 5, "t"), (1, 2, 3, "R")) == [-1, -1]


def test_a_token_request_that_is_refused_stands_for_itself() -> None:
    assert causes((1, 0, 1, "t"), (1, 2, 3, "t"), (1, 4, 5, "R")) == [-1, -1, 1]


def test_nothing_follows_from_nothing() -> None:
    assert causes((1, 0, 1, "R")) == [-1]
    assert causes((1, 0, 1, "t")) == [-1]


def test_refusals_are_folded_under_the_token_request() -> None:
    """Tokens come back empty for a while; who goes on with an old one is refused, and that is no failure of its own."""
    planted = production()
    for frame in (planted.control, planted.steps):
        frame["visit"] = frame["request"] % 40
    empty = planted.fail(TOKEN, 20, 40, 0.8)
    tokens = planted.steps[planted.steps["request"].isin(empty)]
    after = planted.steps[(planted.steps["endpoint"] == EVENTS) & planted.steps["due_s"].between(25, 45)]
    lost = after[after["visit"].isin(tokens["visit"])]["request"]
    hit = planted.steps["request"].isin(lost)
    planted.steps.loc[hit, ["status", "shape", "outcome"]] = [401, "text/plain", "refused"]
    told = {"endpoint_roles": {TOKEN: "authentication"}}
    verdict = judge(simulate.evidence(planted, qa(), **told))
    assert {one["root"] for one in of(verdict, endpoint=EVENTS, outcome="refused")} == {TOKEN}
    assert any("because POST /oauth/token had failed before them" in one.explanation for one in verdict.findings)
    assert [row["endpoint"] for row in verdict.facts["broke_first"]] == [TOKEN]
    alone = judge(simulate.evidence(planted, qa()))
    assert TOKEN not in {one["root"] for one in of(alone, endpoint=EVENTS, outcome="refused")}


request = st.tuples(
    st.integers(-3, 3), st.integers(0, 20).map(float), st.integers(0, 5).map(float), st.sampled_from("TtRo")
).map(lambda one: (one[0], one[1], one[1] + one[2], one[3]))


@given(st.lists(request, min_size=1, max_size=25))
def test_it_is_what_looking_one_by_one_finds(requests: list[tuple[int, float, float, str]]) -> None:
    for at, found in enumerate(causes(*requests)):
        visit, start, _, what = requests[at]
        earlier = [n for n, one in enumerate(requests) if one[0] == visit and one[3] in "Tt" and one[2] <= start]
        latest = max((requests[n][2] for n in earlier), default=None)
        at_that_moment = {n for n in earlier if requests[n][2] == latest}
        if what != "R" or not earlier:
            assert found == -1
        elif found >= 0:
            assert found in at_that_moment
            assert requests[found][3] == "t"
        else:
            assert any(requests[n][3] == "T" for n in at_that_moment)
