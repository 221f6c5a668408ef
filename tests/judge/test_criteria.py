import dataclasses

import pytest

from replay.errors import InputError
from replay.judge.criteria import Criteria, parse_criteria


def test_defaults_serve():
    assert parse_criteria({}) == Criteria()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Criteria) if field.name != "endpoints"])
def test_every_limit_can_be_set(name):
    assert getattr(parse_criteria({name: 0.5}), name) == 0.5


def test_one_endpoint_has_limits_of_its_own_and_the_general_ones():
    criteria = parse_criteria({"p_value": 0.001, "endpoints": {"POST /oauth/token": {"failure_share": 0.01}}})
    assert criteria.of("POST /oauth/token").failure_share == 0.01
    assert criteria.of("POST /oauth/token").p_value == 0.001
    assert criteria.of("GET /other").failure_share == 0.05


def test_an_unknown_key_is_named_with_the_nearest():
    with pytest.raises(InputError, match="lock_wait_ms") as error:
        parse_criteria({"lock_wait_ms": 2})
    assert "'lock_wait_s'" in error.value.hint


def test_a_limit_that_no_endpoint_has_is_refused_for_it():
    with pytest.raises(InputError, match="replica_lag_s"):
        parse_criteria({"endpoints": {"GET /x": {"replica_lag_s": 1}}})


@pytest.mark.parametrize("value", ["2", True, -1, float("nan"), float("inf"), 10**400, None, [1]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="lock_wait_s"):
        parse_criteria({"lock_wait_s": value})


@pytest.mark.parametrize("table", [{"p_value": 2}, {"endpoints": 3}, {"endpoints": {"GET /x": 3}}, [1]])
def test_what_cannot_be_meant_is_refused(table):
    with pytest.raises(InputError):
        parse_criteria(table)
