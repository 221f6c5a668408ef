import dataclasses
import json
import os
import shutil
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.evidence.files import NEW_COLUMNS, ArmFolder, append_line, write_json
from replay.evidence.rollup import MERGED
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration_s": float("nan")},
        {"duration_s": -5.0},
        {"duration_s": 1e300},
        {"duration_s": 10**400},
        {"planned": "5"},
        {"planned": -1},
        {"planned": 10**18},
        {"planned": 1e18},
        {"steps": 1},
        {"started_at": "now"},
    ],
)
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


@pytest.mark.parametrize(
    "said", [{"order": 5}, {"order": {}}, {"plan": []}, {"migrations": -5}, {"stage": [1]}, {"confirming": "x"}]
)
def test_a_rehearsal_of_other_kinds_is_refused(run: Path, said: dict[str, object]) -> None:
    (run / "rehearsal.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="is damaged"):
        read_run(run)
    (run / "rehearsal.json").write_text(json.dumps(dict.fromkeys(said)))
    assert read_run(run).arms


@pytest.mark.parametrize(
    "wrong",
    [{"due_s": 1e300}, {"due_s": -1e300}, {"waited_s": 1e9}, {"sent_s": 1e6}, {"done_s": float("inf")}],
)
def test_moments_beyond_all_measure_are_damage(run: Path, wrong: dict[str, float]) -> None:
    odd = dataclasses.replace(observation(2), **wrong)
    ArmFolder(run / "arms" / INFO.arm).observations("w1").write([odd])
    arm = read_run(run).arms[INFO.arm]
    assert [*arm.observations["request"]] == [0, 1]
    (damaged,) = arm.damaged
    assert damaged.startswith("observations/w1-000001.parquet: ")
    assert next(iter(wrong)) in damaged


@pytest.mark.parametrize(
    "reading", [Reading(1e300, "p", "m", 1.0, {}), Reading(1.0, "p", "m", 1e300, {}), Reading(-1e9, "p", "m", 1.0, {})]
)
def test_readings_beyond_all_measure_are_damage(run: Path, reading: Reading) -> None:
    ArmFolder(run / "arms" / INFO.arm).readings("p").write([reading])
    arm = read_run(run).arms[INFO.arm]
    assert len(arm.readings) == 1
    assert "readings/p-000001.parquet" in arm.damaged[0]


@pytest.mark.parametrize("at_s", [1e300, -1e300, 10**400])
def test_marks_beyond_all_measure_are_damage(run: Path, at_s: float) -> None:
    append_line(
        run / "arms" / INFO.arm / "marks.jsonl", {**dataclasses.asdict(Mark(0, "s", "k", "ended")), "at_s": at_s}
    )
    arm = read_run(run).arms[INFO.arm]
    assert len(arm.marks) == 1
    assert arm.damaged


@pytest.mark.parametrize("kind", ["link", "pipe", "merged pipe", "folder"])
def test_what_is_no_file_of_its_own_is_no_segment(run: Path, kind: str) -> None:
    """A pipe would be waited for; a link leads to what need not be this run's."""
    folder = run / "arms" / INFO.arm / "observations"
    odd = folder / {"merged pipe": f"{MERGED}000001.parquet"}.get(kind, "w1-000001.parquet")
    if kind == "link":
        odd.symlink_to(shutil.copy(folder / "w0-000001.parquet", run / "elsewhere"))
    elif kind == "folder":
        odd.mkdir()
    else:
        os.mkfifo(odd)
    arm = read_run(run).arms[INFO.arm]
    assert [*arm.observations["request"]] == [0, 1]
    assert any(odd.name in sentence for sentence in arm.damaged)


def test_evidence_from_before_a_column_is_read_without_it(run: Path) -> None:
    for file in (run / "arms" / INFO.arm / "observations").glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(sorted(NEW_COLUMNS)), file)
    arm = read_run(run).arms[INFO.arm]
    assert arm.damaged == ()
    assert arm.observations[sorted(NEW_COLUMNS)].isna().all(axis=None)


@pytest.mark.parametrize("change", [{"done_s": "gone_s"}, {"items": "item"}, {"request": "requests"}])
def test_a_column_of_another_name_is_damage(run: Path, change: dict[str, str]) -> None:
    file = run / "arms" / INFO.arm / "observations" / "w0-000001.parquet"
    table = pq.read_table(file)
    pq.write_table(table.rename_columns([change.get(name, name) for name in table.column_names]), file)
    arm = read_run(run).arms[INFO.arm]
    assert len(arm.observations) == 1
    assert "w0-000001.parquet" in arm.damaged[0]


