"""``replay demo`` as its users run it. Minutes long: these tests take most of the suite's time."""

import json
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import Commands, Done

AT_MOST_S = 420  # on a machine that others use too; the demonstration's own limit is 300


BOTH = ("production", "qa")
EVENTS = {"GET /v1/events", "GET /v1/events/{event_id}", "GET /v1/search"}


def rehearsed(
    replay: Commands, folder: Path, *arguments: str, workloads: tuple[str, ...] = BOTH
) -> tuple[Done, dict[str, Any]]:
    out = folder / "runs" / "demo"
    done = replay("demo", "--out", out, *arguments, seconds=AT_MOST_S)
    assert done.code == 0, done.err
    assert done.out.rstrip().splitlines()[-1] == f"Report: {out / 'report.html'}"
    verdict: dict[str, Any] = json.loads((out / "verdict.json").read_text())
    assert [arm["arm"] for arm in verdict["arms"] if arm["state"] == "complete"] == [
        f"{workload}-{arm}" for workload in workloads for arm in ("control", "steps")
    ]
    assert all(arm["observed"] == arm["planned"] for arm in verdict["arms"])
    failed = [
        check["sentence"] for check in verdict["criteria"] if check["about"] == "evidence" and not check["passed"]
    ]
    assert not failed
    return done, verdict


@pytest.mark.slow
def test_the_unsafe_migration(replay: Commands, tmp_path: Path) -> None:
    done, verdict = rehearsed(replay, tmp_path)
    assert done.said("The migration deserves NO_GO: the demonstration worked.")
    assert done.said("`replay rehearse` leaves with 1 for NO_GO.")
    assert verdict["verdict"] == "NO_GO"
    assert verdict["workload_verdicts"] == {"production": "NO_GO", "qa": "GO"}

    blocking = [finding for finding in verdict["findings"] if finding["severity"] == "blocking"]
    assert {finding["workload"] for finding in blocking} == {"production"}
    assert all(finding["only_in_production"] is not False for finding in blocking)
    assert any(finding["only_in_production"] for finding in blocking)
    metrics = {finding["metric"] for finding in blocking}
    assert {"lock_wait_s", "replica_lag_s", "log_lines", "rollback_failed"} <= metrics
    locks = [finding["evidence"] for finding in blocking if finding["metric"] == "lock_wait_s"]
    lock = next(lock for lock in locks if lock["statement"].startswith("ALTER TABLE access_tokens"))
    assert "GET /v1/exports/registrations" in f"{lock['held_up_by']} {lock['held_up_by_query']}"

    # Authentication first, and empty where the capture had an answer.
    broke_first = [row["endpoint"] for row in verdict["broke_first"]]
    assert broke_first[0] == "POST /oauth/token"
    assert len(broke_first) >= 3
    emptied = [one for one in blocking if one["endpoint"] == "POST /oauth/token" and one["difference"] == "emptied"]
    assert emptied
    assert emptied[0]["only_in_production"] is True

    steps = {row["step"]: row for row in verdict["steps"] if row["workload"] == "production"}
    assert [steps[name]["failed"] for name in ("add token scopes", "roll the data back", "revert the release")] == [
        False,
        True,
        False,
    ]
    assert not [row for row in verdict["steps"] if row["workload"] == "qa" and row["failed"]]


@pytest.mark.slow
def test_the_safe_migration(replay: Commands, tmp_path: Path) -> None:
    done, verdict = rehearsed(replay, tmp_path, "--migration", "safe")
    assert done.said("The migration deserves GO: the demonstration worked.")
    assert verdict["verdict"] == "GO"
    assert verdict["workload_verdicts"] == {"production": "GO", "qa": "GO"}
    assert not [finding for finding in verdict["findings"] if finding["severity"] != "note"]


def outages(verdict: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {row["endpoint"]: row["outages"] for row in verdict["endpoints"] if row["outages"]}


@pytest.mark.slow
def test_the_incident(replay: Commands, tmp_path: Path) -> None:
    _, verdict = rehearsed(replay, tmp_path, "--migration", "incident", workloads=("production",))
    assert verdict["verdict"] == "NO_GO"
    steps = {row["step"]: row for row in verdict["steps"]}
    assert [name for name, row in steps.items() if row["failed"]] == ["roll it back"]
    hotfix, revert = steps["hotfix"], steps["revert"]
    found = outages(verdict)
    by_hotfix = {"POST /oauth/token", "POST /v1/events/{event_id}/registrations"}
    by_revert = EVENTS | {"POST /v1/registrations/{registration_id}/check-in"}
    assert set(found) == by_hotfix | by_revert
    for endpoint, several in found.items():
        healed = hotfix if endpoint in by_hotfix else revert
        (one,) = several
        assert one["last_good_s"] <= steps["scopes and gates"]["ended_s"]
        assert one["first_bad_s"] >= steps["scopes and gates"]["started_s"]
        assert one["last_bad_s"] <= healed["ended_s"]
        assert one["first_good_s"] >= healed["started_s"]
    shown = (tmp_path / "runs" / "demo" / "summary.md").read_text()
    assert "When it broke, when it came back" in shown


@pytest.mark.slow
def test_code_and_schema_in_the_right_order(replay: Commands, tmp_path: Path) -> None:
    _, verdict = rehearsed(replay, tmp_path, "--migration", "deploy", workloads=("production",))
    assert verdict["verdict"] == "GO"
    assert [row["step"] for row in verdict["steps"]] == [
        "expand",
        "deploy v2",
        "roll back to v1",
        "deploy v2 again",
        "contract",
    ]
    assert not outages(verdict)


@pytest.mark.slow
def test_code_and_schema_in_the_wrong_order(replay: Commands, tmp_path: Path) -> None:
    _, verdict = rehearsed(replay, tmp_path, "--migration", "wrong-order", workloads=("production",))
    assert verdict["verdict"] == "NO_GO"
    found = outages(verdict)
    assert set(found) == EVENTS
    assert {one["came_back"] for several in found.values() for one in several} == {"during deploy v2"}
