"""Bad input ends with one clear sentence, its own exit code, nothing sent and nothing lost."""

import json
import shutil
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_parts import Commands, Done, Listener, Plan, digest, wait_until, write_capture

from replay.target import NOT_PRODUCTION

Spoil = Callable[[Plan], None]


@pytest.fixture
def target(listen: Callable[..., Listener]) -> Listener:
    return listen()


@pytest.fixture
def sound(tmp_path: Path, target: Listener, replay: Commands) -> Plan:
    """A plan with nothing wrong, but for a database that nobody asks before everything else is found in order."""
    folder = tmp_path / "plan"
    folder.mkdir()
    write_capture(folder / "production", environment="production", host="api.example.test:443")
    (folder / "clients.csv").touch(mode=0o600)
    (folder / "clients.csv").write_text("client,client_secret\nclient-0,of Stage\n")
    (folder / "reset").write_text("#!/bin/sh\necho reset >> was-reset\n")
    (folder / "reset").chmod(0o755)
    replay.environment["STAGE_DSN"] = "host=127.0.0.1 port=1 user=stage password=hush-hush-42"
    plan = Plan(folder)
    plan.values |= {
        "target": {"url": target.url, "allow": ["127.0.0.1"], "ready": "GET /health", "reset": "./reset"},
        "workloads.production": {"capture": "production", "identities": "clients.csv"},
        "probes.database": {"kind": "postgres", "dsn": "${STAGE_DSN}"},
        "criteria": {"lock_wait_s": 1.0},
    }
    plan.add_step("migrate", at="1s", sql="SELECT 1;\n")
    return plan


def check_ended(done: Done, code: int, sentence: str) -> None:
    assert done.code == code, done.err
    assert done.said(sentence), done.err
    errors = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, done.err
    assert "hush" not in done.out + done.err


def capture_missing(plan: Plan) -> None:
    shutil.rmtree(plan.folder / "production")


def capture_without_manifest(plan: Plan) -> None:
    (plan.folder / "production" / "capture.json").unlink()


def manifest_truncated(plan: Plan) -> None:
    file = plan.folder / "production" / "capture.json"
    file.write_bytes(file.read_bytes()[:100])


def segment_truncated(plan: Plan) -> None:
    (file,) = (plan.folder / "production" / "exchanges").iterdir()
    file.write_bytes(file.read_bytes()[:-100])


def segment_missing(plan: Plan) -> None:
    (file,) = (plan.folder / "production" / "exchanges").iterdir()
    file.unlink()


def capture_is_a_file(plan: Plan) -> None:
    capture_missing(plan)
    (plan.folder / "production").write_text("")


def capture_empty(plan: Plan) -> None:
    capture_missing(plan)
    (plan.folder / "production").mkdir()


def unknown_key(plan: Plan) -> None:
    plan.values["workloads.production"]["captrue"] = "production"


def unknown_table(plan: Plan) -> None:
    plan.values["probe.database"] = {}


def unknown_criterion(plan: Plan) -> None:
    plan.values["criteria"] = {"lock_wait": 2.0}


def wrong_type(plan: Plan) -> None:
    plan.values["workloads.production"]["speed"] = "fast"


def host_outside_allow(plan: Plan) -> None:
    plan.values["target"]["allow"] = ["stage.example.test"]


def dsn_outside_allow(plan: Plan) -> None:
    plan.steps[0]["dsn"] = "host=db.example.test user=stage password=hush-hush-42"


def probe_outside_allow(plan: Plan) -> None:
    plan.values["probes.database"]["replicas"] = ["postgresql://stage:hush-hush-42@replica.example.test/events"]


def variable_not_set(plan: Plan) -> None:
    plan.values["target"]["url"] = "${NO_SUCH_STAGE}"


def identities_missing(plan: Plan) -> None:
    (plan.folder / "clients.csv").unlink()


def identities_empty(plan: Plan) -> None:
    (plan.folder / "clients.csv").write_text("")


def sql_missing(plan: Plan) -> None:
    (plan.folder / "0.sql").unlink()


def reset_missing(plan: Plan) -> None:
    (plan.folder / "reset").unlink()


def locustfile_missing(plan: Plan) -> None:
    plan.values["workloads.production"]["locustfile"] = "production.py"


def target_is_no_url(plan: Plan) -> None:
    plan.values["target"]["url"] = "127.0.0.1:8000"


