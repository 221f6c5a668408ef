"""The documentation says what the code does: every command, option, key, limit and field, and nothing that is not."""

import ast
import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from replay.capture.segments import SCHEMA as EXCHANGES
from replay.cli.main import COMMANDS, cli
from replay.errors import ExitCode, InputError, PlanError
from replay.evidence.files import ArmFolder, write_json
from replay.evidence.run import Evidence
from replay.evidence.values import ArmInfo, LogEvent, Mark, Observation, Outcome, Reading, Sample
from replay.judge.checks import WAYS
from replay.judge.criteria import Criteria, parse_criteria
from replay.judge.findings import Check, Finding
from replay.judge.verdict import judge
from replay.rehearsal.plan import read_plan
from replay.scenario.schedule import SCHEDULE_SCHEMA

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LIMITS = [field for field in dataclasses.fields(Criteria) if field.name != "endpoints"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """A page's text under ``heading``, up to the next heading of its level or above."""
    lines = read(name).splitlines()
    assert heading in lines, f"{name} lacks the heading {heading!r}"
    level = heading.partition(" ")[0]
    rest = lines[lines.index(heading) + 1 :]
    end = next((n for n, line in enumerate(rest) if re.match(rf"#{{1,{len(level)}}} ", line)), len(rest))
    return "\n".join(rest[:end])


def rows(text: str, first: str) -> dict[str, list[str]]:
    """The rows of those tables whose heading's first cell is ``first``, by the names that stand in their first cell."""
    found: dict[str, list[str]] = {}
    for table in re.findall(r"^\| .*(?:\n\|.*)*", text, re.MULTILINE):
        heading, _, *lines = table.splitlines()
        if heading.split("|")[1].strip() != first:
            continue
        for line in lines:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells[1:])
    return found


def fences(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def names_of(value: type) -> set[str]:
    return {field.name for field in dataclasses.fields(value)}


# Commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    options = {
        text for one in command.params if isinstance(one, click.Option) for text in (*one.opts, *one.secondary_opts)
    }
    documented = rows(section("docs/commands.md", f"## replay {name}"), "Option")
    assert {option.split()[0] for option in documented} == options
    for one in command.params:
        written = next((cells for option, cells in documented.items() if option.split()[0] in one.opts), [""])[0]
        if isinstance(one, click.Option) and one.show_default:
            assert f"`{one.default}` (default)" in written or f"default `{one.default}`" in written
        if isinstance(one, click.Option) and one.required:
            assert "required" in written


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_and_its_exit_codes(name: str) -> None:
    text = section("docs/commands.md", f"## replay {name}")
    assert any(f"$ replay {name}" in fence for fence in fences(text, "console"))
    assert re.search(r"^Exit codes: .*\b0\b", text, re.MULTILINE)


def test_commands_stand_in_their_order_and_no_other_is_there() -> None:
    assert re.findall(r"^## replay (\S+)$", read("docs/commands.md"), re.MULTILINE) == list(COMMANDS)


def test_every_exit_code() -> None:
    found = re.findall(r"^\| (\d+) \|", read("docs/commands.md"), re.MULTILINE)
    assert sorted(map(int, found)) == sorted({int(code) for code in ExitCode})


# The plan

PLAN_TABLES = {"rehearsal", "target", "workloads", "pools", "steps", "probes", "abort", "criteria"}
# The least that each table needs, so that one can be read without the others.
LEAST = {
    "rehearsal": '[rehearsal]\nname = "x"\n',
    "target": '[target]\nurl = "http://stage.test"\n',
    "workloads": '[workloads.production]\ncapture = "x"\n',
}
# A heading of docs/plan.md, and the least of the table that it describes.
TABLES = {
    "## `[rehearsal]`": LEAST["rehearsal"],
    "## `[target]`": LEAST["target"],
    "## `[workloads.NAME]`": LEAST["workloads"],
    "## `[pools.NAME]`": '[pools.x]\ncsv = "x"\n',
    "## `[[steps]]`": '[[steps]]\nname = "x"\nkind = "migrate"\nat = "1s"\nrun = "true"\n',
    '### `kind = "postgres"`': '[probes.x]\nkind = "postgres"\ndsn = "host=stage.test"\n',
    '### `kind = "mysql"`': '[probes.x]\nkind = "mysql"\ndsn = "mysql://u@stage.test/x"\n',
    '### `kind = "sqlite"`': '[probes.x]\nkind = "sqlite"\npath = "x"\n',
    '### `kind = "log"`': '[probes.x]\nkind = "log"\npath = "x"\n',
    '### `kind = "process"`': '[probes.x]\nkind = "process"\n',
    '### `kind = "prometheus"`': '[probes.x]\nkind = "prometheus"\nurl = "http://stage.test/m"\nseries = ["up"]\n',
    "## `[abort]`": "[abort]\n",
}


