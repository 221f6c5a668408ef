"""Simulated rehearsals: arms with the noise of real Stages, and effects planted into them.

Regime I: independent failures and latencies. Regime M: 30% of the flaky failures in 1 s bursts, latency correlated over
3 s, a whole-Stage stall in every other arm. S: 70% in 2 s bursts, 5 s, one failing stall an arm.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replay.evidence.files import LOG_SCHEMA, OBSERVATION_SCHEMA, READING_SCHEMA, ArmFolder, write_json
from replay.evidence.run import ArmEvidence, Evidence
from replay.evidence.seal import seal
from replay.evidence.values import QUIET, ArmInfo, LogEvent, Mark, Observation, Reading

SHAPE = "{id:number}"
CONTENTS = ("items", "expected_items", "reads_back")
TOKEN = "POST /oauth/token"
EXPORT = "GET /v1/exports/registrations"
STEP = "add token scopes"
ALTER = "ALTER TABLE oauth_token ADD COLUMN scopes text"


@dataclass(frozen=True)
class Regime:
    bursts: float = 0.0
    burst_s: float = 1.0
    correlated_s: float = 0.0
    stalls: float = 0.0
    failing_stalls: bool = False


I = Regime()  # noqa: E741 - the study's name
M = Regime(bursts=0.3, burst_s=1.0, correlated_s=3.0, stalls=0.5)
S = Regime(bursts=0.7, burst_s=2.0, correlated_s=5.0, stalls=1.0, failing_stalls=True)


def endpoints(rng: np.random.Generator, number: int = 12, most: int = 2000) -> dict[str, tuple[int, float]]:
    """Endpoints by name: (requests an arm, share that fails anyway)."""
    counts = np.geomspace(60, most, number).round().astype(int)
    rates = rng.choice([0.0, 0.0, 0.003, 0.01, 0.03], size=number)
    names = [TOKEN, EXPORT, *(f"GET /v1/things/{n}" for n in range(number - 2))]
    order = rng.permutation(number)
    return {name: (int(counts[at]), float(rates[at])) for name, at in zip(names, order, strict=True)}


def schedule(rng: np.random.Generator, mix: dict[str, tuple[int, float]], duration_s: float) -> pd.DataFrame:
    """The requests of a workload, in the order they are due."""
    names = np.repeat(list(mix), [count for count, _ in mix.values()])
    due = rng.uniform(0, duration_s - 1, len(names))
    order = np.argsort(due, kind="stable")
    return pd.DataFrame({"request": np.arange(len(names)), "endpoint": names[order], "due_s": due[order]})


def play(
    plan: pd.DataFrame,
    rng: np.random.Generator,
    mix: dict[str, tuple[int, float]],
    regime: Regime,
    duration_s: float,
) -> pd.DataFrame:
    """Observations of one pass, without any step."""
    n, due = len(plan), plan["due_s"].to_numpy()
    wave = np.zeros(n)
    if regime.correlated_s:
        knots = np.arange(0, duration_s + regime.correlated_s, regime.correlated_s)
        wave = np.interp(due, knots, rng.normal(0, 0.4, len(knots)))
    latency = 0.02 * np.exp(rng.normal(0, 0.5, n) + wave)
    flaky = plan["endpoint"].map({name: rate for name, (_, rate) in mix.items()}).to_numpy()
    bad = rng.random(n) < flaky * (1 - regime.bursts)
    if regime.bursts:
        for name, (count, rate) in mix.items():
            here = (plan["endpoint"] == name).to_numpy()
            in_burst = max(1.0, 0.8 * count / duration_s * regime.burst_s)
            for start in rng.uniform(0, duration_s, rng.poisson(count * rate * regime.bursts / in_burst)):
                bad |= here & (due >= start) & (due < start + regime.burst_s) & (rng.random(n) < 0.8)
    sent = due + rng.exponential(0.001, n)
    done = sent + latency
    for _ in range(rng.poisson(regime.stalls)):
        start, length = rng.uniform(2, duration_s - 5), rng.uniform(0.6, 1.8)
        met = (done > start) & (sent < start + length)
        done[met] = start + length + rng.uniform(0, 0.2, int(met.sum()))
        if regime.failing_stalls:
            bad |= met & (rng.random(n) < 0.7)
    return pd.DataFrame(
        {
            "request": plan["request"].to_numpy(),
            "visit": 0,
            "client": "client-1",
            "endpoint": plan["endpoint"].to_numpy(),
            "due_s": due,
            "waited_s": 0.0,
            "sent_s": sent,
            "first_byte_s": done,
            "done_s": done,
            "status": np.where(bad, 500, 200),
            "size_bytes": 10,
            "digest": "0" * 16,
            "shape": np.where(bad, "text/plain", SHAPE).astype(object),
            "expected_status": 200,
            "expected_shape": SHAPE,
            "outcome": np.where(bad, "server error", "ok").astype(object),
            "error": None,
            "caused_by": None,
            "worker": "worker-0",
            "items": None,
            "expected_items": None,
            "reads_back": None,
        }
    ).astype(dict.fromkeys(("caused_by", *CONTENTS), "float64"))[OBSERVATION_SCHEMA.names]


@dataclass
class Planted:
    """One workload's two arms, open to planting effects before they are judged."""

    workload: str
    role: str
    control: pd.DataFrame
    steps: pd.DataFrame
    duration_s: float
    repetition: int = 1
    marks: list[Mark] = field(default_factory=list)
    readings: dict[str, list[Reading]] = field(default_factory=lambda: {"control": [], "steps": []})
    log: dict[str, list[LogEvent]] = field(default_factory=lambda: {"control": [], "steps": []})

    def step(
        self, at_s: float = 20.0, ended_s: float = 25.0, error: str = "", name: str = STEP, kind: str = "migrate"
    ) -> None:
        event = "failed" if error else "ended"
        self.marks += [
            Mark(at_s, name, kind, "started"),
            Mark(at_s, name, kind, "started", 1, ALTER),
            Mark(ended_s, name, kind, event, 1, ALTER, error=error),
            Mark(ended_s, name, kind, event, error=error),
        ]

    def fail(
        self,
        endpoint: str | None,
        from_s: float,
        to_s: float,
        share: float = 1.0,
        outcome: str = "empty",
        *,
        seed: int = 0,
        arm: str = "steps",
    ) -> np.ndarray:
        """Make a share of an endpoint's requests fail; returns their numbers. None is every endpoint."""
        frame = getattr(self, arm)
        hit = (frame["due_s"] >= from_s) & (frame["due_s"] < to_s)
        if endpoint is not None:
            hit &= frame["endpoint"] == endpoint
        hit &= np.random.default_rng(seed).random(len(frame)) < share
        status = {"empty": 200, "refused": 401, "server error": 500, "timeout": None, "unsent": None}[outcome]
        shape = {"empty": "empty", "refused": "text/plain", "server error": "text/plain"}.get(outcome)
        frame["status"] = frame["status"].astype("float64")
        frame.loc[hit, "status"] = np.nan if status is None else status
        frame.loc[hit, "shape"] = shape
        frame.loc[hit, "outcome"] = outcome
        if outcome == "unsent":
            frame.loc[hit, ["sent_s", "first_byte_s", "done_s"]] = np.nan
        else:
            frame.loc[hit, "done_s"] = frame.loc[hit, "sent_s"] + 1.5
        return frame.loc[hit, "request"].to_numpy()

    def slow(self, endpoint: str | None, from_s: float, to_s: float, by_s: float) -> None:
        hit = (self.steps["due_s"] >= from_s) & (self.steps["due_s"] < to_s)
        if endpoint is not None:
            hit &= self.steps["endpoint"] == endpoint
        self.steps.loc[hit, "done_s"] += by_s

    def lists(self, endpoint: str, items: int, captured: int | None = None) -> None:
        """Answer an endpoint with lists of so many items, in both arms and in the capture."""
        for frame in (self.control, self.steps):
            mine = (frame["endpoint"] == endpoint) & (frame["outcome"] == "ok")
            frame.loc[mine, ["items", "expected_items"]] = items, items if captured is None else captured

    def shrink(self, endpoint: str, from_s: float, to_s: float, items: int, *, arm: str = "steps") -> np.ndarray:
        """Leave so many items in an endpoint's lists; returns the requests' numbers."""
        frame = getattr(self, arm)
        hit = (frame["due_s"] >= from_s) & (frame["due_s"] < to_s) & (frame["endpoint"] == endpoint)
        hit &= frame["items"].notna()
        frame.loc[hit, "items"] = items
        return frame.loc[hit, "request"].to_numpy()

    def read_back(self, read: str, write: str) -> None:
        """Let the reads of one visit show what its writes wrote, in both arms: a new body after each write."""
        names, numbers = self.steps["endpoint"].to_numpy(), self.steps["request"].to_numpy()
        back, digest = np.full(len(names), np.nan), np.array(["0" * 16] * len(names), dtype=object)
        latest, outdated, version = -1, -1, 0
        for at in np.flatnonzero((names == read) | (names == write)):
            if names[at] == write:
                outdated, version = (latest if latest >= 0 else outdated), version + 1
            else:
                back[at], digest[at] = (np.nan if outdated < 0 else numbers[outdated]), f"{version:016x}"
                latest = at
        for frame in (self.control, self.steps):
            frame["reads_back"], frame["digest"] = back, digest

    def outdate(self, read: str, from_s: float, to_s: float, arm: str = "steps") -> np.ndarray:
        """Answer an endpoint's reads as before the write that they read back; returns the requests' numbers."""
        frame = getattr(self, arm)
        hit = (frame["due_s"] >= from_s) & (frame["due_s"] < to_s) & (frame["endpoint"] == read)
        hit &= frame["reads_back"].notna()
        known = dict(zip(frame["request"], frame["digest"], strict=True))
        for number, before in zip(frame.loc[hit, "request"], frame.loc[hit, "reads_back"], strict=True):
            known[number] = known[int(before)]
        frame["digest"] = frame["request"].map(known)
        return frame.loc[hit, "request"].to_numpy()

    def lock(self, from_s: float = 20.0, to_s: float = 25.0, sessions: int = 12) -> None:
        """The application's sessions queue behind the step's ALTER, which waits for an export."""
        step = {"pid": 10, "application": f"replay step: {STEP}", "query": ALTER, "endpoint": None, "step": STEP}
        export = {
            "pid": 11,
            "application": "api",
            "query": "SELECT * FROM registration",
            "endpoint": EXPORT,
            "step": None,
            "state": "active",
            "running_s": 6.0,
        }
        for at_s in np.arange(from_s + 0.25, to_s, 0.25).tolist():
            value = at_s - from_s
            waiting = {**step, "lock_mode": "AccessExclusiveLock", "relation": "oauth_token"}
            detail = {"waiting": waiting, "blocked_by": [{**export, "level": 1}]}
            self.readings["steps"].append(Reading(at_s, "database", "lock_wait_s", value, detail))
            for pid in range(sessions):
                one = {
                    "pid": 100 + pid,
                    "application": "api",
                    "query": "SELECT * FROM oauth_token WHERE digest = $1",
                    "endpoint": TOKEN,
                    "step": None,
                    "lock_mode": "AccessShareLock",
                    "relation": "oauth_token",
                }
                chain = [{**step, "state": "active", "running_s": value, "level": 1}, {**export, "level": 2}]
                self.readings["steps"].append(
                    Reading(at_s, "database", "lock_wait_s", value, {"waiting": one, "blocked_by": chain})
                )

    def lag(self, peak_s: float, from_s: float = 22.0, to_s: float = 40.0, arm: str = "steps") -> None:
        """A replica that falls behind steadily from ``from_s`` and has caught up at ``to_s``."""
        for at_s in np.arange(0.0, self.duration_s, 0.5):
            inside = max(0.0, float(np.interp(at_s, [from_s, (from_s + to_s) / 2, to_s], [0, peak_s, 0])))
            detail = {"replica": "reporting"}
            self.readings[arm].append(Reading(float(at_s), "database", "replica_lag_s", inside, detail))
            self.readings[arm].append(Reading(float(at_s), "database", "replica_lag_bytes", inside * 1e6, detail))

    def lines(self, counts: dict[int, int], arm: str = "steps", template: str = "pool timeout after <n> s") -> None:
        """Lines of the error log by second, 0 elsewhere."""
        for second in range(int(self.duration_s)):
            count = counts.get(second, 0)
            self.readings[arm].append(Reading(float(second), "errors", "log_lines", float(count), {}))
            if count:
                self.log[arm].append(LogEvent(float(second), "errors", template, count, template))

    def arms(self, order: int = 0) -> dict[str, ArmEvidence]:
        """The two arms as evidence."""
        made = {}
        for number, (kind, frame) in enumerate((("control", self.control), ("steps", self.steps))):
            name = f"{self.workload}-{kind}" + (f"-{self.repetition}" if self.repetition > 1 else "")
            info = ArmInfo(
                arm=name,
                workload=self.workload,
                role=self.role,
                steps=kind == "steps",
                started_at=f"2026-01-01T00:{order:02d}:{number:02d}Z",
                duration_s=self.duration_s,
                planned=len(frame),
                state="complete",
            )
            arm_marks = [Mark(0.0, "", "arm", "started"), Mark(self.duration_s, "", "arm", "ended")]
            made[name] = ArmEvidence(
                info=info,
                observations=frame.reset_index(drop=True),
                readings=_frame(self.readings[kind], READING_SCHEMA),
                log=_frame(self.log[kind], LOG_SCHEMA),
                marks=tuple(sorted([*arm_marks, *(self.marks if kind == "steps" else [])], key=lambda mark: mark.at_s)),
                samples=(),
            )
        return made


