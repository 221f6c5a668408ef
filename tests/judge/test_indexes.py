"""An invalid index that the steps leave behind is noted, and weighs nothing."""

import dataclasses

import pandas as pd
import pytest
import simulate
from incident import of, production, qa

from replay.evidence.values import Mark, Reading
from replay.judge.verdict import judge

BUILD = "CREATE UNIQUE INDEX CONCURRENTLY token_digest ON oauth_token (digest)"


def reading(moment: str, *names: str) -> Reading:
    at_s = 0.0 if moment == "start" else 59.9
    return Reading(at_s, "database", "invalid_indexes", float(len(names)), {"moment": moment, "indexes": list(names)})


def planted(steps: list[Reading], control: list[Reading]):
    made = production()
    made.readings["steps"] += steps
    made.readings["control"] += control
    made.marks += [
        Mark(21.0, simulate.STEP, "migrate", "started", 2, BUILD),
        Mark(22.0, simulate.STEP, "migrate", "ended", 2, BUILD),
    ]
    return made


START, NONE = reading("start"), [reading("start"), reading("end")]


def test_a_new_invalid_index_is_a_note_that_names_it_and_its_statement() -> None:
    plain = judge(simulate.evidence(planted(NONE, NONE)))
    left = judge(simulate.evidence(planted([START, reading("end", "public.token_digest", "tale")], NONE)))
    (note,) = of(left, metric="invalid_indexes")
    assert (note["severity"], note["unit"], note["observed"], note["probe"]) == ("note", "count", 2, "database")
    assert note["phase"] == f"after {simulate.STEP}"
    assert note["explanation"].startswith("The steps left 2 invalid indexes behind: public.token_digest, tale.")
    assert note["evidence"]["statements"] == {"public.token_digest": BUILD}
    assert note["root"] == BUILD
    assert (left.verdict, left.checks, left.reasons) == (plain.verdict, plain.checks, plain.reasons)
    assert left.verdict == "GO"


@pytest.mark.parametrize(
    ("steps", "control"),
    [
        ([reading("start", "old"), reading("end", "old")], NONE),
        ([START, reading("end", "anyway")], [START, reading("end", "anyway")]),
        ([reading("start", "gone"), reading("end")], NONE),
        ([START], NONE),
        ([reading("end", "unknown")], NONE),
        ([], []),
    ],
)
def test_what_was_there_before_or_without_the_steps_or_was_not_read_is_no_note(steps, control) -> None:
    assert not of(judge(simulate.evidence(planted(steps, control))), metric="invalid_indexes")


def test_it_is_noted_under_each_workload_and_without_traffic() -> None:
    found = [START, reading("end", "token_digest")]
    other = qa()
    other.readings["steps"] += found
    run = simulate.with_quiet(simulate.evidence(planted(found, NONE), other))
    quiet = run.arms["quiet-steps"]
    like = run.arms["production-steps"].readings
    readings = pd.concat([quiet.readings, like[like["metric"] == "invalid_indexes"]])
    run.arms["quiet-steps"] = dataclasses.replace(quiet, readings=readings)
    notes = of(judge(run), metric="invalid_indexes")
    assert {(note["workload"], note["only_in_production"]) for note in notes} == {
        ("production", None),
        ("qa", None),
        ("quiet", None),
    }
