"""What probes cost: the PostgreSQL probe the server that it reads, the others the machine that the rehearsal runs on.

    python bench/probe_cost.py [--seconds S] [--only server|own]

CPU time of the PostgreSQL probe's backends beside that of all others. A server with 20 idle and 20 busy connections, at
two intervals: while the busy ones work, and while all of them wait for a table that a step has locked, when the probe
reads most. The bar is 1% of two cores.

CPU time of this process while a probe of another kind reads: four processes, an SQLite database that is written to, and
a page of 500 series of which 20 are kept, at the usual interval and at 100 ms. What answers them are other processes.
"""

import argparse
import contextlib
import multiprocessing
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

import psutil
import psycopg
import pyarrow.parquet as pq
from measure import print_table

from replay.demo.postgres import Postgres
from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.probes.postgres import PostgresProbePlan
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Dsn, Surroundings, Table

_CORES = 2
_CONNECTIONS = 20
_STEP = "replay step: lock"
_QUERY = "SELECT scope FROM token WHERE id = %s /*route='GET /tokens/{id}'*/"
_CHANGE = "UPDATE token SET scope = 'x' WHERE id = %s /*route='PUT /tokens/{id}'*/"


@dataclass(frozen=True, slots=True)
class _Cost:
    interval_s: float
    waiting: bool
    looks: int
    probe_s: float  # of the server's processors, by the probe's backends
    others_s: float
    own_s: float  # of this process


def main() -> None:
    """Measure all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", choices=["server", "own"])
    asked = parser.parse_args()
    if asked.only != "own":
        _measure_server(asked.seconds)
    if asked.only != "server":
        _measure_own(asked.seconds)


def _measure_server(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name, Postgres(Path(name)) as server:
        server.start_primary()
        dsn = server.dsn("postgres")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE token (id int PRIMARY KEY, scope text)")
            connection.execute("INSERT INTO token SELECT n, 'read' FROM generate_series(1, 10000) n")
        with _idle(dsn), _busy(dsn):
            costs = [
                _measure(dsn, Path(name) / f"{interval_s}-{waiting}", interval_s, seconds, waiting=waiting)
                for waiting in (False, True)
                for interval_s in (0.2, 0.1)
            ]
    _print(costs, seconds)


@contextlib.contextmanager
def _idle(dsn: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(_CONNECTIONS):
            stack.enter_context(psycopg.connect(dsn, autocommit=True, application_name="idle"))
        yield


@contextlib.contextmanager
def _busy(dsn: str) -> Iterator[None]:
    """Sessions that read and write, in a process of their own: this one's time is the probe's."""
    context = multiprocessing.get_context("spawn")
    done = context.Event()
    process = context.Process(target=_work_all, args=(dsn, done))
    process.start()
    try:
        time.sleep(3.0)
        yield
    finally:
        done.set()
        process.join(30)


def _work_all(dsn: str, done: Event) -> None:
    threads = [threading.Thread(target=_work, args=(dsn, done, number)) for number in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _work(dsn: str, done: Event, number: int) -> None:
    with psycopg.connect(dsn, autocommit=True, application_name="busy") as connection:
        key = number
        while not done.is_set():
            key = key % 10000 + 1
            with connection.transaction():
                connection.execute(_QUERY, (key,))
                connection.execute(_CHANGE, (key,))
            time.sleep(0.005)


def _measure(dsn: str, folder: Path, interval_s: float, seconds: float, *, waiting: bool) -> _Cost:
    arm = ArmFolder(folder)
    arm.create()
    setting = Setting(
        ArmClock.started_now(), readings=arm.readings, log=arm.log, scrub=Scrubber(), steps={_STEP: "lock"}
    )
    probe = PostgresProbePlan("database", Dsn(dsn, ""), (), interval_s).open(setting)
    with _locked(dsn) if waiting else contextlib.nullcontext():
        probe.start()
        try:
            time.sleep(2.0)  # what is read once at the start is no matter of the interval
            before, looks, own_s = _cpu(dsn), _looks(folder), time.process_time()
            time.sleep(seconds)
            after, own_s = _cpu(dsn), time.process_time() - own_s
            looks = _looks(folder) - looks
        finally:
            probe.stop()
    probe_s, others_s = (sum(after[mine].values()) - sum(before[mine].values()) for mine in (True, False))
    return _Cost(interval_s, waiting, looks, probe_s, others_s, own_s)


@contextlib.contextmanager
def _locked(dsn: str) -> Iterator[None]:
    with psycopg.connect(dsn, autocommit=True, application_name=_STEP) as step, step.transaction():
        step.execute("LOCK TABLE token")
        yield


def _cpu(dsn: str) -> dict[bool, dict[int, float]]:
    """Processor time of the server's processes, the probe's backends (True) and the others (False)."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT pid, application_name LIKE 'replay probe%' FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        ).fetchall()
    found: dict[bool, dict[int, float]] = {True: {}, False: {}}
    for pid, mine in rows:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            found[bool(mine)][pid] = times.user + times.system
    return found


