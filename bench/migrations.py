"""Migrations that deserve a verdict, rehearsed: is each verdict right, and does it name the right cause?

    python bench/migrations.py [--only NAME]... [--times N] [--swap] [--keep FOLDER] [--controls RUN]
    python bench/migrations.py --again [--only NAME]... [--keep FOLDER]

Rehearses those of `bench/migrations/` on a Stage of its own under the demonstration's two workloads, beside controls
that are played once, and compares with `cases.toml`. Runs stay in the folder (`runs/migrations`), a line for each is
appended to its `results.jsonl`, and the table at the end is of all lines there. `--again` plays nothing and judges the
runs that are there once more.

A placebo goes with each: the same evidence with the roles of its workloads exchanged, as if pre-production's capture
were production's. Nothing may then fail only in production. `--swap` plays that instead, from the exchanged captures.

Leaves with 1 where a verdict, a cause, an endpoint or an ``only_in_production`` of this time is wrong.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import print_table

from replay.demo.identities import write_identities
from replay.demo.stage import Stage
from replay.evidence.run import Evidence, read_run
from replay.judge.findings import BLOCKING, NOTE, Finding, nameless
from replay.judge.verdict import Verdict, judge, judge_run

_ROOT = Path(__file__).parents[1]
_FOLDER = Path(__file__).with_suffix("")
_LIMIT_S = 600.0
_MARKS = {True: "yes", False: "NO", None: ""}
_OTHER = {"production": "pre-production", "pre-production": "production"}

_PLAN = """
[rehearsal]
name = "{name}"

[target]
url = "${{STAGE_URL}}"
allow = ["127.0.0.1"]
ready = "GET /health"
reset = "${{STAGE_RESET}}"

[workloads.qa]
capture = "${{DEMO_CAPTURES}}/qa"
role = "{qa}"
duration = "28s"
identities = "${{DEMO_IDENTITIES}}"

[workloads.production]
capture = "${{DEMO_CAPTURES}}/production"
role = "{production}"
duration = "28s"
identities = "${{DEMO_IDENTITIES}}"

[[steps]]
name = "{case}"
kind = "migrate"
at = "{at}"
sql = "{up}"
dsn = "${{STAGE_DSN}}"
timeout = "30s"
{more}
[probes.database]
kind = "postgres"
dsn = "${{STAGE_DSN}}"
replicas = ["${{STAGE_REPLICA_DSN}}"]

[probes.errors]
kind = "log"
path = "${{STAGE_ERROR_LOG}}"
"""
_BACK = """
[[steps]]
name = "{case}, back"
kind = "rollback"
after = "4s"
sql = "{down}"
dsn = "${{STAGE_DSN}}"
timeout = "30s"
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A migration and what it deserves; its fields are told in `cases.toml`."""

    name: str
    verdict: str
    about: str = ""
    cause: str = ""
    endpoints: tuple[str, ...] = ()
    only_in_production: bool | None = None
    at: str = "9s"

    @property
    def scripts(self) -> tuple[Path, ...]:
        """The migration, and the way back where there is one."""
        folder = _FOLDER / self.name
        return (folder / "up.sql", folder / "down.sql") if folder.is_dir() else (folder.with_suffix(".sql"),)


@dataclass(frozen=True, slots=True)
class Result:
    """What one rehearsal came to, and ``right``: what of it is as it should be, by name.

    ``told`` is what the finding of the first reason says, with its root. ``placebo`` has what would fail only in
    production with the roles exchanged. ``second`` are the arms that were played to confirm.
    """

    case: str
    run: str
    swapped: bool
    verdict: str
    rests_on: str | None
    reason: str
    told: str
    only_in_production: bool | None
    endpoints: tuple[str, ...]
    placebo: tuple[str, ...]
    second: tuple[str, ...]
    wanting: tuple[str, ...]
    right: dict[str, bool] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether all of it is."""
        return all(self.right.values())


