"""`kill -9` at random moments of an import and of a recording: what is left opens, and its counts are true.

The process that is killed is this file as a program: ``test_store_killed.py FOLDER import|live``.
"""

import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from replay.capture.folder import exchanges_folder
from replay.capture.manifest import COMPLETE, Manifest
from replay.capture.pseudonyms import Key
from replay.capture.scrub import Scrubber
from replay.capture.segments import to_table
from replay.capture.store import (
    CaptureWriter,
    open_capture,
    read_exchanges,
    read_manifest,
    read_skipped,
    repair_capture,
)
from replay.errors import InputError
from replay.traffic import Exchange, Request, Response, Skipped

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
TOKEN = "9fGh7Jk2Lm4Np6Qr8St0Vw3Xy5Za"
EXCHANGES = 400
FLUSH_EVERY = 40
TIMES = 100


# The process


def exchange(number: int) -> Exchange:
    """The odd ones are three seconds late; each holds a secret whose name does not say so."""
    at = AT + timedelta(seconds=number - (3 if number % 2 else 0))
    body = b'{"t": "%s", "n": %d}' % (TOKEN.encode(), number)
    request = Request("GET", "api.example.com", f"/v2/events/{number}")
    return Exchange(at, 0.1, "c", "k", request, Response(200, (("content-type", "application/json"),), body, len(body)))


def source_of(number: int) -> str:
    return "one.log" if number // 30 % 2 else "two.har"


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def record(path: Path, how: str) -> None:
    scrubber = Scrubber(Key(b"k" * 32))
    sending_back = Request("GET", "a", "/", headers=(("Authorization", f"Bearer {TOKEN}"),))
    if how == "import":
        scrubber.learn(Exchange(AT, 0.0, "", "", sending_back, None))
    with CaptureWriter(path, environment="stage", scrubber=scrubber, live=how == "live") as writer:
        say("begun")
        for number in range(EXCHANGES):
            if how == "live" or number % 3:
                writer.add(exchange(number), source_of(number))
            else:
                writer.add_table(to_table([scrubber.exchange(exchange(number))]), source_of(number))
            if number % 10 == 0:
                writer.skip(Skipped(source_of(number), f"line {number}", "not HTTP"))
                writer.leave_out(source_of(number), "--since")
            if number % FLUSH_EVERY == FLUSH_EVERY - 1:
                writer.flush()
                say(f"flushed {number + 1}")
        say("closing")
    say("closed")


# The test


@dataclass
class Run:
    """A process that records, and what it said."""

    path: Path
    process: subprocess.Popen[str]
    flushed: int = 0

    def words(self) -> Iterator[str]:
        for line in self.process.stdout or ():
            word, _, count = line.strip().partition(" ")
            self.flushed = int(count) if count else self.flushed
            yield word

    def until(self, word: str) -> None:
        assert word in self.words()

    def kill(self) -> None:
        self.process.kill()
        for _ in self.words():
            pass
        self.process.communicate(timeout=20)


def start(path: Path, how: str) -> Run:
    command = [sys.executable, __file__, str(path), how]
    return Run(path, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))


def lengths_s(path: Path, how: str) -> dict[str, float]:
    """How long it takes from "begun" to "closing", and from there to its end."""
    run = start(path, how)
    run.until("begun")
    begun = time.monotonic()
    run.until("closing")
    closing = time.monotonic()
    run.until("closed")
    closed = time.monotonic()
    run.kill()
    return {"begun": closing - begun, "closing": closed - closing}


def numbers(exchanges) -> list[int]:
    return [int(one.request.path.rpartition("/")[2]) for one in exchanges]


def check_counts(manifest: Manifest, path: Path, found: list[int]) -> None:
    assert manifest.exchanges == len(found)
    kept = Counter(map(source_of, found))
    skipped = Counter(one.source for one in read_skipped(path))
    assert {one.name: one.kept for one in manifest.sources if one.kept} == kept
    assert {one.name: sum(one.skipped.values()) for one in manifest.sources if one.skipped} == skipped
    for one in manifest.sources:
        assert one.read == one.kept + sum(one.skipped.values()) + sum(one.left_out.values())


def check_secrets(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            assert TOKEN.encode() not in file.read_bytes()
        if file.suffix == ".parquet":
            assert TOKEN not in repr(pq.ParquetFile(file).read().to_pylist())


def check(run: Run, how: str) -> str:
    """Check what a killed process left; how far it had come."""
    path = run.path
    check_secrets(path)
    before = read_manifest(path, repair=True)
    # What it takes to judge them goes, with the old segments, a moment before the capture is complete.
    undecided = [one for one in exchanges_folder(path).glob("*.sealed") if one.with_suffix(".parquet").exists()]
    exchanges = list(read_exchanges(path, repair=True))
    found = numbers(exchanges)
    assert len(set(found)) == len(found)
    assert set(range(run.flushed)) <= set(found) <= set(range(EXCHANGES))
    assert [one.at for one in exchanges] == sorted(one.at for one in exchanges)
    for number, one in zip(found, exchanges, strict=True):
        assert re.fullmatch(rb'\{"t": "\w{28}", "n": %d\}' % number, one.response.body)
    check_counts(before, path, found)
    if before.state != COMPLETE:
        with pytest.raises(InputError, match="half written"):
            open_capture(path)
    repaired = repair_capture(path)
    check_counts(repaired, path, found)
    assert list(open_capture(path).exchanges()) == exchanges
    assert open_capture(path).manifest == repaired
    left = {one.name for one in path.iterdir()}
    assert left == {"capture.json", "exchanges", "skipped.jsonl"}
    assert {one.suffix for one in (path / "exchanges").iterdir()} <= {".parquet"}
    assert bool(undecided) == any("stayed pseudonyms" in note for note in repaired.notes)
    if how == "live" and len(found) < EXCHANGES:
        assert bool(undecided) == bool(found)
    return before.state


@pytest.mark.slow
@pytest.mark.parametrize("how", ["import", "live"])
def test_what_a_killed_process_leaves_opens_and_its_counts_are_true(how, tmp_path):
    lengths = lengths_s(tmp_path / "whole", how)
    chance = random.SystemRandom()
    states: Counter[str] = Counter()
    for number in range(TIMES):
        run = start(tmp_path / str(number), how)
        word = "closing" if number % 2 else "begun"
        run.until(word)
        time.sleep(chance.uniform(0, lengths[word] * 1.1))
        run.kill()
        states[check(run, how)] += 1
    assert states["recording"] > TIMES / 4


if __name__ == "__main__":
    record(Path(sys.argv[1]), sys.argv[2])