@pytest.mark.slow
@given(st.data())
def test_no_flipped_bit_changes_the_evidence_unseen(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = ArmFolder(tmp_path_factory.mktemp("run") / "arms" / INFO.arm)
    folder.create()
    folder.write_info(INFO)
    folder.observations("w0").write([dataclasses.replace(observation(n), sent_s=n / 7) for n in range(40)])
    run = folder.path.parent.parent
    write_json(run / "rehearsal.json", {})
    wrote = read_run(run).arms[INFO.arm].observations
    (file,) = (folder.path / "observations").glob("*.parquet")
    content = bytearray(file.read_bytes())
    for _ in range(8):
        at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
        content[at] ^= 1 << bit
        file.write_bytes(content)
        arm = read_run(run).arms[INFO.arm]
        assert arm.damaged or arm.observations.equals(wrote)
        content[at] ^= 1 << bit


def test_lean_evidence_says_the_same(run: Path) -> None:
    arm = ArmFolder(run / "arms" / INFO.arm)
    some = [
        dataclasses.replace(observation(n), digest=digest) for n, digest in enumerate(["a" * 16, None, "b", "b"], 2)
    ]
    arm.observations("w1").write(some)
    names = ("request", "endpoint", "due_s", "status", "shape", "digest", "outcome")
    whole, lean = (read_run(run, columns).arms[INFO.arm].observations for columns in (None, names))
    assert tuple(lean) == names
    for name in ("request", "endpoint", "due_s", "shape", "outcome"):
        assert lean[name].astype(object).equals(whole[name].astype(object)), name
    assert (lean["digest"] == -1).tolist() == whole["digest"].isna().tolist()
    assert lean["digest"].iloc[-1] == lean["digest"].iloc[-2] != lean["digest"].iloc[2]


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    append_line(file, {"text": "a\nb"})
    append_line(file, {"text": "c"})
    assert len(file.read_text().splitlines()) == 2


def test_a_line_that_finds_no_room_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.evidence.files.os.write", lambda _, line: len(line) - 1)
    with pytest.raises(OSError, match="No space left"):
        append_line(tmp_path / "lines.jsonl", {"text": "a"})


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


# What may not be read, and what is of another format


@pytest.mark.parametrize("told", [99, 0, True, "1", None, [1]])
def test_an_unknown_format_is_refused(tmp_path, told):
    write_json(tmp_path / "rehearsal.json", {"format": told})
    with pytest.raises(InputError, match="has the format"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "said",
    [{"captures": 5}, {"captures": {"qa": 5}}, {"migrations": [None]}, {"warnings": 0}, {"reused": 5}, {"kept_back": 5},
     {"plan": {"steps": 5}}, {"plan": {"probes": []}}, {"plan": {"workloads": 5}}],
)  # fmt: skip
def test_what_is_of_another_kind_is_refused_with_what_to_do(tmp_path, said):
    write_json(tmp_path / "rehearsal.json", said)
    with pytest.raises(InputError, match="is damaged") as raised:
        read_run(tmp_path)
    assert "rehearse again" in raised.value.hint


def test_what_may_not_be_read_is_neither_gone_nor_damaged(tmp_path, monkeypatch):
    write_json(tmp_path / "rehearsal.json", {"format": 1})
    folder = ArmFolder(tmp_path / "arms" / "qa-steps")
    folder.create()
    folder.mark(Mark(0.0, "", "arm", "started"))
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda file, mode: not str(file).endswith("marks.jsonl") and allowed(file, mode))
    with pytest.raises(InputError, match=r"marks.jsonl may not be read") as raised:
        read_run(tmp_path)
    assert "right to read" in raised.value.hint


def test_two_may_write_one_file_at_once(tmp_path):
    file = tmp_path / "verdict.json"
    threads = [
        threading.Thread(target=lambda n=n: [write_json(file, {"n": [n] * 2000}) for _ in range(50)]) for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(json.loads(file.read_text())["n"])) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["verdict.json"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "verdict.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_json(tmp_path / "verdict.json", {})
    assert [one.name for one in tmp_path.iterdir()] == ["verdict.json"]
