"""The files of a report: what is in them, and that they are the same every time."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.cli.main import run as run_command
from replay.errors import InputError, ToolError
from replay.evidence.files import write_json
from replay.evidence.run import read_run
from replay.report.html import render
from replay.report.junit import junit
from replay.report.story import Story, read_story
from replay.report.summary import summary
from replay.report.write import write_page, write_reports

GOLDEN = Path(__file__).parent / "golden"


class Elements(HTMLParser):
    """The start tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the parent's
        self.tags.append(tag)


@pytest.mark.parametrize("word", ["no_go", "go", "inconclusive"])
def test_summary_and_junit_are_as_agreed(make_run: Callable[..., Path], verdicts: Any, word: str) -> None:
    run = make_run(getattr(verdicts, word)(), broken=word == "no_go")
    write_reports(run)
    for name in ("summary.md", "junit.xml"):
        golden = GOLDEN / f"{word}-{name}"
        if os.environ.get("REPLAY_UPDATE_GOLDEN"):
            golden.parent.mkdir(exist_ok=True)
            golden.write_text((run / name).read_text(encoding="utf-8"), encoding="utf-8")
        assert (run / name).read_text(encoding="utf-8") == golden.read_text(encoding="utf-8"), name


def test_the_same_evidence_gives_the_same_bytes(make_run: Callable[..., Path], verdicts: Any, tmp_path: Path) -> None:
    run = make_run(verdicts.no_go())
    page = write_reports(run)
    assert page == run / "report.html"
    first = {name: (run / name).read_bytes() for name in ("report.html", "summary.md", "junit.xml")}
    elsewhere = tmp_path / "elsewhere" / "runs" / "demo"
    shutil.copytree(run, elsewhere)
    write_reports(run)
    write_reports(elsewhere)
    for name, content in first.items():
        assert (run / name).read_bytes() == content, name
        assert (elsewhere / name).read_bytes() == content, name
    assert len(first["report.html"]) < 4_000_000
    assert not list(run.glob(".*.part"))


def test_junit_counts_what_it_lists(make_run: Callable[..., Path], verdicts: Any) -> None:
    root = ET.fromstring(junit(read_story(make_run(verdicts.no_go()))).encode())  # noqa: S314 - our own
    suite = root.find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert int(suite.get("tests", "")) == len(cases) == 6
    assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure")) == 3
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)


@pytest.mark.parametrize(
    "damage",
    ["empty verdict", "odd verdict", "no arms", "no steps arm", "no requests", "no workloads", "interrupted", "bare"],
)
def test_what_is_missing_is_said_and_nothing_breaks(make_run: Callable[..., Path], verdicts: Any, damage: str) -> None:
    run = make_run(verdicts.no_go())
    rehearsal = json.loads((run / "rehearsal.json").read_text(encoding="utf-8"))
    expected = "NO GO"
    if damage == "empty verdict":
        write_json(run / "verdict.json", {})
        expected = "INCONCLUSIVE"
    elif damage == "odd verdict":
        odd = {
            "verdict": "MAYBE",
            "reasons": "none",
            "findings": [1, {"metric": "x"}],
            "endpoints": [{}],
            "criteria": [{}],
        }
        write_json(run / "verdict.json", odd)
        expected = "INCONCLUSIVE"
    elif damage == "no arms":
        shutil.rmtree(run / "arms")
        expected = "No arm was played."
    elif damage == "no steps arm":
        shutil.rmtree(run / "arms" / "production-steps")
        expected = "Planned, but not played:</strong> production-steps"
    elif damage == "no requests":
        for segment in run.glob("arms/*/observations/*"):
            segment.unlink()
        expected = "Nothing was observed."
    elif damage == "no workloads":
        shutil.rmtree(run / "workloads")
    elif damage == "interrupted":
        write_json(run / "rehearsal.json", rehearsal | {"state": "interrupted", "reason": "Somebody pressed Ctrl-C."})
        info = run / "arms" / "production-steps" / "arm.json"
        write_json(info, json.loads(info.read_text(encoding="utf-8")) | {"state": "interrupted", "reason": "Ctrl-C"})
        marks = run / "arms" / "production-steps" / "marks.jsonl"
        kept = marks.read_text(encoding="utf-8").splitlines()[:3]
        marks.write_text("\n".join(kept) + '\n{"half', encoding="utf-8")
        expected = "This run is interrupted."
    elif damage == "bare":
        write_json(run / "rehearsal.json", {})
    page = write_reports(run).read_text(encoding="utf-8")
    assert expected in page
    if damage == "interrupted":
        assert "never ended" in page
        assert "marks.jsonl: line 4 is not JSON" in page


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec=None), max_size=60))
def test_any_text_is_kept_within_its_place(shown: Story, text: str) -> None:
    verdict = shown.verdict | {"name": text, "reasons": [text, text]}
    verdict["criteria"] = [{"name": text, "about": "change", "passed": False, "sentence": text, "workload": text}]
    story = Story(shown.evidence, verdict)
    root = ET.fromstring(junit(story).encode())  # noqa: S314 - our own
    assert root.find("testsuite") is not None
    lines = summary(story).splitlines()
    assert sum(line.startswith("- ") for line in lines) == 2
    assert "<" not in summary(story).replace("\\<", "")


