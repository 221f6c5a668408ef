"""What a lock finding says: who took the lock, what ran meanwhile, who held the step up, and what a deadlock was."""

import simulate
from hypothesis import given
from hypothesis import strategies as st
from incident import of, production
from simulate import ALTER, EXPORT, STEP, TOKEN

from replay.evidence.values import Mark, Reading
from replay.judge.probes.locks import Queue, is_same, lock_queues
from replay.judge.probes.waits import StepWaits
from replay.judge.verdict import judge

LOCK, SLEEP, OTHER = "LOCK TABLE oauth_token", "SELECT pg_sleep(3)", "ALTER TABLE venue ADD COLUMN open bool"
EXPORTING = {"pid": 11, "application": "api", "query": "SELECT * FROM registration", "endpoint": EXPORT, "step": None}
ASKING = {
    "pid": 12,
    "application": "api",
    "query": "UPDATE oauth_token SET used = true WHERE id = 4",
    "endpoint": TOKEN,
    "step": None,
    "lock_mode": "RowExclusiveLock",
    "relation": "oauth_token",
    "lock": "relation oauth_token",
}


def session(query=ALTER, *, holds="AccessExclusiveLock", awaits=None, took=None, certain=True, by_s=20.2):
    """A step's session in a chain, by a probe that knows how it took its lock."""
    link = {"pid": 10, "application": f"replay step: {STEP}", "query": query, "endpoint": None, "step": STEP}
    link |= {"state": "active", "running_s": 1.0, "level": 1, "holds": holds, "awaits": awaits}
    taken = {"query": took, "after_s": by_s - 0.2, "by_s": by_s, "certain": certain}
    return link | ({"taken": taken} if took else {})


def holder(level=2, awaits=None, **fields):
    return (
        EXPORTING
        | {"state": "active", "running_s": 6.0, "level": level, "holds": "AccessShareLock"}
        | {
            "awaits": awaits,
            **fields,
        }
    )


def readings(*chains, ring=False, from_s=20.0, every_s=0.25):
    """The application waits behind one chain after another, each for one sample."""
    return [
        Reading(
            from_s + n * every_s,
            "database",
            "lock_wait_s",
            n * every_s,
            {"waiting": ASKING, "blocked_by": chain} | ({"ring": True} if ring else {}),
        )
        for n, chain in enumerate(chains, 1)
    ]


def finding(made):
    """The one finding about a lock, of a rehearsal in which the probe read this."""
    planted = production()
    planted.readings["steps"] += made
    (found,) = of(judge(simulate.evidence(planted)), metric="lock_wait_s")
    return found


def queue(made, spans=()) -> Queue:
    planted = production()
    planted.readings["steps"] += made
    return lock_queues(planted.arms()["production-steps"].readings, spans)[0]


def test_a_session_named_after_its_endpoint_is_tied_to_it_where_no_comment_is():
    """Evidence from before a probe looked at names has none either."""
    named = ASKING | {"endpoint": None, "application": TOKEN}
    exporting = holder(endpoint=None, application=EXPORT)
    chain = [session(awaits="AccessExclusiveLock", holds=None), exporting]
    made = [
        Reading(20.0 + n / 4, "database", "lock_wait_s", n / 4, {"waiting": named, "blocked_by": chain})
        for n in range(1, 10)
    ]
    found = queue(made)
    assert set(found.endpoints) == {TOKEN}
    assert found.held_up_by[0] == EXPORT
    (other,) = lock_queues(frame([*made, waits_of_a_stranger(chain)]))
    assert set(other.endpoints) == {TOKEN}


def waits_of_a_stranger(chain):
    detail = {"waiting": ASKING | {"endpoint": None, "application": "the api"}, "blocked_by": chain}
    return Reading(22.5, "database", "lock_wait_s", 0.5, detail)


def frame(made):
    planted = production()
    planted.readings["steps"] += made
    return planted.arms()["production-steps"].readings


