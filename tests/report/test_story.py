"""What a report says of slowness, of what a GO would have seen, and of what a NO_GO rests on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replay.evidence.values import Mark
from replay.report import formats
from replay.report.differences import compare
from replay.report.locks import Behind, Episode, told
from replay.report.panels import panels
from replay.report.sections import outages, smallest_effects, smallest_sentence
from replay.report.story import Story, read_story
from replay.report.summary import summary
from replay.report.write import write_reports

SLOW = "GET /v2/events"


@pytest.fixture
def only_slow(make_run: Callable[..., Path], verdicts: Any) -> Path:
    """A run whose endpoints answered all requests well, one of them late."""
    verdict = verdicts.go() | {"verdict": "NO_GO", "rests_on": "two pairs of arms"}
    verdict["reasons"] = [
        "It became slow.",
        "Two pairs of passes showed it, each once with the steps and once without.",
    ]
    late = {"endpoint": SLOW, "metric": "latency_p95_s", "unit": "s", "explanation": "It became slow."}
    verdict["findings"] = [
        verdicts.finding(**late, phase="after add token scopes", observed=0.4, control=0.1, evidence={"times": 4.0}),
        verdicts.finding(**late, observed=1.2, control=0.1, evidence={"times": 12.3}),
    ]
    return make_run(verdict, broken=False)


def test_what_is_only_slow_did_not_break(only_slow: Path) -> None:
    story = read_story(only_slow)
    first, *others = story.endpoint_rows(story.main)
    assert (first.endpoint, first.broke, first.faltered) == (SLOW, False, False)
    assert first.slow is not None
    assert (first.slow.times, first.slow.phase, first.slow.p95_s) == (12.3, "during add token scopes", 1.2)
    assert not any(row.slow for row in others)
    symptoms = {one.name: one for one in compare(story).symptoms}
    assert symptoms["Endpoints that broke"].production == "none of 7"
    assert symptoms["Endpoints that became slow"].production == "1 of 7, up to 12 times as long"
    assert symptoms["Endpoints that became slow"].worse
    assert symptoms["Recovered"].production == "nothing broke"


def test_how_many_times_as_long_is_not_made_up(make_run: Callable[..., Path], verdicts: Any) -> None:
    late = {"endpoint": SLOW, "metric": "latency_p95_s", "unit": "s", "observed": 0.4, "control": 0.2}
    run = read_story(make_run(verdicts.go(), broken=False))
    for evidence, times in (({}, 2.0), ({"times": None}, 0.0)):
        story = Story(run.evidence, run.verdict | {"findings": [verdicts.finding(**late, evidence=evidence)]})
        first, *_ = story.endpoint_rows("production")
        assert first.slow is not None
        assert first.slow.times == times


def test_what_the_migration_took_is_of_its_own_steps_alone(make_run: Callable[..., Path], verdicts: Any) -> None:
    story = read_story(make_run(verdicts.go(), broken=False))
    arms = story.evidence.arms
    name = story.arm(story.main).info.arm
    more = (
        Mark(30.0, "until well", "wait", "started"),
        Mark(40.0, "until well", "wait", "ended"),
        Mark(40.0, "flush", "command", "started"),
        Mark(41.0, "flush", "command", "failed", error="status 403"),
    )
    arms[name] = dataclasses.replace(arms[name], marks=(*arms[name].marks, *more))
    assert {one.name: one.production for one in compare(story).symptoms}["The migration took"] == "1.2 s"


def test_of_repetitions_the_worst_one_is_told(make_run: Callable[..., Path], verdicts: Any) -> None:
    story = read_story(make_run(verdicts.go(), broken=False))
    arms = story.evidence.arms
    shown = story.arm(story.main)
    longer = tuple(dataclasses.replace(mark, at_s=mark.at_s * 3) for mark in shown.marks)
    info = dataclasses.replace(shown.info, arm="production-steps-2")
    arms["production-steps-2"] = dataclasses.replace(shown, info=info, marks=longer)
    told = {one.name: one.production for one in compare(story).symptoms}
    assert told["The migration took"] == "3.7 s (the worst of 2 arms)"
    assert "worst" not in told["Lock queue at its longest"], "where it is the same in both"


def test_a_rollback_that_left_something_did_not_work(make_run: Callable[..., Path], verdicts: Any) -> None:
    run = read_story(make_run(verdicts.go(), broken=False))
    arm = run.arm(run.main)
    more = (Mark(30.0, "undo", "rollback", "started"), Mark(31.0, "undo", "rollback", "ended"))
    run.evidence.arms[arm.info.arm] = dataclasses.replace(arm, marks=(*arm.marks, *more))

    def told(story: Story) -> str:
        return {one.name: one.production for one in compare(story).symptoms}["Rolling the data back"]

    assert told(run) == "worked, 1.3 s"
    left = verdicts.finding(endpoint=None, metric="data_after_rollback", unit="count", observed=1.0, control=0.0)
    assert told(Story(run.evidence, run.verdict | {"findings": [left]})) == "ended, but left a difference, 1.3 s"


def test_it_is_in_no_table_of_what_broke(only_slow: Path) -> None:
    page = write_reports(only_slow).read_text(encoding="utf-8")
    assert "No endpoint broke. 1 of 7 became slow." in page
    assert "Broke at" not in page
    assert "When clients were served again" not in page
    written = summary(read_story(only_slow))
    assert "in the order of breaking" not in written
    assert "| GET /v2/events | during add token scopes | 1.2 s | 0.10 s | 12 times |" in written


def test_nothing_is_said_of_slowness_where_nothing_is_slow(make_run: Callable[..., Path], verdicts: Any) -> None:
    story = read_story(make_run(verdicts.no_go()))
    assert "Endpoints that became slow" not in {one.name for one in compare(story).symptoms}
    assert "became slow" not in summary(story)


def test_what_a_no_go_rests_on_stands_beside_it_and_once(only_slow: Path) -> None:
    story = read_story(only_slow)
    assert story.rests_on == "Two pairs of passes showed it, each once with the steps and once without."
    assert story.first_reasons == story.own_reasons == ["It became slow."]
    assert summary(story).count(story.rests_on) == 1
    assert f'<p class="beside">{story.rests_on}' in write_reports(only_slow).read_text(encoding="utf-8")


def test_a_go_says_what_would_have_been_seen(make_run: Callable[..., Path], verdicts: Any) -> None:
    verdict = verdicts.go()
    run = make_run(verdict)
    told_of_all = "The smallest effect that would have been seen: 0.9% to 9.8% of an endpoint's requests failing newly."
    assert smallest_sentence(read_story(run)) == told_of_all
    assert told_of_all in summary(read_story(run))
    verdict["endpoints"][0]["smallest_effect"] = None
    verdict["endpoints"][1]["smallest_effect"] = {"failures": 10, "share": 1.25}
    story = Story(read_story(run).evidence, verdict)
    assert smallest_sentence(story).endswith("failing newly; of 2 asked too seldom, nothing.")
    assert [row["failures"] for row in smallest_effects(story)][:3] == [None, None, 5]
    assert smallest_sentence(Story(story.evidence, verdict | {"verdict": "INCONCLUSIVE"})) == ""
    assert smallest_sentence(Story(story.evidence, verdict | {"endpoints": []})) == ""


@pytest.mark.parametrize(
    ("waited_s", "most", "sentence"),
    [
        (0.0, 1, "step “alter” had its locks at once; 1 session waited behind it, up to 0.11 s"),
        (5.0, 15, "step “alter” waited 5.0 s for a lock; 15 sessions waited behind it, up to 0.11 s"),
    ],
)
def test_a_queue_tells_the_steps_wait_from_that_behind_it(waited_s: float, most: int, sentence: str) -> None:
    behind = [Behind("GET /v2/events", most, most, 0.11)]
    assert told([Episode("alter", "ALTER", "", "", 1.0, 2.0, waited_s, most, [], behind)]) == sentence


def test_a_step_that_waits_alone_and_none_at_all() -> None:
    alone = Episode("alter", "ALTER", "", "", 1.0, 2.0, 5.0, 0, [], [])
    assert told([alone]) == "step “alter” waited 5.0 s for a lock; nobody was seen waiting behind it"
    assert told([]) == "nobody was seen waiting"


@pytest.mark.parametrize(
    ("criterion", "unit", "limit", "observed", "written"),
    [
        ("new_failures", "endpoints", 0.0, 1.0, ("0 endpoints", "1 endpoint")),
        ("recovery", "endpoints", 0.0, 12.0, ("0 endpoints", "12 endpoints")),
        ("recovery_s", "", 10.0, 7.25, ("10 s", "7.2 s")),
        ("latency", "times", 1.5, 25.3, ("1.5 times", "25 times")),
        ("unavailable_s", "", 5.0, 7.0, ("5.0 s", "7.0 s")),
    ],
)
def test_limit_and_figure_are_of_one_kind(
    criterion: str, unit: str, limit: float, observed: float, written: tuple[str, str]
) -> None:
    assert (formats.amount(limit, criterion, unit), formats.amount(observed, criterion, unit)) == written


def test_several_grounds_stand_beside_the_verdict_and_once(make_run: Callable[..., Path], verdicts: Any) -> None:
    told = ["With a proven cause, which needs no repetition: GET /a.", "Measured directly: the replica's lag."]
    reasons = ["GET /a failed.", "The replica fell behind.", *told]
    story = read_story(make_run(verdicts.no_go() | {"grounds": told, "reasons": reasons}))
    assert story.own_reasons == reasons[:2]
    assert story.rests_on == " ".join(told)


def test_each_finding_says_where_it_lies_and_what_was_seen_beside_it(
    make_run: Callable[..., Path], verdicts: Any
) -> None:
    flood = '60 lines a second "pool timeout" in the error log'
    beside = [{"what": flood, "probe": "errors", "overlap_s": 9.5}]
    verdict = verdicts.no_go()
    verdict["findings"][0]["evidence"] = {"requests": [12, 34], "at_the_same_time": beside}
    for one in verdict["findings"][1:]:
        one["evidence"] = {}
    for one in verdict["criteria"]:
        one["evidence"] = {"arm": "production-control", "requests": [56]} if one["name"] == "engine_lateness" else {}
    page = write_reports(make_run(verdict)).read_text(encoding="utf-8")
    assert page.count("<summary>Where</summary>") == 2
    assert "production-steps, requests 12, 34</details>" in page
    assert "production-control, request 56</details>" in page
    assert page.count("At the same time: 60 lines a second &#34;pool timeout&#34; in the error log.") == 1
    assert "is the cause is not proven" in page


def test_what_is_slow_did_not_break_at_any_moment(make_run: Callable[..., Path], verdicts: Any) -> None:
    verdict = verdicts.go() | {"verdict": "NO_GO"}
    late = {"endpoint": SLOW, "metric": "latency_p95_s", "unit": "s", "first_bad_s": 12.0}
    verdict["findings"] = [verdicts.finding(**late, observed=1.2, control=0.1)]
    (row,) = [one for one in read_story(make_run(verdict)).endpoint_rows("production") if one.endpoint == SLOW]
    assert (row.broke, row.first_bad_s) == (False, None)


def test_what_broke_and_is_slow_too_does_not_come_before_what_broke_first(
    make_run: Callable[..., Path], verdicts: Any
) -> None:
    run = read_story(make_run(verdicts.no_go()))
    before = [row.endpoint for row in run.endpoint_rows("production") if row.broke]
    assert len(before) >= 2
    late = {"endpoint": before[-1], "metric": "latency_p95_s", "unit": "s", "observed": 1.2, "control": 0.1}
    findings = [*run.verdict["findings"], verdicts.finding(**late)]
    rows = Story(run.evidence, run.verdict | {"findings": findings}, run.kinds).endpoint_rows("production")
    assert [row.endpoint for row in rows if row.broke] == before
    assert rows[len(before) - 1].slow is not None


def test_the_root_of_an_endpoint_is_that_of_most_of_its_failures(make_run: Callable[..., Path], verdicts: Any) -> None:
    run = read_story(make_run(verdicts.no_go()))
    name = next(row.endpoint for row in run.endpoint_rows("production") if row.broke)
    same = {"endpoint": name, "unit": "share", "requests": 300}
    refused = verdicts.finding(**same, outcome="refused", failures=72, root=None)
    unsent = verdicts.finding(**same, outcome="unsent", failures=37, root="POST /another")

    def root(*findings: dict[str, Any]) -> str:
        story = Story(run.evidence, run.verdict | {"findings": list(findings)}, run.kinds)
        (row,) = [one for one in story.endpoint_rows("production") if one.endpoint == name]
        return row.root

    assert root(refused, unsent) == ""
    assert root(refused, unsent | {"failures": 200}) == "POST /another"


@pytest.mark.parametrize("never", [True, False])
def test_an_endpoint_that_came_back_and_is_never_well_again_says_so(
    make_run: Callable[..., Path], verdicts: Any, never: bool
) -> None:
    run = read_story(make_run(verdicts.no_go()))
    (out,) = [row for row in run.verdict["endpoints"] if row["outages"]][:1]
    rows = [out | {"never_recovered": never, "outages": [out["outages"][0] | {"first_good_s": 30.0}]}]
    story = Story(run.evidence, run.verdict | {"endpoints": rows}, run.kinds)
    assert [one.again for one in outages(story)] == [never]
    assert ("not for good, see above" in summary(story)) == never


def test_where_the_judge_counts_more_than_the_chart_shows_the_chart_says_why(
    make_run: Callable[..., Path], verdicts: Any
) -> None:
    run = read_story(make_run(verdicts.no_go()))
    (arm,) = [arm for arm in run.arms if arm.info.workload == "production" and arm.info.steps]

    def note(failed: int) -> str:
        row = verdicts.endpoint("production", SLOW, (2000, failed, 0, 12.0, None)) | {"arm": arm.info.arm}
        story = Story(run.evidence, run.verdict | {"endpoints": [row]}, run.kinds)
        return panels(story).timelines[run.arms.index(arm)].note

    assert "1,999 failed, what came too late or was changed among them" in note(1999)
    assert "among them" not in note(0)
