"""What judging many observations costs: seconds and memory of `replay judge` as a process.

    python bench/judge_size.py [--observations 5000000] [--arms 4] [--rate 1000] [--segments] [--quiet] [--keep FOLDER]

Writes a run first, the same each time: 40 endpoints of some shapes each, 1% of failures anyway, readings and marks, and
a step during which the token requests come back empty (with ``--quiet`` they do not). Two arms are a
workload with the steps and without, four are production beside pre-production. Its evidence lies in files as a long
rehearsal leaves them, merged to 100,000 rows; with ``--segments`` in one file a second of each writer, as a short one
does.
Leaves with 1 beyond 30 s or 2 GiB.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from measure import measure, print_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "judge"))

import simulate

from replay.evidence.files import LOG_SCHEMA, OBSERVATION_SCHEMA, READING_SCHEMA, ArmFolder, write_json
from replay.evidence.rollup import tidy
from replay.evidence.seal import seal
from replay.evidence.values import ArmInfo, Mark

LIMIT_S, LIMIT_MIB = 30.0, 2048.0
_ENDPOINTS, _SHAPES, _CLIENTS, _VISIT = 40, 4, 2000, 12
_FAILING = 0.01
_STEP, _STEP_S = "add token scopes", 6.0
_SQL = "ALTER TABLE oauth_token ADD COLUMN scopes text"
_WORKLOADS = (("production", "production"), ("qa", "pre-production"))
_VERDICTS = {0: "GO", 1: "NO_GO", 3: "INCONCLUSIVE"}
Values = npt.NDArray[Any]


def write_run(folder: Path, observations: int, arms: int, rate: float, *, segments: bool, quiet: bool) -> None:
    """Write a run of so many observations in so many arms."""
    chance = np.random.default_rng(1)
    seconds = max(60, round(observations / arms / rate))
    count = round(observations / arms)
    order = []
    for number, (workload, role) in enumerate(_WORKLOADS[: arms // 2]):
        names = _names(number)
        endpoint = chance.choice(len(names), count, p=_popularity(len(names)))
        due_s = np.sort(chance.uniform(0, seconds - 1, count))
        for kind in ("control", "steps"):
            arm = f"{workload}-{kind}"
            order.append(arm)
            info = ArmInfo(
                arm=arm,
                workload=workload,
                role=role,
                steps=kind == "steps",
                started_at=f"2026-03-02T{6 + len(order):02d}:00:00+00:00",
                duration_s=float(seconds),
                planned=count,
                state="complete",
            )
            table = _observations(chance, names, endpoint, due_s, None if quiet or kind == "control" else seconds / 3)
            _write_arm(folder / "arms" / arm, info, table, chance, segments=segments)
    write_json(folder / "rehearsal.json", _noted(folder, order, seconds))


def _noted(folder: Path, order: list[str], seconds: int) -> dict[str, Any]:
    """What a rehearsal notes of such a run, its seals too."""
    return {
        "format": 1,
        "name": "large",
        "state": "complete",
        "reason": "",
        "order": order,
        "reset": True,
        "criteria": {},
        "confirming": {},
        "migrations": [{"path": "scopes.sql", "sql": _SQL}],
        "seals": {arm: seal(folder / "arms" / arm) for arm in order},
        "plan": {
            "steps": [{"name": _STEP, "kind": "migrate", "sql": "scopes.sql", "dsn": "${STAGE_DSN}"}],
            "probes": {"database": {"kind": "postgres", "replicas": ["${REPLICA_DSN}"]}, "api": {"kind": "process"}},
            "workloads": {name: {"role": role} for name, role in _WORKLOADS[: len(order) // 2]},
        },
        "stage": {
            "fingerprints": dict.fromkeys(order, "0" * 32),
            "databases": {arm: [simulate.database("things", seconds, steps=[_STEP])] for arm in order},
        },
    }


def _names(workload: int) -> list[str]:
    """Pre-production calls some endpoints that production does not, and the other way round."""
    return ["POST /oauth/token", *(f"GET /v1/things/{n + 10 * workload}/{{id}}" for n in range(_ENDPOINTS - 1))]


def _popularity(count: int) -> Values:
    weight = 1 / np.arange(1, count + 1)
    return weight / weight.sum()


def _observations(
    chance: np.random.Generator, names: list[str], endpoint: Values, due_s: Values, step_s: float | None
) -> pa.Table:
    count = len(endpoint)
    numbers = np.arange(count)
    failing = chance.random(count) < _FAILING
    empty = np.zeros(count, dtype=np.bool_)
    if step_s is not None:
        during = (due_s >= step_s) & (due_s < step_s + _STEP_S)
        empty = during & (endpoint == 0)
    cause = numbers - 1 - chance.integers(0, 50, count)
    unsent = failing & (chance.random(count) < 0.2) & (cause >= 0)
    failing &= ~unsent
    empty &= ~failing & ~unsent
    sent_s = due_s + chance.exponential(0.001, count)
    done_s = sent_s + 0.02 * np.exp(chance.normal(0, 0.5, count)) * (1 + endpoint % 7)
    shape = (numbers * 7919) % _SHAPES
    shapes = [
        f"{{id:number,kind{one}:string,of{n}:[{{id:number}}]}}" for n in range(len(names)) for one in range(_SHAPES)
    ]
    expected = pa.DictionaryArray.from_arrays(endpoint * _SHAPES + shape, shapes).cast(pa.string())
    kind = np.select([empty, failing, unsent], [1, 2, 3], 0)
    bodies = np.where(empty | failing, kind - 1 + len(shapes), endpoint * _SHAPES + shape)
    had = pa.DictionaryArray.from_arrays(pa.array(bodies, mask=unsent), [*shapes, "empty", "text/plain"])
    columns: dict[str, Any] = {
        "request": numbers,
        "visit": numbers // _VISIT,
        "client": _texts(chance.integers(0, _CLIENTS, count), [f"client-{n:04d}" for n in range(_CLIENTS)]),
        "endpoint": _texts(endpoint, names),
        "due_s": due_s,
        "waited_s": np.zeros(count),
        "sent_s": pa.array(sent_s, mask=unsent),
        "first_byte_s": pa.array(done_s - 0.001, mask=unsent),
        "done_s": pa.array(done_s, mask=unsent),
        "status": pa.array(np.where(failing, 500, 200).astype(np.int32), mask=unsent),
        "size_bytes": pa.array(chance.integers(20, 5000, count), mask=unsent),
        "digest": _digests(chance, unsent),
        "shape": had.cast(pa.string()),
        "expected_status": np.full(count, 200, dtype=np.int32),
        "expected_shape": expected,
        "outcome": _texts(kind, ["ok", "empty", "server error", "unsent"]),
        "error": pa.nulls(count, pa.string()),
        "caused_by": pa.array(cause, mask=~unsent),
        "worker": _texts(numbers % 2, ["worker-0", "worker-1"]),
        "items": pa.array(chance.integers(0, 30, count), mask=unsent | (endpoint % 3 > 0)),
    }
    return pa.table(
        {field.name: columns.get(field.name, pa.nulls(count, field.type)) for field in OBSERVATION_SCHEMA}
    ).cast(OBSERVATION_SCHEMA)


def _texts(places: Values, names: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(places, names).cast(pa.string())


def _digests(chance: np.random.Generator, unsent: Values) -> pa.Array:
    """As many different bodies as there are answers, nearly: what costs the judge most."""
    texts = np.frombuffer(chance.bytes(8 * len(unsent)).hex().encode(), dtype="S16")
    return pa.array(texts, mask=unsent, type=pa.binary()).cast(pa.string())


def _write_arm(
    folder: Path, info: ArmInfo, observations: pa.Table, chance: np.random.Generator, *, segments: bool
) -> None:
    arm = ArmFolder(folder)
    arm.create()
    arm.write_info(info)
    of_second = np.floor(observations.column("done_s").fill_null(0.0).to_numpy()).astype(np.int64)
    of_second = np.maximum(of_second, np.floor(observations.column("due_s").to_numpy()).astype(np.int64))
    for worker in ("worker-0", "worker-1"):
        mine = np.flatnonzero(observations.column("worker").to_numpy(zero_copy_only=False) == worker)
        _write_seconds(folder / "observations", worker, observations.take(mine), of_second[mine])
    for writer, readings in _readings(chance, int(info.duration_s), steps=info.steps):
        at_s = np.array([at_s for at_s, *_ in readings])
        table = pa.table(list(map(pa.array, zip(*readings, strict=True))), schema=READING_SCHEMA)
        _write_seconds(folder / "readings", writer, table, np.floor(at_s).astype(np.int64))
    lines = [(float(at_s), "errors", "worker <n> took long", 2, "worker 4711 took long") for at_s in range(0, 60, 3)]
    log = pa.table(list(map(pa.array, zip(*lines, strict=True))), schema=LOG_SCHEMA)
    pq.write_table(log, folder / "log" / "errors-000001.parquet", compression="zstd")
    for mark in _marks(info):
        arm.mark(mark)
    if not segments:
        hour_ago = time.time() - 3600
        for file in folder.glob("*/*.parquet"):
            os.utime(file, (hour_ago, hour_ago))
        tidy(folder, whole=True)


def _write_seconds(folder: Path, writer: str, table: pa.Table, second: Values) -> None:
    """One segment a second, as the recorder and the probes close them."""
    order = np.argsort(second, kind="stable")
    table, edges = table.take(order), np.flatnonzero(np.diff(second[order], prepend=-1))
    for number, (start, stop) in enumerate(zip(edges, [*edges[1:], len(order)], strict=True), 1):
        file = folder / f"{writer}-{number:06d}.parquet"
        pq.write_table(table.slice(start, stop - start), file, compression="zstd", write_page_checksum=True)


def _readings(
    chance: np.random.Generator, seconds: int, *, steps: bool
) -> Iterator[tuple[str, list[tuple[float, str, str, float, str]]]]:
    """(writer, rows) of a database's probe, of its replica's, and of a process'."""
    quarters = np.arange(0, seconds, 0.25).tolist()
    yield "database", [(at_s, "database", "waiting_backends", 0.0, "{}") for at_s in quarters]
    replica = json.dumps({"replica": "reporting"})
    lag = chance.exponential(0.05, len(quarters)).tolist()
    yield "replica", [(at_s, "database", "replica_lag_s", s, replica) for at_s, s in zip(quarters, lag, strict=True)]
    used = chance.normal(2e8, 1e6, seconds).tolist()
    yield "api", [(float(at_s), "api", "process_memory_bytes", used[at_s], "{}") for at_s in range(seconds)]
    if steps:
        waiting = {
            "pid": 100,
            "application": "api",
            "query": "SELECT 1 FROM oauth_token",
            "endpoint": None,
            "step": None,
        }
        ahead = {"pid": 10, "application": f"replay step: {_STEP}", "query": _SQL, "step": _STEP, "level": 1}
        detail = json.dumps({"waiting": waiting, "blocked_by": [ahead]})
        at_s = seconds / 3 + np.arange(0.25, 1.5, 0.25)
        waits = [(one, "database", "lock_wait_s", one - seconds / 3, detail) for one in at_s.tolist()]
        yield "locks", [row for row in waits for _ in range(20)]


