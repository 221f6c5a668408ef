"""`replay import` as a process: what it says, what it writes, how it ends."""

import gzip
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from replay.capture.store import open_capture, read_exchanges, read_manifest, read_skipped
from replay.cli.main import run

TOKEN = "9fGh7Jk2Lm4Np6Qr8St0Vw3Xy5Za"


def replay(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "replay", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL)


def line(second: int, target: str = "/v2/events/7", status: int = 200) -> str:
    return (
        f"192.0.2.7 - - [01/Mar/2026:08:{second // 60 % 60:02d}:{second % 60:02d} +0000] "
        f'"GET {target} HTTP/1.1" {status} 12 "-" "one/1"\n'
    )


def json_line(number: int, target: str) -> str:
    return json.dumps({"ts": 1772352000 + number / 100, "method": "GET", "path": target, "status": 200}) + "\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with three files: 5 requests, 2 lines that are none, secrets in all."""
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.log").write_text(
        line(1, f"/v2/a?access_token={TOKEN}") + f"token={TOKEN} {TOKEN}\n" + line(4, "/v2/b")
    )
    (folder / "b.log.gz").write_bytes(gzip.compress((line(3, "/v2/c") + line(2, f"/v2/{TOKEN}")).encode()))
    (folder / "c.json").write_text(json_line(500, "/v2/d") + f'{{"nothing": "{TOKEN}"}}\n')
    return folder


