"""Who a copy of a client logs in as."""

import base64
import dataclasses

from replay.scenario.copies import lend
from replay.scenario.pace import pace
from replay.scenario.schedule import Inject, PlannedRequest, Schedule

FORM = ("Content-Type", "application/x-www-form-urlencoded")


def login(number: int, client: str, **more: object) -> PlannedRequest:
    """A login that names its client and shows a secret."""
    planned = PlannedRequest(
        request=number,
        visit=number,
        client=client,
        endpoint="POST /oauth/token",
        due_s=float(number),
        after=None,
        method="POST",
        path="/oauth/token",
        query="",
        headers=(FORM,),
        body=f"client_id={client}&client_secret=captured".encode(),
        expected_status=200,
        expected_shape=None,
        injects=(Inject("form:client_secret", "captured", credential="client_secret"),),
    )
    return dataclasses.replace(planned, **more)  # type: ignore[arg-type]


def twice(*requests: PlannedRequest) -> Schedule:
    return pace(Schedule(requests, 10.0), scale=2)


def injected(schedule: Schedule, client: str) -> dict[str, str]:
    (planned,) = [one for one in schedule if one.client == client]
    return {inject.place: inject.credential for inject in planned.injects}


def test_a_copy_has_the_row_of_its_own_name() -> None:
    rows = {"kiosk": {"client_secret": "one"}, "kiosk~2": {"client_secret": "two", "client_id": "kiosk-b"}}
    lent = lend(twice(login(0, "kiosk")), rows)
    assert lent.identities["kiosk~2"]["client_secret"] == "two"
    assert injected(lent.schedule, "kiosk~2") == {"form:client_secret": "client_secret", "form:client_id": "client_id"}
    assert injected(lent.schedule, "kiosk") == {"form:client_secret": "client_secret"}
    assert lent.note == ""


def test_a_row_without_a_name_keeps_the_original_s() -> None:
    lent = lend(twice(login(0, "kiosk")), {"kiosk~2": {"client_secret": "two"}})
    assert injected(lent.schedule, "kiosk~2") == {"form:client_secret": "client_secret"}


def test_spare_rows_go_to_the_busiest_copies_and_the_rest_share() -> None:
    schedule = twice(login(0, "a"), login(1, "b"), login(2, "b"), login(3, "c"))
    rows = {
        "a": {"client_secret": "of a"},
        "b": {"client_secret": "of b"},
        "c": {"client_secret": "of c"},
        "no use": {"password": "x"},
        "spare": {"client_secret": "spared"},
    }
    lent = lend(schedule, rows)
    assert lent.identities["b~2"]["client_secret"] == "spared"
    assert lent.identities["b~2"]["client_id"] == "spare"
    assert lent.identities["a~2"] == rows["a"]
    assert lent.identities["c~2"] == rows["c"]
    assert (lent.copies, lent.sharing) == (3, 2)
    assert lent.note.startswith("2 of 3 copies of clients share their original's credentials")
    assert {name: row for name, row in lent.identities.items() if name in rows} == rows


def test_a_row_of_a_table_by_rank_has_no_name_to_go_by() -> None:
    lent = lend(twice(login(0, "kiosk")), {"kiosk": {"client_secret": "one"}, "row 2": {"client_secret": "two"}})
    assert lent.identities["kiosk~2"] == {"client_secret": "two"}
    assert injected(lent.schedule, "kiosk~2") == {"form:client_secret": "client_secret"}


def test_a_copy_goes_by_its_name_wherever_it_logs_in() -> None:
    basic = base64.b64encode(b"b:captured").decode()
    schedule = twice(
        login(0, "a", headers=(("content-type", "application/json"),), body=b'{"username": "a", "age": 7}'),
        login(
            1,
            "b",
            headers=(("Authorization", f"Basic {basic}"),),
            body=None,
            injects=(Inject("basic:password", "captured", credential="client_secret"),),
        ),
        login(2, "c", body=b"client_id=app&client_secret=captured"),
    )
    rows = {f"spare {n}": {"client_secret": f"secret {n}"} for n in range(3)}
    lent = lend(schedule, rows)
    assert injected(lent.schedule, "a~2")["json:/username"] == "username"
    assert injected(lent.schedule, "b~2") == {"basic:password": "client_secret", "basic:username": "username"}
    assert injected(lent.schedule, "c~2") == {"form:client_secret": "client_secret"}


def test_clients_that_need_nothing_share_nothing() -> None:
    schedule = twice(login(0, "a", injects=()))
    lent = lend(schedule, {})
    assert lent.schedule is schedule
    assert lent.note == ""
