"""Who waits for whom by the lists of a server, and which words each version is asked in."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.rehearsal.probes.mysql.locks import Chains, Lock, RowWait, Seen, chains, lock_of, step_in
from replay.rehearsal.probes.mysql.queries import position_query, replica_query
from replay.rehearsal.probes.mysql.replica import Position, chosen, comparable, status_of
from replay.rehearsal.probes.mysql.source import parse_version

STUCK = "Waiting for table metadata lock"


def seen(pid: int, query: str, *, stage: str = "", elapsed_s: float = 1.0, transaction_s: float | None = None) -> Seen:
    state = "active" if stage or query else "idle in transaction"
    return Seen(pid, f"app {pid}", state, stage, query, "shop", elapsed_s, transaction_s, elapsed_s)


def blockers(chained: Chains) -> dict[int, tuple[int, ...]]:
    return {session.pid: session.blockers for session in chained.sessions if session.blockers}


def test_a_list_of_locks_tells_it_all() -> None:
    locks = [
        Lock(1, "TABLE", "shop.token", "SHARED_READ", granted=True),
        Lock(2, "TABLE", "shop.token", "SHARED_UPGRADABLE", granted=True),
        Lock(2, "TABLE", "shop.token", "EXCLUSIVE", granted=False),
        Lock(3, "TABLE", "shop.token", "SHARED_READ", granted=False),
        Lock(4, "TABLE", "shop.token", "SHARED_UPGRADABLE", granted=False),
        Lock(5, "TABLE", "shop.event", "EXCLUSIVE", granted=True),
    ]
    sessions = [
        seen(1, "", transaction_s=9.0),
        seen(2, "CALL migrate()", stage=STUCK),
        seen(3, "CALL look_up()", stage=STUCK),
        seen(4, "ALTER TABLE token ADD c int", stage=STUCK),
        seen(5, "ALTER TABLE event ADD c int"),
        seen(6, "SELECT 1 FROM token", stage=STUCK),
    ]
    chained = chains(sessions, [], locks, with_wishes=True)
    assert blockers(chained) == {2: (1,), 3: (2,), 4: (2,)}, "the sixth has got its lock meanwhile"
    assert not chained.guesses
    details = {detail["waiting"]["pid"]: detail for _, detail in chained.waits({})}
    assert [(link["pid"], link["holds"], link["awaits"]) for link in details[3]["blocked_by"]] == [
        (2, None, "EXCLUSIVE"),
        (1, "SHARED_READ", None),
    ]
    assert details[4]["blocked_by"][0]["holds"] == "SHARED_UPGRADABLE"


def test_a_list_of_what_is_held_needs_the_statement() -> None:
    locks = [
        lock_of({"pid": pid, "kind": "Table metadata lock", "base": "shop", "name": name, "mode": mode, "granted": 1})
        for pid, name, mode in (
            (1, "token", "MDL_SHARED_WRITE"),
            (2, "token", "MDL_SHARED_UPGRADABLE"),
            (5, "log", "MDL_EXCLUSIVE"),
        )
    ]
    sessions = [
        seen(1, "", transaction_s=9.0),
        seen(2, "CREATE INDEX `of` ON `shop`.`Token` (scope)", stage=STUCK),
        seen(3, "/* FROM log */ SELECT 1\nFROM x JOIN token t ON t.id = x.id", stage=STUCK),
        seen(4, "INSERT INTO log SELECT 1", stage=STUCK),
    ]
    chained = chains(sessions, [], locks)
    assert blockers(chained) == {2: (1,), 3: (2,), 4: (5,)}
    assert {session.pid: session.relation for session in chained.sessions if session.relation} == {
        2: "shop.token",
        3: "shop.token",
        4: "shop.log",
    }


def test_guesses_go_to_the_change_then_to_the_longest_transaction() -> None:
    sessions = [
        seen(1, "", transaction_s=9.0),
        seen(2, "", transaction_s=20.0),
        seen(3, "TRUNCATE token", stage=STUCK, elapsed_s=4.0),
        seen(4, "DELETE FROM token", stage=STUCK, elapsed_s=2.0),
        seen(5, "DELETE FROM event", stage=STUCK, elapsed_s=30.0),
    ]
    chained = chains(sessions, [], None)
    assert blockers(chained) == {3: (2,), 4: (3,)}, "nobody is older than the fifth"
    assert chained.guesses == {3, 4}
    details = {detail["waiting"]["pid"]: detail for _, detail in chained.waits({"app 3": "a step"})}
    assert [link["step"] for link in details[4]["blocked_by"]] == ["a step", None]
    assert "guess" in details[4]


def test_rows_are_waited_for_beside_metadata() -> None:
    sessions = [seen(1, "", transaction_s=5.0), seen(2, "UPDATE token SET scope = 'x'", transaction_s=1.0)]
    chained = chains(sessions, [RowWait(2, 1, "shop.token", "X"), RowWait(2, 0, "shop.token", "X")], [])
    ((_, detail),) = chained.waits({})
    assert [link["pid"] for link in detail["blocked_by"]] == [1, 0]
    assert detail["waiting"]["lock"] == "row of shop.token"


@given(st.lists(st.tuples(st.sampled_from(["", STUCK]), st.text(max_size=60), st.floats(0, 99)), max_size=8))
def test_whatever_runs_nobody_waits_for_himself(running) -> None:
    sessions = [
        seen(pid, query, stage=stage, elapsed_s=elapsed_s, transaction_s=elapsed_s)
        for pid, (stage, query, elapsed_s) in enumerate(running, 1)
    ]
    for locks in (None, [Lock(1, "TABLE", "shop.token", "EXCLUSIVE", granted=True)]):
        chained = chains(sessions, [], locks)
        assert all(session.pid not in session.blockers for session in chained.sessions)
        list(chained.waits({}))


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("ALTER TABLE t ADD c int /* replay step: add scopes */", "replay step: add scopes"),
        ("/*replay step: a * b*/ SELECT 1", "replay step: a * b"),
        ("SELECT 1 /* a step */", None),
    ],
)
def test_a_statement_says_of_which_step_it_is(query: str, name: str | None) -> None:
    assert step_in(query) == name


@pytest.mark.parametrize(
    ("text", "maria", "number", "position", "replica"),
    [
        ("10.11.19-MariaDB-0+deb12u1", True, (10, 11, 19), "SHOW MASTER STATUS", "SHOW ALL SLAVES STATUS"),
        ("5.5.5-11.4.2-MariaDB-log", True, (11, 4, 2), "SHOW MASTER STATUS", "SHOW ALL SLAVES STATUS"),
        ("8.0.21", False, (8, 0, 21), "SHOW MASTER STATUS", "SHOW SLAVE STATUS"),
        ("8.0.36-28", False, (8, 0, 36), "SHOW MASTER STATUS", "SHOW REPLICA STATUS"),
        ("8.4.0", False, (8, 4, 0), "SHOW BINARY LOG STATUS", "SHOW REPLICA STATUS"),
    ],
)
def test_each_version_is_asked_in_its_own_words(text, maria, number, position, replica) -> None:
    version = parse_version(text)
    assert (version.maria, version.number) == (maria, number)
    assert (position_query(version), replica_query(version)) == (position, replica)


@pytest.mark.parametrize(("new", "sql", "io"), [(True, "Replica_SQL", "Replica_IO"), (False, "Slave_SQL", "Slave_IO")])
def test_a_status_is_read_in_the_words_of_either_version(new, sql, io) -> None:
    source = "Source" if new else "Master"
    row = {
        f"{source}_Server_Id": 7,
        f"Relay_{source}_Log_File": "bin.000012",
        f"Exec_{source}_Log_Pos": 400,
        f"Seconds_Behind_{source}": None,
        f"{sql}_Running": "No",
        f"{io}_Running": "Yes",
        "Last_SQL_Error": "Duplicate entry",
    }
    status = status_of(row)
    assert status.applied == Position(7, "bin.000012", 400)
    assert status.behind_s is None
    assert "applies says No, Duplicate entry" in (status.stopped or "")
    there, here = comparable(Position(7, "bin.000013", 4), status.applied) or (0, 0)
    assert there > here
    assert comparable(Position(8, "bin.000013", 4), status.applied) is None, "of another server"
    assert comparable(Position(7, "log.000013", 4), status.applied) is None, "of another log"
    assert comparable(None, status.applied) is None
    other = replace(status, applied=Position(9, "x.000001", 4), stopped=None, behind_s=99.0)
    assert chosen([other, status], 7) == status
    assert chosen([replace(other, behind_s=1.0), other], None) == other
