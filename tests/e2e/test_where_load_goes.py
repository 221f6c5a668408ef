"""Load goes to Stage and nowhere else: not to production, and not where a redirect points."""

from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_parts import Commands, Listener, Plan, write_capture

from replay.evidence.run import read_run


@pytest.fixture
def target(listen: Callable[..., Listener]) -> Listener:
    return listen()


@pytest.fixture
def small(tmp_path: Path, target: Listener) -> Plan:
    """A plan without steps over a server that counts what it is asked."""
    plan = Plan(tmp_path / "plan")
    plan.folder.mkdir()
    (plan.folder / "reset").write_text("#!/bin/sh\necho reset >> was-reset\n")
    (plan.folder / "reset").chmod(0o755)
    plan.values |= {
        "target": {"url": target.url, "allow": ["127.0.0.1"], "ready": "GET /health", "reset": "./reset"},
        "workloads.production": {"capture": "production", "role": "production"},
    }
    return plan


@pytest.mark.parametrize("role", ["production", "pre-production"])
@pytest.mark.parametrize("port", ["the same", "none"])
def test_the_host_of_a_production_capture_is_refused_before_anything_is_done(
    role: str, port: str, small: Plan, target: Listener, replay: Commands
) -> None:
    host = f"127.0.0.1:{target.port}" if port == "the same" else "127.0.0.1"
    write_capture(small.folder / "production", environment="Production", host=host)
    small.values["workloads.production"]["role"] = role
    done = replay("rehearse", small.write(), "--out", small.out)
    assert done.code == 2
    assert done.said(f"The target {target.url} is the host of a production capture ({host}).")
    assert not small.was_reset
    assert not small.out.exists()
    assert not target.asked


@pytest.mark.slow
def test_a_locustfile_of_it_is_refused_too(small: Plan, target: Listener, replay: Commands) -> None:
    """The scenario remembers where it was recorded, also where the capture is no more."""
    capture = write_capture(small.folder / "production", environment="production", host=f"127.0.0.1:{target.port}")
    built = small.folder / "production.py"
    assert replay("build", capture, "--out", built).code == 0
    capture.rename(small.folder / "away")
    small.values["workloads.production"] = {"locustfile": "production.py"}
    to_there = ("--target", target.url, "--allow", "127.0.0.1", "--out", small.folder / "run")
    for arguments in [("rehearse", small.write(), "--out", small.out), ("run", built, *to_there)]:
        done = replay(*arguments)
        assert done.code == 2
        assert done.said("is the host of a production capture")
    assert not small.was_reset
    assert not target.asked


@pytest.mark.slow
def test_another_port_of_that_machine_may_be_stage(small: Plan, target: Listener, replay: Commands) -> None:
    write_capture(small.folder / "production", environment="production", host=f"127.0.0.1:{target.port + 1}")
    done = replay("rehearse", small.write(), "--out", small.out, "--dry-run")
    assert done.code == 0, done.err


@pytest.mark.slow
def test_a_redirect_to_another_host_is_not_followed(
    small: Plan, listen: Callable[..., Listener], replay: Commands
) -> None:
    elsewhere = listen()
    # By another name, so that it is another host by every rule, and would answer if it were asked.
    redirecting = listen(elsewhere=f"http://localhost:{elsewhere.port}")
    small.values["target"] |= {"url": redirecting.url}
    paths = tuple(f"/{status}/1" for status in (301, 302, 303, 307, 308))
    capture = write_capture(small.folder / "production", environment="production", host="api.example.test", paths=paths)
    done = replay("rehearse", small.write(), "--out", small.out)
    assert done.code == 3, done.err  # there are no steps, and the capture had no redirects
    arm = read_run(small.out).arms["production-control"]
    assert small.was_reset
    assert sorted(set(arm.observations["status"])) == [301, 302, 303, 307, 308]
    assert len(arm.observations) == 40
    assert len([asked for asked in redirecting.asked if asked != "GET /health"]) == 40

    built = small.folder / "production.py"
    assert replay("build", capture, "--out", built).code == 0
    to_there = ("--target", redirecting.url, "--allow", "127.0.0.1", "--out", small.folder / "run")
    assert replay("run", built, *to_there).code == 0
    assert not elsewhere.asked
