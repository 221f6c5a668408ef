"""What is checked before anything runs: nothing of Stage is touched, the reset least of all."""

import json
import re
from datetime import UTC, datetime
from itertools import chain
from types import SimpleNamespace

import pytest

from replay.capture.store import CaptureWriter
from replay.cli.display import cost
from replay.cli.main import run
from replay.errors import InputError, PlanError, Refused
from replay.rehearsal import outline as outlines
from replay.rehearsal.checks import room
from replay.rehearsal.checks.room import check_disk, check_duration
from replay.rehearsal.checks.uses import STEP, uses_of
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.traffic import Exchange, Request, Response


def check(setting):
    return check_plan(read_plan(setting.write(), setting.environment), setting.out)


def refusal(setting, kind, said: str) -> None:
    with pytest.raises(kind, match=said):
        check(setting)
    assert not setting.was_reset
    assert not setting.out.exists()


def test_the_arms_in_their_order(setting) -> None:
    outline = check(setting)
    assert [arm.name for arm in outline.arms] == ["qa-control", "qa-steps", "production-control", "production-steps"]
    assert [arm.workload.planned // 10 for arm in outline.arms] == [2, 2, 6, 6]
    assert outline.estimate_s > 16
    assert outline.warnings == ()
    assert not setting.was_reset
    assert not setting.out.exists()


def test_what_a_second_pair_of_arms_may_add_is_counted_apart(setting) -> None:
    outline = check(setting)
    more = outline.may_follow
    names = ["production-control-2", "production-steps-2", "qa-control-2", "qa-steps-2"]
    assert sorted(arm.name for arm in more.arms) == names
    assert (more.planned, more.estimate_s) == (outline.planned, outline.estimate_s)
    disk, duration = check_disk(outline, setting.out), check_duration(outline, None)
    assert disk.figures["more_bytes"] == more.estimate_bytes > 0
    assert re.search(r"about \d+ MB, and up to \d+ MB more if something must be confirmed, in ", disk.sentence)
    assert duration.sentence.endswith(" Up to 4 arms and 0.7 min more if something must be confirmed.")
    assert re.fullmatch(
        r"about 44 s and \d MB, and up to 4 arms, 44 s and \d MB more if something must be confirmed", cost(outline)
    )
    setting.values["rehearsal"]["confirm"] = False
    outline = check(setting)
    assert outline.may_follow.arms == ()
    assert "more" not in cost(outline) + check_disk(outline, setting.out).sentence
    del setting.values["rehearsal"]["confirm"]
    del setting.values["target"]["reset"]
    assert check(setting).may_follow.arms == ()


def test_the_disk_may_have_no_room_for_a_second_pair(setting, monkeypatch) -> None:
    outline = check(setting)
    free = outline.estimate_bytes + 1
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    told = check_disk(outline, setting.out)
    assert (told.state, told.hint) == ("passed", "There is no room for a second pair of arms.")


def test_more_requests_than_a_judge_can_hold_are_told(setting, monkeypatch) -> None:
    planned = check(setting).planned
    monkeypatch.setattr(outlines, "_MOST_JUDGED", 2 * planned)
    assert check(setting).warnings == ()
    monkeypatch.setattr(outlines, "_MOST_JUDGED", 2 * planned - 1)
    (warning,) = check(setting).warnings
    assert warning.startswith(f"The arms have {2 * planned:,} requests in all, with second pairs, and the judge holds")
    assert "a shorter duration or a lower scale" in warning
    setting.values["rehearsal"]["confirm"] = False
    assert check(setting).warnings == ()


def test_where_nothing_warms_stage_a_dry_run_says_so(setting) -> None:
    (hint,) = check(setting).hints
    assert "no warm in [target]" in hint
    setting.values["target"]["warm"] = "true"
    assert check(setting).hints == ()
    del setting.values["target"]["warm"]
    del setting.values["target"]["reset"]
    assert check(setting).hints == ()


def test_steps_that_nobody_will_see_are_told(setting) -> None:
    setting.values["steps"] = [
        {"name": "up", "kind": "migrate", "at": "1s", "run": "true"},
        {"name": "look", "kind": "command", "after": "0s", "run": "true"},
    ]
    assert check(setting).warnings == ()
    del setting.values["probes.database"]
    (warning,) = check(setting).warnings
    assert "whether 'up' met the application's database" in warning
    assert "probe of kind postgres" in warning
    setting.values["criteria"]["unseen_steps"] = True
    assert check(setting).warnings == ()


def test_without_a_reset_the_steps_come_last(setting) -> None:
    del setting.values["target"]["reset"]
    outline = check(setting)
    assert [arm.name for arm in outline.arms] == ["qa-control", "production-control", "qa-steps", "production-steps"]
    assert "no reset" in outline.warnings[0]


@pytest.mark.slow
def test_the_seed_shuffles_the_arms(setting) -> None:
    orders = set()
    for seed in range(12):
        setting.values["rehearsal"] |= {"order": "shuffled", "seed": seed}
        names = [arm.name for arm in check(setting).arms]
        assert names == [arm.name for arm in check(setting).arms]
        assert sorted(names) == ["production-control", "production-steps", "qa-control", "qa-steps"]
        orders.add(tuple(names))
    assert len(orders) > 5


def test_without_a_reset_controls_come_first_in_any_order(setting) -> None:
    del setting.values["target"]["reset"]
    for seed in range(12):
        setting.values["rehearsal"] |= {"order": "shuffled", "seed": seed, "quiet": True}
        assert [arm.name.endswith("-steps") for arm in check(setting).arms] == [False] * 2 + [True] * 3


def test_controls_and_repetitions(setting) -> None:
    setting.values["rehearsal"] |= {"controls": 2, "quiet": True}
    setting.values["steps"][0]["at"] = ["1.5s", "1s", "2.5s"]
    arms = {arm.name: arm for arm in check(setting).arms}
    assert list(arms) == [
        *("qa-control", "qa-control-2", "qa-steps", "qa-steps-2", "qa-steps-3"),
        *("production-control", "production-control-2", "production-steps", "production-steps-2", "production-steps-3"),
        "quiet-steps",
    ]
    moments = [[step.plan.at_s for step in arms[name].steps] for name in arms if name.startswith("production")]
    assert moments == [[], [], [1.5], [1.0], [2.5]]


@pytest.mark.parametrize("controls", [0, 21])
def test_so_many_controls_are_refused(setting, controls) -> None:
    setting.values["rehearsal"]["controls"] = controls
    refusal(setting, PlanError, "must be from 1 to 20")


def test_a_moment_after_the_end_in_one_repetition(setting) -> None:
    setting.values["steps"][0]["at"] = ["1s", "5s"]
    refusal(setting, PlanError, "is at 5 s")


def test_repetitions_need_a_reset(setting) -> None:
    setting.values["steps"][0]["at"] = ["1s", "2s"]
    del setting.values["target"]["reset"]
    refusal(setting, PlanError, "the steps are to be repeated, and nothing puts Stage back")
    setting.values["steps"][0]["at"] = "1s"
    assert any("played 2 times, and meet what they have done" in warning for warning in check(setting).warnings)


def test_a_quiet_arm_does_its_steps_at_once(setting) -> None:
    setting.values["rehearsal"]["quiet"] = True
    setting.values["steps"] += [
        {"name": "look", "kind": "command", "after": "2s", "run": "true"},
        {"name": "roll back", "kind": "rollback", "at": "3.8s", "run": "true"},
    ]
    quiet = check(setting).arms[-1]
    assert (quiet.name, quiet.workload_name, quiet.role, quiet.planned) == ("quiet-steps", "quiet", "quiet", 0)
    assert [(step.plan.at_s, step.plan.after_s) for step in quiet.steps] == [(1.0, None), (None, 2.0), (3.3, None)]
    setting.values["steps"] = []
    outline = check(setting)
    assert [arm.name for arm in outline.arms] == ["qa-control", "production-control"]
    assert "There is no quiet arm: the plan has no steps." in outline.warnings


def test_criteria_for_an_endpoint_that_no_workload_has(setting) -> None:
    (endpoint,) = {str(one) for workload in check(setting).workloads for one in workload.model.endpoints}
    setting.values[f'criteria.endpoints."{endpoint}"'] = {"outage_s": 1.0}
    assert check(setting).arms
    setting.values[f'criteria.endpoints."{endpoint.replace("tokens", "tokns")}"'] = {"outage_s": 1.0}
    with pytest.raises(PlanError, match="no workload has") as refused:
        check(setting)
    assert endpoint in str(refused.value.hint)
    refusal(setting, PlanError, "no workload has")
    for name in ("qa", "production"):  # a locustfile alone has them too
        assert run(["build", str(setting.folder / name), "--out", str(setting.folder / f"{name}.py")]) == 0
        workload = setting.values[f"workloads.{name}"]
        del workload["capture"]
        workload["locustfile"] = f"{name}.py"
    refusal(setting, PlanError, "no workload has")
    del setting.values[f'criteria.endpoints."{endpoint.replace("tokens", "tokns")}"']
    assert check(setting).arms


def test_a_probe_looks_at_least_once(setting) -> None:
    setting.values["probes.database"]["interval"] = "4s"
    assert check(setting).arms
    setting.values["probes.database"]["interval"] = "4.1s"
    refusal(setting, PlanError, r"The probe 'database' looks every 4\.1 s, and the workload '\w+' lasts only 4 s")


def test_a_workload_is_not_named_quiet(setting) -> None:
    setting.values["workloads.quiet"] = setting.values["workloads.qa"]
    refusal(setting, PlanError, "cannot be named 'quiet'")


def test_a_target_that_is_not_allowed(setting) -> None:
    setting.values["target"]["url"] = "http://stage.example.test:8000"
    refusal(setting, Refused, "Load would go to stage.example.test")


def test_a_target_that_is_the_production_capture_s_host(setting) -> None:
    setting.values["target"] |= {"url": "https://api.example.test", "allow": ["api.example.test", "127.0.0.1"]}
    with pytest.raises(Refused, match="is the host of a production capture") as refused:
        check(setting)
    assert "If it was Stage that was captured" in refused.value.hint


def test_the_host_of_a_test_capture_is_no_production(setting) -> None:
    setting.values["target"] |= {"url": "http://qa.example.test", "allow": ["qa.example.test", "127.0.0.1"]}
    assert check(setting).arms


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://db.example.test/x", "'migrate'.*would go to db.example.test"),
        ("host=127.0.0.1,db.example.test dbname=x", "would go to db.example.test"),
        ("host=127.0.0.1 hostaddr=10.0.0.9", "would go to 10.0.0.9"),
        ("service=production", "by the name of a service"),
        ("host=127.0.0.1 nonsense", "not a connection string"),
    ],
)
def test_a_database_that_is_not_allowed(setting, dsn: str, said: str) -> None:
    setting.environment["STAGE_DSN"] = dsn
    refusal(setting, InputError, said)