def step_after_the_end(plan: Plan) -> None:
    plan.steps[0]["at"] = "1h"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (capture_missing, "There is no capture at"),
        (capture_without_manifest, "has no capture.json."),
        (manifest_truncated, "capture.json cannot be read"),
        (segment_truncated, "is damaged"),
        (segment_missing, "lacks its segment 000001.parquet."),
        (capture_is_a_file, "There is no capture at"),
        (capture_empty, "has no capture.json."),
        (unknown_key, 'Did you mean "capture"?'),
        (unknown_table, "Unknown table [probe]."),
        (unknown_criterion, "has an unknown key 'lock_wait'"),
        (wrong_type, '"speed" in [workloads.production]'),
        (host_outside_allow, "Load would go to 127.0.0.1, which the plan does not allow"),
        (dsn_outside_allow, "The step 'migrate' would go to db.example.test, which the plan does not allow"),
        (probe_outside_allow, "The probe 'database' would go to replica.example.test, which the plan does not allow"),
        (variable_not_set, "needs the environment variable NO_SUCH_STAGE, which is not set."),
        (identities_missing, "There is no identities file"),
        (identities_empty, "clients.csv has no rows."),
        (sql_missing, "There is no SQL file"),
        (reset_missing, "The reset runs ./reset, which is not a program."),
        (locustfile_missing, "There is no locustfile"),
        (target_is_no_url, "'127.0.0.1:8000' is not a target."),
        (step_after_the_end, "the step 'migrate' is at 3600 s, when the workload 'production' of 4 s has ended."),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_wrong_with_a_plan_is_said_before_anything_is_done(
    spoil: Spoil, sentence: str, sound: Plan, target: Listener, replay: Commands
) -> None:
    spoil(sound)
    sound.write()
    before = digest(sound.folder)
    check_ended(replay("rehearse", sound.file, "--out", sound.out), 2, sentence)
    assert digest(sound.folder) == before
    assert not sound.out.exists()
    assert not sound.was_reset
    assert not target.asked


@pytest.mark.parametrize(
    "text", ["[target\nurl = 1", "not toml at all", "\x00", ""], ids=["cut", "prose", "nul", "empty"]
)
def test_a_plan_that_is_none(text: str, sound: Plan, replay: Commands) -> None:
    sound.file.write_text(text)
    check_ended(replay("rehearse", sound.file, "--out", sound.out), 2, "plan.toml")
    assert not sound.out.exists()


@pytest.mark.slow
def test_a_plan_in_another_encoding_or_not_there(sound: Plan, replay: Commands) -> None:
    sound.file.write_bytes('[rehearsal]\nname = "né"\n'.encode("latin-1"))
    check_ended(replay("rehearse", sound.file, "--out", sound.out), 2, "cannot be read as TOML")
    check_ended(replay("rehearse", sound.folder, "--out", sound.out), 2, "cannot be read as TOML")
    sound.file.unlink()
    check_ended(replay("rehearse", sound.file, "--out", sound.out), 2, "There is no plan")


def test_the_sound_plan_is_sound(sound: Plan, target: Listener, replay: Commands) -> None:
    """So that each refusal above is for the one thing that it names."""
    done = replay("rehearse", sound.write(), "--out", sound.out, "--dry-run", "--offline")
    assert done.code == 0, done.err
    assert not target.asked


@pytest.mark.slow
def test_a_locustfile_with_a_syntax_error(sound: Plan, target: Listener, replay: Commands) -> None:
    built = sound.folder / "mine.py"
    assert replay("build", sound.folder / "production", "--out", built).code == 0
    with built.open("a") as file:
        file.write("\ndef broken(:\n")
    sound.values["workloads.production"] |= {"locustfile": "mine.py"}
    check_ended(replay("rehearse", sound.write(), "--out", sound.out), 2, "mine.py cannot be read")
    there = sound.folder / "run"
    arguments = ("run", built, "--target", target.url, "--allow", "127.0.0.1", "--out", there)
    check_ended(replay(*arguments), 2, "mine.py cannot be read")
    assert not sound.out.exists()
    assert not there.exists()
    assert not target.asked


@pytest.mark.slow
def test_a_folder_in_use_is_not_touched(sound: Plan, target: Listener, replay: Commands) -> None:
    sound.out.mkdir(parents=True)
    (sound.out / "verdict.json").write_text('{"verdict": "GO"}')
    before = digest(sound.out)
    check_ended(replay("rehearse", sound.write(), "--out", sound.out), 2, "is there already.")
    check_ended(replay("rehearse", sound.file, "--out", sound.file), 2, "is there already.")
    check_ended(replay("demo", "--out", sound.out), 2, "is no run of the demonstration.")
    assert digest(sound.out) == before
    assert not target.asked


