"""Alembic and Django as a plan names them: real projects that migrate a real PostgreSQL."""

import os
import sys
from pathlib import Path

import pytest

from replay.errors import InputError
from replay.rehearsal.steps.actions import Alembic, Django

from .stepping import Stage, wait_for

pytest.importorskip("alembic", reason="Alembic is not installed")
pytest.importorskip("django", reason="Django is not installed")

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
from alembic import op
revision, down_revision = {own!r}, {before!r}

def upgrade():
    op.execute({up!r})
    print("said by", revision)

def downgrade():
    op.execute({down!r})
"""
SETTINGS = """
import os
SECRET_KEY = "made up"
INSTALLED_APPS = ["shop"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["STAGE_PORT"],
        "USER": "tester",
        "NAME": "postgres",
    }
}
"""
MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
MIGRATION = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = {dependencies!r}
    operations = [migrations.RunSQL({up!r}, {down!r})]
"""
NOW = "INSERT INTO made SELECT '{}', current_setting('application_name')"
UNDO = "DELETE FROM made WHERE what = '{}'"


@pytest.fixture
def stage(tmp_path, server, table) -> Stage:
    assert table
    made = Stage(tmp_path, server.primary)
    # The folder's own virtual environment is the one that runs these tests.
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS made, alembic_version, django_migrations")
        connection.execute("CREATE TABLE made (what text, application text)")
    made.environment |= {
        "DATABASE_URL": f"postgresql+psycopg://tester@127.0.0.1:{server.port}/postgres",
        "STAGE_PORT": str(server.port),
    }
    return made


@pytest.fixture
def alembic(stage) -> Path:
    folder = stage.folder / "api"
    (folder / "changes" / "versions").mkdir(parents=True)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = changes\n")
    (folder / "changes" / "env.py").write_text(ENV_PY)
    before = None
    for own in ("a1", "b2"):
        text = REVISION.format(own=own, before=before, up=NOW.format(own), down=UNDO.format(own))
        (folder / "changes" / "versions" / f"{own}.py").write_text(text)
        before = own
    return folder / "alembic.ini"


@pytest.fixture
def django(stage) -> Path:
    folder = stage.folder / "site"
    (folder / "shop" / "migrations").mkdir(parents=True)
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "manage.py").write_text(MANAGE)
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "migrations" / "__init__.py").write_text("")
    for name, needs in (("0001_first", []), ("0002_second", [("shop", "0001_first")])):
        text = MIGRATION.format(dependencies=needs, up=NOW.format(name), down=UNDO.format(name))
        (folder / "shop" / "migrations" / f"{name}.py").write_text(text)
    return folder / "manage.py"


def made(server) -> list[tuple[str, str]]:
    with server.connect() as connection:
        return connection.execute("SELECT * FROM made ORDER BY 1").fetchall()


def test_alembic_goes_up_and_down(stage, alembic, server) -> None:
    stage.step(action=Alembic("upgrade", "head", alembic))
    stage.step(action=Alembic("downgrade", "-1", alembic), at_s=None, after_s=0.0, kind="rollback")
    marks = stage.play()
    assert [mark.event for mark in marks] == ["started", "ended"] * 2, stage.log(1) + stage.log(2)
    assert made(server) == [("a1", "replay step: step 1")]
    assert stage.said()[0] == "$ alembic -c alembic.ini upgrade head"
    assert "said by b2" in stage.said()


def test_alembic_s_error_is_the_step_s(stage, alembic) -> None:
    stage.step(action=Alembic("upgrade", "none", alembic))
    assert "Can't locate revision identified by 'none'" in stage.play()[-1].error


def test_django_migrates(stage, django, server) -> None:
    stage.step(action=Django(django, ()))
    stage.step(action=Django(django, ("shop", "0001")), at_s=None, after_s=0.0, kind="rollback")
    marks = stage.play()
    assert [mark.event for mark in marks] == ["started", "ended"] * 2, stage.log(1) + stage.log(2)
    assert made(server) == [("0001_first", "replay step: step 1")]
    assert stage.said()[0] == "$ python manage.py migrate --noinput"
    assert any("Applying shop.0002_second" in line for line in stage.said())
    assert any("Unapplying shop.0002_second" in line for line in stage.said(2))


@pytest.mark.slow
def test_a_migration_that_waits_for_a_lock_is_ended_with_what_it_said(stage, django, server) -> None:
    migration = django.parent / "shop" / "migrations" / "0002_second.py"
    migration.write_text(migration.read_text().replace("INSERT INTO made", "LOCK TABLE token; INSERT INTO made"))
    stage.step(action=Django(django, ()), timeout_s=6.0)
    with server.connect() as holder, holder.transaction():
        holder.execute("LOCK TABLE token")
        runner = stage.runner()
        runner.start()
        with server.connect() as other:
            query = "SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
            wait_for(lambda: other.execute(query, (stage.plans[0].session_name,)).rowcount)
        assert runner.join(30)
    assert stage.marks[-1].error == "ended at its limit of 6 s"
    assert any("Applying shop.0002_second" in line for line in stage.said())


def test_a_tool_of_the_path_is_taken_where_the_plan_has_none(stage, alembic, server) -> None:
    (stage.folder / ".venv").unlink()
    stage.environment["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), stage.environment["PATH"]])
    stage.step(action=Alembic("upgrade", "a1", alembic))
    assert stage.play()[-1].event == "ended", stage.log()
    assert made(server) == [("a1", "replay step: step 1")]


def test_what_is_missing_is_found_before_anything_runs(stage, alembic, django) -> None:
    stage.step(action=Alembic("upgrade", "head", stage.folder / "alembic.ini"))
    with pytest.raises(InputError, match=r"'step 1' runs Alembic, and there is no .*alembic\.ini"):
        stage.prepare()
    stage.plans.clear()
    stage.step(action=Django(stage.folder / "manage.py", ()))
    with pytest.raises(InputError, match=r"'step 1' runs Django, and there is no .*manage\.py"):
        stage.prepare()
    (stage.folder / ".venv").unlink()
    stage.environment["PATH"] = str(stage.folder)
    for action, said in (
        (Alembic("upgrade", "head", alembic), "Alembic, which is neither in"),
        (Django(django, ()), "Django, and there is no Python"),
    ):
        stage.plans.clear()
        stage.step(action=action)
        with pytest.raises(InputError, match=said):
            stage.prepare()
