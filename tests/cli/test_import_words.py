"""`replay import` understands what people give, and refuses what it cannot with a sentence that says what to do."""

import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from replay.cli.main import run

LOG = '192.0.2.7 - - [01/Mar/2026:08:00:01 +0000] "GET /v2/events/7?page=2 HTTP/1.1" 200 12 "-" "one/1"\n'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "access.log"
    file.write_text(LOG, encoding="utf-8")
    return file


def manifest_of(out: Path) -> dict:
    return json.loads((out / "capture.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("api.example.com", "api.example.com"),
        ("API.example.com.", "api.example.com"),
        ("https://api.example.com/", "api.example.com"),
        ("http://api.example.com:8080/v2", "api.example.com:8080"),
        ("api.example.com:443", "api.example.com"),
        ("[2001:db8::1]:8080", "[2001:db8::1]:8080"),
    ],
)
def test_a_host_is_one_however_it_is_given(given, host, log, tmp_path):
    assert run(["import", str(log), "--host", given, "--out", str(tmp_path / "out")]) == 0
    assert manifest_of(tmp_path / "out")["hosts"] == [host]


@pytest.mark.parametrize("given", ["api example", "api.example.com:99999", "://", "a/b@c d"])
def test_what_is_no_host_is_refused(given, log, tmp_path, capsys):
    assert run(["import", str(log), "--host", given, "--out", str(tmp_path / "out")]) == 2
    assert "is no host" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_a_host_it_says_so(log, tmp_path, capsys):
    assert run(["import", str(log), "--out", str(tmp_path / "out")]) == 0
    assert "give --host" in capsys.readouterr().out
    assert manifest_of(tmp_path / "out")["hosts"] == []


@pytest.mark.parametrize(
    ("given", "environment"), [("prod", "production"), (" LIVE ", "production"), ("Stage", "stage"), ("qa", "qa")]
)
def test_production_has_several_names(given, environment, log, tmp_path):
    assert run(["import", str(log), "--environment", given, "--out", str(tmp_path / "out")]) == 0
    assert manifest_of(tmp_path / "out")["environment"] == environment


def test_archives_are_to_be_opened_first(log, tmp_path, capsys):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(log, "access.log")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.add(log, "access.log")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(log, "access.log")
    for name, what in (("a.tar", "tar -xOf"), ("a.tgz", "tar -xOf"), ("a.zip", "unzip -p")):
        assert run(["import", str(tmp_path / name), "--dry-run"]) == 2
        said = capsys.readouterr().err
        assert "archive" in said
        assert what in said


def test_a_json_array_has_a_hint(tmp_path, capsys):
    file = tmp_path / "a.json"
    file.write_text('[{"time": "2026-03-01T08:00:00Z", "method": "GET", "path": "/"}]', encoding="utf-8")
    assert run(["import", str(file), "--dry-run"]) == 2
    assert "jq -c '.[]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "words"), [("at=ts", "--map has no use here"), ("foo=bar", "foo is nothing that a field can be mapped")]
)
def test_a_map_of_no_use_is_refused(columns, words, log, capsys):
    assert run(["import", str(log), "--map", columns, "--dry-run"]) == 2
    assert words in capsys.readouterr().err


def test_all_files_that_cannot_be_read_are_named(log, tmp_path, capsys):
    for name in ("one.bin", "two.bin"):
        (tmp_path / name).write_bytes(b"\x00\x01nothing\n" * 9)
    assert run(["import", str(tmp_path / "one.bin"), str(log), str(tmp_path / "two.bin"), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "one.bin is in no format" in said
    assert "two.bin is in no format" in said
    assert "access.log" not in said


def test_a_log_format_that_fits_no_line_is_said(log, tmp_path, capsys):
    wrong = '$remote_addr - [$time_local] "$request" $status $request_time'
    assert run(["import", str(log), "--log-format", wrong, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "the line is not of this format (1)" in said
    assert "--log-format" in said
    assert not (tmp_path / "out").exists()


def test_scrubbing_off_is_said_of_what_is_not_scrubbed_yet(log, tmp_path, capsys):
    assert run(["import", str(log), "--out", str(tmp_path / "a"), "--host", "a.test"]) == 0
    capsys.readouterr()
    assert run(["import", str(tmp_path / "a"), "--scrub", "off", "--out", str(tmp_path / "b")]) == 0
    assert "OFF" not in capsys.readouterr().err
    assert manifest_of(tmp_path / "b")["scrubbing"]["on"]
    assert run(["import", str(log), "--scrub", "off", "--out", str(tmp_path / "c"), "--host", "a.test"]) == 0
    assert "Scrubbing is OFF" in capsys.readouterr().err
