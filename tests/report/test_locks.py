"""The lock queue as told: what was waited for, who held what, which statement took it, and what a deadlock was."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replay.evidence.files import ArmFolder
from replay.evidence.values import Reading
from replay.report import locks
from replay.report.story import read_story
from replay.report.write import write_reports

STEP = "add token scopes"  # with its marks: the ALTER until 15.02 s, then the UPDATE
ALTER = "ALTER TABLE access_tokens ADD COLUMN scopes text NOT NULL DEFAULT ''"
UPDATE = "UPDATE access_tokens SET scopes = 'read write' WHERE scopes = ''"
SLEEP = "SELECT pg_sleep(3)"

Tell = Callable[..., tuple[list[locks.Episode], str]]


def step(query: str = ALTER, **fields: Any) -> dict[str, Any]:
    """The step's session in a chain; it holds the table."""
    return {
        "pid": 4100,
        "application": f"replay step: {STEP}",
        "query": query,
        "endpoint": None,
        "step": STEP,
        "state": "active",
        "running_s": 1.0,
        "level": 1,
        "holds": "AccessExclusiveLock",
        "awaits": None,
        **fields,
    }


def taken(query: str = ALTER, *, certain: bool = False, by_s: float = 10.2) -> dict[str, Any]:
    return {"taken": {"query": query, "after_s": by_s - 0.1, "by_s": by_s, "certain": certain}}


def request(endpoint: str, pid: int = 4200, **fields: Any) -> dict[str, Any]:
    named = {"pid": pid, "application": "api", "query": "SELECT 1", "endpoint": endpoint, "step": None}
    return named | {"lock_mode": "AccessShareLock", "relation": "access_tokens"} | fields


def link(endpoint: str, level: int, holds: str | None, awaits: str | None = None, **fields: Any) -> dict[str, Any]:
    session = request(endpoint, 4007, state="idle in transaction", running_s=7.5)
    return session | {"level": level, "holds": holds, "awaits": awaits} | fields


@pytest.fixture
def tell(make_run: Callable[..., Path], verdicts: Any) -> Tell:
    """The episodes of a run in which the probe read these (waiting, chain, rest of the detail), and their section."""

    def told(*seen: tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]) -> tuple[list[locks.Episode], str]:
        run = make_run(verdicts.no_go(), probes=False)
        ArmFolder(run / "arms" / "production-steps").readings("locks").write(
            Reading(10.5 + n, "database", "lock_wait_s", n + 0.5, {"waiting": waiting, "blocked_by": chain, **rest})
            for n, (waiting, chain, rest) in enumerate(seen)
        )
        arm = read_story(run).arm("production")
        assert arm is not None
        page = write_reports(run).read_text(encoding="utf-8")
        section = page[page.index('<section id="why">') :].partition("</section>")[0]
        return locks.episodes(arm), " ".join(html.unescape(re.sub(r"<[^>]*>", " ", section)).split())

    return told


def test_what_took_the_lock_and_what_ran_meanwhile(tell: Tell) -> None:
    waiting = request("POST /oauth/token", lock="relation access_tokens")
    chain = [step(SLEEP, **taken())]
    (episode,), text = tell((waiting, chain, {}), (waiting, chain, {}))
    assert (episode.query, episode.taken, episode.meanwhile) == (ALTER, locks.INFERRED, SLEEP)
    assert (episode.wanted, episode.held) == (
        ("relation access_tokens",),
        (("AccessExclusiveLock", "relation access_tokens"),),
    )
    assert f"others waited for what it had locked held AccessExclusiveLock on access_tokens {ALTER} It took" in text
    assert f"it was not seen. meanwhile ran {SLEEP}" in text
    assert "1 database session at once for access_tokens" in text
    assert "Nothing: the statement had its lock at once" in text


@pytest.mark.parametrize(
    ("known", "how", "words"),
    [
        (taken(certain=True), locks.SEEN, "It was seen to take the lock."),
        (taken(by_s=30.0), locks.UNKNOWN, "Which statement of the step took it is not known."),
        ({}, "", ""),
    ],
)
def test_how_certain_it_is(tell: Tell, known: dict[str, Any], how: str, words: str) -> None:
    chain = [step(**known)]
    (episode,), text = tell((request("POST /oauth/token", lock="relation access_tokens"), chain, {}))
    assert (episode.query, episode.taken, episode.meanwhile) == (ALTER, how, "")
    assert words in text
    assert ("took" in text) == (how == locks.UNKNOWN)