@pytest.mark.usefixtures("logs")
def test_globs_files_and_what_is_said(tmp_path):
    done = replay("import", "logs/*.log*", "logs/c.json", "--host", "api.example.com", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 exchanges in out" in done.stdout
    assert "  logs/a.log: 3 read, 2 kept\n    skipped the line is not of this format: 1\n" in done.stdout
    assert "  logs/b.log.gz: 2 read, 2 kept\n" in done.stdout
    assert TOKEN not in done.stdout
    capture = open_capture(tmp_path / "out")
    exchanges = list(capture.exchanges())
    assert len({one.request.host for one in exchanges}) == 1
    assert exchanges[0].request.path == "/v2/a"
    assert [one.at for one in exchanges] == sorted(one.at for one in exchanges)
    skipped = [json.loads(text) for text in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
    assert [(one["source"], one["where"]) for one in skipped] == [("logs/a.log", "line 2"), ("logs/c.json", "line 2")]
    for file in (tmp_path / "out").rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes()


def test_standard_input_through_a_real_pipe(logs, tmp_path):
    for number, file in enumerate(("a.log", "b.log.gz")):
        out = tmp_path / f"out{number}"
        command = ["sh", "-c", f"cat '{logs / file}' | {sys.executable} -m replay import - --out '{out}'"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        (source,) = open_capture(out).manifest.sources
        assert (source.name, source.kept) == ("standard input", 2)
    both = [
        "bash",
        "-c",
        f"{sys.executable} -m replay import <(zcat '{logs / 'b.log.gz'}') '{logs / 'a.log'}' --out out2",
    ]
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    done = subprocess.run(both, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert open_capture(tmp_path / "out2").manifest.exchanges == 4


def test_one_key_file_gives_the_same_pseudonyms(logs, tmp_path):
    key = tmp_path / "secrets.key"
    old = os.umask(0)
    try:
        digests = set()
        for number in range(2):
            assert (
                replay("import", logs / "a.log", "--scrub-key", key, "--out", tmp_path / f"out{number}").returncode == 0
            )
            digests.add(open_capture(tmp_path / f"out{number}").digest())
    finally:
        os.umask(old)
    assert len(digests) == 1
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().strip() not in (tmp_path / "out0" / "capture.json").read_text()
    assert replay("import", logs / "a.log", "--out", tmp_path / "other").returncode == 0
    assert open_capture(tmp_path / "other").digest() not in digests


def test_scrubbing_that_is_off_is_said_loudly(logs, tmp_path):
    done = replay("import", logs / "a.log", "--scrub", "off", "--out", tmp_path / "out")
    assert done.returncode == 0
    assert "Scrubbing is OFF" in done.stderr
    assert json.loads((tmp_path / "out" / "capture.json").read_text())["scrubbing"]["on"] is False
    assert TOKEN in repr(list(open_capture(tmp_path / "out").exchanges()))
    quiet = replay("import", logs / "a.log", "--scrub", "off", "--dry-run", "--json")
    assert "Scrubbing is OFF" in quiet.stderr
    assert json.loads(quiet.stdout)["scrubbing"]["on"] is False


def test_rules_of_a_user(tmp_path):
    (tmp_path / "a.log").write_text(line(1, "/v2/people/EMP-123456"))
    (tmp_path / "rules.toml").write_text("[[values]]\npattern = 'EMP-\\d{6}'\nkind = 'employee'\n")
    done = replay("import", "a.log", "--scrub-rules", "rules.toml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0
    (one,) = open_capture(tmp_path / "out").exchanges()
    assert "EMP-123456" not in one.request.path
    (tmp_path / "rules.toml").write_text("[nonsense]\n")
    bad = replay("import", "a.log", "--scrub-rules", "rules.toml", "--out", "out2", cwd=tmp_path)
    assert bad.returncode == 2
    assert not (tmp_path / "out2").exists()


@pytest.mark.usefixtures("logs")
def test_a_dry_run_writes_nothing_and_counts_the_same(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    tried = replay("import", "../logs/*", "--out", "out", "--dry-run", "--since", "1s", "--json", cwd=work)
    assert tried.returncode == 0, tried.stderr
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    done = replay("import", "../logs/*", "--out", "out", "--since", "1s", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    would, did = json.loads(tried.stdout), json.loads(done.stdout)
    for one, other in zip(would["sources"], did["sources"], strict=True):
        assert one["source"] == other["name"]
        assert one["format"] == other["format"]
        assert one["kept"] == other["kept"]
        assert one["skipped"] == other["skipped"]
        assert one["left_out"] == other.get("left_out", {})
    assert (would["window"], would["hosts"]) == (did["window"], did["hosts"])
    assert would["scrubbing"]["counts"] == did["scrubbing"]["counts"]
    assert {"path": "out", "exchanges": 4, "state": "complete"}.items() <= did.items()
    spoken = replay("import", "../logs/*", "--dry-run", cwd=work)
    assert "../logs/a.log: access log (Common, Combined and their kin), 3 records, 2 would be kept" in spoken.stdout
    assert TOKEN not in spoken.stdout + spoken.stderr


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nothing.log"], "There is no file nothing.log."),
        (["logs/a.log", "--format", "nonsense"], "There is no format 'nonsense'."),
        (["logs/a.log", "--since", "yesterday"], "is not a moment"),
        (["logs/a.log", "--client-share", "0"], "client-share"),
        (["logs/a.log", "--map", "at"], "is not NAME=FIELD"),
        (["logs/a.log", "--timezone", "Mars/Olympus"], "There is no time zone"),
        (["logs/a.log", "--scrub", "off", "--scrub-key", "k"], "are of no use with --scrub off"),
        (["logs/a.log", "--endpoint", "GET"], "is not an endpoint"),
        (["logs"], "is a folder, and no capture"),
        (["/dev/zero"], "is a device, and no file"),
        (["logs/a.log", "--scrub-key", "logs/a.log"], "The scrub key"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_one_sentence(options, said, tmp_path):
    done = replay("import", *options, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    err = done.stderr
    assert said in err
    assert err.count("Error: ") == 1
    assert {one.name for one in tmp_path.iterdir()} == {"logs"}


def test_out_is_needed_and_never_overwritten(logs, capsys):
    assert run(["import", str(logs / "a.log")]) == 2
    assert "Missing option '--out'" in capsys.readouterr().err
    assert run(["import", str(logs / "a.log"), "--out", str(logs)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert len(list(logs.iterdir())) == 3


def test_terminal_codes_in_a_name_are_shown_as_text(tmp_path):
    odd = tmp_path / "\x1b[31mred\x07.log"
    odd.write_text(line(1) + "\x1b]0;title\x07\n")
    done = replay("import", odd, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout + done.stderr


def test_a_name_that_is_no_text(tmp_path):
    odd = tmp_path / os.fsdecode(b"a\xff.log")
    odd.write_text(line(1))
    for options in (["--out", "out"], ["--out", "out2", "--json"], ["--dry-run", "--json"]):
        done = replay("import", odd.name, *options, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert open_capture(tmp_path / "out").manifest.sources[0].name == "a?.log"


@pytest.mark.slow
def test_captures_of_several_keys(logs, tmp_path):
    for number in range(2):
        assert replay("import", logs / "a.log", "--out", tmp_path / str(number)).returncode == 0
    done = replay("import", "0", "1", "--out", "merged", cwd=tmp_path)
    assert "(several keys)" in done.stdout
    assert "note: The captures that were merged were scrubbed with different keys" in done.stdout


# Interrupted, and without room


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """So many that their import takes some seconds, in no order."""
    file = tmp_path / "large.json"
    with file.open("w") as lines:
        for number in range(150_000):
            lines.write(json_line(number * 7919 % 150_000, f"/v2/{number * 2654435761 % 2**40:x}/{number}"))
            if number % 1000 == 0:
                lines.write('{"nothing": 1}\n')
    return file


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "replay", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_counts(out: Path) -> None:
    """What there is opens, is told truly, and can be completed."""
    before = read_manifest(out, repair=True)
    found = list(read_exchanges(out, repair=True))
    assert before.exchanges == len(found) == sum(source.kept for source in before.sources)
    assert len({one.request.path for one in found}) == len(found)
    assert run(["inspect", str(out), "--repair"]) == 0
    capture = open_capture(out)
    assert list(capture.exchanges()) == found
    (source,) = capture.manifest.sources
    assert (source.kept, sum(source.skipped.values())) == (len(found), len(read_skipped(out)))
    assert source.read == source.kept + sum(source.skipped.values())


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_read(large, tmp_path):
    out = tmp_path / "out"
    process = start("import", large, "--out", out)
    for _ in range(9000):
        if len(list(out.glob("exchanges/*.parquet"))) >= 2:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert (
        said == f"Error: Interrupted: {out} is not complete.\n"
        f"`replay inspect {out} --repair` completes it with what was read so far.\n"
    )
    assert 0 < read_manifest(out, repair=True).exchanges < 150_000
    assert run(["inspect", str(out)]) == 2
    check_counts(out)


@pytest.mark.slow
def test_ctrl_c_before_anything_was_written(large, tmp_path):
    process = start("import", large, "--out", tmp_path / "out")
    time.sleep(1.5)  # it is looking for secrets, which takes longer
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].strip() == "Interrupted."
    assert process.returncode == 130
    assert not (tmp_path / "out").exists()


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of some MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", folder], check=False, capture_output=True
    ).returncode:
        pytest.skip("a small file system cannot be mounted here: that takes root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", [1, 2], indirect=True)  # full while it is read, or while it is put in order
def test_a_full_disk_ends_with_a_sentence(large, small_disk):
    out = small_disk / "out"
    done = replay("import", large, "--out", out)
    assert done.returncode == 4
    assert done.stderr == (
        f"Error: {out} could not be completed: No space left on device.\n"
        f"`replay inspect {out} --repair` completes it with what was read so far.\n"
    )
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    assert 0 < read_manifest(out, repair=True).exchanges <= 150_000
    check_counts(out)
