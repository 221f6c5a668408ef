"""The probe of an error log under a flood: does it keep up, is its count exact, does its memory stay flat?

    python bench/log_flood.py [--seconds S] [--rate LINES] [--json] [--command] [--levels]

One process writes so many lines a second, of twenty kinds with numbers, ids, quoted texts and tracebacks that differ,
another one is the probe, and a third, this one, looks at it. With ``--command`` the probe reads ``tail -F``.
"""

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import psutil
from measure import print_table

from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.log import NOT_READ, OTHER, LogProbePlan
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Command

_TICK_S = 0.02
_PREPARED = 300_000
_LOOK_S = 5.0
_START = datetime(2026, 3, 1, 3, 4, 5, tzinfo=UTC)


def main() -> None:
    """Measure once, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--command", action="store_true")
    parser.add_argument("--levels", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="replay-bench-") as folder:
        _measure(options, Path(folder))


def _measure(options: argparse.Namespace, folder: Path) -> None:
    log = folder / "error.log"
    log.touch()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    probe = spawn.Process(target=_probe, args=(log, folder / "arm", options, theirs))
    writer_ours, writer_theirs = spawn.Pipe()
    writer = spawn.Process(target=_write, args=(log, options, writer_theirs))
    writer.start()
    writer_ours.recv()
    probe.start()
    ours.recv()
    watched = psutil.Process(probe.pid)
    began_s, began_cpu_s = time.monotonic(), sum(watched.cpu_times()[:2])
    writer_ours.send("go")
    early, peak = 0, 0
    while not writer_ours.poll(_TICK_S):
        resident = watched.memory_info().rss
        peak = max(peak, resident)
        if time.monotonic() - began_s < _LOOK_S:
            early = peak
    written, took_s = writer_ours.recv()
    ours.send("stop")
    stopped_s = time.monotonic()
    cpu_s, peak_end = ours.recv()
    behind_s = time.monotonic() - stopped_s
    probe.join(30)
    writer.join(30)
    arm = ArmFolder(folder / "arm").path
    events = _frames(arm / "log").groupby("template")["count"].sum()
    readings = _frames(arm / "readings")
    lines = readings[readings["metric"] == "log_lines"]
    print_table(
        ("", ""),
        [
            ("lines written", f"{written:,} in {took_s:.1f} s, {log.stat().st_size / 2**20:.0f} MiB"),
            ("lines counted", f"{int(lines['value'].sum()):,}"),
            ("of other templates", f"{int(events.get(OTHER, 0)):,}"),
            ("not read", f"{int(events.get(NOT_READ, 0)):,}"),
            ("templates", len(set(events.index) - {OTHER, NOT_READ})),
            ("seconds with a reading", f"{len(lines)}, median {lines['value'].median():,.0f} lines"),
            ("peak memory, MiB", f"{early / 2**20:.0f} in the first {_LOOK_S:g} s, {peak_end / 2**20:.0f} in all"),
            ("the probe's CPU, s", f"{cpu_s - began_cpu_s:.1f}"),
            ("from the last line to the end, s", f"{behind_s:.2f}"),
        ],
    )


def _frames(folder: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))])


def _probe(log: Path, folder: Path, options: argparse.Namespace, pipe: "multiprocessing.connection.Connection") -> None:
    arm = ArmFolder(folder)
    arm.create()
    setting = Setting(
        ArmClock.started_now(), readings=arm.readings, log=arm.log, scrub=Scrubber({}, ["a-made-up-secret-1"])
    )
    tail = Command(("tail", "-n", "0", "-F", str(log)), "tail -F")
    levels = ("error", "fatal", "warning") if options.levels else ()
    plan = LogProbePlan("errors", *((None, tail) if options.command else (log, None)), folder, levels=levels)
    probe = plan.open(setting)
    probe.start()
    time.sleep(0.5)
    pipe.send("ready")
    pipe.recv()
    time.sleep(0.3 if options.command else 0.0)
    probe.stop()
    times = psutil.Process().cpu_times()
    pipe.send((times.user + times.system, _peak_bytes()))


def _peak_bytes() -> int:
    import resource  # noqa: PLC0415 - only where the probe is

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _write(log: Path, options: argparse.Namespace, pipe: "multiprocessing.connection.Connection") -> None:
    chance = random.Random(1)  # noqa: S311 - made-up lines
    entries = _entries(chance, as_json=options.json)
    pipe.send("prepared")
    pipe.recv()
    written, place, began_s = 0, 0, time.monotonic()
    with log.open("ab", buffering=0) as file:
        while (now_s := time.monotonic() - began_s) < options.seconds:
            due, batch = int(now_s * options.rate) - written, []
            while due > 0:
                lines, entry = entries[place % len(entries)]
                batch.append(entry)
                place, due, written = place + 1, due - lines, written + lines
            file.write(b"".join(batch))
            time.sleep(_TICK_S)
    pipe.send((written, time.monotonic() - began_s))


def _entries(chance: random.Random, *, as_json: bool) -> list[tuple[int, bytes]]:
    """Entries with how many lines each has."""
    entries = []
    for number in range(_PREPARED):
        at = (_START + timedelta(milliseconds=number)).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        level, message = chance.choice(_KINDS)(chance)
        trace = _trace(chance) if chance.random() < 0.05 else ""
        if as_json:
            fields = {"time": at, "level": level.lower(), "msg": message, "worker": chance.randrange(64)}
            text = json.dumps(fields | ({"stack": trace} if trace else {}))
        else:
            text = f"{at} {level} {message}{trace}"
        entries.append((1 + text.count("\n"), text.encode() + b"\n"))
    return entries


def _trace(chance: random.Random) -> str:
    depth = chance.randrange(1, 12)
    calls = (
        f'\n  File "/srv/app/part{chance.randrange(9)}.py", line {chance.randrange(900)}, in call\n    call()'
        for _ in range(depth)
    )
    return "\nTraceback (most recent call last):" + "".join(calls)


def _hex(chance: random.Random, digits: int) -> str:
    return f"{chance.getrandbits(4 * digits):0{digits}x}"


def _quoted(chance: random.Random) -> str:
    return chance.choice(("a word", "more than one word", "it = 17", _hex(chance, 6), "x" * chance.randrange(1, 30)))


def _address(chance: random.Random) -> str:
    return f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}:{chance.randrange(1024, 65536)}"


_Kind = Callable[[random.Random], tuple[str, str]]
_KINDS: list[_Kind] = [
    lambda by: ("ERROR", f"pool timeout after {by.random() * 5:.2f} s (client {by.randrange(10**6)})"),
    lambda by: ("ERROR", f"relation \"token\" has no row '{_quoted(by)}' for id {by.randrange(10**9)}"),
    lambda by: ("ERROR", f"request {uuid.UUID(int=by.getrandbits(128))} failed: reset by {_address(by)}"),
    lambda by: ("WARNING", f"slow ({by.random():.3f} s): token {by.randrange(10**7)} AND name = '{_quoted(by)}'"),
    lambda by: ("ERROR", f"GET /v2/events/{by.randrange(10**6)}?after={_hex(by, 12)}&n={by.randrange(50)} 500"),
    lambda by: ("ERROR", f"trace={_hex(by, 32)} span={_hex(by, 16)} upstream timed out"),
    lambda by: ("FATAL", f"object at 0x{_hex(by, 12)} is gone"),
    lambda by: ("ERROR", f"could not open /var/lib/app/{_hex(by, 8)}/part-{by.randrange(100)}.bin"),
    lambda by: ("ERROR", f'column "scope" of relation "token" does not exist at character {by.randrange(200)}'),
    lambda by: ("ERROR", f"deadlock: process {by.randrange(99999)} waits for transaction {by.randrange(10**8)}"),
    lambda by: ("ERROR", f'key "{_quoted(by)}" is not known to tenant {by.randrange(1000)}'),
    lambda by: ("ERROR", f"session {_hex(by, 40)} expired {by.randrange(10**5)} ms ago"),
    lambda by: ("WARNING", f"retry {by.randrange(9)} of 9 in {by.random() * 100:.1f}ms"),
    lambda by: ("ERROR", f"token tok-{by.randrange(10**12)}-{_hex(by, 14)}z is revoked"),
    lambda by: ("ERROR", f"payload of {by.randrange(10**7)} bytes is too large (E{17}, limit {2**20})"),
    lambda by: ("ERROR", f"upstream {_address(by)} refused the connection"),
    lambda by: ("FATAL", f"out of memory: {by.randrange(10**9)} bytes wanted by worker {by.randrange(64)}"),
    lambda by: (
        "ERROR",
        f"due {_START + timedelta(seconds=by.randrange(10**7)):%Y-%m-%dT%H:%M:%SZ}, job {by.random()}",
    ),
    lambda by: ("ERROR", f"cannot parse '{_quoted(by)}' at line {by.randrange(999)}, column {by.randrange(99)}"),
    lambda by: ("ERROR", f"replica {_address(by)} is {by.randrange(10**6)} bytes behind"),
]


if __name__ == "__main__":
    main()
