import dataclasses

import pytest

from replay.errors import InputError
from replay.judge.criteria import Criteria, parse_criteria
from replay.judge.soak.criteria import parse_soak_criteria


def test_defaults_serve():
    assert parse_criteria({}) == Criteria()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Criteria) if field.name != "endpoints"])
def test_every_limit_can_be_set(name):
    value = True if name == "unseen_steps" else 0.5
    assert getattr(parse_criteria({name: value}), name) == value


@pytest.mark.parametrize("value", [1, 0, "true", None, [True]])
def test_what_is_neither_true_nor_false_is_refused(value):
    with pytest.raises(InputError, match="unseen_steps"):
        parse_criteria({"unseen_steps": value})


def test_one_endpoint_has_limits_of_its_own_and_the_general_ones():
    criteria = parse_criteria({"p_value": 0.001, "endpoints": {"POST /oauth/token": {"failure_share": 0.01}}})
    assert criteria.of("POST /oauth/token").failure_share == 0.01
    assert criteria.of("POST /oauth/token").p_value == 0.001
    assert criteria.of("GET /other").failure_share == 0.05


def test_an_unknown_key_is_named_with_the_nearest():
    with pytest.raises(InputError, match="lock_wait_ms") as error:
        parse_criteria({"lock_wait_ms": 2})
    assert "'lock_wait_s'" in error.value.hint


@pytest.mark.parametrize("name", ["replica_lag_s", "lock_wait_s", "new_error_lines"])
def test_a_limit_of_the_whole_stage_is_refused_for_one_endpoint(name):
    with pytest.raises(InputError, match=f"{name}.* for the whole Stage") as error:
        parse_criteria({"endpoints": {"GET /x": {name: 1}}})
    assert error.value.hint == f"Write {name} below [criteria] itself."


def test_an_unknown_key_of_an_endpoint_is_named_with_the_nearest():
    with pytest.raises(InputError, match="unknown key 'failure_shar'") as error:
        parse_criteria({"endpoints": {"GET /x": {"failure_shar": 1}}})
    assert "'failure_share'" in error.value.hint


@pytest.mark.parametrize(("value", "seconds"), [("10s", 10), ("250ms", 0.25), ("1m30s", 90), ("0s", 0), (10, 10)])
def test_a_limit_in_seconds_may_be_a_duration(value, seconds):
    assert parse_criteria({"migration_s": value}).migration_s == seconds
    assert parse_criteria({"endpoints": {"GET /x": {"recovery_s": value}}}).of("GET /x").recovery_s == seconds
    assert parse_soak_criteria({"p95_s": value}).p95_s == seconds


@pytest.mark.parametrize("value", ["10", "ten seconds", "-1s", True])
def test_what_is_no_duration_says_how_one_is_written(value):
    for parse, name in ((parse_criteria, "migration_s"), (parse_soak_criteria, "p95_s")):
        with pytest.raises(InputError, match=name) as error:
            parse({name: value})
        assert error.value.hint == f'It is in seconds: write {name} = 10, or {name} = "10s".'


def test_only_what_is_in_seconds_is_a_duration():
    with pytest.raises(InputError, match="replica_lag_bytes"):
        parse_criteria({"replica_lag_bytes": "10s"})


@pytest.mark.parametrize("value", ["2", True, -1, float("nan"), float("inf"), 10**400, 1.7e308, None, [1]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="lock_wait_s"):
        parse_criteria({"lock_wait_s": value})


@pytest.mark.parametrize("table", [{"p_value": 2}, {"endpoints": 3}, {"endpoints": {"GET /x": 3}}, [1]])
def test_what_cannot_be_meant_is_refused(table):
    with pytest.raises(InputError):
        parse_criteria(table)