def _frame(rows: list[Any], schema: Any) -> pd.DataFrame:
    dicts = [dataclasses.asdict(row) for row in rows]
    for one in dicts:
        if "detail" in one:
            one["detail"] = json.dumps(one["detail"], sort_keys=True)
    empty = schema.empty_table().to_pandas()
    return pd.DataFrame(dicts, columns=schema.names) if dicts else empty


def workload(
    seed: int,
    name: str = "production",
    role: str = "production",
    regime: Regime = I,
    *,
    duration_s: float = 60.0,
    number: int = 12,
    most: int = 1500,
    mix: dict[str, tuple[int, float]] | None = None,
) -> Planted:
    """A workload whose arms differ by chance alone. It has no steps yet."""
    rng = np.random.default_rng([seed, len(name)])
    mix = mix or endpoints(rng, number, most)
    plan = schedule(rng, mix, duration_s)
    control, steps = (play(plan, rng, mix, regime, duration_s) for _ in range(2))
    return Planted(name, role, control, steps, duration_s)


def again(first: Planted, seed: int, repetition: int, mix: dict[str, tuple[int, float]], regime: Regime = I) -> Planted:
    """The same workload's arms once more."""
    rng = np.random.default_rng([seed, repetition])
    plan = first.control[["request", "endpoint", "due_s"]]
    control, steps = (play(plan, rng, mix, regime, first.duration_s) for _ in range(2))
    return Planted(first.workload, first.role, control, steps, first.duration_s, repetition)


