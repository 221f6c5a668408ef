"""A run's folder made by hand, in the likeness of the demo: four arms, a migration that holds the token table."""

import importlib.util
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from replay.evidence.files import ArmFolder, write_json
from replay.evidence.values import ArmInfo, LogEvent, Mark, Observation, Reading, Sample

CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None)
ARM_S = 45.0
TOKEN = "POST /oauth/token"
ENDPOINTS = {
    TOKEN: (0.10, 0.90),
    "GET /v2/events": (0.20, 0.30),
    "GET /v2/events/{event_id}": (0.30, 0.25),
    "GET /v2/events/{event_id}/attendees": (0.15, 0.20),
    "POST /v2/events/{event_id}/registrations": (0.12, 0.35),
    "GET /v2/search": (0.10, 0.15),
    "GET /v2/reports/attendance": (0.03, 0.0),
}
MIGRATION = """ALTER TABLE access_tokens ADD COLUMN scopes text NOT NULL DEFAULT '';
UPDATE access_tokens SET scopes = 'read write' WHERE scopes = '';
CREATE INDEX access_tokens_scopes ON access_tokens (scopes);
"""
ALTER, UPDATE, INDEX = [line.rstrip(";") for line in MIGRATION.strip().splitlines()]
ROLLBACK_ERROR = 'update or delete on table "access_tokens" violates foreign key constraint "sessions_token_fkey"'
REPORT_SQL = (
    "/*route='GET /v2/reports/attendance'*/ SELECT e.id, count(*) FROM events e JOIN access_tokens t USING (client_id)"
)
LOG_TEMPLATE = "pool: no connection within <*> s for <*>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium starts only without its own sandbox.
        started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def verdicts() -> Any:
    """The module with verdicts written by hand. Tests are imported by path, so it is too."""
    spec = importlib.util.spec_from_file_location("report_verdicts", Path(__file__).with_name("verdicts.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build_run() -> Callable[..., Path]:
    """Writes a run into a folder: ``build_run(path, verdict)``; see `build_evidence` for the rest."""

    def build(path: Path, verdict: dict[str, Any], **options: Any) -> Path:
        build_evidence(path, **options)
        write_json(path / "verdict.json", verdict)
        return path

    return build


@pytest.fixture
def make_run(tmp_path: Path, build_run: Callable[..., Path]) -> Callable[..., Path]:
    """The same, into a fresh folder: ``make_run(verdict)``."""

    def make(verdict: dict[str, Any], name: str = "demo", **options: Any) -> Path:
        return build_run(tmp_path / "runs" / name, verdict, **options)

    return make


def build_evidence(
    path: Path, *, hostile: str = "", only: str | None = None, probes: bool = True, broken: bool = True
) -> None:
    """``hostile`` is appended to every text a stranger could choose; ``only`` leaves one workload."""
    workloads = [name for name in ("qa", "production") if only in {None, name}]
    (path / "workloads").mkdir(parents=True)
    names = [f"{name}-control" for name in workloads] + [f"{name}-steps" for name in workloads]
    for workload in workloads:
        write_json(path / "workloads" / f"{workload}.json", workload_model(workload))
    write_json(path / "rehearsal.json", rehearsal(names, workloads))
    for number, name in enumerate(names):
        workload, _, kind = name.rpartition("-")
        build_arm(
            path / "arms" / name,
            workload=workload,
            steps=kind == "steps",
            number=number,
            hostile=hostile,
            probes=probes,
            broken=broken,
        )


def workload_model(workload: str) -> dict[str, Any]:
    production = workload == "production"
    return {
        "name": workload,
        "role": "production" if production else "pre-production",
        "environment": workload,
        "exchanges": 1800 if production else 270,
        "duration_s": ARM_S,
        "clients": 42 if production else 1,
        "visits": 120 if production else 9,
        "endpoints": [
            {"endpoint": name, "count": round(share * 1000), "share": share, "statuses": {"200": 5}, "empty_share": 0.0}
            for name, (share, _) in ENDPOINTS.items()
        ],
        "correlations": [],
    }


def rehearsal(names: list[str], workloads: list[str]) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "demo",
        "state": "complete",
        "reason": "",
        "started_at": "2026-03-02T09:00:00Z",
        "ended_at": "2026-03-02T09:03:41Z",
        "replay_version": "0.1.0",
        "plan": {
            "target": {"url": "http://127.0.0.1:8000", "allow": ["127.0.0.1"], "reset": "scripts/reset-stage"},
            "steps": [{"name": "add token scopes", "kind": "migrate", "at": "10s", "dsn": "${STAGE_DSN}"}],
        },
        "plan_digest": "9a1f0c5d7c1be7d0",
        "criteria": {},
        "seed": 20260302,
        "captures": {
            name: {
                "path": f"captures/{name}",
                "name": name,
                "environment": name,
                "digest": "4be1a20f99d0c3e1",
                "exchanges": 1800 if name == "production" else 270,
            }
            for name in workloads
        },
        "migrations": [
            {
                "step": "add token scopes",
                "file": "migrations/0042_token_scopes.sql",
                "digest": "77aa01b2c3d4e5f6",
                "sql": MIGRATION,
            }
        ],
        "target": "http://127.0.0.1:8000",
        "stage": {
            "database version": "PostgreSQL 18.6",
            "fingerprints": dict.fromkeys(names, "c0ffee12c0ffee12"),
        },
        "order": names,
        "reset": True,
        "endpoint_roles": {TOKEN: "authentication"},
    }


def build_arm(path: Path, *, workload: str, steps: bool, number: int, hostile: str, probes: bool, broken: bool) -> None:
    folder = ArmFolder(path)
    folder.create()
    production = workload == "production"
    hit = production and steps and broken
    observed = observations(workload, hit, hostile)
    folder.write_info(
        ArmInfo(
            arm=path.name,
            workload=workload,
            role="production" if production else "pre-production",
            steps=steps,
            started_at=f"2026-03-02T09:0{number}:00+00:00",
            duration_s=ARM_S,
            planned=len(observed),
            state="complete",
        )
    )
    folder.observations("w0").write(observed)
    folder.mark(Mark(0.0, "", "arm", "started"))
    if steps:
        for mark in marks(hit):
            folder.mark(mark)
    folder.mark(Mark(ARM_S, "", "arm", "ended"))
    if probes:
        folder.readings("database").write(database_readings(hit, steps, hostile))
        lines = log_events(hit, hostile)
        folder.log("errors").write(lines)
        counts = dict.fromkeys(range(int(ARM_S)), 0.0)
        for line in lines:
            counts[int(line.at_s)] += line.count
        folder.readings("errors").write([Reading(s, "errors", "log_lines", n, {}) for s, n in counts.items()])
    if hit:
        for sample in samples(hostile):
            folder.sample(sample)


def observations(workload: str, hit: bool, hostile: str) -> list[Observation]:
    dice = random.Random(f"{workload}")  # noqa: S311 - made-up traffic
    bad_dice = random.Random("bad")  # noqa: S311
    rate = 40 if workload == "production" else 6
    names, weights = list(ENDPOINTS), [share for share, _ in ENDPOINTS.values()]
    rows: list[Observation] = []
    for number in range(int(rate * ARM_S)):
        due = number / rate
        endpoint = dice.choices(names, weights)[0]
        latency = dice.uniform(0.004, 0.03)
        outcome, status, error, caused_by = "ok", 200, None, None
        chance = ENDPOINTS[endpoint][1] * (1.0 if endpoint == TOKEN else 0.6)
        starts = 10.2 if endpoint == TOKEN else 11.0
        ends = 16.5 if endpoint == TOKEN else 19.0 + 6 * ENDPOINTS[endpoint][1]
        if hit and starts <= due <= ends and bad_dice.random() < chance:
            outcome, latency = "empty", 1.5
            if endpoint != TOKEN and bad_dice.random() < 0.2:
                outcome, status, error, latency = "timeout", None, "no answer within 5 s", 5.0
            elif endpoint != TOKEN and bad_dice.random() < 0.15:
                outcome, status, error, caused_by = "unsent", None, "its token never came", max(number - 7, 0)
        if hit and endpoint.startswith("POST /v2") and due > 33 and bad_dice.random() < 0.5:
            outcome, status, latency = "server error", 500, 0.02
        unsent = outcome == "unsent"
        empty = outcome in {"empty", "timeout", "unsent"}
        rows.append(
            Observation(
                request=number,
                visit=number // 15,
                client=f"client-{number % (42 if rate == 40 else 1)}",
                endpoint=endpoint + hostile,
                due_s=due,
                waited_s=0.0,
                sent_s=None if unsent else due + 0.001,
                first_byte_s=None if outcome in {"unsent", "timeout"} else due + latency,
                done_s=None if unsent else due + latency,
                status=status,
                size_bytes=0 if empty else 412,
                digest=None if empty else "00ff00ff00ff00ff",
                shape=None if status is None else "empty" if outcome == "empty" else "{id:number,name:str}",
                expected_status=200,
                expected_shape="{id:number,name:str}",
                outcome=outcome,
                error=error,
                caused_by=caused_by,
                worker="w0",
            )
        )
    return rows


def marks(hit: bool) -> list[Mark]:
    step = "add token scopes"
    wait = 5.02 if hit else 0.02
    at = 10.0
    made = [Mark(at, step, "migrate", "started"), Mark(at, step, "migrate", "started", 1, ALTER)]
    made.append(Mark(at + wait, step, "migrate", "ended", 1, ALTER))
    made.append(Mark(at + wait, step, "migrate", "started", 2, UPDATE))
    slow = 2.4 if hit else 0.9
    made.append(Mark(at + wait + slow, step, "migrate", "ended", 2, UPDATE, rows=40_000))
    made.append(Mark(at + wait + slow, step, "migrate", "started", 3, INDEX))
    made.append(Mark(at + wait + slow + 0.3, step, "migrate", "ended", 3, INDEX))
    made.append(Mark(at + wait + slow + 0.3, step, "migrate", "ended"))
    delete = "DELETE FROM access_tokens WHERE scopes <> 'read write'"
    made.append(Mark(25.0, "undo the data", "rollback", "started"))
    made.append(Mark(25.0, "undo the data", "rollback", "started", 1, delete))
    if hit:
        made.append(Mark(26.1, "undo the data", "rollback", "failed", 1, delete, error=ROLLBACK_ERROR))
        made.append(Mark(26.1, "undo the data", "rollback", "failed", error=ROLLBACK_ERROR))
    else:
        made.append(Mark(25.3, "undo the data", "rollback", "ended", 1, delete, rows=12))
        made.append(Mark(25.3, "undo the data", "rollback", "ended"))
    drop = "ALTER TABLE access_tokens DROP COLUMN scopes"
    made.append(Mark(32.0, "full revert", "revert", "started"))
    made.append(Mark(32.0, "full revert", "revert", "started", 1, drop))
    made.append(Mark(32.4, "full revert", "revert", "ended", 1, drop))
    made.append(Mark(32.4, "full revert", "revert", "ended"))
    return made


def database_readings(hit: bool, steps: bool, hostile: str) -> list[Reading]:
    made: list[Reading] = []
    for tick in range(int(ARM_S) * 4):
        at = tick / 4
        queued = hit and 10.0 <= at <= 15.0
        waiting = min(16, int((at - 10) * 4) + 1) if queued else 0
        made.append(Reading(at, "database", "waiting_backends", waiting, {}))
        lag = (0.02 + max(0.0, at - 15) * 0.3 if at < 30 else max(0.1, 4.5 - (at - 30) * 0.5)) if hit else 0.02
        if not hit and steps and 10 < at < 13:
            lag = 0.4
        made.append(Reading(at, "database", "replica_lag_s", lag, {"replica": "reporting"}))
        made.append(Reading(at, "database", "replica_lag_bytes", lag * 12e6, {"replica": "reporting"}))
        made.append(Reading(at, "database", "connections", 18 + waiting, {"active": 3 + waiting}))
        if queued:
            made += [lock_wait(at, place, hostile) for place in range(waiting)]
    return made


def lock_wait(at: float, place: int, hostile: str) -> Reading:
    alter = {
        "pid": 4100,
        "application": "replay step: add token scopes",
        "query": ALTER + hostile,
        "endpoint": None,
        "step": "add token scopes",
    }
    holder = {
        "pid": 4007,
        "application": "api",
        "query": REPORT_SQL + hostile,
        "endpoint": "GET /v2/reports/attendance" + hostile,
        "step": None,
        "state": "active",
        "running_s": 3.1 + at - 10,
    }
    if place == 0:
        waiting = alter | {"lock_mode": "AccessExclusiveLock", "relation": "access_tokens"}
        return Reading(
            at, "database", "lock_wait_s", at - 10, {"waiting": waiting, "blocked_by": [holder | {"level": 1}]}
        )
    names = [TOKEN, "GET /v2/events", "GET /v2/events/{event_id}", "GET /v2/search"]
    name = names[place % 4]
    waiting = {
        "pid": 4200 + place,
        "application": "api",
        "query": f"/*route='{name}'*/ SELECT client_id FROM access_tokens WHERE digest = $1",  # noqa: S608 - shown, never run
        "endpoint": name + hostile,
        "step": None,
        "lock_mode": "AccessShareLock",
        "relation": "access_tokens",
    }
    chain = [alter | {"state": "active", "running_s": at - 10, "level": 1}, holder | {"level": 2}]
    return Reading(at, "database", "lock_wait_s", (at - 10) * 0.8, {"waiting": waiting, "blocked_by": chain})


def log_events(hit: bool, hostile: str) -> list[LogEvent]:
    made = [LogEvent(7.0, "errors", "slow query: <*> ms", 1, "slow query: 812 ms")]
    if hit:
        for second in range(11, 22):
            example = f"2026-03-02T09:03:{second:02d} ERROR pool: no connection within 1.5 s for POST /oauth/token"
            made.append(LogEvent(second, "errors", LOG_TEMPLATE + hostile, 40 + second * 3, example + hostile))
        made.append(
            LogEvent(34.0, "errors", 'column "scopes" does not exist', 37, 'ERROR column "scopes" does not exist')
        )
    return made


def samples(hostile: str) -> list[Sample]:
    registrations = "POST /v2/events/{event_id}/registrations"
    return [
        Sample(404, TOKEN + hostile, "empty", 10.4, 200, ""),
        Sample(400, TOKEN + hostile, "ok", 3.1, 200, '{"access_token":"[scrubbed]","expires_in":3600}' + hostile),
        Sample(471, "GET /v2/events", "empty", 11.8, 200, ""),
        Sample(470, "GET /v2/events", "ok", 2.8, 200, '{"items":[{"id":1,"name":"Spring fair"}],"next":null}'),
        Sample(480, "GET /v2/search", "timeout", 12.0, None, "", "no answer within 5 s"),
        Sample(1400, registrations, "server error", 35.2, 500, '{"error":"internal"}' + hostile),
    ]