def own(at_s, lasted_s, step=STEP):
    detail = {"waiting": session() | {"step": step}, "blocked_by": [holder(level=1)]}
    return Reading(at_s, "database", "lock_wait_s", lasted_s, detail)


def looked(*moments):
    return [Reading(at_s, "database", "waiting_backends", 0.0, {}) for at_s in moments]


def test_how_long_a_statement_waited_is_known_where_a_probe_looked():
    waits = StepWaits(frame([*looked(20.0, 20.5, 21.0, 21.5), own(20.5, 0.25), own(21.0, 0.75), own(21.0, 9.0, "x")]))
    assert waits.longest_s(STEP, 20.1, 21.2) == 0.75
    assert waits.longest_s(STEP, 20.1, 20.9) == 0.25
    assert waits.longest_s(STEP, 20.5, None) == 0.75
    assert waits.longest_s(STEP, 21.3, 21.9) == 0.0, "it was seen not to wait"
    assert waits.longest_s(STEP, 21.1, 21.2) is None, "nobody looked meanwhile"
    assert waits.longest_s(STEP, 30.0, None) is None
    assert StepWaits(frame([])).longest_s(STEP, 20.0, None) is None


def test_a_verdict_says_of_each_statement_how_long_it_waited():
    planted = production()
    planted.marks = [mark for mark in planted.marks if not mark.index]
    (end,) = [mark.at_s for mark in planted.marks if mark.step == STEP and mark.event == "ended"]
    planted.marks += [
        Mark(20.1, STEP, "migrate", "started", 1, ALTER),
        Mark(end - 0.2, STEP, "migrate", "ended", 1, ALTER),
        Mark(end - 0.2, STEP, "migrate", "started", 2, SLEEP),
        Mark(end - 0.1, STEP, "migrate", "ended", 2, SLEEP),
        Mark(end - 0.1, STEP, "migrate", "started", 3, OTHER),
        Mark(end, STEP, "migrate", "ended", 3, OTHER),
    ]
    planted.readings["steps"] += [own(20.3, 0.2), *looked(end - 0.15)]
    rows = judge(simulate.evidence(planted)).to_json()["steps"]
    statements = next(row["statements"] for row in rows if row["step"] == STEP)
    assert [one["own_wait_s"] for one in statements] == [0.2, 0.0, None]


def test_what_took_the_lock_is_named_and_what_ran_meanwhile():
    found = finding(readings(*[[session(took=ALTER)]] * 2, *[[session(SLEEP, took=ALTER)]] * 10))
    assert (
        f"for a lock behind {ALTER!r} of step {STEP!r}, while {SLEEP!r} ran; 1 session queued" in found["explanation"]
    )
    assert found["root"] == f"lock queue behind {ALTER!r} of step {STEP!r}, while {SLEEP!r} ran"
    evidence = found["evidence"]
    assert (evidence["statement"], evidence["running"], evidence["deadlock"]) == (ALTER, [SLEEP, ALTER], False)
    assert evidence["held_up_by"] is None


def test_a_statement_that_took_the_lock_and_still_ran_held_it():
    found = finding(readings(*[[session(took=ALTER)]] * 12))
    assert f"of step {STEP!r}, which held the lock; " in found["explanation"]
    assert found["evidence"]["running"] == [ALTER]


def test_where_nothing_tells_what_took_the_lock_only_what_ran_is_said():
    """The marks have no statement at that time."""
    found = finding(readings(*[[session(SLEEP, took=SLEEP, certain=False, by_s=10.0)]] * 12))
    assert f"behind {SLEEP!r} of step {STEP!r}, which ran while the step held the lock; " in found["explanation"]


def test_what_took_the_lock_did_not_wait_itself_where_another_did():
    held_up = [session(OTHER, took=LOCK, awaits="AccessExclusiveLock"), holder()]
    found = finding(readings(*[held_up] * 12))
    assert f"behind {LOCK!r} of step {STEP!r}, while {OTHER!r} waited for {EXPORT}; " in found["explanation"]
    assert "itself" not in found["explanation"]
    assert found["evidence"]["held_up_by"] == EXPORT