@pytest.mark.parametrize(
    ("lock", "mode", "words"),
    [
        ("row of access_tokens", "ShareLock", "waited 0.50 s for row of access_tokens (ShareLock)"),
        ("advisory lock 4711", "ExclusiveLock", "waited 0.50 s for advisory lock 4711 (ExclusiveLock)"),
        ("relation access_tokens", "ShareLock", "waited 0.50 s for ShareLock on access_tokens"),
        (None, None, "waited 0.50 s for a lock on access_tokens"),
    ],
)
def test_what_a_step_waited_for(tell: Tell, lock: str | None, mode: str | None, words: str) -> None:
    waiting = step(lock=lock, lock_mode=mode, relation="access_tokens")
    holders = [link("GET /v2/search", 1, None, "ShareLock"), link("PUT /jobs", 2, "RowExclusiveLock", pid=4008)]
    (episode,), text = tell((waiting, holders, {}))
    assert [one.name for one in episode.holders] == ["GET /v2/search", "PUT /jobs"]
    assert words in text
    assert "for 7.5 s (idle in transaction), stood before it in the queue" in text
    assert "for 7.5 s (idle in transaction), held RowExclusiveLock" in text


def test_who_held_up_the_statement_that_ran_while_the_lock_was_held(tell: Tell) -> None:
    chain = [step("ALTER TABLE venues ADD b int", awaits="AccessExclusiveLock", **taken())]
    chain.append(link("GET /v2/search", 2, "AccessShareLock"))
    (episode,), _ = tell((request("POST /oauth/token", lock="row of access_tokens"), chain, {}))
    assert [(one.name, one.holds) for one in episode.holders] == [("GET /v2/search", "AccessShareLock")]


def test_who_holds_others_up_beside_the_step_does_not_hold_the_step_up(tell: Tell) -> None:
    beside = [step(**taken()), link("PUT /jobs", 1, None, "ShareLock"), link("GET /v2/search", 2, "AccessShareLock")]
    (episode,), _ = tell((request("POST /oauth/token", lock="relation access_tokens"), beside, {}))
    assert episode.holders == [], "the step waited for nobody"


def test_a_deadlock(tell: Tell) -> None:
    """The step has a row and waits for another, which the request has that waits for the first."""
    mine = step(UPDATE, awaits="ShareLock", holds="ExclusiveLock", **taken())
    theirs = request("PUT /tokens/1", lock="row of access_tokens", lock_mode="ShareLock")
    held = link("PUT /tokens/1", 1, "ExclusiveLock", "ShareLock", pid=4200)
    own = step(UPDATE, lock="row of access_tokens", lock_mode="ShareLock", relation="access_tokens")
    episodes, text = tell((theirs, [mine], {"ring": True}), (own, [held], {"ring": True}))
    assert [(one.query, one.deadlock) for one in episodes] == [(UPDATE, True), (ALTER, True)]
    assert text.count("In a deadlock with") == 2
    assert "PUT /tokens/1 had been running for 7.5 s (idle in transaction), held ExclusiveLock, waited for" in text
    assert "Who waited for it: neither could go on until the database ended one of them." in text
    assert "held ExclusiveLock: row of access_tokens" in text


def test_a_ring_without_the_step_is_no_deadlock_of_the_step(tell: Tell) -> None:
    chain = [step(**taken()), link("PUT /jobs", 1, "ExclusiveLock", "ShareLock")]
    (episode,), text = tell((request("POST /oauth/token", lock="row of access_tokens"), chain, {"ring": True}))
    assert not episode.deadlock
    assert "deadlock" not in text


def test_a_guess_is_told_as_one(tell: Tell) -> None:
    waiting = step(lock="metadata lock on shop.token", lock_mode="EXCLUSIVE", relation="shop.token")
    guess = {"guess": "it is a likely holder that is named"}
    (episode,), text = tell((waiting, [link("GET /exports", 1, None)], guess))
    assert "for metadata lock on shop.token (EXCLUSIVE)" in text
    assert f"(idle in transaction) SELECT 1 {episode.guess} →" in text
