"""A rehearsal's arms of ten minutes or more are looked at for drift."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simulate

from replay.evidence.files import ArmFolder, write_json
from replay.evidence.run import read_run
from replay.evidence.values import ArmInfo, Mark, Observation
from replay.judge.findings import Finding
from replay.judge.verdict import judge

RATE = 4


def observed(number: int, latency_s: float) -> Observation:
    due_s = number / RATE
    return Observation(
        request=number, visit=number, client="c", endpoint="GET /x", due_s=due_s, waited_s=0.0, sent_s=due_s,
        first_byte_s=due_s + latency_s, done_s=due_s + latency_s, status=200, size_bytes=2, digest="0" * 16,
        shape="{id:number}",
        expected_status=200, expected_shape="{id:number}", outcome="ok", error=None, caused_by=None, worker="w",
    )  # fmt: skip


def run_of(run: Path, control: float, steps: float, lasts_s: float = 900.0, **criteria: Any) -> list[Finding]:
    """The findings on drift where latencies of both arms rise to so many times what they were."""
    for name, rises, with_steps in (("p-control", control, False), ("p-steps", steps, True)):
        folder = ArmFolder(run / "arms" / name)
        folder.create()
        count = int(lasts_s * RATE)
        began = f"2026-11-22T1{with_steps:d}:00:00+00:00"
        folder.write_info(ArmInfo(name, "p", "production", with_steps, began, lasts_s, count, "complete"))
        chance = np.random.default_rng(3 + with_steps)
        latencies = chance.lognormal(-4, 0.3, count) * np.linspace(1, rises, count)
        folder.observations("w").write([observed(n, float(one)) for n, one in enumerate(latencies)])
        if with_steps:
            folder.mark(Mark(20.0, "deploy", "deploy", "started"))
            folder.mark(Mark(25.0, "deploy", "deploy", "ended"))
        folder.mark(Mark(lasts_s, "", "arm", "ended"))
    said = {
        "format": 1,
        "state": "complete",
        "order": ["p-control", "p-steps"],
        "criteria": criteria,
        "migrations": [],
        "reset": True,
        "confirming": {},
        "stage": {},
        "seals": {},
        "plan": {"steps": [{"name": "deploy", "kind": "deploy", "run": "true"}], "probes": {}, "workloads": {"p": {}}},
    }
    write_json(run / "rehearsal.json", said)
    simulate.reseal(run)
    verdict = judge(read_run(run))
    return [one for one in verdict.findings if (one.metric or "").startswith("drift_")]


def test_drift_in_both_arms_is_of_the_control(tmp_path: Path) -> None:
    told = run_of(tmp_path, 2.0, 2.0)
    assert {(one.arm, one.severity) for one in told} == {("p-control", "note")}


def test_drift_after_the_steps_alone(tmp_path: Path) -> None:
    told = run_of(tmp_path, 1.0, 2.0)
    assert {(one.arm, one.severity, one.phase) for one in told} == {("p-steps", "note", "after the last step")}


def test_beyond_a_limit_it_counts(tmp_path: Path) -> None:
    told = run_of(tmp_path, 1.0, 2.0, drift_latency_share=0.3)
    assert {(one.arm, one.severity) for one in told} == {("p-steps", "blocking")}


@pytest.mark.parametrize("lasts_s", [590.0, 60.0])
def test_short_arms_are_left_alone(tmp_path: Path, lasts_s: float) -> None:
    assert run_of(tmp_path, 1.0, 2.0, lasts_s) == []
