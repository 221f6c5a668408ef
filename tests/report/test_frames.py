"""What evidence is reduced to before it is drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.evidence.run import ArmEvidence
from replay.evidence.values import ArmInfo, Mark
from replay.report import formats, frames, locks
from replay.report.story import read_story

COLUMNS = ["endpoint", "due_s", "waited_s", "sent_s", "outcome", "expected_status", "expected_shape", "error"]


def arm(observed: list[tuple[object, ...]], marks: tuple[Mark, ...] = ()) -> ArmEvidence:
    info = ArmInfo("a-steps", "a", "production", True, "2026-01-01T00:00:00Z", 10.0, len(observed))
    readings = pd.DataFrame({"at_s": [], "probe": [], "metric": [], "value": [], "detail": []})
    seen = pd.DataFrame([(*one, None)[: len(COLUMNS)] for one in observed], columns=COLUMNS)
    return ArmEvidence(info, seen, readings, pd.DataFrame(), marks, ())


def test_an_outcome_that_the_capture_had_too_is_as_expected() -> None:
    told = frames.told_apart(
        arm(
            [
                ("GET /a", 1.0, 0.0, 1.1, "refused", 404, "{error:str}"),
                ("GET /a", 2.0, 0.0, 2.1, "empty", 200, "[]"),
                ("GET /a", 3.0, 0.5, None, "unsent", 200, "{id:number}"),
                ("GET /a", 4.0, 0.0, 4.1, "empty", 200, "{id:number}"),
                ("GET /a", 5.0, 0.0, 5.1, "timeout", None, None),
                ("GET /a", 6.0, 0.0, 6.1, "ok", 500, "empty"),
            ]
        ).observations
    )
    assert list(told["outcome"]) == ["as expected", "as expected", "unsent", "empty", "timeout", "as expected"]
    assert told["at_s"].iloc[2] == 3.5


def test_what_an_arm_that_was_ended_did_not_send_is_left_out() -> None:
    observed = [
        ("GET /a", 1.0, 0.0, 1.1, "server error", 200, "{id:number}"),
        ("GET /a", 2.0, 0.0, None, "unsent", 200, "{id:number}", "no value from request 0 (it answered 500)"),
        ("GET /a", 3.0, 0.0, None, "unsent", 200, "{id:number}", "interrupted"),
    ]
    assert list(frames.told_apart(arm(observed).observations)["outcome"]) == ["server error", "unsent"]
    nothing = arm(observed[2:])
    assert frames.timeline(nothing, 1.0)["requests"].sum() == 0
    assert frames.strips(nothing, ["GET /a"], 1.0).empty


def test_bars_are_stacked_without_gaps_and_count_every_request() -> None:
    observed = [
        ("GET /a", second / 7, 0.0, second / 7, outcome, 200, "{id:number}")
        for second, outcome in enumerate(["ok", "empty", "timeout", "ok", "server error"] * 20)
    ]
    bars = frames.timeline(arm(observed), 1.0)
    assert bars["requests"].sum() == 100
    for _, stack in bars.groupby("from_s"):
        assert list(stack["low"]) == [0.0, *stack["high"][:-1]]
        assert stack["high"].iloc[-1] == stack["requests"].sum()
        assert list(stack["outcome"]) == [name for name in reversed(frames.OUTCOMES) if name in set(stack["outcome"])]


@given(st.floats(0.1, 1e7))
def test_an_arm_never_has_too_many_bars(length_s: float) -> None:
    assert length_s / frames.bar_width(length_s) <= frames.BARS + 1e-6


def test_a_step_that_never_ended_and_one_that_failed() -> None:
    marks = (
        Mark(0.0, "", "arm", "started"),
        Mark(1.0, "one", "migrate", "started"),
        Mark(1.0, "one", "migrate", "started", 1, "SELECT 1"),
        Mark(2.5, "one", "migrate", "failed", 1, "SELECT 1", error="no"),
        Mark(2.5, "one", "migrate", "failed", error="no"),
        Mark(3.0, "two", "revert", "started"),
    )
    one, two = frames.step_spans(arm([], marks))
    assert (one.failed, one.duration_s, one.error) == (True, 1.5, "no")
    assert (two.failed, two.ended_s, two.duration_s) == (False, None, None)
    assert [span.statement for span in frames.statement_spans(arm([], marks))] == ["SELECT 1"]


def test_charts_span_what_was_sent_after_the_arm_s_length(make_run: Callable[..., Path], verdicts: Any) -> None:
    story = read_story(make_run(verdicts.no_go()))
    longest = max(arm.info.duration_s for arm in story.arms)
    assert story.length_s == longest
    story.arms[0].observations.loc[0, "sent_s"] = longest + 4.2
    assert story.length_s == longest + 5


def test_the_queue_is_told_from_its_samples(make_run: Callable[..., Path], verdicts: Any) -> None:
    found = read_story(make_run(verdicts.no_go())).arm("production")
    assert found is not None
    (episode,) = locks.episodes(found)
    assert episode.step == "add token scopes"
    assert (episode.relation, episode.lock_mode) == ("access_tokens", "AccessExclusiveLock")
    assert episode.waited_s == 5.0
    assert [holder.name for holder in episode.holders] == ["GET /v2/reports/attendance"]
    assert episode.most == 15
    assert {one.name for one in episode.behind} >= {"POST /oauth/token", "GET /v2/events"}
    assert locks.requests_waiting(found) == 0


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.seconds(0.0042), "4.2 ms"),
        (formats.seconds(0.02), "0.02 s"),
        (formats.seconds(45.0), "45 s"),
        (formats.seconds(125), "2 min 05 s"),
        (formats.seconds(12_000), "3 h 20 min"),
        (formats.seconds(None), "\N{EN DASH}"),
        (formats.share(0.0), "0%"),
        (formats.share(0.0004), "<0.1%"),
        (formats.share(0.104), "10%"),
        (formats.number(1800.0), "1,800"),
        (formats.size(54e6), "54 MB"),
        (formats.size(999), "999 B"),
        (formats.day("2026-03-02T10:00:00+01:00"), "2 March 2026, 09:00 UTC"),
        (formats.day("once"), "once"),
        (formats.amount(0.95, "control_agreement", "share or more"), "95% or more"),
        (formats.amount(4.8, "lock_wait_s"), "4.8 s"),
        (formats.amount(4.8, "latency", "times"), "4.8 times"),
        (formats.amount(0.002, "new_failures", "p"), "p = 0.002"),
        (formats.amount(20.0, "min_requests", "or more"), "20 or more"),
        (formats.amount(0.01, "data_after_rollback", "share of the rows"), "1.0% of the rows"),
        (formats.amount(3.0, "of another version", None), "3"),
        (formats.amount("control and steps", "arms_present"), "control and steps"),
        (formats.words("replica_lag_s"), "replica lag"),
    ],
)
def test_numbers_are_written_as_people_read_them(written: str, expected: str) -> None:
    assert written == expected
