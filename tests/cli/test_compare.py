"""`replay compare` as it is typed. ``REPLAY_UPDATE_GOLDEN=1`` writes the golden file anew."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from replay.capture.store import CaptureWriter
from replay.cli.compare import bar
from replay.cli.main import run
from replay.traffic import Exchange, Request, Response

CAPTURES = Path(__file__).parents[2] / "captures"
GOLDEN = Path(__file__).parent / "golden" / "compare.txt"
AT = datetime(2026, 3, 1, 8, 0, 0, 250_000, tzinfo=UTC)  # whole seconds would be those of a coarse log
HOSTILE = "\x1b]0;renamed\x07[bold]"


def write(path: Path, *paths: str, name: str = "", took_s: float = 0.01) -> Path:
    with CaptureWriter(path, environment="stage", name=name, scrubber=None) as writer:
        for number, target in enumerate(paths):
            request = Request("GET", "api.test", *target.split("?"))
            response = Response(200, (("content-type", "application/json"),), b"{}", 2)
            writer.add(Exchange(AT + timedelta(seconds=number), took_s, "c", "1", request, response))
    return path


def compare(*arguments: object) -> int:
    return run(["compare", *map(str, arguments)])


def test_the_demo_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(CAPTURES / "production", CAPTURES / "qa") == 0
    shown = capsys.readouterr()
    lines = "\n".join(line.rstrip() for line in shown.out.splitlines()) + "\n"
    if os.environ.get("REPLAY_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(lines, encoding="utf-8")
    assert lines == GOLDEN.read_text(encoding="utf-8")
    assert shown.err == f"Comparing {CAPTURES / 'qa'} with {CAPTURES / 'production'} ...\n"


def test_the_demo_as_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "compared.html"
    assert compare(CAPTURES / "production", CAPTURES / "qa", "--json", "--html", page) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {
        *("coverage", "covered", "endpoints", "blind_spots", "too_small_to_tell", "left_out", "production", "other"),
    }
    assert list(document["coverage"]) == ["endpoint", "variant", "predecessor", "concurrency"]
    assert document["other"]["environment"] == "pre-production"
    assert document["other"]["path"] == str(CAPTURES / "qa")
    assert document["production"]["profile"]["exchanges"] == 5898
    assert set(document["blind_spots"][0]) == {
        *("kind", "what", "production", "other", "unit", "share", "sentence"),
    }
    text = page.read_text(encoding="utf-8")
    assert "Blind spots of qa" in text
    assert "http-equiv" in text


def test_a_capture_beside_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one", "/a", "/b", "/a")
    assert compare(one, one) == 0
    shown = capsys.readouterr().out
    assert "Nothing that one does is a blind spot of the other." in shown
    assert shown.count("100%") == 4 + 2


def test_routes_name_the_endpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    routes = tmp_path / "routes.txt"
    routes.write_text("GET /teas/{tea}\n")
    one, other = write(tmp_path / "one", "/teas/green"), write(tmp_path / "two", "/teas/black")
    assert compare(one, other, "--routes", routes, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [own["endpoint"] for own in document["endpoints"]] == ["GET /teas/{tea}"]
    assert document["coverage"]["concurrency"] == 1.0


def test_what_a_capture_says_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one", *[f"/{HOSTILE}"] * 5, name=HOSTILE)
    other = write(tmp_path / "two", *["/b"] * 5)
    assert compare(one, other) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[bold]" in shown


def test_one_that_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, nothing = write(tmp_path / "one", "/a"), write(tmp_path / "nothing")
    assert compare(nothing, one) == 2
    assert "holds no exchanges" in capsys.readouterr().err
    assert compare(one, nothing, "--html", tmp_path / "page.html") == 0
    shown = capsys.readouterr().out
    assert "more things are too rare for nothing to tell, or it is too short (with --json)." in shown
    assert f"Pictures of it are in {tmp_path / 'page.html'}." in shown
    assert (tmp_path / "page.html").exists()


def test_where_neither_tells_what_ran_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one", "/a", "/b", "/a", took_s=0.0)
    assert compare(one, one) == 0
    shown = capsys.readouterr().out
    assert "note on one: the capture has no durations: what ran side by side is not known" in shown
    assert "not known" in next(line for line in shown.splitlines() if line.startswith("+ as many at once"))
    assert shown.count("100%") == 3 + 2


def test_the_step_that_lost_an_endpoint_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = write(tmp_path / "one", "/a", "/b", "/c?limit=1"), write(tmp_path / "two", "/b", "/c")
    assert compare(one, other) == 0
    lines = capsys.readouterr().out.splitlines()
    lost = {
        name: next(line for line in lines if line.startswith(f"GET {name} ")).rstrip() for name in ("/a", "/b", "/c")
    }
    assert lost["/a"].endswith("0%  never called")
    assert lost["/b"].endswith("0%  another order")
    assert lost["/c"].endswith("0%  other variants")


def test_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one", "/a")
    assert compare(one, tmp_path / "none") == 2
    assert "There is no capture at" in capsys.readouterr().err
    assert compare(one, one, "--html", tmp_path / "none" / "page.html") == 2
    assert "There is no folder" in capsys.readouterr().err
    assert compare(one, one, "--engine", "abacus") == 2
    assert "There is no engine 'abacus'." in capsys.readouterr().err
    assert compare(one, one, "--routes", tmp_path / "none.txt") == 2
    assert compare(one) == 2


@pytest.mark.parametrize(("part", "shown"), [(0, "    "), (1, "████"), (0.5, "██  "), (0.001, "▏   "), (0.4, "█▋  ")])
def test_a_bar(part: float, shown: str) -> None:
    assert bar(part, 4) == shown