def _looks(folder: Path) -> int:
    """How many times the sessions were read, as far as it is written down."""
    files = sorted((folder / "readings").glob("*.parquet"))
    return sum(pq.read_table(file)["metric"].to_pylist().count("waiting_backends") for file in files)


def _measure_own(seconds: float) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name, _stages(Path(name)) as tables:
        for kind, (usual, values) in tables.items():
            for interval in (usual, "100ms"):
                folder = Path(name) / f"{kind}-{interval}"
                samples, cpu_s = _own_cost(folder, {"kind": kind, "interval": interval, **values}, seconds)
                share = f"{100 * cpu_s / seconds:.2f}%"
                each = f"{1000 * cpu_s / samples:.2f} ms" if samples else "-"
                rows.append((kind, interval, samples, f"{cpu_s:.2f} s", share, each))
    print(f"{len(psutil.pids())} processes on this machine")
    print_table(("kind", "interval", "samples", "the rehearsal's side", "of one core", "a sample"), rows)


@contextlib.contextmanager
def _stages(folder: Path) -> Iterator[dict[str, tuple[str, dict[str, object]]]]:
    """What the probes read, in processes of their own: by kind the usual interval and the table of the plan."""
    database = folder / "app.db"
    context = multiprocessing.get_context("spawn")
    ports: Queue[int] = context.Queue()
    workers = [
        *(context.Process(target=_idle_process, daemon=True) for _ in range(4)),
        context.Process(target=_write_sqlite, args=(str(database),), daemon=True),
        context.Process(target=_expose, args=(ports,), daemon=True),
    ]
    for worker in workers:
        worker.start()
    url = f"http://127.0.0.1:{ports.get(timeout=30)}/metrics"
    time.sleep(1.0)
    try:
        yield {
            "process": ("1s", {"pids": [str(worker.pid) for worker in workers[:4]]}),
            "sqlite": ("200ms", {"path": str(database)}),
            "prometheus": ("1s", {"url": url, "series": ['pool_size{pool="1?"}', 'pool_size{pool="2?"}']}),
        }
    finally:
        for worker in workers:
            worker.terminate()
            worker.join(10)


def _idle_process() -> None:
    time.sleep(3600)


def _write_sqlite(file: str) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE token (id integer PRIMARY KEY, scope text)")
        while True:
            connection.execute("INSERT INTO token (scope) VALUES ('read')")
            time.sleep(0.01)


def _expose(ports: "Queue[int]") -> None:
    page = "# TYPE pool_size gauge\n" + "".join(f'pool_size{{pool="{n}"}} {n}\n' for n in range(500))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        ports.put(server.server_port)
        server.serve_forever()


def _own_cost(folder: Path, values: dict[str, object], seconds: float) -> tuple[int, float]:
    """How many samples a probe took, and the CPU time of this process meanwhile."""
    arm = ArmFolder(folder)
    arm.create()
    plan = read_probe("probe", Table("[probes.probe]", values, Surroundings(folder / "plan.toml", {})))
    probe = plan.open(Setting(ArmClock.started_now(), readings=arm.readings, log=arm.log, scrub=Scrubber()))
    probe.start()
    try:
        time.sleep(3.0)  # the first segments take longer than all that follow
        began, own_s = _samples(folder), time.process_time()
        time.sleep(seconds)
        own_s = time.process_time() - own_s
        return _samples(folder) - began, own_s
    finally:
        probe.stop()


def _samples(folder: Path) -> int:
    """How many moments were read, as far as it is written down."""
    files = sorted((folder / "readings").glob("*.parquet"))
    return len({at_s for file in files for at_s in pq.read_table(file)["at_s"].to_pylist()})


def _print(costs: list[_Cost], seconds: float) -> None:
    rows = [
        (
            f"{cost.interval_s * 1000:.0f} ms",
            "all wait for a lock" if cost.waiting else "at work",
            cost.looks,
            f"{cost.probe_s:.2f} s",
            f"{100 * cost.probe_s / seconds / _CORES:.2f}%",
            f"{cost.others_s:.2f} s",
            f"{cost.own_s:.2f} s",
        )
        for cost in costs
    ]
    columns = ("interval", f"{_CONNECTIONS} busy connections", "looks", "the probe's backends")
    print_table((*columns, f"of {_CORES} cores", "the others", "the rehearsal's side"), rows)


if __name__ == "__main__":
    main()
