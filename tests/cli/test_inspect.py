import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from replay.capture.pseudonyms import fresh_key
from replay.capture.scrub import Scrubber
from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.traffic import Exchange, Request, Response, Skipped

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
JSON = (("content-type", "application/json"),)


def exchange(number: int, status: int | None) -> Exchange:
    request = Request("GET", "api.test:80", f"/v2/events/{number}", headers=(("Authorization", "Bearer t0k3n-t0k3n"),))
    response = Response(status, JSON, b'{"id": %d}' % number, 9) if status else None
    return Exchange(AT + timedelta(seconds=number), 0.01, "token-1", "c1", request, response, "" if status else "gone")


def write(path: Path) -> CaptureWriter:
    writer = CaptureWriter(path, environment="pre-production", scrubber=Scrubber(fresh_key()))
    for number, status in enumerate([200, 200, 404, 503, None]):
        writer.add(exchange(number, status), "proxy")
        writer.flush()
    writer.skip(Skipped("proxy", "GET /[/red]ws", "WebSocket, which is not recorded"))
    return writer


def test_a_capture_is_described(tmp_path, capsys):
    write(tmp_path / "qa").close()
    assert run(["inspect", str(tmp_path / "qa")]) == 0
    shown = capsys.readouterr().out
    for words in ("pre-production", "api.test:80", "2xx 2, 4xx 1, 5xx 1, no response 1", "WebSocket", "bearer 5"):
        assert words in shown
    assert run(["inspect", str(tmp_path / "qa"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["status_classes"] == {"2xx": 2, "4xx": 1, "5xx": 1, "no response": 1}
    assert document["sources"] == [
        {"name": "proxy", "read": 6, "kept": 5, "skipped": {"WebSocket, which is not recorded": 1}}
    ]
    assert document["workload"]["exchanges"] == 5
    assert document["problems"] == []
    assert len(document["digest"]) == 32


def test_a_capture_without_durations_says_so(tmp_path, capsys):
    with CaptureWriter(tmp_path / "qa", environment="pre-production", scrubber=None) as writer:
        for number in range(3):
            writer.add(replace(exchange(number, 200), duration_s=0.0), "log")
    assert run(["inspect", str(tmp_path / "qa")]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"Inspecting 3 exchanges of {tmp_path / 'qa'} ...\n"
    assert "the capture has no durations: what ran side by side is not known" in captured.out
    assert " ms" not in next(line for line in captured.out.splitlines() if line.startswith("GET "))
    assert "sent side by side" not in captured.out
    assert run(["inspect", str(tmp_path / "qa"), "--json"]) == 0
    workload = json.loads(capsys.readouterr().out)["workload"]
    assert set(workload["endpoints"][0]["duration_s"].values()) == {None}
    assert workload["visits"]["side_by_side_share"] is None


def test_programs_and_pictures(tmp_path, capsys):
    with CaptureWriter(tmp_path / "qa", environment="pre-production", scrubber=None) as writer:
        for number in range(3):
            one = exchange(number, 200)
            agent = (("User-Agent", "[red]kiosk/2.4 (x)"),) if number else ()
            writer.add(replace(one, request=replace(one.request, headers=agent)), "log")
    assert run(["inspect", str(tmp_path / "qa"), "--html", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines()]
    assert ["[red]kiosk/2.4", "2", "66.7%"] in rows
    assert ["not", "named", "1", "33.3%"] in rows
    assert f"Pictures of it are in {tmp_path / 'page.html'}." in shown


def test_a_half_written_capture_shows_what_can_be_saved(tmp_path, capsys):
    writer = write(tmp_path / "qa")
    writer._lock.close()  # as the end of its process would
    writer._skipped_file.close()
    assert run(["inspect", str(tmp_path / "qa")]) == 2
    captured = capsys.readouterr()
    assert "not complete: this is what can be saved" in captured.out
    assert "2xx 2, 4xx 1" in captured.out
    assert "is half written" in captured.err
    assert "--repair" in captured.err
    assert run(["inspect", str(tmp_path / "qa"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exchanges"] == 5
    assert run(["inspect", str(tmp_path / "qa"), "--repair"]) == 0
    assert run(["inspect", str(tmp_path / "qa")]) == 0


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 99}', '{"format": 1}', "null", '{"format": 1, "window": 3}']
)
def test_a_broken_manifest_loses_nothing(text, tmp_path, capsys):
    write(tmp_path / "qa").close()
    (tmp_path / "qa" / "capture.json").write_text(text)
    assert run(["inspect", str(tmp_path / "qa")]) == 2
    captured = capsys.readouterr()
    assert "2xx 2, 4xx 1" in captured.out
    assert captured.err.count("Error:") == 1
    assert "Traceback" not in captured.err


def test_no_capture_is_wrong_usage(tmp_path, capsys):
    assert run(["inspect", str(tmp_path / "none")]) == 2
    assert f"There is no capture at {tmp_path / 'none'}." in capsys.readouterr().err
    assert run(["inspect", str(tmp_path)]) == 2
    assert "has no capture.json" in capsys.readouterr().err