def evidence(*planted: Planted, **rehearsal: Any) -> Evidence:
    """The run that has these workloads, noted whole. A ``plan`` or a ``stage`` adds to what is noted of them."""
    arms: dict[str, ArmEvidence] = {}
    for order, one in enumerate(planted):
        arms |= one.arms(order)
    own = rehearsal.get("plan", {})
    arms = arms if "probes" in own else {name: _read_all_along(arm, arms) for name, arm in arms.items()}
    probes = sorted({str(name) for arm in arms.values() for name in arm.readings["probe"]})
    kinds = {mark.step: mark.kind for arm in arms.values() for mark in arm.marks if mark.step}
    steps = [{"name": name, "kind": kind, **_does(kind)} for name, kind in kinds.items()]
    changing = [step["name"] for step in steps if "sql" in step]
    document = {
        "format": 1,
        "name": "simulated",
        "state": "complete",
        "reason": "",
        "criteria": {},
        "migrations": [],
        "order": list(arms),
        "reset": True,
        "confirming": {},
        "seals": dict.fromkeys(arms, "0" * 32),
        **rehearsal,
        "plan": {
            "steps": steps,
            "probes": {name: {"kind": "simulated"} for name in probes},
            "workloads": {arm.info.workload: {"role": arm.info.role} for arm in arms.values()},
            **own,
        },
        "stage": {
            "fingerprints": dict.fromkeys(arms, "0" * 32),
            "databases": {name: [database(steps=changing)] for name in arms},
            **rehearsal.get("stage", {}),
        },
    }
    return Evidence(Path("simulated"), document, {}, arms)