def plan_of(text: str, folder: Path) -> Any:
    """The plan of one or more tables, completed with the least of those that every plan needs."""
    missing = [least for table, least in LEAST.items() if table not in tomllib.loads(text)]
    file = folder / "plan.toml"
    file.write_text(text + "\n" + "\n".join(missing), encoding="utf-8")
    variables = re.findall(r"\$\{(\w+)\}", text)
    return read_plan(file, {name: "http://stage.test" if "URL" in name else "host=stage.test" for name in variables})


def known_keys(least: str, folder: Path) -> set[str]:
    """The keys that the plan's reader knows of a table, as it names them when it refuses one."""
    with pytest.raises(PlanError) as refused:
        plan_of(f"{least}no_such_key = 1\n", folder)
    _, known, names = refused.value.hint.partition("Known: ")
    assert known, refused.value
    return set(names.rstrip(".").split(", "))


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_of_the_plan(heading: str, tmp_path: Path) -> None:
    assert set(rows(section("docs/plan.md", heading), "Key")) == known_keys(TABLES[heading], tmp_path)


def test_every_table_of_the_plan(tmp_path: Path) -> None:
    tables = known_keys("[x]\n", tmp_path)
    headings = re.findall(r"^## `\[+(\w+)", read("docs/plan.md"), re.MULTILINE)
    assert sorted(headings) == sorted(tables)


@pytest.mark.parametrize("heading", TABLES)
def test_every_default_of_the_plan(heading: str, tmp_path: Path) -> None:
    given = tomllib.loads(TABLES[heading])
    (table,) = given
    own, given = (_one(table, values) for values in (plan_of(TABLES[heading], tmp_path).resolved, given))
    documented = rows(section("docs/plan.md", heading), "Key")
    for key, value in own.items():
        if key not in given:
            assert documented[key][1] == f"`{_toml(value)}`", key
    for key, cells in documented.items():
        assert key in own or not cells[1].startswith("`"), f"{key} has no default"


@pytest.mark.parametrize("heading", TABLES)
def test_every_required_key_of_the_plan(heading: str, tmp_path: Path) -> None:
    least = TABLES[heading]
    for key, cells in rows(section("docs/plan.md", heading), "Key").items():
        line = re.search(rf"^{key} = .*\n", least, re.MULTILINE)
        if cells[1] == "required":
            assert line, f"{key} is not required"
            with pytest.raises(PlanError):
                plan_of(least.replace(line[0], ""), tmp_path)


def _one(table: str, values: dict[str, Any]) -> dict[str, Any]:
    """The only table of its kind."""
    found = values[table]
    if table in {"workloads", "pools", "probes"}:
        (found,) = found.values()
    elif table == "steps":
        (found,) = found
    return found


def _toml(value: object) -> str:
    return json.dumps(value)


def test_every_criterion() -> None:
    documented = rows(section("docs/plan.md", "## `[criteria]`"), "Limit")
    assert list(documented) == [field.name for field in LIMITS]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda field: field.name)
def test_every_default_of_the_criteria(limit: dataclasses.Field[Any]) -> None:
    documented = rows(section("docs/plan.md", "## `[criteria]`"), "Limit")
    default, of_an_endpoint, _ = documented[limit.name]
    assert default == ("none" if limit.default is None else f"`{_written(limit.default)}`")
    try:
        parse_criteria({"endpoints": {"GET /x": {limit.name: 0.5}}})
    except InputError:
        assert of_an_endpoint == "no"
    else:
        assert of_an_endpoint == "yes"


def _written(default: float | bool) -> str:
    return str(default).lower() if isinstance(default, bool) else f"{default:g}"


def test_an_approver_reads_one_page_and_finds_the_limits_in_the_plan() -> None:
    page = section("docs/judging.md", "## For whoever approves the release")
    assert len(page.split()) <= 620
    assert max(map(len, page.splitlines())) < 200
    assert len(page.splitlines()) <= 60
    assert "](plan.md#criteria)" in page
    assert not rows(read("docs/judging.md"), "Limit"), "the limits stand in the plan's page alone"


def checks_of_the_code() -> set[str]:
    """The names of all checks of a rehearsal, as the judge's modules give them to what makes a check."""
    found = set(WAYS)  # these are given one after another
    place = {"evidence_check": 0, "Check": 0, "_check": 1}  # of the name among the arguments
    for file in (ROOT / "src/replay/judge").rglob("*.py"):
        if file.parent.name == "soak":
            continue
        module = vars(importlib.import_module(".".join(file.relative_to(ROOT / "src").with_suffix("").parts)))
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in place:
                continue
            name = next(iter(call.args[place[call.func.id] :]), None)
            value = name.value if isinstance(name, ast.Constant) else module.get(getattr(name, "id", ""))
            found |= {value} if isinstance(value, str) else set()
    return found


