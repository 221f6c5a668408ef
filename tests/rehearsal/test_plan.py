"""Reading a plan: what it says, and how it refuses."""

import json

import pytest

from replay.errors import PlanError
from replay.rehearsal.plan import read_plan
from replay.rehearsal.probes.postgres import PostgresProbePlan


def read(setting):
    return read_plan(setting.write(), setting.environment)


def test_a_plan_says_what_it_says(setting) -> None:
    setting.values["steps"].append({"name": "back", "kind": "rollback", "after": "1m30s", "run": "undo 'a b' ${WHO}"})
    setting.environment["WHO"] = "two words"
    setting.values["workloads.production"] |= {"speed": 2, "scale": 0.5, "identities": "clients.csv"}
    plan = read(setting)
    assert plan.name == "small"
    assert [workload.name for workload in plan.workloads] == ["qa", "production"], "pre-production first"
    production = plan.workloads[1]
    assert (production.speed, production.scale, production.duration_s) == (2.0, 0.5, 4.0)
    assert production.identities == setting.folder / "clients.csv"
    migrate, back = plan.steps
    assert (migrate.at_s, migrate.after_s, migrate.timeout_s) == (1.5, None, 600.0)
    assert migrate.sql == setting.folder / "up.sql"
    assert (back.at_s, back.after_s, back.run.words) == (None, 90.0, ("undo", "a b", "two words"))
    assert plan.target.ready == ("GET", "/health")
    assert {probe.name for probe in plan.probes} == {"database", "errors"}
    assert plan.criteria == {"lock_wait_s": 2.5}


def test_defaults_stand_in_the_resolved_plan_and_secrets_do_not(setting) -> None:
    setting.values["probes.database"]["replicas"] = ["postgresql://u:s3cr3t-word@127.0.0.1/x"]
    plan = read(setting)
    assert plan.resolved["steps"][0]["dsn"] == "${STAGE_DSN}"
    assert plan.resolved["steps"][0]["timeout"] == "10m"
    assert plan.resolved["workloads"]["qa"]["speed"] == 1.0
    assert plan.resolved["probes"]["database"]["replicas"] == ["postgresql://u:***@127.0.0.1/x"]
    for text in (json.dumps(plan.resolved), repr(plan)):
        assert "hush-hush-42" not in text
        assert "s3cr3t-word" not in text
    scrub = plan.scrubber()
    assert scrub(f"no: {setting.environment['STAGE_DSN']} hush-hush-42 s3cr3t-word") == "no: ${STAGE_DSN} *** ***"