def with_quiet(run: Evidence, error: str = "", *, read: bool = True) -> Evidence:
    """The run with an arm without traffic too, in which the step succeeds, or fails with an error."""
    event = "failed" if error else "ended"
    marks = (
        Mark(0.0, "", "arm", "started"),
        Mark(1.0, STEP, "migrate", "started"),
        Mark(2.0, STEP, "migrate", event, error=error),
        Mark(5.0, "", "arm", "ended"),
    )
    like = next(iter(run.arms.values()))
    info = ArmInfo("quiet-steps", QUIET, QUIET, True, "2026-01-01T00:09:00Z", 5.0, 0, "complete")
    quiet = ArmEvidence(info, like.observations.iloc[:0], like.readings.iloc[:0], like.log.iloc[:0], marks, ())
    return with_arm(run, _read_all_along(quiet, run.arms) if read else quiet)


def with_arm(run: Evidence, arm: ArmEvidence) -> Evidence:
    """The run with one arm more, noted like the others."""
    name, said = arm.info.arm, run.rehearsal
    stage = {key: {**noted, name: next(iter(noted.values()))} for key, noted in said["stage"].items() if noted}
    noted = {
        "order": [*said["order"], name],
        "seals": {**said["seals"], name: "0" * 32},
        "stage": {**said["stage"], **stage},
    }
    return dataclasses.replace(run, arms=run.arms | {name: arm}, rehearsal=said | noted)


