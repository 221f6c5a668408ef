"""What is to be seen of an arm while it is played, and how the terminal shows it."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from replay.cli.display import Display
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.rehearsal.watch import Sight

from .watching import Watched


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, due=(10, 20, 30, 40, 50, 60, 70))


def test_rates_are_those_of_the_last_five_seconds(watched) -> None:
    assert watched.watch.look(0.5).asked_per_s == 0
    watched.observe(0.2, "." * 10)
    watched.observe(1.2, "." * 15)
    sight = watched.watch.look(2.0)
    assert (sight.observed, sight.asked_per_s, sight.answered_per_s) == (25, 15.0, 12.5)
    sight = watched.watch.look(7.0)
    assert (sight.observed, sight.asked_per_s, sight.answered_per_s) == (25, 50.0, 0.0)


def test_a_look_is_a_second_old_at_most(watched) -> None:
    first = watched.watch.look(1.0)
    watched.observe(1.0, "...")
    assert watched.watch.look(1.9) is first
    assert watched.watch.look(2.0).observed == 3
    watched.observe(2.0, "..")
    assert watched.watch.look(2.1, anew=True).observed == 5


def test_an_endpoint_is_red_from_its_first_failure_until_it_answers_again(watched) -> None:
    watched.observe(1.0, "." * 8, endpoint="GET /a")
    watched.observe(1.0, "." * 8, endpoint="GET /b")
    assert watched.watch.look(2.0).endpoints == (("GET /a", None), ("GET /b", None))
    watched.observe(2.0, "x" * 2, endpoint="GET /b")
    assert watched.watch.look(3.0).red == (("GET /b", 2.1),)
    watched.observe(3.0, "u" * 4, endpoint="GET /a")
    assert watched.watch.look(4.0).red == (("GET /b", 2.1), ("GET /a", 3.0))
    # Nobody asks for either: they stay as they were.
    assert watched.watch.look(20.0).red == (("GET /b", 2.1), ("GET /a", 3.0))
    watched.observe(21.0, "." * 9 + "x", endpoint="GET /b")
    assert watched.watch.look(22.0).red == (("GET /a", 3.0),)


def test_one_failure_does_not_make_an_endpoint_red(watched) -> None:
    watched.observe(1.0, "x")
    assert watched.watch.look(2.0).red == ()


def test_who_waits_for_what(watched) -> None:
    chain = [{"step": None, "application": "api"}, {"step": "migrate", "application": "x"}, {"application": "export"}]
    watched.read(1.0, "lock_wait_s", 0.5, {"blocked_by": [{"application": "export"}]})
    assert watched.watch.look(1.5).lock.behind == "export"
    for number in range(3):
        watched.read(2.0, "lock_wait_s", 1.0 + number, {"blocked_by": chain})
    lock = watched.watch.look(2.6).lock
    assert (lock.waited_s, lock.queued, lock.behind) == (3.0, 3, "migrate")
    assert watched.watch.look(5.0).lock is None


def test_the_replica_that_is_furthest_behind(watched) -> None:
    assert watched.watch.look(1.0).lag_s is None
    watched.read(1.0, "replica_lag_s", 9.0, {"replica": "a"})
    watched.read(2.0, "replica_lag_s", 1.0, {"replica": "a"})
    watched.read(2.0, "replica_lag_s", 2.5, {"replica": "b"})
    assert watched.watch.look(3.0).lag_s == 2.5


def test_a_segment_that_cannot_be_read_is_passed_over(watched) -> None:
    (watched.arm.path / "observations" / "w-000009.parquet").write_bytes(b"half of a segm")
    watched.observe(1.0, "...")
    assert watched.watch.look(2.0).observed == 3


def test_the_terminal_shows_what_came_back_the_latest_first(setting) -> None:
    outline = check_plan(read_plan(setting.write(), setting.environment), setting.out)
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    display = Display(console)
    arm = outline.arms[1]
    display.begins(outline)
    display.doing(arm, "waiting")
    display.started(arm, 2)

    def shown(at_s: float, **failing: float) -> list[str]:
        names = {f"GET /{letter}": failing.get(letter) for letter in "abcdefg"}
        display.progress(arm, at_s, Sight(at_s, endpoints=tuple(names.items())))
        with console.capture() as captured:
            console.print(display._render())
        return [line for line in captured.get().splitlines() if line.startswith(("  GET", "  and"))]

    assert shown(1.0) == [], "what never failed is only counted"
    shown(2.0, **dict.fromkeys("abcdef", 1.5))
    assert shown(4.0, a=1.5, b=1.5) == [
        *("  GET /a fails for 2 s", "  GET /b fails for 2 s"),
        *(f"  GET /{letter} is well again for 0 s" for letter in "cdef"),
    ]
    assert shown(9.0, b=1.5, c=8.0) == [
        *("  GET /b fails for 8 s", "  GET /c fails for 1 s"),
        *("  GET /a is well again for 0 s", *(f"  GET /{letter} is well again for 5 s" for letter in "def")),
    ]
    assert shown(10.0) == [
        *(f"  GET /{letter} is well again for {for_s} s" for letter, for_s in (("b", 0), ("c", 0), ("a", 1), ("d", 6))),
        "  and 2 endpoints more that had failed",
    ]


def test_the_terminal_shows_what_is_wrong(setting, watched) -> None:
    outline = check_plan(read_plan(setting.write(), setting.environment), setting.out)
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    display = Display(console)
    display.begins(outline)
    display.doing(outline.arms[1], "waiting")
    display.started(outline.arms[1], 2)
    watched.observe(1.0, "." * 12)
    for number in range(10):
        watched.observe(1.0, "xx", endpoint=f"GET /{number}")
    watched.read(1.0, "replica_lag_s", 3.25, {"replica": "a"})
    watched.read(2.0, "lock_wait_s", 1.5, {"blocked_by": [{"step": "migrate"}]})
    display.progress(outline.arms[1], 2.5, watched.watch.look(2.5))
    with console.capture() as shown:
        console.print(display._render())
    lines = shown.get().splitlines()
    assert lines[0].startswith("arm 2 of 4  qa-steps")
    assert "32 of 21 requests" in lines[1]
    assert lines[2:] == [
        "  12 requests/s asked for, 13 answered; 1 of 11 endpoints well",
        *(f"  GET /{number} fails for 1 s" for number in range(8)),
        "  and 2 endpoints more",
        "  1 session waits for a lock behind “migrate”, up to 1.5 s",
        "  a replica is 3.2 s behind",
    ]