def test_a_probe_s_database_counts_too(setting) -> None:
    setting.values["probes.database"]["replicas"] = ["host=db.example.test"]
    refusal(setting, Refused, "The probe 'database' would go to db.example.test")


def test_a_socket_is_this_machine(setting, monkeypatch) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    setting.environment["STAGE_DSN"] = "dbname=x"
    assert check(setting).arms
    setting.values["target"] |= {"url": "http://stage.example.test", "allow": ["stage.example.test"]}
    refusal(setting, Refused, "a database on this machine")


def test_the_environment_s_host_counts_where_the_dsn_has_none(setting, monkeypatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.test")
    setting.environment["STAGE_DSN"] = "dbname=x"
    refusal(setting, Refused, "would go to db.example.test")


def test_files_that_are_not_there(setting) -> None:
    for table, change, said in (
        ("workloads.qa", {"capture": "nowhere"}, "There is no capture"),
        ("workloads.qa", {"capture": "qa", "locustfile": "nowhere.py"}, "no locustfile"),
        ("workloads.qa", {"capture": "qa", "identities": "nowhere.csv"}, "no identities file"),
        ("target", {"reset": "./nowhere"}, "not a program"),
        ("target", {"reset": "no-such-program-at-all"}, "not on the PATH"),
        ("probes.errors", {"path": "nowhere/error.log"}, "its folder is not there"),
    ):
        before = dict(setting.values[table])
        setting.values[table] |= change
        refusal(setting, InputError, said)
        setting.values[table] = before
    setting.values["steps"][0]["sql"] = "nowhere.sql"
    refusal(setting, InputError, "There is no SQL file")


def test_the_identities_that_are_lacking(setting) -> None:
    with CaptureWriter(setting.folder / "keys", environment="production", hosts=["a.test"], scrubber=None) as writer:
        for number, client in enumerate(("first", "second")):
            headers = (("x-api-key", f"{client}-0123456789abcdef"), ("user-agent", client))
            request = Request("GET", "a.test", f"/tokens/{number}", headers=headers)
            at = datetime(2026, 1, 5, 9, 0, number, tzinfo=UTC)
            writer.add(Exchange(at, 0.01, client, client, request, Response(200, (), b"{}", 2)))
    setting.values["workloads.production"]["capture"] = "keys"
    assert "2 of 2 clients (the plan names no identities)" in check(setting).warnings[0]

    clients = [client for client, _ in check(setting).workloads[-1].credentials]
    file = setting.folder / "clients.csv"
    file.touch(mode=0o600)
    setting.values["workloads.production"]["identities"] = "clients.csv"
    file.write_text(f"client,x-api-key\n{clients[0]},stage-key\n{clients[1]},\n")
    assert f"1 of 2 clients (clients.csv has no x-api-key for {clients[1]}" in check(setting).warnings[0]
    file.write_text(f"client,x-api-key\n{clients[0]},stage-key\n{clients[1]},stage-key-2\n")
    assert check(setting).warnings == ()
    file.write_text("x-api-key,name\nstage-key,a\n")
    assert "and 1 rows where 2 are needed" in check(setting).warnings[0]
    file.write_text("x-api-key,name\nstage-key,a\nstage-key-2,b\n")
    assert check(setting).warnings == ()
    file.write_text("")
    refusal(setting, InputError, "no rows")


def test_sql_that_only_psql_reads(setting) -> None:
    (setting.folder / "up.sql").write_text("\\! date\nSELECT 1;\n")
    refusal(setting, InputError, "line 1: a command of psql")


def test_a_step_beyond_the_end_of_a_capture(setting) -> None:
    del setting.values["workloads.qa"]["duration"]
    del setting.values["workloads.production"]["duration"]
    setting.values["steps"][0]["at"] = "10s"
    refusal(setting, PlanError, "when the workload 'qa' of 4 s has ended")


def test_a_run_is_never_written_over(setting) -> None:
    setting.out.mkdir(parents=True)
    assert check(setting).arms
    (setting.out / "rehearsal.json").write_text("{}")
    with pytest.raises(InputError, match="is there already"):
        check(setting)


def test_a_dry_run_shows_it_all_and_does_nothing(setting, monkeypatch, capsys) -> None:
    for name, value in setting.environment.items():
        monkeypatch.setenv(name, value)
    assert run(["rehearse", str(setting.write()), "--out", str(setting.out), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "production-steps" in said
    assert "at 1.5 s" in said
    assert run(["rehearse", str(setting.plan), "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["arms"][0]["arm"] == "qa-control"
    assert document["steps"][0]["statements"][1] == "UPDATE token SET added = 1"
    assert "hush-hush-42" not in json.dumps(document)
    assert not setting.was_reset
    assert not setting.out.exists()


def test_wrong_input_leaves_with_two(setting, monkeypatch, capsys) -> None:
    for name, value in setting.environment.items():
        monkeypatch.setenv(name, value)
    setting.values["criteria"] = {"lock_wait": 2}
    assert run(["rehearse", str(setting.write()), "--out", str(setting.out)]) == 2
    assert "lock_wait_s" in capsys.readouterr().err
    assert run(["rehearse", str(setting.plan)]) == 2
    assert run(["rehearse", "nowhere.toml", "--out", str(setting.out)]) == 2
    assert not setting.out.exists()


@pytest.mark.parametrize(
    ("lost", "name", "add"),
    [
        ("probes.database", "lock_wait_s", 'kind "postgres" or "mysql"'),
        ("replicas", "replica_lag_s", "its replicas"),
        ("replicas", "replica_lag_bytes", "its replicas"),
        ("probes.errors", "new_error_lines", 'kind "log"'),
        ("probes.errors", "log_flood_lines", 'kind "log"'),
        ("migration", "migration_s", 'kind = "migrate"'),
        ("rollback", "rollback_rows_share", 'kind = "rollback"'),
        ("a long arm", "drift_latency_share", "ten minutes"),
    ],
)
def test_a_limit_that_nothing_in_the_plan_measures_is_refused(setting, monkeypatch, capsys, *, lost, name, add) -> None:
    for key, value in setting.environment.items():
        monkeypatch.setenv(key, value)
    whole = ["lock_wait_s", "replica_lag_s", "replica_lag_bytes", "new_error_lines", "log_flood_lines", "migration_s"]
    setting.values["criteria"] = dict.fromkeys(whole, 1)
    assert run(["rehearse", str(setting.write()), "--dry-run", "--offline"]) == 0
    setting.values["criteria"] = {name: 1}
    setting.values.pop(lost, None)
    if lost == "replicas":
        del setting.values["probes.database"]["replicas"]
    if lost == "migration":
        setting.values["steps"][0]["kind"] = "command"
    capsys.readouterr()
    assert run(["rehearse", str(setting.write()), "--dry-run", "--offline"]) == 2
    said = capsys.readouterr().err
    assert f"[criteria] sets {name}, and nothing in the plan measures it." in said
    assert add in said
    assert run(["rehearse", str(setting.plan), "--out", str(setting.out)]) == 2
    assert not setting.out.exists()


@pytest.mark.parametrize(
    ("kinds", "code"),
    [(["rollback", "wait", "deploy"], 0), (["revert", "restart"], 0), (["rollback", "migrate"], 2), (["deploy"], 2)],
    ids=str,
)
def test_what_is_left_is_measured_after_an_undoing_that_nothing_migrates_after(setting, monkeypatch, kinds, code):
    for key, value in setting.environment.items():
        monkeypatch.setenv(key, value)
    setting.values["criteria"] = {"rollback_rows_share": 0.01}
    for number, kind in enumerate(kinds):
        does = {"wait": "100ms"} if kind == "wait" else {"run": "true"}
        setting.values["steps"].append({"name": f"step {number}", "kind": kind, "after": "0s"} | does)
    assert run(["rehearse", str(setting.write()), "--dry-run", "--offline"]) == code


def test_the_plan_of_init_passes_once_its_files_are_there(setting, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("STAGE_DSN", "host=127.0.0.1")
    plan = tmp_path / "started.toml"
    assert run(["init", "--out", str(plan), "--production", "production", "--qa", "qa", "--sql", "up.sql"]) == 0
    assert run(["rehearse", str(plan), "--dry-run"]) == 2, "its reset is not there yet"
    (tmp_path / "scripts").mkdir()
    setting.program("scripts/reset-stage", "true")
    assert run(["rehearse", str(plan), "--dry-run"]) == 0


def test_a_dry_run_knows_what_the_steps_before_send_until_a_command_comes(setting) -> None:
    (sql,) = setting.values["steps"]
    wait = {"name": "wait", "kind": "wait", "after": "0s", "wait": "1s"}
    command = {"name": "command", "kind": "command", "after": "0s", "run": "true"}
    again = [{**sql, "name": f"again {number}", "after": "0s"} for number in range(2)]
    for one in again:
        del one["at"]
    setting.values["steps"] = [sql, wait, again[0], command, again[1]]
    uses = [use for use in chain(*uses_of(check(setting)).values()) if use.kind == STEP]
    assert [use.before for use in uses] == [(), uses[0].statements, None]
