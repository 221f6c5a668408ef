"""What else the probes read: how it is told, on readings written by hand, and in a real browser."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from replay.evidence.files import ArmFolder, write_json
from replay.evidence.values import ArmInfo, LogEvent, Mark, Reading
from replay.report.besides.changed import MOST_CLEAR, MOST_OTHERS, Row, changed
from replay.report.besides.measures import measure_of
from replay.report.besides.queries import queries
from replay.report.besides.sizes import indexes_sentence, sizes
from replay.report.besides.unread import unread
from replay.report.besides.vacuums import vacuums
from replay.report.besides.window import window_sentences
from replay.report.story import Story, read_story
from replay.report.summary import summary
from replay.report.write import write_reports

MAIN, CONTROL = "production-steps", "production-control"
INVALID = "invalid_indexes"
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>"
# The steps of the planted run begin at 10 s and end at 32.4 s; an arm lasts 45 s.
SLOW = "SELECT * FROM registrations WHERE event_id = $1"
QUICK = "SELECT client_id FROM access_tokens WHERE digest = $1"


@pytest.fixture
def run(make_run: Callable[..., Path], verdicts: Any) -> Path:
    return make_run(verdicts.no_go())


def plant(run: Path, arm: str, readings: Iterable[Reading]) -> None:
    ArmFolder(run / "arms" / arm).readings("planted").write(list(readings))


def level(metric: str, before: float, during: float, after: float, **detail: Any) -> list[Reading]:
    return [
        Reading(float(at), "app", metric, before if at < 10 else during if at <= 32 else after, detail)
        for at in range(45)
    ]


def counter(metric: str, rates: tuple[float, float, float], probe: str = "database") -> list[Reading]:
    """Read every two seconds, with so much a second before 10 s, until 34 s and afterwards."""
    value, made = 1000.0, []
    for at in range(0, 45, 2):
        made.append(Reading(float(at), probe, metric, value, {}))
        value += 2 * rates[0 if at < 10 else 1 if at < 34 else 2]
    return made


def row_of(story: Story, metric: str) -> Row:
    table = changed(story)
    return next(row for row in (*table.clear, *table.others) if row.series.startswith(metric))


def texts(row: Row) -> list[tuple[str, str, str]]:
    return [(part.steps, part.control, part.before) for part in row.parts]


def test_a_level_is_told_by_its_median_and_its_most_in_each_part_of_the_arms(run: Path) -> None:
    plant(run, MAIN, level("process_memory_bytes", 200e6, 650e6, 410e6))
    plant(run, CONTROL, level("process_memory_bytes", 201e6, 202e6, 203e6))
    plant(run, "qa-steps", level("process_memory_bytes", 100e6, 101e6, 102e6))
    row = row_of(read_story(run), "process_memory_bytes")
    assert texts(row) == [
        ("200 MB", "201 MB", "100 MB"),
        ("650 MB", "202 MB", "101 MB"),
        ("410 MB", "203 MB", "102 MB"),
    ]
    assert [part.clear for part in row.parts] == [False, True, True]
    assert row.words == "memory"
    connections = row_of(read_story(run), "connections")
    assert connections.parts[1].steps == "18, most 34"
    assert connections.parts[1].clear


def test_a_counter_is_told_by_what_came_and_by_the_second(run: Path) -> None:
    plant(run, MAIN, [*counter("wal_bytes", (1e4, 4e6, 1e4)), *counter("deadlocks", (0, 0.125, 0))])
    plant(run, CONTROL, [*counter("wal_bytes", (1e4, 1e4, 1e4)), *counter("deadlocks", (0, 0, 0))])
    story = read_story(run)
    log, deadlocks = row_of(story, "wal_bytes"), row_of(story, "deadlocks")
    assert texts(log)[1] == ("96 MB (4.0 MB/s)", "240 kB (10 kB/s)", "")
    assert texts(log)[0][0] == "100 kB (10 kB/s)"
    assert texts(deadlocks) == [("0", "0", ""), ("3", "0", ""), ("0", "0", "")]
    assert [part.clear for part in deadlocks.parts] == [False, True, False]


def test_a_counter_that_begins_anew_goes_on_counting(run: Path) -> None:
    readings = counter("wal_bytes", (100, 100, 100))
    again = [
        Reading(one.at_s, one.probe, one.metric, one.value - (2200 if one.at_s >= 14 else 0), {}) for one in readings
    ]
    assert any(one.value < 1000 for one in again)
    plant(run, MAIN, again)
    came = row_of(read_story(run), "wal_bytes").parts[1].steps
    assert came == "2.4 kB (100 B/s)"


def test_what_the_control_has_too_does_not_differ(run: Path) -> None:
    for arm in (MAIN, CONTROL):
        plant(run, arm, [*level("process_memory_bytes", 200e6, 650e6, 200e6), *counter("wal_bytes", (1e4, 4e6, 1e4))])
    story = read_story(run)
    assert [row.series for row in changed(story).clear] == ["connections"]
    assert not row_of(story, "process_memory_bytes").times


def test_a_second_control_says_how_much_it_differs_anyway(run: Path) -> None:
    plant(run, MAIN, level("process_memory_bytes", 200e6, 650e6, 200e6))
    plant(run, CONTROL, level("process_memory_bytes", 200e6, 200e6, 200e6))
    assert row_of(read_story(run), "process_memory_bytes").times == pytest.approx(3.25)
    other = ArmFolder(run / "arms" / f"{CONTROL}-2")
    other.create()
    info = ArmInfo(f"{CONTROL}-2", "production", "production", False, "2026-03-02T09:09:00+00:00", 45.0, 0, "complete")
    other.write_info(info)
    other.readings("planted").write(level("process_memory_bytes", 200e6, 500e6, 200e6))
    assert not row_of(read_story(run), "process_memory_bytes").times


def test_of_what_runs_out_the_least_tells(run: Path) -> None:
    plant(
        run, MAIN, [Reading(float(at), "app", "host_disk_free_bytes", 5e6 if at == 20 else 9e9, {}) for at in range(45)]
    )
    plant(run, CONTROL, level("host_disk_free_bytes", 9e9, 9e9, 9e9))
    row = row_of(read_story(run), "host_disk_free_bytes")
    assert texts(row)[1] == ("9.0 GB, least 5.0 MB", "9.0 GB", "")
    assert [part.clear for part in row.parts] == [False, True, False]


def test_processes_that_restart_are_counted(run: Path) -> None:
    plant(run, MAIN, [*level("processes", 4, 4, 4), Reading(20.0, "app", "process_restarted", 1.0, {"gone": [7]})])
    plant(run, CONTROL, level("processes", 4, 4, 4))
    row = row_of(read_story(run), "process_restarted")
    assert texts(row) == [("0", "", ""), ("1", "", ""), ("0", "", "")]
    assert [part.clear for part in row.parts] == [False, True, False]


def test_connections_are_told_with_their_limit(run: Path) -> None:
    plant(run, MAIN, [Reading(0.0, "database", "connections_limit", 80.0, {})])
    assert row_of(read_story(run), "connections").words == "connections, of 80 at most"


def test_small_differences_do_not_stand_out(run: Path) -> None:
    plant(run, MAIN, [*level("history_list_length", 10, 300, 300), *level("replica_replay_lag_s", 0, 0.09, 0)])
    plant(run, CONTROL, [*level("history_list_length", 10, 12, 11), *level("replica_replay_lag_s", 0, 0, 0)])
    assert [row.series for row in changed(read_story(run)).clear] == ["connections"]


def test_series_of_prometheus_are_told_apart_by_their_labels_and_do_not_blow_up_the_page(run: Path) -> None:
    rehearsal = json.loads((run / "rehearsal.json").read_text(encoding="utf-8"))
    rehearsal["plan"]["probes"] = {"app": {"kind": "prometheus"}}
    write_json(run / "rehearsal.json", rehearsal)
    for arm, busy in ((MAIN, 90.0), (CONTROL, 3.0)):
        plant(
            run,
            arm,
            [
                Reading(float(at), "app", "pool_size", busy if at > 9 and pool < 60 else 3.0, {"pool": f"p{pool:04}"})
                for at in range(0, 45, 5)
                for pool in range(1000)
            ],
        )
    table = changed(read_story(run))
    assert table.clear[0].series == 'pool_size{pool="p0000"}'
    assert (len(table.clear), table.clear_left_out) == (MOST_CLEAR, 60 + 1 - MOST_CLEAR)
    assert (len(table.others), table.others_left_out) == (MOST_OTHERS, 1000 - 60 - MOST_OTHERS)
    page = write_reports(run)
    assert page.stat().st_size < 4_000_000
    assert "790 more are not shown" in page.read_text(encoding="utf-8")


def test_a_series_that_comes_up_with_the_steps_differs(run: Path) -> None:
    plant(run, MAIN, [*level("up", 1, 1, 1), *(Reading(20.0 + at, "app", "crashes", 1.0, {}) for at in range(3))])
    plant(run, CONTROL, level("up", 1, 1, 1))
    assert {row.series for row in changed(read_story(run)).clear} == {"connections", "crashes"}


@pytest.mark.parametrize(
    ("metric", "unit", "counts"),
    [
        ("http_requests_total", "", True),
        ("process_cpu_seconds_total", "s", True),
        ("go_memstats_heap_bytes", "bytes", False),
        ("spooled_files", "", False),
        ("wal_bytes", "bytes", True),
    ],
)
def test_what_a_metric_is_is_known_or_told_by_its_name(metric: str, unit: str, counts: bool) -> None:
    assert (measure_of(metric).unit, measure_of(metric).counts) == (unit, counts)


def cost(query: str, calls: float, mean_s: float, rows: float) -> Reading:
    detail = {"queryid": str(len(query)), "query": query, "calls": calls, "rows": rows * calls}
    return Reading(44.9, "database", "statement_s", calls * mean_s, detail)


def test_statements_that_changed_most_come_first(run: Path) -> None:
    own = "CREATE INDEX access_tokens_scopes ON access_tokens (scopes)"
    plant(run, MAIN, [cost(own, 1, 0.3, 0), cost(QUICK, 900, 0.0004, 1), cost(SLOW, 80, 0.048, 12)])
    plant(run, CONTROL, [cost(SLOW, 82, 0.003, 12), cost(QUICK, 905, 0.0002, 1)])
    table = queries(read_story(run))
    assert [(row.query, row.clear) for row in table.rows] == [(SLOW, True), (QUICK, False)]
    assert (table.rows[0].steps.calls, table.rows[0].control.mean_s) == (80, pytest.approx(0.003))
    assert (table.alone, table.why) == (1, "")


def test_a_statement_that_returns_fewer_rows_has_changed_too(run: Path) -> None:
    plant(run, MAIN, [cost(SLOW, 80, 0.003, 0.5)])
    plant(run, CONTROL, [cost(SLOW, 82, 0.003, 12)])
    assert [row.query for row in queries(read_story(run)).clear] == [SLOW]


def moment(when: str, *names: str) -> Reading:
    detail = {"moment": when, "indexes": list(names)}
    return Reading(0.0 if when == "start" else 44.9, "database", INVALID, float(len(names)), detail)


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ([], "no probe read a PostgreSQL database"),
        ([moment("start"), moment("end")], "pg_stat_statements is not installed"),
        ([moment("start")], "did not come to read"),
        (
            [Reading(1.0, "database", "probe_failed", 1.0, {"error": "statements: permission denied"}), moment("end")],
            "could not be read: permission denied",
        ),
    ],
)
def test_why_there_are_no_statements_is_said(run: Path, readings: list[Reading], said: str) -> None:
    plant(run, MAIN, readings)
    assert said in queries(read_story(run)).why
    assert said in write_reports(run).read_text(encoding="utf-8")


def test_invalid_indexes_are_those_that_the_steps_left(run: Path) -> None:
    assert indexes_sentence(read_story(run)) == ""
    plant(run, MAIN, [moment("start", "old"), moment("end", "old", "twice", "anyway")])
    plant(run, CONTROL, [moment("start", "old"), moment("end", "old", "anyway")])
    assert indexes_sentence(read_story(run)).startswith("The steps left an invalid index behind: twice. ")


def test_an_end_that_was_not_read_says_nothing_of_indexes(run: Path) -> None:
    plant(run, MAIN, [moment("start")])
    assert "is not known" in indexes_sentence(read_story(run))


def size(metric: str, table: str, before: float | None, after: float) -> list[Reading]:
    made = [Reading(44.9, "database", metric, after, {"table": table, "moment": "end"})]
    if before is not None:
        made.append(Reading(0.0, "database", metric, before, {"table": table, "moment": "start"}))
    return made


def test_sizes_that_changed_by_more_than_a_tenth_are_told(run: Path) -> None:
    assert not sizes(read_story(run)).read
    plant(
        run,
        MAIN,
        [
            *size("table_bytes", "access_tokens", 40e6, 80e6),
            *size("index_bytes", "access_tokens", 10e6, 4e6),
            *size("table_bytes", "events", 40e6, 42e6),
            *size("table_bytes", "tiny", 8192, 24576),
            *size("table_bytes", "new", None, 5e6),
        ],
    )
    plant(run, CONTROL, size("table_bytes", "access_tokens", 40e6, 41e6))
    table = sizes(read_story(run))
    told = [(row.table, row.what, row.before, row.after, row.control_change) for row in table.rows]
    assert told == [
        ("access_tokens", "table", 40e6, 80e6, 1e6),
        ("access_tokens", "its indexes", 10e6, 4e6, None),
        ("new", "table", None, 5e6, None),
    ]


def workers(at_s: float, *work: str) -> Reading:
    return Reading(at_s, "database", "autovacuum_workers", float(len(work)), {"work": list(work)})


def test_autovacuum_is_tied_to_the_tables_that_the_steps_change(run: Path) -> None:
    mine = "autovacuum: VACUUM ANALYZE public.access_tokens (to prevent wraparound)"
    other = "autovacuum: ANALYZE public.events"
    plant(run, MAIN, [workers(8.0), workers(18.0, mine, other), workers(20.0, mine, other), workers(22.0, other)])
    plant(run, CONTROL, [workers(18.0, other)])
    found = vacuums(read_story(run))
    assert found.sentence == "Autovacuum worked on public.access_tokens, which the steps change."
    first, second = found.rows
    assert (first.table, first.work, first.from_s, first.to_s) == ("public.access_tokens", "VACUUM ANALYZE", 18.0, 20.0)
    assert (first.seen, first.control, first.concerned) == (2, 0, True)
    assert (second.table, second.control, second.concerned) == ("public.events", 1, False)


def test_an_autovacuum_whose_table_may_not_be_seen_is_said_so(run: Path) -> None:
    plant(run, MAIN, [workers(18.0, "<insufficient privilege>")])
    assert "needs pg_monitor" in vacuums(read_story(run)).sentence


def quiet(run: Path, *, fails: bool = False, probes: bool = True) -> None:
    folder = ArmFolder(run / "arms" / "quiet")
    folder.create()
    folder.write_info(ArmInfo("quiet", "quiet", "quiet", True, "2026-03-02T09:08:00+00:00", 20.0, 0, "complete"))
    folder.mark(Mark(0.0, "", "arm", "started"))
    folder.mark(Mark(1.0, "add token scopes", "migrate", "started"))
    event, error = ("failed", "disk full") if fails else ("ended", "")
    folder.mark(Mark(10.2, "add token scopes", "migrate", event, error=error))
    folder.mark(Mark(20.0, "", "arm", "ended"))
    if not probes:
        return
    lag = {5: 0.3, 9: 3.2, 12: 2.0, 14: 0.4}
    readings = [Reading(float(at), "database", "waiting_backends", 0.0, {}) for at in range(20)]
    readings += [Reading(float(at), "database", "replica_lag_s", value, {"replica": "r1"}) for at, value in lag.items()]
    readings += [Reading(9.0, "database", "replica_lag_bytes", 12e6, {"replica": "r1"})]
    held = {"step": "add token scopes", "relation": "access_tokens", "lock_mode": "AccessExclusiveLock"}
    readings += [Reading(at, "database", "lock_held_s", at - 2, held) for at in (3.0, 9.5)]
    readings += [Reading(float(at), "errors", "log_lines", 2.0 * (at == 8), {}) for at in range(20)]
    folder.readings("planted").write(readings)
    folder.log("planted").write(
        [
            LogEvent(8.0, "errors", "deferred job <*> failed", 2, "x"),
            LogEvent(9.0, "errors", "slow query: <*> ms", 1, "y"),
        ]
    )


def test_a_maintenance_window_is_told_in_one_sentence(run: Path) -> None:
    assert window_sentences(read_story(run)) == []
    quiet(run)
    (sentence,) = window_sentences(read_story(run))
    assert sentence == (
        "In a maintenance window, without any traffic, the steps took 9.2 s, and all of them succeeded; "
        "the replica r1 fell 3.2 s (12 MB) behind at most and had caught up 3.8 s after the last step; "
        "the error log got 2 lines like none without the steps, most often “deferred job <*> failed”; "
        "nobody waited for a lock; the steps held AccessExclusiveLock on access_tokens for 7.5 s."
    )


def test_what_was_not_read_of_a_maintenance_window_is_said(run: Path) -> None:
    quiet(run, fails=True, probes=False)
    assert window_sentences(read_story(run)) == [
        "In a maintenance window, without any traffic, the steps took 9.2 s, and “add token scopes” failed there too.",
        "Not read there: a replica, an error log, who waited for a lock, which locks the steps held.",
    ]


def test_what_the_judge_holds_against_the_steps_there_is_said(run: Path, verdicts: Any) -> None:
    quiet(run)
    info = json.loads((run / "arms" / "quiet" / "arm.json").read_text(encoding="utf-8"))
    write_json(run / "arms" / "quiet" / "arm.json", info | {"state": "aborted", "reason": "the disk was full"})
    said = "After the rollback rows are missing."
    verdict = verdicts.no_go()
    against = verdicts.finding(workload="quiet", metric="data_after_rollback", probe="steps", explanation=said)
    verdict["findings"] += [against, against | {"severity": "note", "explanation": "Only a note."}]
    write_json(run / "verdict.json", verdict)
    assert window_sentences(read_story(run))[1:] == ["That arm is aborted: the disk was full.", said]


def test_what_probes_could_not_read_is_counted(run: Path) -> None:
    plant(run, MAIN, [Reading(float(at), "app", "probe_failed", 1.0, {"error": "refused"}) for at in range(3)])
    plant(run, CONTROL, [Reading(1.0, "app", "probe_failed", 1.0, {"error": "refused"})])
    (one,) = unread(read_story(run))
    assert (one.probe, one.words, one.times, set(one.arms)) == ("app", "refused", 4, {MAIN, CONTROL})


def everything(run: Path, hostile: str = "") -> None:
    plant(
        run,
        MAIN,
        [
            *level(f"own_gauge{hostile}", 1, 900, 1),
            *counter("wal_bytes", (1e4, 4e6, 1e4)),
            cost(SLOW + hostile, 80, 0.048, 12),
            moment("start"),
            moment("end", f"twice{hostile}"),
            *size("table_bytes", f"access_tokens{hostile}", 40e6, 80e6),
            workers(18.0, f"autovacuum: VACUUM public.access_tokens{hostile}"),
            Reading(1.0, "app", "probe_failed", 1.0, {"error": f"refused{hostile}"}),
        ],
    )
    plant(
        run,
        CONTROL,
        [
            *level(f"own_gauge{hostile}", 1, 1, 1),
            *counter("wal_bytes", (1e4, 1e4, 1e4)),
            cost(SLOW + hostile, 82, 0.003, 12),
            moment("start"),
            moment("end"),
            workers(18.0),
        ],
    )
    quiet(run)


def test_the_section_can_be_read_in_a_browser(run: Path, browser: Browser) -> None:
    everything(run)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(write_reports(run).as_uri())
    page.wait_for_function("document.querySelectorAll('.chart.drawn').length > 0", timeout=60_000)
    first = page.locator("#else table").first.locator("tbody tr")
    assert "own_gauge" in first.nth(0).inner_text()
    assert "◆" in first.nth(0).evaluate("one => getComputedStyle(one.querySelector('.differs'), '::before').content")
    assert "96 MB (4.0 MB/s)" in page.inner_text("#else")
    assert SLOW in page.inner_text("#else")
    assert "The steps left an invalid index behind: twice." in page.inner_text("#else")
    assert "changed by the steps" in page.inner_text("#else")
    assert "refused" in page.inner_text("#else")
    assert "the steps took 9.2 s" in page.inner_text("#window")
    for width in (360, 768):
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        over = """found => found.filter(one => one.getBoundingClientRect().right > innerWidth + 1)
                  .map(one => one.tagName + " " + one.textContent.slice(0, 80))"""
        assert page.eval_on_selector_all("#else *, #window *", over) == []
    assert said == []
    page.close()


def test_hostile_readings_are_only_texts(run: Path, browser: Browser) -> None:
    everything(run, HOSTILE)
    page = browser.new_page()
    page.goto(write_reports(run).as_uri())
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.inner_text("#else").count("<script>window.hacked=1</script>") >= 5
    assert "<script" not in summary(read_story(run)).replace("\\<", "")
    page.close()


def test_without_an_arm_with_the_steps_the_section_says_so(run: Path) -> None:
    shutil.rmtree(run / "arms" / MAIN)
    page = write_reports(run).read_text(encoding="utf-8")
    assert "No arm played the steps under production traffic." in page[page.index('id="else"') :]


def test_the_summary_has_the_main_of_it(run: Path) -> None:
    everything(run)
    told = summary(read_story(run))
    assert "own\\_gauge (app): 900 while the steps ran, 1 in the control" in told
    assert "write-ahead log written (database): 96 MB (4.0 MB/s) while the steps ran, 240 kB (10 kB/s) in the" in told
    assert "SELECT \\* FROM registrations WHERE event\\_id = $1: 48 ms a call, 3.0 ms in the control" in told
    assert "The steps left an invalid index behind: twice" in told
    assert "In a maintenance window, without any traffic, the steps took 9.2 s" in told