def main() -> int:
    """Play or judge, compare, and print what is known by now."""
    cases = _read_cases()
    options = _parse(cases)
    keep: Path = options.keep.absolute()
    keep.mkdir(parents=True, exist_ok=True)
    chosen = [case for case in cases if not options.only or case.name in options.only]
    record = keep / "results.jsonl"
    if options.again:
        new = [_result(case, run, again=True) for case in chosen for run in _runs(keep, case)]
        others = [one for one in _read(record) if one.case not in {case.name for case in chosen}]
        record.unlink(missing_ok=True)
        _append(record, others + new)
    else:
        new = _play(chosen, options, keep, record)
    wrong = [one for one in new if not one.is_right]
    for one in wrong:
        missed = ", ".join(name for name, right in one.right.items() if not right)
        print(f"\n{one.run}: wrong {missed}\n  {one.verdict}: {one.reason}\n  {one.told}")
        print(f"  endpoints: {', '.join(one.endpoints)}\n  placebo: {', '.join(one.placebo)}")
    print()
    _print(cases, _read(record))
    asked = len(new) if options.again else len(chosen) * options.times
    print(f"\nThis time {len(new) - len(wrong)} of {asked} rehearsals are right.")
    return 0 if new and len(new) - len(wrong) == asked else 1


def _parse(cases: list[Case]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in cases]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="this one; may be repeated")
    parser.add_argument("--times", type=int, default=1, help="rehearse each so often")
    parser.add_argument("--swap", action="store_true", help="each capture in the other's role")
    parser.add_argument("--again", action="store_true", help="play nothing, judge the runs that are there")
    parser.add_argument("--controls", type=Path, metavar="RUN", help="take this earlier run's controls")
    parser.add_argument("--keep", type=Path, default=Path("runs/migrations"), help="where runs and results stay")
    return parser.parse_args()


def _read_cases() -> list[Case]:
    tables = tomllib.loads((_FOLDER / "cases.toml").read_text(encoding="utf-8"))
    cases = [Case(name, **{key: _plain(value) for key, value in table.items()}) for name, table in tables.items()]
    missing = [str(script) for case in cases for script in case.scripts if not script.is_file()]
    if missing:
        raise SystemExit(f"No such migration: {', '.join(missing)}")
    return cases


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# Playing