@pytest.mark.parametrize(
    ("table", "key", "nearest"),
    [
        ("rehearsal", "seeed", "seed"),
        ("target", "urll", "url"),
        ("workloads.production", "captures", "capture"),
        ("steps", "timout", "timeout"),
        ("probes.database", "replica", "replicas"),
        ("probes.errors", "paths", "path"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(setting, table: str, key: str, nearest: str) -> None:
    values = setting.values[table]
    (values[0] if isinstance(values, list) else values)[key] = "x"
    with pytest.raises(PlanError) as refused:
        read(setting)
    assert f'unknown key "{key}"' in refused.value.message
    assert str(setting.plan) in refused.value.message
    assert table.rstrip("s").split(".")[0] in refused.value.message
    assert f'Did you mean "{nearest}"?' in refused.value.hint
    assert refused.value.exit_code == 2


def test_an_unknown_table_is_named(setting) -> None:
    setting.values["workload.production"] = {"capture": "x"}
    with pytest.raises(PlanError, match=r"Unknown table \[workload\]") as refused:
        read(setting)
    assert 'Did you mean "workloads"?' in refused.value.hint


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("steps", {"at": "20"}, "'20', which is not a duration"),
        ("steps", {"at": 20}, "20, which is not a duration"),
        ("steps", {"at": "-1s"}, "not a duration"),
        ("steps", {"timeout": "0s"}, "must be longer than 0"),
        ("steps", {"after": "1s"}, "one of the two"),
        ("steps", {"run": "x"}, "one of the two"),
        ("steps", {"dsn": None}, "needs a dsn"),
        ("steps", {"kind": "migration"}, "must be one of migrate"),
        ("steps", {"name": ""}, "must be a text"),
        ("steps", {"at": "4s"}, "when a workload of 4 s has ended"),
        ("steps", {"dsn": "${NOT_SET}"}, "environment variable NOT_SET, which is not set"),
        ("steps", {"on_failure": "stop"}, "must be one of continue, end"),
        ("target", {"url": None}, r"\[target\] needs url"),
        ("target", {"ready": "/health"}, "must be a method and a path"),
        ("target", {"allow": "127.0.0.1"}, "must be a list"),
        ("target", {"reset": "sh -c 'open"}, "is not a command"),
        ("workloads.production", {"capture": None}, "capture.* is missing"),
        ("workloads.production", {"role": "prod"}, "must be one of production"),
        ("workloads.production", {"speed": 0}, "must be a number above 0"),
        ("workloads.production", {"scale": "2"}, "must be a number above 0"),
        ("workloads.production", {"pacing": "strict"}, "cannot be strict here"),
        ("probes.database", {"kind": "oracle"}, "must be one of postgres, log"),
        ("probes.errors", {"path": None}, "path.* is missing"),
    ],
)
def test_a_wrong_value_is_refused_by_name(setting, table: str, change: dict, said: str) -> None:
    values = setting.values[table]
    values = values[0] if isinstance(values, list) else values
    for key, value in change.items():
        values.pop(key, None)
        if value is not None:
            values[key] = value
    with pytest.raises(PlanError, match=said):
        read(setting)


def test_steps_must_be_told_apart_and_be_in_order(setting) -> None:
    step = setting.values["steps"][0]
    setting.values["steps"] = [{**step, "name": "x" * 60}, {**step, "name": "x" * 60 + "y"}]
    with pytest.raises(PlanError, match="cannot be told apart"):
        read(setting)
    setting.values["steps"] = [step, {**step, "name": "other", "at": "1s"}]
    with pytest.raises(PlanError, match="comes before the one that stands above it"):
        read(setting)


def test_a_plan_that_is_not_there_or_not_toml(setting) -> None:
    with pytest.raises(PlanError, match="There is no plan"):
        read_plan(setting.plan)
    setting.plan.write_text("[target\n")
    with pytest.raises(PlanError, match="cannot be read as TOML"):
        read_plan(setting.plan)


def test_a_command_that_is_one_variable_is_split(setting) -> None:
    setting.values["target"]["reset"] = "${RESET}"
    setting.environment["RESET"] = "reset --all 'a b'"
    plan = read(setting)
    assert plan.target.reset.words == ("reset", "--all", "a b")
    assert plan.target.reset.written == "${RESET}"


def test_a_dollar_can_be_written(setting) -> None:
    setting.values["target"]["reset"] = "sh -c 'echo $$HOME $$${WHO}'"
    setting.environment["WHO"] = "me"
    assert read(setting).target.reset.words[2] == "echo $HOME $me"


def test_a_probe_reads_often_by_default(setting) -> None:
    probe = next(probe for probe in read(setting).probes if isinstance(probe, PostgresProbePlan))
    assert probe.interval_s == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("rehearsal", "settle", f"{'9' * 400}s"),
        ("rehearsal", "seed", 2**63),
        ("target", "ready_timeout", f"{'9' * 12}h"),
        ("workloads.production", "speed", 1e-300),
        ("workloads.production", "scale", 10**400),
        ("abort", "disk", f"{'9' * 400}GB"),
        ("probes.database", "interval", "1000000000s"),
        ("probes.database", "interval", "60m1s"),
    ],
)
def test_what_is_beyond_all_measure_is_refused(setting, table: str, key: str, value: object) -> None:
    setting.values.setdefault(table, {})[key] = value
    with pytest.raises(PlanError, match=key):
        read_plan(setting.write(), setting.environment)


@pytest.mark.parametrize("kind", ["workloads", "pools", "probes"])
@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "a b"])
def test_a_name_can_be_a_folder_s(setting, kind: str, name: str) -> None:
    setting.write()
    setting.plan.write_text(f'{setting.plan.read_text()}\n[{kind}."{name}"]\nkind = "process"\n')
    with pytest.raises(PlanError, match="has a name that cannot be a folder's"):
        read_plan(setting.plan, setting.environment)


def test_a_number_of_too_many_digits_is_refused(setting) -> None:
    setting.write()
    setting.plan.write_text(setting.plan.read_text().replace("[rehearsal]", f"[rehearsal]\nseed = {'9' * 5000}"))
    with pytest.raises(PlanError, match="cannot be read as TOML"):
        read_plan(setting.plan, setting.environment)
