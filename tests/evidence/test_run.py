import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from replay.errors import InputError
from replay.evidence.files import ArmFolder, append_line, write_json
from replay.evidence.run import read_run
from replay.evidence.values import (
    ArmInfo,
    LogEvent,
    Mark,
    Observation,
    Outcome,
    Reading,
    Sample,
    expected_outcome,
    outcome_of,
)

INFO = ArmInfo("production-steps", "production", "production", True, "2026-11-22T10:00:00+00:00", 45.0, 2, "complete")


def observation(request: int) -> Observation:
    return Observation(
        request=request,
        visit=1,
        client="kiosk-01",
        endpoint="GET /v1/events",
        due_s=0.5,
        waited_s=0.0,
        sent_s=0.501,
        first_byte_s=None,
        done_s=None,
        status=None,
        size_bytes=None,
        digest=None,
        shape=None,
        expected_status=200,
        expected_shape="[]",
        outcome=Outcome.TIMEOUT,
        error="no answer in 30 s",
        caused_by=None,
        worker="w0",
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_json(tmp_path / "rehearsal.json", {"format": 1})
    (tmp_path / "workloads").mkdir()
    write_json(tmp_path / "workloads" / "production.json", {"name": "production"})
    arm = ArmFolder(tmp_path / "arms" / INFO.arm)
    arm.create()
    arm.write_info(INFO)
    segments = arm.observations("w0")
    segments.write([observation(1)])
    segments.write([observation(0)])
    segments.write([])
    arm.readings("database").write([Reading(1.0, "database", "replica_lag_s", 2.5, {"replica": "a"})])
    arm.log("errors").write([LogEvent(3.0, "errors", "pool <n>", 12, "pool 16")])
    arm.mark(Mark(10.0, "migrate", "migrate", "started"))
    arm.sample(Sample(0, "GET /v1/events", "empty", 11.0, 200, ""))
    return tmp_path


def test_what_was_written_is_read_back(run: Path) -> None:
    arm = read_run(run).arms["production-steps"]
    assert arm.info == INFO
    assert [*arm.observations["request"]] == [0, 1]
    assert arm.observations.loc[0].dropna().to_dict() == {
        name: value for name, value in dataclasses.asdict(observation(0)).items() if value is not None
    }
    assert arm.readings.loc[0, "value"] == 2.5
    assert arm.log.loc[0, "count"] == 12
    assert arm.marks == (Mark(10.0, "migrate", "migrate", "started"),)
    assert arm.samples[0].status == 200
    assert not arm.damaged


def test_segments_that_were_never_finished_do_not_count(run: Path) -> None:
    (run / "arms" / INFO.arm / "observations" / ".w0-000003.parquet.part").write_bytes(b"PAR1")
    arm = read_run(run).arms[INFO.arm]
    assert len(arm.observations) == 2
    assert not arm.damaged


def test_damage_is_named_and_the_rest_is_read(run: Path) -> None:
    folder = run / "arms" / INFO.arm
    (folder / "observations" / "w0-000001.parquet").write_bytes(b"garbage")
    with (folder / "marks.jsonl").open("a") as marks:
        marks.write('{"at_s": 11.0, "st')
    arm = read_run(run).arms[INFO.arm]
    assert [*arm.observations["request"]] == [0]
    assert len(arm.marks) == 1
    assert any("w0-000001.parquet" in sentence for sentence in arm.damaged)
    assert any("marks.jsonl" in sentence for sentence in arm.damaged)


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "5",
        "{}",
        "[" * 100_000,
        '{"at_s": 1, "step": "a", "kind": "b", "event": "ended", "more": 1}',
        '{"at_s": NaN, "step": "a", "kind": "b", "event": "ended"}',
        '{"at_s": 1e999, "step": "a", "kind": "b", "event": "ended"}',
        '{"at_s": null, "step": "a", "kind": "b", "event": "ended"}',
        '{"at_s": 1, "step": [], "kind": {}, "event": "ended"}',
    ],
)
def test_a_line_that_is_no_mark_is_named(run: Path, line: str) -> None:
    with (run / "arms" / INFO.arm / "marks.jsonl").open("a") as marks:
        marks.write(f"{line}\n")
    arm = read_run(run).arms[INFO.arm]
    assert len(arm.marks) == 1
    assert any("marks.jsonl" in sentence for sentence in arm.damaged)


def test_what_belongs_to_another_arm_is_named(run: Path) -> None:
    folder = run / "arms" / INFO.arm
    shutil.copytree(folder, run / "arms" / "copy")
    (folder / "replay-another.json").write_text("{}")
    damaged = " ".join(read_run(run).arms[INFO.arm].damaged)
    assert "another folder" in damaged
    assert "in the folder copy" in damaged
    assert "did not play this arm" in damaged


@pytest.mark.parametrize("wrong", [{"duration_s": float("nan")}, {"planned": "5"}, {"steps": 1}, {"started_at": "now"}])
def test_an_arm_of_other_types_is_refused(run: Path, wrong: dict[str, object]) -> None:
    file = run / "arms" / INFO.arm / "arm.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **wrong}))
    with pytest.raises(InputError, match=r"arm\.json"):
        read_run(run)


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "rehearsal.json").write_text(content)
    with pytest.raises(InputError, match="not a run"):
        read_run(tmp_path)


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    append_line(file, {"text": "a\nb"})
    append_line(file, {"text": "c"})
    assert len(file.read_text().splitlines()) == 2


def test_any_text_of_a_body_comes_back_as_it_was(tmp_path: Path) -> None:
    text = "line\u2028separator, \x85next line, half a character \ud800, C:\\ud800"
    folder = ArmFolder(tmp_path / "arms" / "a")
    folder.create()
    folder.write_info(ArmInfo("a", "a", "production", True, "2026-01-01T00:00:00Z", 1.0, 0))
    folder.sample(Sample(1, "GET /a", "ok", 0.5, 200, text))
    folder.sample(Sample(2, "GET /a", "ok", 0.6, 200, "after"))
    write_json(tmp_path / "rehearsal.json", {"name": text})
    evidence = read_run(tmp_path)
    assert evidence.rehearsal["name"] == text
    assert [sample.body for sample in evidence.arms["a"].samples] == [text, "after"]
    assert evidence.arms["a"].damaged == ()


@pytest.mark.parametrize(
    ("status", "shape", "outcome"),
    [
        (200, "{id:number}", Outcome.OK),
        (200, "empty", Outcome.EMPTY),
        (200, "[]", Outcome.EMPTY),
        (204, "empty", Outcome.OK),
        (302, "empty", Outcome.OK),
        (304, "empty", Outcome.OK),
        (401, "empty", Outcome.REFUSED),
        (503, "text/html", Outcome.SERVER_ERROR),
    ],
)
def test_the_outcome_of_a_response(status: int, shape: str, outcome: Outcome) -> None:
    assert outcome_of(status, shape) == outcome


def test_the_expectation_of_a_capture_without_bodies_is_only_its_status() -> None:
    assert expected_outcome(200, None) == Outcome.OK
    assert expected_outcome(404, None) == Outcome.REFUSED
    assert expected_outcome(None, None) == Outcome.OK
    assert expected_outcome(200, "[]") == Outcome.EMPTY
