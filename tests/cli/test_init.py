"""A plan to start from, that a dry run accepts once its files are there."""

from pathlib import Path

from replay.cli.main import run
from replay.rehearsal.plan import read_plan


def test_the_plan_can_be_read(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    assert run(["init", "--out", str(plan), "--target", "http://stage.test:8000", "--sql", 'odd "name".sql']) == 0
    read = read_plan(plan, {"STAGE_DSN": "host=stage.test"})
    assert read.target.target.url == "http://stage.test:8000"
    assert read.target.allow == ("stage.test",)
    assert [workload.role for workload in read.workloads] == ["pre-production", "production"]
    assert read.steps[0].sql == tmp_path / 'odd "name".sql'
    assert read.criteria == {}


def test_without_pre_production(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    assert run(["init", "--out", str(plan), "--qa", ""]) == 0
    assert [workload.name for workload in read_plan(plan, {"STAGE_DSN": "dbname=x"}).workloads] == ["production"]


def test_nothing_is_written_over(tmp_path: Path, capsys) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("mine")
    assert run(["init", "--out", str(plan)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert plan.read_text() == "mine"
    assert run(["init", "--out", str(tmp_path / "nowhere" / "plan.toml")]) == 2
    assert run(["init", "--out", str(tmp_path / "new.toml"), "--target", "stage"]) == 2
    assert not (tmp_path / "new.toml").exists()
