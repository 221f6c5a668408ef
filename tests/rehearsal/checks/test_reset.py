"""Fingerprints before and after, and a reset that fails."""

import sys
import tempfile
from pathlib import Path

import pytest

from replay.errors import StageError
from replay.rehearsal.checks.check import FAILED, PASSED, STAGE
from replay.rehearsal.checks.reset import compare, put_back
from replay.rehearsal.databases import Fingerprint
from replay.rehearsal.plan import read_plan

BEFORE = Fingerprint("PostgreSQL 18.0", "s1", {"public.a": 3, "public.b": 5})


def after(schema: str = "s1", **rows: int) -> Fingerprint:
    return Fingerprint(
        "PostgreSQL 18.0", schema, {"public.a": 3, "public.b": 5, **{f"public.{k}": v for k, v in rows.items()}}
    )


def test_all_is_back() -> None:
    check = compare(BEFORE, after(a=4), after())
    assert (check.state, check.hint) == (PASSED, "")
    assert check.sentence.endswith("It put back public.a has 4 rows instead of 3 rows.")


def test_nothing_had_to_be_put_back() -> None:
    check = compare(BEFORE, after(), after())
    assert check.state == PASSED
    assert "nothing to put back" in check.hint


@pytest.mark.parametrize(
    ("now", "said"), [(after(a=4), "public.a has 4 rows instead of 3 rows"), (after("s2"), "the schema differs")]
)
def test_not_all_is_back(now: Fingerprint, said: str) -> None:
    check = compare(BEFORE, after(a=4), now)
    assert (check.state, check.fault) == (FAILED, STAGE)
    assert said in check.sentence
    assert check.figures["differs"] == [said]


def test_a_reset_that_fails_says_its_last_words(setting) -> None:
    setting.values["target"]["reset"] = setting.program("fails", f'{sys.executable} -c "print(1 / 0)"; exit 3')
    plan = read_plan(setting.write(), setting.environment)
    with tempfile.TemporaryDirectory() as logs, pytest.raises(StageError, match="exit code 3") as error:
        put_back(plan, Path(logs), plan.scrubber())
    assert "ZeroDivisionError" in error.value.hint
    assert logs not in error.value.hint