def _play(cases: list[Case], options: argparse.Namespace, keep: Path, record: Path) -> list[Result]:
    results = []
    controls: Path | None = options.controls
    with _stage() as environment:
        for _ in range(options.times):
            for case in cases:
                run = _next_run(keep, case, swap=options.swap)
                started = time.monotonic()
                if not _rehearse(case, run, controls, environment, swap=options.swap):
                    print(f"{run.name}: BROKEN, see {run.with_suffix('.log')}", flush=True)
                    continue
                controls = controls or run
                result = _result(case, run)
                results.append(result)
                _append(record, [result])
                verdict = f"{result.verdict}{'' if result.is_right else ', WRONG'}"
                print(f"{run.name}: {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
    return results


@contextlib.contextmanager
def _stage() -> Iterator[dict[str, str]]:
    """A running Stage. Gives the environment that a plan needs."""
    with tempfile.TemporaryDirectory(prefix="replay-migrations-") as temporary, Stage(Path(temporary)) as stage:
        identities = Path(temporary) / "identities.csv"
        write_identities(identities)
        yield {
            **os.environ,
            **stage.environment,
            "DEMO_CAPTURES": str(_ROOT / "captures"),
            "DEMO_IDENTITIES": str(identities),
        }


def _rehearse(case: Case, run: Path, controls: Path | None, environment: dict[str, str], *, swap: bool) -> bool:
    """Whether it came to a verdict."""
    plan = run.with_suffix(".toml")
    plan.write_text(_plan(case, run.name, swap=swap), encoding="utf-8")
    log = run.with_suffix(".log")
    command = [sys.executable, "-m", "replay", "rehearse", str(plan), "--out", str(run)]
    command += ["--controls-of", str(controls)] if controls else []
    with log.open("w", encoding="utf-8") as said:
        done = subprocess.run(
            command, env=environment, stdout=said, stderr=subprocess.STDOUT, timeout=_LIMIT_S, check=False
        )
    return done.returncode in {0, 1, 3}


def _plan(case: Case, name: str, *, swap: bool) -> str:
    up, *down = case.scripts
    production, qa = ("pre-production", "production") if swap else ("production", "pre-production")
    more = "".join(_BACK.format(case=case.name, down=script) for script in down)
    return _PLAN.format(name=name, case=case.name, at=case.at, up=up, more=more, production=production, qa=qa)


def _next_run(keep: Path, case: Case, *, swap: bool) -> Path:
    kind = "swapped" if swap else "played"
    taken = [int(folder.name.rpartition("-")[2]) for folder in keep.glob(f"{case.name}-{kind}-*") if folder.is_dir()]
    return keep / f"{case.name}-{kind}-{max(taken, default=0) + 1}"


def _runs(keep: Path, case: Case) -> list[Path]:
    found = [run for kind in ("played", "swapped") for run in keep.glob(f"{case.name}-{kind}-*")]
    return sorted(run for run in found if (run / "verdict.json").is_file())


# Comparing


def _result(case: Case, run: Path, *, again: bool = False) -> Result:
    evidence = read_run(run)
    verdict = judge_run(run) if again else judge(evidence)
    swapped = any(arm.info.workload == "qa" and arm.info.role == "production" for arm in evidence.arms.values())
    placebo = verdict if swapped else judge(_exchanged(evidence))
    leading = _leading(verdict)
    told = "" if leading is None else f"{leading.explanation} | {leading.root or ''}"
    only = None if leading is None else leading.only_in_production
    endpoints = _endpoints(verdict)
    misplaced = tuple(_named(one) for one in placebo.findings if one.only_in_production and one.severity != NOTE)
    confirming = evidence.rehearsal.get("confirming") or {}
    right = {"verdict": verdict.verdict == case.verdict, "placebo": not misplaced}
    if case.verdict == "NO_GO" and not swapped:
        right |= {
            "cause": re.search(case.cause, told, re.IGNORECASE) is not None,
            "endpoints": {nameless(one) for one in case.endpoints} <= {nameless(one) for one in endpoints},
            "only_in_production": only is case.only_in_production,
        }
    return Result(
        case=case.name,
        run=run.name,
        swapped=swapped,
        verdict=verdict.verdict,
        rests_on=verdict.rests_on,
        reason=verdict.reasons[0],
        told=told,
        only_in_production=only,
        endpoints=endpoints,
        placebo=misplaced,
        second=tuple(str(arm) for pair in confirming.values() for arm in pair.values()),
        wanting=tuple(sorted(verdict.unconfirmed)),
        right=right,
    )


def _exchanged(evidence: Evidence) -> Evidence:
    """The evidence as if each workload had been played in the other's role."""
    arms = {
        name: dataclasses.replace(
            arm, info=dataclasses.replace(arm.info, role=_OTHER.get(arm.info.role, arm.info.role))
        )
        for name, arm in evidence.arms.items()
    }
    return dataclasses.replace(evidence, arms=arms)


def _leading(verdict: Verdict) -> Finding | None:
    """The finding that the first reason is about."""
    for finding in verdict.findings:
        if finding.severity == BLOCKING and verdict.reasons[0].startswith(finding.explanation.rstrip(".")):
            return finding
    return None


def _endpoints(verdict: Verdict) -> tuple[str, ...]:
    """Which endpoints fail, are slow or wait for a lock under production."""
    named: set[str] = set()
    for finding in verdict.findings:
        if finding.severity == BLOCKING and finding.role == "production":
            named |= {finding.endpoint} if finding.endpoint else set(finding.evidence.get("waiting_endpoints", {}))
    return tuple(sorted(named))


def _named(finding: Finding) -> str:
    return f"{finding.endpoint or finding.probe} {finding.metric or finding.outcome} ({finding.severity})"


# Results


def _append(record: Path, results: list[Result]) -> None:
    with record.open("a", encoding="utf-8") as lines:
        for result in results:
            lines.write(json.dumps(dataclasses.asdict(result)) + "\n")


def _read(record: Path) -> list[Result]:
    if not record.is_file():
        return []
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return [Result(**{key: _plain(value) for key, value in row.items()}) for row in rows]


def _print(cases: list[Case], results: list[Result]) -> None:
    by_case: dict[tuple[str, bool], list[Result]] = defaultdict(list)
    for result in results:
        by_case[result.case, result.swapped].append(result)
    rows = []
    for case in cases:
        played, swapped = by_case[case.name, False], by_case[case.name, True]
        if played or swapped:
            rows.append(
                (
                    f"`{case.name}`",
                    case.about,
                    case.verdict,
                    *(_share(played, name) for name in ("verdict", "cause", "endpoints", "only_in_production")),
                    _MARKS[case.only_in_production].lower(),
                    ", ".join(sorted({str(one.rests_on) for one in played if one.rests_on})),
                    _share(played, "placebo"),
                    _share(swapped, "placebo"),
                )
            )
    columns = (
        "Migration", "What breaks, or why nothing does", "Deserved", "Verdict right", "Cause right", "Endpoints right",
        "`only_in_production` right", "Only in production", "Rests on", "Roles exchanged", "Played swapped",
    )  # fmt: skip
    print_table(columns, rows)


def _share(results: list[Result], name: str) -> str:
    told = [one.right[name] for one in results if name in one.right]
    return f"{sum(told)} of {len(told)}" if told else ""


if __name__ == "__main__":
    sys.exit(main())