@pytest.mark.parametrize("command", ["judge", "report"])
def test_a_folder_that_is_no_run(command: str, sound: Plan, replay: Commands) -> None:
    before = digest(sound.folder)
    check_ended(replay(command, sound.folder), 2, "is not a run")
    check_ended(replay(command, sound.out), 2, "is not a run")
    assert digest(sound.folder) == before


def failed(plan: Plan, replay: Commands, sentence: str) -> None:
    """It ends with 4, says so in the run's folder, and is judged INCONCLUSIVE afterwards."""
    before = digest(plan.folder / "production")
    check_ended(replay("rehearse", plan.file, "--out", plan.out), 4, sentence)
    assert plan.record["state"] == "failed"
    assert sentence in plan.record["reason"]
    assert not (plan.out / "verdict.json").exists()
    assert digest(plan.folder / "production") == before
    assert replay("judge", plan.out).code == 3
    assert plan.verdict["verdict"] == "INCONCLUSIVE"
    assert sentence in " ".join(plan.verdict["reasons"])
    assert replay("report", plan.out).code == 0
    assert (plan.out / "report.html").is_file()
    assert not [file for file in plan.out.rglob("*") if file.is_file() and b"hush-hush" in file.read_bytes()]


@pytest.mark.slow
def test_a_target_that_does_not_answer(sound: Plan, replay: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    sound.values["target"] |= {"url": url, "ready_timeout": "1s", "not_production": NOT_PRODUCTION}
    sound.write()
    failed(sound, replay, f"{url} did not answer GET /health within 1 s: [Errno 111] Connection refused.")


@pytest.mark.slow
def test_a_reset_that_fails(sound: Plan, target: Listener, replay: Commands) -> None:
    (sound.folder / "reset").write_text("#!/bin/sh\necho the template is gone, $STAGE_DSN\nexit 1\n")
    sound.values["target"]["not_production"] = NOT_PRODUCTION  # its database does not answer either
    sound.write()
    failed(sound, replay, "Stage's reset failed: exit code 1: the template is gone")
    assert not target.asked


@pytest.mark.slow
def test_a_database_that_does_not_answer(sound: Plan, target: Listener, replay: Commands) -> None:
    sound.write()
    failed(sound, replay, "goes to a database of which nobody knows whether it is production's")
    assert not sound.was_reset
    assert not target.asked


def test_a_port_in_use(target: Listener, tmp_path: Path, replay: Commands) -> None:
    out = tmp_path / "captures" / "new"
    arguments = ("--upstream", target.url, "--listen", f"127.0.0.1:{target.port}", "--out", out)
    check_ended(replay("capture", *arguments), 4, f"cannot listen on 127.0.0.1:{target.port}: Address already in use.")
    assert not out.exists()


@pytest.mark.slow
def test_a_capture_that_was_killed_is_refused_and_can_be_saved(sound: Plan, target: Listener, replay: Commands) -> None:
    capture = sound.folder / "half"
    arguments = ("--upstream", target.url, "--listen", "127.0.0.1:0", "--out", capture, "--environment", "stage")
    recording = replay.start("capture", *arguments)
    wait_until(lambda: "Recording http" in recording.files[1].read_text(), 60)
    url = recording.files[1].read_text().split()[1]
    for number in range(30):
        urllib.request.urlopen(f"{url}/items/{number}", timeout=30).close()  # noqa: S310 - the proxy just started
    manifest = capture / "capture.json"
    wait_until(lambda: json.loads(manifest.read_text())["exchanges"] == 30, 15)
    sound.values["workloads.production"] |= {"capture": "half", "duration": "4s"}
    sound.write()
    done = replay("rehearse", sound.file, "--out", sound.out)
    check_ended(done, 2, "is still being recorded. End that first, with Ctrl-C.")
    recording.process.kill()
    recording.process.wait(10)

    before = digest(capture)
    done = replay("rehearse", sound.file, "--out", sound.out)
    check_ended(done, 2, "is half written: its recording broke off.")
    assert done.said(f"`replay inspect {capture}` shows what can be saved of it, and with --repair saves it.")
    assert digest(capture) == before
    assert not sound.out.exists()

    assert replay("inspect", capture).code == 2
    assert replay("inspect", capture, "--repair").code == 0
    saved = json.loads(replay("inspect", capture, "--json").out)
    assert (saved["state"], saved["exchanges"], saved["environment"]) == ("complete", 30, "stage")
    done = replay("rehearse", sound.file, "--out", sound.out, "--dry-run")
    assert done.code == 0, done.err
