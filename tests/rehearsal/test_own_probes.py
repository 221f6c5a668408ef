"""A probe of another package: installed as pip leaves it, found by its entry point, and played."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "plan.md"
PLAY = """
import sys, time
from pathlib import Path
from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.plan import read_plan
from replay.rehearsal.probes.plan import Setting

plan = read_plan(Path("plan.toml"))
arm = ArmFolder(Path("arm"))
arm.create()
(probe,) = (one.open(Setting(ArmClock.started_now(), arm.readings, arm.log, plan.scrubber())) for one in plan.probes)
probe.start()
time.sleep(0.5)
probe.stop()
"""
PLAN = """
[target]
url = "http://127.0.0.1:1"
allow = ["127.0.0.1"]
[workloads.production]
capture = "production"
[probes.mail]
kind = "spool"
folder = "outgoing"
"""


def install(site: Path, code: str, point: str) -> None:
    """A package and its metadata, as an installer leaves them."""
    (site / "stage_spool.py").write_text(code)
    info = site / "stage_spool-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stage-spool\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[replay.probes]\nspool = {point}\n")


def example() -> str:
    """The worked example of docs/plan.md."""
    section = DOCS.read_text(encoding="utf-8").partition("### Your own kind")[2]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def run(folder: Path, code: str) -> "subprocess.CompletedProcess[str]":
    start = f"import sys; sys.path.insert(0, {str(folder / 'site')!r})\n"
    return subprocess.run(
        [sys.executable, "-c", start + code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "outgoing").mkdir()
    (tmp_path / "outgoing" / "1.eml").touch()
    (tmp_path / "outgoing" / "2.eml").touch()
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path


def test_the_example_of_the_documentation_reads(folder: Path) -> None:
    install(folder / "site", example(), "stage_spool:read_spool")
    ran = run(folder, PLAY)
    assert ran.returncode == 0, ran.stderr
    shown = run(
        folder,
        "import json, pandas, glob\n"
        "frame = pandas.concat(map(pandas.read_parquet, glob.glob('arm/readings/*.parquet')))\n"
        "print(json.dumps(frame[['probe', 'metric', 'value']].drop_duplicates().values.tolist()))",
    )
    assert json.loads(shown.stdout) == [["mail", "spooled_files", 2.0]]


def test_its_keys_are_checked_as_ours_are(folder: Path) -> None:
    install(folder / "site", example(), "stage_spool:read_spool")
    (folder / "plan.toml").write_text(PLAN.replace("folder =", "floder ="))
    assert '"folder" in [probes.mail] is missing' in run(folder, PLAY).stderr
    (folder / "plan.toml").write_text(PLAN + "size = 3\n")
    assert 'unknown key "size"' in run(folder, PLAY).stderr


@pytest.mark.parametrize("point", ["stage_spool:no_such_function", "no_such_module:read"])
def test_one_that_does_not_load_is_said(folder: Path, point: str) -> None:
    install(folder / "site", example(), point)
    assert "is of another package, which does not load" in run(folder, PLAY).stderr


def test_a_kind_that_nobody_brings_is_refused_with_those_that_are_there(folder: Path) -> None:
    install(folder / "site", example(), "stage_spool:read_spool")
    (folder / "plan.toml").write_text(PLAN.replace('"spool"', '"spol"'))
    assert re.search(r"'spol', and must be one of postgres, .*, spool", run(folder, PLAY).stderr)