def test_what_the_rehearsal_warned_of_is_in_the_report(make_run: Callable[..., Path], verdicts: Any) -> None:
    run = make_run(verdicts.go())
    rehearsal = json.loads((run / "rehearsal.json").read_text(encoding="utf-8"))
    write_json(run / "rehearsal.json", rehearsal | {"warnings": ["The pool seats gave b other values than a."]})
    assert "<li>The pool seats gave b other values than a.</li>" in write_reports(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, verdicts: Any) -> Story:
    path = tmp_path_factory.mktemp("any") / "run"
    path.mkdir()
    write_json(path / "rehearsal.json", {"name": "any"})
    write_json(path / "verdict.json", verdicts.go())
    return read_story(path)


def test_a_text_adds_no_element_to_the_page(make_run: Callable[..., Path], verdicts: Any) -> None:
    tags = []
    for name, hostile in (("calm", "."), ("hostile", "</td></script><b onclick='x'>\"&lt;\x00\ud800-->]]>")):
        verdict = verdicts.no_go()
        verdict["reasons"] = [reason + hostile for reason in verdict["reasons"]]
        run = make_run(verdict, name=name, hostile=hostile.replace("\ud800", ""))
        page = run / "report.html"
        write_page(read_story(run), page)
        elements = Elements()
        elements.feed(page.read_text(encoding="utf-8"))
        tags.append(elements.tags)
    assert tags[0] == tags[1]


def test_a_run_that_is_not_judged_is_refused(make_run: Callable[..., Path], verdicts: Any, tmp_path: Path) -> None:
    run = make_run(verdicts.go())
    for content in ("", "[]", "{"):
        (run / "verdict.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"verdict\.json"):
            write_reports(run)
    with pytest.raises(InputError, match="not a run"):
        write_reports(tmp_path / "nowhere")


def test_a_place_that_cannot_be_written_is_named(make_run: Callable[..., Path], verdicts: Any, tmp_path: Path) -> None:
    story = read_story(make_run(verdicts.go()))
    with pytest.raises(ToolError, match="no-such-folder"):
        write_page(story, tmp_path / "no-such-folder" / "report.html")


def test_the_command_writes_and_names_its_files(
    make_run: Callable[..., Path], verdicts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(verdicts.no_go())
    assert run_command(["report", str(run), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "NO_GO"
    assert document["report"] == str(run / "report.html")
    assert all(Path(path).is_file() for path in document["written"])
    other = tmp_path / "copy.html"
    assert run_command(["report", str(run), "--out", str(other)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(other)
    assert other.read_bytes() == (run / "report.html").read_bytes()
    assert run_command(["report", str(tmp_path / "nowhere")]) == 2


def test_evidence_is_left_as_it_was(make_run: Callable[..., Path], verdicts: Any) -> None:
    run = make_run(verdicts.go(), broken=False)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    write_reports(run)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert set(read_run(run).arms) == {"production-control", "production-steps", "qa-control", "qa-steps"}


def test_nothing_in_a_text_is_hidden(shown: Story) -> None:
    """What clears a terminal's screen, and what turns a name around, are spelt out: also in a file that one prints."""
    text = "GET /\x1b[2J/\u202ednuof-ton"
    story = Story(shown.evidence, shown.verdict | {"name": text, "reasons": [text]})
    for written in (summary(story), render(story)):
        assert "\x1b" not in written
        assert "\u202e" not in written
        assert "u202ednuof-ton" in written


def test_a_file_with_other_ends_of_lines_is_shown_as_it_is(shown: Story) -> None:
    migrations = [{"step": "x", "sql": "SELECT 1;\r\nSELECT 2;"}]
    evidence = dataclasses.replace(shown.evidence, rehearsal=shown.evidence.rehearsal | {"migrations": migrations})
    assert "SELECT 1;\nSELECT 2;" in render(Story(evidence, shown.verdict))


@pytest.mark.parametrize("damage", [{"order": [["a"], {"b": 1}]}, {"migrations": [{"step": "without a file"}]}])
def test_what_a_damaged_file_says_is_shown_as_far_as_it_can_be(shown: Story, damage: dict[str, Any]) -> None:
    evidence = dataclasses.replace(shown.evidence, rehearsal=shown.evidence.rehearsal | damage)
    assert "<h1" in render(Story(evidence, shown.verdict))


def test_a_verdict_that_is_nested_without_end_is_refused(make_run: Callable[..., Path], verdicts: Any) -> None:
    run = make_run(verdicts.go())
    (run / "verdict.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(InputError, match=r"has no readable verdict\.json"):
        write_reports(run)