def test_every_check_of_the_judge_is_described_and_no_other() -> None:
    text = read("docs/judging.md")
    about_change = set(rows(text, "Check"))
    unsound = next(
        table for table in re.findall(r"^\| .*(?:\n\|.*)*", text, re.MULTILINE) if "| What is wrong" in table
    )
    about_evidence = set(re.findall(r"`(\w+)`", unsound))
    assert about_change | about_evidence == checks_of_the_code()
    assert not about_change & about_evidence
    assert {"latency", "criteria_endpoints", "data_after_rollback", "migration_s"} < checks_of_the_code()


# Files


@pytest.mark.parametrize(
    ("heading", "first", "names"),
    [
        ("## A capture", "Column", set(EXCHANGES.names)),
        ("### Observations", "Column", names_of(Observation)),
        ("### Readings", "Column", names_of(Reading)),
        ("### Log events", "Column", names_of(LogEvent)),
        ("### Marks", "Field", names_of(Mark)),
        ("### Samples", "Field", names_of(Sample)),
        ("### arm.json", "Field", names_of(ArmInfo)),
        ("## verdict.json", "Field", names_of(Finding)),
    ],
)
def test_every_column_and_field(heading: str, first: str, names: set[str]) -> None:
    assert set(rows(section("docs/files.md", heading), first)) == names


def test_every_outcome() -> None:
    cells = rows(section("docs/files.md", "### Observations"), "Column")["outcome"]
    assert re.findall(r"`([^`]+)`", cells[0]) == [str(outcome) for outcome in Outcome]


def test_every_key_of_the_verdict() -> None:
    verdict = judge(Evidence(Path("nowhere"), {}, {}, {})).to_json()
    documented = rows(section("docs/files.md", "## verdict.json"), "Key")
    assert set(documented) == set(verdict)
    assert set(re.findall(r"`(\w+)`", documented["criteria"][0])) >= names_of(Check) - {"voids"}


def test_every_column_of_a_planned_request() -> None:
    text = section("docs/files.md", "## A scenario")
    for name in SCHEDULE_SCHEMA.names:
        assert f"`{name}`" in text, name


def small_run(run: Path) -> None:
    """A run with two arms of production, in which one request came back empty behind a lock."""
    observed = Observation(
        request=0, visit=0, client="c", endpoint="GET /x", due_s=1.0, waited_s=0.0, sent_s=1.0, first_byte_s=1.1,
        done_s=1.1, status=200, size_bytes=8, digest="0" * 16, shape="{id:number}", expected_status=200,
        expected_shape="{id:number}", outcome="ok", error=None, caused_by=None, worker="w",
    )  # fmt: skip
    for steps in (False, True):
        arm = ArmFolder(run / "arms" / f"production-{'steps' if steps else 'control'}")
        arm.create()
        began = datetime(2026, 1, 5, 9, steps, tzinfo=UTC).isoformat()
        arm.write_info(ArmInfo(arm.path.name, "production", "production", steps, began, 10.0, 2, "complete"))
        second = dataclasses.replace(observed, request=1, outcome="empty" if steps else "ok")
        arm.observations("w").write([observed, second])
        arm.readings("database").write([Reading(1.0, "database", "lock_wait_s", 4.5, {})])
    write_json(run / "rehearsal.json", {"format": 1, "name": "demo", "state": "complete"})


@pytest.mark.parametrize("name", NAMES)
def test_python_runs(name: str, tmp_path: Path) -> None:
    for folder in ("demo", "try"):
        small_run(tmp_path / "runs" / folder)
    for code in fences(read(name), "python"):
        secrets = dict.fromkeys(re.findall(r'os\.environ\["(\w+)"\]', code), "made-up")
        # A process of its own, since what imports locust patches its whole process.
        ran = subprocess.run(
            [sys.executable, "-c", code],
            check=False,
            cwd=tmp_path,
            env={**os.environ, **secrets},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout or "print(" not in code


# All pages


@pytest.mark.parametrize("name", NAMES)
def test_links_resolve(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(read(name))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_plans_can_be_read(name: str, tmp_path: Path) -> None:
    for text in fences(read(name), "toml"):
        if set(tomllib.loads(text)) <= PLAN_TABLES:
            parse_criteria(plan_of(text, tmp_path).criteria)


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_machine(name: str) -> None:
    assert not re.findall(r"(?<![\w.])/(?:work|root|home|tmp)\b/?\S*", read(name))


@pytest.mark.parametrize("name", NAMES)
def test_commands_in_examples_exist(name: str) -> None:
    text = read(name)
    called = {
        word for fence in fences(text, "console") for word in re.findall(r"^\$ replay (\w+)", fence, re.MULTILINE)
    }
    called |= set(re.findall(r"`replay (\w+)", text))
    assert called <= set(COMMANDS)
