"""What a plan says of its steps: each kind as it is read, and as it is refused."""

import json
import re

import pytest

from replay.cli.main import run
from replay.errors import InputError, PlanError
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.rehearsal.steps.actions import Alembic, Call, Django, Wait

STEP = {"name": "it", "kind": "command", "at": "1s"}


def read(setting, *steps: dict):
    setting.values["steps"] = [{**STEP, "name": f"it {number}", **step} for number, step in enumerate(steps, 1)]
    return read_plan(setting.write(), setting.environment)


def test_every_kind_of_step(setting) -> None:
    setting.environment["KEY"] = "s3cr3t-word"
    steps = (
        {"http": "post /admin/flush?all=1", "body": "{}", "expect": "204, 4xx"},
        {"wait": "recovered"},
        {"wait": "1m"},
        {"alembic": "head"},
        {"alembic": "-1", "config": "api/alembic.ini"},
        {"alembic": "base"},
        {"alembic": "downgrade 1a2b"},
        {"django": "manage.py"},
        {"django": "site/manage.py", "migrate": "shop 0042"},
    )
    folder = setting.folder
    assert [step.action for step in read(setting, *steps).steps] == [
        Call("POST", "/admin/flush?all=1", (), "{}", ("204", "4xx")),
        Wait(None),
        Wait(60.0),
        Alembic("upgrade", "head", folder / "alembic.ini"),
        Alembic("downgrade", "-1", folder / "api" / "alembic.ini"),
        Alembic("downgrade", "base", folder / "alembic.ini"),
        Alembic("downgrade", "1a2b", folder / "alembic.ini"),
        Django(folder / "manage.py", ()),
        Django(folder / "site" / "manage.py", ("shop", "0042")),
    ]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({}, "one of sql, run, http, wait, alembic, django"),
        ({"run": "x", "wait": "1s"}, "one of the two must be there, not both"),
        ({"http": "flush"}, "must be a method and a path"),
        ({"http": "POST https://other.test/"}, "must be a method and a path"),
        ({"http": "GET /a b"}, "must be a method and a path"),
        ({"http": "GET /", "expect": "ok"}, "must be statuses"),
        ({"wait": "soon"}, "must be 'recovered' or a duration"),
        ({"alembic": "up head"}, "must be a revision"),
        ({"django": "manage.py", "migrate": "shop 1 2"}, "must be an app and a migration"),
        ({"django": "manage.py", "migrate": "--fake"}, "must be an app and a migration"),
        ({"run": "x", "dsn": "host=127.0.0.1"}, "dsn.* is for sql, and this step has run; a command gets"),
        ({"run": "x", "body": "{}"}, "body.* is for http"),
        ({"run": "x", "expect": "200"}, "expect.* is for http"),
        ({"wait": "1s", "config": "x"}, "config.* is for alembic"),
        ({"alembic": "head", "migrate": "x"}, "migrate.* is for django"),
        ({"run": "x", "on_failure": "rollback"}, "wants a rollback when it fails, and no step of that kind follows"),
    ],
)
def test_a_step_is_refused(setting, step: dict, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        read(setting, step)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('http = "GET /"\nheaders = { Host = "other.test" }', "'Host', which follows from the target"),
        ('http = "GET /"\nheaders = { "a b" = "x" }', "'a b', which cannot be sent"),
        ('http = "GET /"\nheaders = { a = "x\\ny" }', "'a', which cannot be sent"),
        ('http = "GET /"\nheaders = ["a"]', "must be a table of texts"),
        ('http = "GET /"\nenvironment = { A = "1" }', "environment.* is for commands"),
        ('run = "x"\nheaders = { a = "x" }', "headers.* is for http"),
        ('run = "x"\nenvironment = { A = 1 }', "must be a table of texts"),
        ('run = "x"\nenvironment = { "A=B" = "1" }', "'A=B', which cannot be set"),
        (
            'run = "x"\nenvironment = { A = "${NOT_SET}" }',
            '"A" of "environment".* needs the environment variable NOT_SET',
        ),
    ],
)
def test_a_table_in_a_step_is_refused(setting, table: str, said: str) -> None:
    setting.values["steps"] = []
    plan = setting.write()
    plan.write_text(f'{plan.read_text()}\n[[steps]]\nname = "it"\nkind = "command"\nat = "1s"\n{table}\n')
    with pytest.raises(PlanError, match=said):
        read_plan(plan, setting.environment)