def test_a_step_that_holds_its_lock_is_the_root_whoever_else_is_in_the_chain():
    """The request waits for the step and for a session before it in the queue, which waits for an export."""
    before = holder(1, "RowExclusiveLock", pid=13, endpoint="PUT /jobs", holds=None)
    found = finding(readings(*[[session(took=ALTER), before, holder(2)]] * 12))
    assert f"of step {STEP!r}, which held the lock; " in found["explanation"]
    assert found["evidence"]["held_up_by"] is None


def test_a_step_that_waited_briefly_and_then_held_its_lock_held_it():
    waited = [session(holds=None, awaits="AccessExclusiveLock"), holder()]
    for waits, held, expected in ((2, 10, ""), (10, 2, EXPORT)):
        found = queue(readings(*[waited] * waits, *[[session(took=ALTER)]] * held))
        assert (found.statement, found.held_up_by[0]) == (ALTER, expected)


def test_a_deadlock_is_called_one():
    found = finding(readings(*[[session(awaits="ShareLock", took=ALTER)]] * 12, ring=True))
    assert f"behind {ALTER!r} of step {STEP!r}, which was in a deadlock with {TOKEN}; " in found["explanation"]
    assert found["evidence"]["deadlock"] is True
    later = finding(readings(*[[session(OTHER, awaits="ShareLock", took=LOCK)]] * 12, ring=True))
    assert f"behind {LOCK!r} of step {STEP!r}, while {OTHER!r} was in a deadlock with {TOKEN}; " in later["explanation"]


def test_requests_in_a_deadlock_of_their_own_are_none_of_the_step_s():
    other = holder(1, "ShareLock", pid=13, endpoint="PUT /jobs")
    found = queue(readings(*[[session(took=ALTER), other]] * 12, ring=True))
    assert not found.deadlock
    assert found.held_up_by == ("", "")


def test_evidence_that_does_not_tell_who_waits_says_what_it_said():
    planted = production()
    planted.lock()
    (found,) = of(judge(simulate.evidence(planted)), metric="lock_wait_s")
    assert f"of step {STEP!r}, which itself waited for {EXPORT}; 12 sessions queued at most." in found["explanation"]
    assert (found["evidence"]["running"], found["evidence"]["deadlock"]) == ([ALTER], False)


def test_a_statement_with_a_secret_is_the_same_in_marks_and_probes():
    """A probe hides long literals, and a mark keeps them."""
    marked = "ALTER TABLE oauth_token ADD COLUMN origin text DEFAULT 'a-long-made-up-word'"
    ran = marked.replace("a-long-made-up-word", "***")
    planted = production()
    planted.marks = [
        Mark(20.0, STEP, "migrate", "started"),
        Mark(20.0, STEP, "migrate", "started", 1, marked),
        Mark(25.0, STEP, "migrate", "ended", 1, marked),
        Mark(25.0, STEP, "migrate", "ended"),
    ]
    planted.readings["steps"] += readings(*[[session(ran, took=ran, certain=False)]] * 12)
    (found,) = of(judge(simulate.evidence(planted)), metric="lock_wait_s")
    assert "while" not in found["explanation"]
    assert found["evidence"]["statement"] == ran


@given(st.text("ab '/*;\n-", max_size=30), st.text("ab'", max_size=8))
def test_a_text_is_the_same_as_itself_without_its_end_marks(text: str, literal: str):
    assert is_same(text, text)
    plain = literal.replace("'", "")
    assert is_same(f"SET n = '{plain}' /* who */ ;", "SET  n =\n'***'")
    assert not is_same(f"SET n = '{plain}'", f"SET m = '{plain}'")


def test_where_the_database_does_not_say_the_statement_the_step_alone_is_named():
    found = finding(readings(*[[session(query="")]] * 12))
    assert f"for a lock behind step {STEP!r}, which held the lock" in found["explanation"]
    assert found["root"] == f"lock queue behind step {STEP!r}"