def _marks(info: ArmInfo) -> Iterator[Mark]:
    yield Mark(0.0, "", "arm", "started")
    if info.steps:
        start_s = info.duration_s / 3
        yield Mark(start_s, _STEP, "migrate", "started")
        yield Mark(start_s, _STEP, "migrate", "started", 1, _SQL)
        yield Mark(start_s + _STEP_S, _STEP, "migrate", "ended", 1, _SQL)
        yield Mark(start_s + _STEP_S, _STEP, "migrate", "ended")
    yield Mark(info.duration_s, "", "arm", "ended")


def _children_s() -> float:
    """Seconds of CPU that programs started from here have used; a busy machine makes only the other seconds more."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Write the run, judge it, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observations", type=int, default=5_000_000)
    parser.add_argument("--arms", type=int, choices=(2, 4), default=4)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second of an arm")
    parser.add_argument("--segments", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--keep", type=Path, help="where the run is written, or lies already")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = given.keep or Path(temporary) / "run"
        if not run.exists():
            write_run(run, given.observations, given.arms, given.rate, segments=given.segments, quiet=given.quiet)
        files = sum(1 for _ in run.glob("arms/*/observations/*.parquet"))
        before_s = _children_s()
        measured = measure([sys.executable, "-m", "replay", "judge", str(run)], fine=_VERDICTS)
        cpu_s = _children_s() - before_s
        verdict = json.loads((run / "verdict.json").read_text())
    print_table(
        ("Observations", "Arms", "Files", "Seconds", "of CPU", "MiB at most", "Verdict"),
        [
            (
                f"{sum(arm['observed'] for arm in verdict['arms']):,}",
                len(verdict["arms"]),
                files,
                f"{measured.wall_s:.1f}",
                f"{cpu_s:.1f}",
                f"{measured.peak_mib:,.0f}",
                verdict["verdict"],
            )
        ],
    )
    return int(measured.wall_s > LIMIT_S or measured.peak_mib > LIMIT_MIB)


if __name__ == "__main__":
    sys.exit(main())
