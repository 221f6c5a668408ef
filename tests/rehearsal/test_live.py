"""How a rehearsal stands at a moment, in the file that locust's page is told by."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from replay.evidence.values import Mark
from replay.rehearsal.live import LIVE, Follower
from replay.rehearsal.observer import Observer
from replay.rehearsal.outline import Outline, check_plan
from replay.rehearsal.plan import read_plan
from replay.rehearsal.watch import LockSight, Sight
from replay.scenario.process import Web


@pytest.fixture
def outline(setting) -> Outline:
    return check_plan(read_plan(setting.write(), setting.environment), setting.out)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / LIVE


@pytest.fixture
def follower(file: Path, outline: Outline) -> Follower:
    made = Follower(Web("127.0.0.1", 8089, file))
    made.begins(outline)
    return made


def read(file: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(file.read_text())
    return value


@pytest.mark.usefixtures("follower")
def test_before_the_first_arm_nothing_is_known(file, outline) -> None:
    assert (read(file)["arm"], read(file)["arms"], read(file)["at_s"]) == ("", len(outline.arms), None)


def test_an_arm_is_prepared_and_then_its_clock_runs(follower, file, outline) -> None:
    arm = outline.arms[1]
    follower.doing(arm, "putting Stage back")
    told = read(file)
    assert (told["arm"], told["number"], told["role"], told["steps"]) == (arm.name, 2, arm.role, True)
    assert (told["doing"], told["at_s"], told["planned"]) == ("putting Stage back", None, arm.planned)
    later = sum(arm.duration_s + outline.overhead_s for arm in outline.arms[2:])
    assert told["left_s"] == pytest.approx(arm.duration_s + later)
    follower.started(arm, 2)
    assert (read(file)["doing"], read(file)["at_s"]) == ("", 0.0)


def test_step_and_statement_that_are_running(follower, file, outline) -> None:
    arm = outline.arms[1]
    follower.doing(arm, "waiting")
    follower.started(arm, 2)
    follower.mark(arm, Mark(0.0, "", "arm", "started"))
    assert read(file)["step"] is None
    follower.mark(arm, Mark(3.0, "migrate", "migrate", "started"))
    follower.mark(arm, Mark(3.5, "migrate", "migrate", "started", index=1, statement="ALTER TABLE t\n  ADD c int"))
    told = read(file)
    assert told["step"] == {"name": "migrate", "kind": "migrate", "at_s": 3.0}
    assert told["statement"] == {"index": 1, "at_s": 3.5, "text": "ALTER TABLE t ADD c int"}
    follower.mark(arm, Mark(4.0, "migrate", "migrate", "ended", index=1))
    assert (read(file)["step"]["at_s"], read(file)["statement"]) == (3.0, None)
    follower.mark(arm, Mark(4.1, "migrate", "migrate", "failed", error="no"))
    assert read(file)["step"] is None


def test_a_long_statement_is_cut(follower, file, outline) -> None:
    follower.mark(outline.arms[1], Mark(1.0, "m", "migrate", "started", index=1, statement="SELECT " + "x" * 100_000))
    assert len(read(file)["statement"]["text"]) == 2_000
    assert read(file)["statement"]["text"].endswith("xxx...")


def test_what_is_seen_of_the_arm(follower, file, outline) -> None:
    arm = outline.arms[0]
    follower.doing(arm, "waiting")
    sight = Sight(
        at_s=2.0,
        observed=30,
        asked_per_s=15.0,
        answered_per_s=12.5,
        endpoints=(("GET /a", 1.0), ("GET /b", None)),
        lock=LockSight(1.5, 3, "migrate"),
        lag_s=0.25,
    )
    follower._written = float("-inf")
    follower.progress(arm, 2.5, sight)
    told = read(file)
    assert (told["at_s"], told["observed"], told["asked_per_s"], told["answered_per_s"]) == (2.5, 30, 15.0, 12.5)
    assert told["endpoints"] == [["GET /a", 1.0, None], ["GET /b", None, None]]
    assert told["lock"] == {"waited_s": 1.5, "queued": 3, "behind": "migrate"}
    assert (told["lag_s"], told["probed"]) == (0.25, True)


def test_an_endpoint_that_came_back_and_fails_again(follower, outline) -> None:
    arm = outline.arms[0]

    def told(at_s: float, since_s: float | None) -> list[Any]:
        follower.progress(arm, at_s, Sight(at_s, endpoints=(("GET /a", since_s),)))
        (row,) = follower.live.to_json()["endpoints"]
        return row[1:]

    assert told(1.0, None) == [None, None]
    assert told(2.0, 1.2) == [1.2, None]
    assert told(5.0, None) == [None, 5.0]
    assert told(6.0, None) == [None, 5.0]
    assert told(7.0, 6.5) == [6.5, None]
    follower.doing(outline.arms[1], "putting Stage back")
    assert follower.live.back == ()


def test_it_is_written_once_a_second_and_at_once_where_something_happens(follower, file, outline) -> None:
    arm = outline.arms[0]
    follower.started(arm, 1)
    follower._written = float("inf")  # as if a second never passed
    for tenth in range(5):
        follower.progress(arm, tenth / 10, Sight(0.0))
    assert read(file)["at_s"] == 0.0
    assert follower.live.at_s == 0.4
    follower.mark(arm, Mark(0.45, "m", "migrate", "started"))
    assert read(file)["at_s"] == 0.4


def test_whoever_reads_it_meanwhile_finds_it_whole(follower, file, outline) -> None:
    arm = outline.arms[0]
    done = threading.Event()

    def tell() -> None:
        for number in range(300):
            follower.mark(arm, Mark(1.0, "m", "migrate", "started", index=number + 1, statement="x" * number * 7))
        done.set()

    tellers = [threading.Thread(target=tell) for _ in range(2)]
    for teller in tellers:
        teller.start()
    reads = 0
    while not done.is_set() or not reads:
        assert read(file)["arms"] == len(outline.arms)
        reads += 1
    for teller in tellers:
        teller.join()


def test_what_cannot_be_written_disturbs_nobody(tmp_path: Path, outline: Outline) -> None:
    follower = Follower(Web("127.0.0.1", 8089, tmp_path / "nowhere" / LIVE))
    follower.begins(outline)
    follower.doing(outline.arms[0], "waiting")
    assert follower.live.doing == "waiting"
    follower.forget()


def test_in_the_end_the_file_is_gone(follower, file) -> None:
    assert file.exists()
    follower.forget()
    assert not file.exists()
    follower.forget()


def test_without_a_page_nothing_is_written(file, outline) -> None:
    follower = Follower()
    follower.begins(outline)
    follower.doing(outline.arms[0], "waiting")
    assert not file.exists()
    assert Observer.web is None
