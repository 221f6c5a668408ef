"""What reasons say of answers that are worse: which status they had, which fields differ."""

import pytest
from incident import EVENTS, of, production, qa
from simulate import evidence

from replay.judge.verdict import judge

HAD = "{id:number,is:[{name:str}],next:null,zone:str}"


def told(planted) -> str:
    """The sentence about the endpoint's failures after the step."""
    found = of(judge(evidence(planted, qa())), endpoint=EVENTS, metric=None)
    (sentence,) = (one["explanation"] for one in found if one["phase"].startswith("after"))
    return str(sentence)


def refused(*statuses: int):
    planted = production()
    hit = planted.fail(EVENTS, 20, 120, outcome="refused")
    for place, status in enumerate(statuses):
        planted.steps.loc[planted.steps["request"].isin(hit[place :: len(statuses)]), "status"] = status
    return planted


def test_the_status_of_all_of_them() -> None:
    assert "were refused (status 404) after '" in told(refused(404))


def test_the_status_that_most_of_them_had() -> None:
    assert "were refused (status 409 most often) after '" in told(refused(404, 409, 409))


def test_what_has_no_status_has_none_in_words() -> None:
    planted = production()
    planted.fail(EVENTS, 20, 120, outcome="timeout")
    assert "timed out after '" in told(planted)


@pytest.mark.parametrize(
    ("has", "words"),
    [
        ("{id:number,is:[{name:str}],next:null}", " (without 'zone')"),
        ("{id:number,is:[{name:str}],next:null,zone_name:str}", " (without 'zone', with 'zone_name')"),
        ("{id:number,is:[{name:number}],next:null,zone:str}", " ('name' is number instead of str)"),
        ("{id:str,is:[{name:str}],next:{},zone:str}", " ('id' is str instead of number)"),
        ("{a:str,b:null,c:[],d:{},id:number,is:[{name:str}],next:null,zone:str}", " (with 'a', 'b', 'c' and 1 more)"),
        ("{id:number,is:str,next:null,zone:str}", " (without 'name')"),
        ("text/html", " (text/html instead of JSON)"),
        ("{id:number,is:[{name:~0123456789ab", ""),
    ],
)  # fmt: skip
def test_the_fields_that_differ(has: str, words: str) -> None:
    planted = production()
    for frame in (planted.control, planted.steps):
        frame.loc[frame["endpoint"] == EVENTS, ["shape", "expected_shape"]] = HAD
    hit = planted.steps["endpoint"].eq(EVENTS) & planted.steps["due_s"].ge(25)
    planted.steps.loc[hit, "shape"] = has
    assert f"came back in another shape{words} after '" in told(planted)


def test_answers_of_another_shape_are_not_told_as_failing() -> None:
    planted = production()
    for frame in (planted.control, planted.steps):
        frame.loc[frame["endpoint"] == EVENTS, ["shape", "expected_shape"]] = HAD
    planted.steps.loc[planted.steps["endpoint"].eq(EVENTS) & planted.steps["due_s"].ge(21), "shape"] = "{id:number}"
    verdict = judge(evidence(planted, qa()))
    (never,) = of(verdict, metric="never_recovered")
    assert never["explanation"].startswith(f"{EVENTS} still answered in another way when the arm ended, 39")
    (check,) = (one for one in verdict.checks if (one.name, one.workload) == ("unavailable_s", "production"))
    assert check.sentence.startswith(f"{EVENTS} answered in another way for 3")
