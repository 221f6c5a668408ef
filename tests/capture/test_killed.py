"""`kill -9` of the real commands at random moments: what is left opens, is counted truly, and can be repaired."""

import contextlib
import http.client
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest
from import_parts import combined, json_line, write

from replay.capture.manifest import RECORDING, Manifest
from replay.capture.store import is_recording, open_capture, read_exchanges, read_manifest, read_skipped, repair_capture
from replay.traffic import Exchange

pytestmark = pytest.mark.slow

TIMES = 25
LINES = 100_000
CHANCE = random.SystemRandom()


def check_counts(
    manifest: Manifest, path: Path, exchanges: list[Exchange], source_of: Callable[[Exchange], str]
) -> None:
    assert manifest.exchanges == len(exchanges)
    kept = Counter(map(source_of, exchanges))
    skipped = Counter(one.source for one in read_skipped(path))
    assert {one.name: one.kept for one in manifest.sources if one.kept} == kept
    assert {one.name: sum(one.skipped.values()) for one in manifest.sources if one.skipped} == skipped
    for one in manifest.sources:
        assert one.read == one.kept + sum(one.skipped.values()) + sum(one.left_out.values())


def check_what_is_left(path: Path, source_of: Callable[[Exchange], str]) -> tuple[str, list[Exchange]]:
    """How far it had come, and what there is."""
    before = read_manifest(path, repair=True)
    exchanges = list(read_exchanges(path, repair=True))
    assert len({one.request.path for one in exchanges}) == len(exchanges)
    assert [one.at for one in exchanges] == sorted(one.at for one in exchanges)
    check_counts(before, path, exchanges, source_of)
    repaired = repair_capture(path)
    check_counts(repaired, path, exchanges, source_of)
    capture = open_capture(path)
    assert capture.manifest == repaired
    assert list(capture.exchanges()) == exchanges
    assert {one.name for one in path.iterdir()} == {"capture.json", "exchanges", "skipped.jsonl"}
    assert {one.suffix for one in (path / "exchanges").iterdir()} <= {".parquet"}
    return before.state, exchanges


# An import


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A hundred thousand lines in two files, in no order, of which some are none."""
    log, lines = [], []
    for place in range(LINES):
        number = place * 7919 % LINES
        if number % 5:
            log.append(combined(number // 100, f"/log/{number}"))
        else:
            lines.append(json_line(number / 100, f"/json/{number}"))
        if place % 1000 == 0:
            log.append(f"nonsense {place}\n")
            lines.append("{\n")
    return [write(tmp_path / "a.log", log), write(tmp_path / "b.json", lines)]


def start_import(files: Iterable[Path], out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "replay", "import", *map(str, files), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(exists: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and not exists():
        time.sleep(0.002)


def test_an_import(files, tmp_path):
    source = {"log": str(files[0]), "json": str(files[1])}
    out = tmp_path / "whole"
    process = start_import(files, out)
    wait_for(out.exists, process)
    begun = time.monotonic()
    wait_for((out / "exchanges.new").exists, process)
    closing = time.monotonic()
    process.wait(120)
    lengths = closing - begun, time.monotonic() - closing
    assert process.returncode == 0
    assert open_capture(out).manifest.exchanges == LINES
    states: Counter[str] = Counter()
    for number in range(TIMES):
        out = tmp_path / str(number)
        process = start_import(files, out)
        is_closing = number % 2
        wait_for((out / "exchanges.new").exists if is_closing else out.exists, process)
        time.sleep(CHANCE.uniform(0, lengths[is_closing] * 1.1))
        process.kill()
        process.wait(20)
        if not (out / "capture.json").is_file():
            assert not any(out.glob("exchanges/*"))
            states["nothing"] += 1
            continue
        state, _ = check_what_is_left(out, lambda one: source[one.request.path.split("/")[1]])
        states[state] += 1
    assert states[RECORDING] > TIMES / 4, states


# A mirror under load


class Load:
    """Clients that send requests, each with a number of its own, until nobody answers or it is ended."""

    def __init__(self, port: int) -> None:
        self.sent: set[str] = set()
        self._port = port
        self._is_ended = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(client,)) for client in range(4)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._is_ended.set()
        for thread in self._threads:
            thread.join(30)

    def _send(self, client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        number = 0
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not self._is_ended.is_set():
                path = f"/v2/{client}-{number}"
                self.sent.add(path)
                headers = {"Authorization": f"Bearer {client}-9fGh7Jk2Lm4Np6Qr8St0Vw3Xy5Za"} if number % 7 == 6 else {}
                connection.request("POST", path, body=f'{{"t": "9fGh7Jk2Lm4Np6Qr8St0{client}"}}', headers=headers)
                connection.getresponse().read()
                number += 1


@pytest.mark.parametrize("who", ["the front", "the writer", "both"])
def test_a_mirror_under_load(who, start_capture):
    for _ in range(-(-TIMES // 3)):
        recorder = start_capture(None, "--mirror")
        writer = recorder.writer()
        load = Load(recorder.port)
        time.sleep(CHANCE.uniform(0.05, 2.5))
        if who != "the front":
            writer.kill()
        if who == "the writer":
            time.sleep(CHANCE.uniform(0, 0.5))
            load.end()
            recorder.process.send_signal(signal.SIGINT)
        else:
            recorder.process.kill()
        recorder.process.communicate(timeout=60)
        load.end()
        psutil.wait_procs([writer], timeout=60)
        assert not is_recording(recorder.out)
        if who == "the writer":
            assert recorder.process.returncode == 4
        state, exchanges = check_what_is_left(recorder.out, lambda _: "mirror")
        assert state == RECORDING
        found = {one.request.path for one in exchanges}
        assert found <= load.sent
        assert "9fGh7Jk2Lm4Np6Qr8St0" not in repr(exchanges)