def _read_all_along(arm: ArmEvidence, arms: dict[str, ArmEvidence]) -> ArmEvidence:
    """The arm with a reading each second of every probe that any arm has."""
    probes = sorted({str(name) for one in arms.values() for name in one.readings["probe"]})
    up = [Reading(float(s), name, "up", 1.0, {}) for name in probes for s in range(int(arm.info.duration_s) + 1)]
    return dataclasses.replace(arm, readings=pd.concat([arm.readings, _frame(up, READING_SCHEMA)])) if up else arm


def _does(kind: str) -> dict[str, str]:
    return (
        {"sql": f"{kind}.sql", "dsn": "${STAGE_DSN}"} if kind in {"migrate", "rollback", "revert"} else {"run": "true"}
    )


def looks(rest: float = 0, traffic: float = 100, sessions: float = 8, seconds: int = 60) -> list[list[float]]:
    """How much moved in each second: three before the traffic, and all of it."""
    moved = ((traffic, sessions) if at_s >= 0 else (rest, 0) for at_s in range(-3, seconds))
    return [[at_s, at_s + 1.0, *one] for at_s, one in enumerate(moved, -3)]


def database(name: str = "events", seconds: int = 60, **fields: Any) -> dict[str, Any]:
    """A database that the application uses all the time, as a rehearsal notes it."""
    all_along = [[0.0, float(seconds)]]
    seen = {
        "samples": seconds,
        "counts": True,
        "touched": all_along,
        "written": all_along,
        "sessions": all_along,
        "looks": looks(seconds=seconds),
        "commands": {},
    }
    return {
        "name": name,
        "place": "127.0.0.1:5432",
        "oid": 7,
        "system_identifier": "42",
        "steps": [STEP],
        "probes": ["database"],
        "schema": "1",
        "schema_after": "1",
        "changes": [],
        "tables": [],
        "unread": [],
        **fields,
        "seen": seen | fields.get("seen", {}),
    }


def write(run: Evidence, path: Path) -> Path:
    """The run as a folder, written as a rehearsal writes it."""
    (path / "workloads").mkdir(parents=True)
    write_json(path / "rehearsal.json", run.rehearsal)
    for name, arm in run.arms.items():
        folder = ArmFolder(path / "arms" / name)
        folder.create()
        folder.write_info(arm.info)
        rows = arm.observations.astype(object).where(arm.observations.notna(), None).to_dict("records")
        whole = ("status", "expected_status", "caused_by", *CONTENTS)
        observations = [
            Observation(
                **{key: int(value) if key in whole and value is not None else value for key, value in row.items()}
            )
            for row in rows
        ]
        half = len(observations) // 2
        segments = folder.observations("worker-0")
        segments.write(observations[:half])
        segments.write(observations[half:])
        folder.readings("database").write(
            Reading(**{**row, "detail": json.loads(row["detail"])}) for row in arm.readings.to_dict("records")
        )
        folder.log("errors").write(LogEvent(**row) for row in arm.log.to_dict("records"))
        for mark in arm.marks:
            folder.mark(mark)
    return reseal(path)


def reseal(path: Path) -> Path:
    """Seal a run's arms as they are now, where it says that they are sealed."""
    rehearsal = json.loads((path / "rehearsal.json").read_text())
    if isinstance(rehearsal.get("seals"), dict):
        rehearsal["seals"] = {arm.name: seal(arm) for arm in sorted((path / "arms").iterdir())}
        write_json(path / "rehearsal.json", rehearsal)
    return path
