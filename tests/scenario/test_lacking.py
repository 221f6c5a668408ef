"""What is said of credentials that are lacking, and how reasons not to send are told apart."""

import dataclasses
from pathlib import Path

import pytest

from replay.scenario.lacking import kind_of, tell_lacking
from replay.scenario.schedule import Inject, PlannedRequest, Schedule

KEY = Inject("header:x-key", "k", credential="x-key")
ONE = PlannedRequest(0, 0, "c0", "GET /", 0.0, None, "GET", "/", "", (("x-key", "k"),), None, 200, None, injects=(KEY,))


def schedule(*clients: str) -> Schedule:
    requests = tuple(dataclasses.replace(ONE, request=number, client=name) for number, name in enumerate(clients))
    return Schedule(requests, 1.0, {name: name.partition("~")[0] for name in clients if "~" in name})


def test_without_a_file_the_clients_are_counted() -> None:
    assert "for 2 clients, as no --identities are given" in tell_lacking(schedule("a", "a~2", "b"), {}, None)
    assert tell_lacking(Schedule((dataclasses.replace(ONE, injects=()),), 1.0), {}, None) == ""


def test_a_copy_lacks_what_its_original_lacks() -> None:
    table = Path("clients.csv")
    assert tell_lacking(schedule("a", "a~2"), {"a": {"x-key": "1"}}, table) == ""
    said = tell_lacking(schedule("a", "a~2", "b", "b~2"), {"a": {"x-key": "1"}}, table)
    assert said.startswith("Credentials are lacking for 1 of 2 clients (clients.csv has no x-key for b")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no credential 'x-key' for client a", "no credential 'x-key' for client b for client c"),
        ("no value from request 3 (it answered 500)", "no value from request 17 (it answered 500)"),
        ("prepare raised ValueError: one\nthing", "prepare raised ValueError: another"),
    ],
)
def test_reasons_of_one_kind(one: str, other: str) -> None:
    assert kind_of(one) == kind_of(other) != one


def test_reasons_of_other_kinds() -> None:
    reasons = [
        "no credential 'x-key' for client a",
        "no credential 'secret' for client a",
        "no value from request 3 (it answered 500)",
        "no value from request 3 (it was not sent)",
        "prepare raised ValueError: one",
        "prepare raised KeyError: one",
        "the path does not hold the value that was to be replaced",
    ]
    assert len({kind_of(reason) for reason in reasons}) == len(reasons)