def test_a_command_s_environment(setting, monkeypatch) -> None:
    monkeypatch.setenv("OTHER_SECRET", "hush")
    setting.environment["WHO"] = "me"
    plan = setting.write()
    text = plan.read_text().replace(
        '"name" = "small"\n', '"name" = "small"\nenvironment = { MODE = "rehearsal", WHO = "all" }\n'
    )
    plan.write_text(
        f'{text}\n[[steps]]\nname = "it"\nkind = "command"\nafter = "1s"\nrun = "env"\n'
        'environment = { MODE = "step of ${WHO}", API_KEY = "spelled-out-77" }\n'
    )
    read = read_plan(plan, setting.environment)
    assert set(read.command_environment) - set(read.environment) <= {"PATH", "HOME", "LANG", "TMPDIR", "MODE"} | {
        name for name in read.command_environment if name.startswith("LC_")
    }
    assert read.target.reset.environment["STAGE_DSN"] == setting.environment["STAGE_DSN"]
    assert (read.target.reset.environment["MODE"], read.target.reset.environment["WHO"]) == ("rehearsal", "all")
    program = check_plan(read, setting.out).steps[-1].work.program
    assert program.environment["MODE"] == "step of me"
    assert program.environment["PGAPPNAME"] == "replay step: it"
    for shown in (json.dumps(read.resolved), repr(read), read.scrubber()("API spelled-out-77")):
        assert "spelled-out-77" not in shown
        assert "hush" not in shown
    assert read.resolved["steps"][1]["environment"]["MODE"] == "step of ${WHO}"


def test_the_dry_run_says_what_each_step_would_do(setting, capsys) -> None:
    (setting.folder / "alembic.ini").write_text("[alembic]\nscript_location = x\n")
    (setting.folder / "manage.py").write_text("")
    (setting.folder / "more.sql").write_text("SELECT 2;")
    (setting.folder / "up.sql").write_text("SELECT 1;\n\\i more.sql\n")
    (setting.folder / ".venv" / "bin").mkdir(parents=True)
    (setting.folder / ".venv" / "bin" / "python").symlink_to("/bin/true")
    dsn = "host=127.0.0.1 port=1"
    steps = (
        {"sql": "up.sql", "dsn": dsn},
        {"run": "true"},
        {"http": "POST /flush"},
        {"wait": "recovered"},
        {"wait": "2s"},
        {"alembic": "head"},
        {"django": "manage.py", "migrate": "shop"},
    )
    read(setting, *steps)
    setting.environment["STAGE_DSN"] = dsn
    with pytest.MonkeyPatch.context() as patched:
        for name, value in setting.environment.items():
            patched.setenv(name, value)
        assert run(["rehearse", str(setting.plan), "--dry-run"]) == 0
        text = capsys.readouterr().out
        assert run(["rehearse", str(setting.plan), "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    told = [step["does"] for step in document["steps"]]
    assert told == [
        "2 statements of 2 files",
        "runs true",
        "sends POST /flush to the target, and expects 2xx",
        "waits until Stage answers GET /health and nobody waits for a lock",
        "waits 2 s",
        "runs alembic -c alembic.ini upgrade head",
        "runs python manage.py migrate --noinput shop",
    ]
    assert document["steps"][0]["statements"] == ["SELECT 1", "SELECT 2"]
    for one in told:
        assert one in text
    assert not setting.was_reset


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"alembic": "head"}, r"there is no .*alembic\.ini"),
        ({"django": "manage.py"}, r"there is no .*manage\.py"),
        ({"sql": "up.sql", "dsn": "host=127.0.0.1"}, r"up\.sql, line 1: there is no file .*none\.sql"),
        ({"run": "no-such-program"}, "not on the PATH"),
    ],
)
def test_the_dry_run_finds_what_is_missing(setting, step: dict, said: str) -> None:
    (setting.folder / "up.sql").write_text("\\i none.sql\n")
    with pytest.raises(InputError, match=said):
        check_plan(read(setting, step), setting.out)


def test_moments_of_repetitions(setting) -> None:
    steps = read(setting, {"at": ["1s", "2.5s", "2s"], "wait": "1s"}, {"at": "3s", "wait": "1s"}).steps
    assert steps[0].moments_s == (1.0, 2.5, 2.0)
    assert [[step.in_repetition(number).at_s for step in steps] for number in range(3)] == [
        [1.0, 3.0],
        [2.5, 3.0],
        [2.0, 3.0],
    ]


@pytest.mark.parametrize(
    ("moments", "said"),
    [
        ([["1s", "2s"], ["3s", "3s", "3s"]], "has 2 moments, and another step has 3"),
        ([["1s", "3s"], "2s"], "comes before the one that stands above it"),
        ([[], "2s"], "is an empty list"),
        ([["1s", "soon"], "2s"], "'soon', which is not a duration"),
        ([["1s", 2], "3s"], "is 2, which is not a duration"),
    ],
)
def test_moments_that_cannot_be(setting, moments, said) -> None:
    with pytest.raises(PlanError, match=re.escape(said)):
        read(setting, *({"at": one, "wait": "1s"} for one in moments))
