"""``replay run``: replay a scenario without a migration."""

import dataclasses
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from replay import __version__
from replay.cli.text import plain, print_json
from replay.errors import ExitCode, InputError, Interrupted, ReplayError, StageError, ToolError
from replay.evidence.files import ArmFolder, write_json
from replay.evidence.run import read_run
from replay.evidence.values import ArmInfo, Mark, Outcome
from replay.scenario.copies import lend
from replay.scenario.identities import needed_credentials, rank_clients, read_identities, tell_lack
from replay.scenario.locustfile import Scenario, read_scenario
from replay.scenario.pace import pace
from replay.scenario.payloads import PAYLOADS, check_pools, read_payloads
from replay.scenario.pools import bindings_of, parse_pools
from replay.scenario.process import LocustProcess, locust_command
from replay.scenario.schedule import Schedule
from replay.target import PRODUCTION, Target, check_allowed, check_not_production, parse_environment, parse_target

_ANSWERS_WITHIN_S = 5.0
_LOOKS_EVERY_S = 0.5
_WIDTH_IN_A_FILE = 120


def _seconds(text: str) -> float:
    """A length of time in seconds: ``90``, ``90s``, ``1.5m``, ``2h``."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:])
    try:
        seconds = float(text[:-1] if unit else text) * (unit or 1.0)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{text!r} is not a length of time such as 90s or 5m.")
    return seconds


@click.command("run")
@click.argument("locustfile", type=click.Path(path_type=Path))
@click.option("--target", "target_url", required=True, metavar="URL", help="Where the requests go.")
@click.option("--allow", multiple=True, required=True, metavar="HOST", help="The host that load may go to; repeatable.")
@click.option(
    "--duration",
    "duration_s",
    type=_seconds,
    metavar="TIME",
    help="Cut or repeat the schedule to this length, e.g. 60s.",
)
@click.option("--speed", type=click.FloatRange(0, min_open=True), default=1.0, help="Compress time.  [default: 1]")
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, help="Multiply visits.  [default: 1]")
@click.option("--identities", type=click.Path(path_type=Path), help="The target's credentials for the clients, as CSV.")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    metavar="PARAMETER=FILE",
    help="The target's own values for a parameter, hottest first, as CSV; repeatable.",
)
@click.option(
    "--timeout", "timeout_s", type=_seconds, metavar="TIME", help="Give up an answer that takes longer.  [default: 30s]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="runs/NAME",
    help="The run's folder, which must not hold anything yet.  [default: runs/ with the scenario's name and the time]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
def command(
    *,
    locustfile: Path,
    target_url: str,
    allow: Sequence[str],
    duration_s: float | None,
    speed: float,
    scale: float,
    identities: Path | None,
    pools: Sequence[str],
    timeout_s: float | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Replay the scenario LOCUSTFILE against a target, as an open loop, and summarise what came back.

    What became of every request is kept in the run's folder. Leaves with 0 however the target answered, 2 where
    something given is wrong or refused, 4 where the target does not answer, 130 where it was interrupted.

    \b
    Examples:
      replay run locustfiles/production.py --target http://127.0.0.1:8000 --allow 127.0.0.1
      replay run locustfiles/production.py --target http://127.0.0.1:8000 --allow 127.0.0.1 \\
          --duration 60s --speed 2 --identities secrets/clients.csv --out runs/soak
      replay run locustfiles/production.py --target http://127.0.0.1:8000 --allow 127.0.0.1 \\
          --pool event_id=events.csv --pool user_id,owner_id=users.csv
    """
    scenario = read_scenario(locustfile)
    target = _checked_target(target_url, allow, scenario)
    if identities is not None and not identities.is_file():
        raise InputError(f"There is no identities file at {identities}.")
    schedule = pace(scenario.schedule, speed=speed, scale=scale, duration_s=duration_s)
    notes = _notes(scenario, schedule, identities, pools)
    for note in notes:
        click.echo(f"Note: {plain(note)}", err=True)
    run = out or Path("runs") / f"{locustfile.stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    _check_answers(target)
    arm = _create(run, scenario, schedule, target.url)
    asked = locust_command(
        locustfile,
        target_url=target_url,
        evidence=arm.folder.path,
        start_at=None,
        duration_s=duration_s,
        speed=speed,
        scale=scale,
        identities=identities,
        allow=allow,
        timeout_s=timeout_s,
        pools=pools,
    )
    try:
        _play(LocustProcess(asked, run / "locust.log"), arm)
    except BaseException as error:
        arm.end("interrupted" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed", str(error))
        raise
    arm.end("complete")
    summary = _summary(run, arm.info.arm) | {"notes": notes}
    if as_json:
        print_json(summary)
    else:
        _show(summary)
    outcomes = {name for endpoint in summary["endpoints"] for name in endpoint["outcomes"]}
    if outcomes <= {Outcome.NO_CONNECTION, Outcome.UNSENT}:
        raise StageError(f"Nothing answered at {target.url}.", f"What was recorded lies in {run}.")
    return ExitCode.GO


@dataclass(slots=True)
class _Arm:
    """The run's one arm, and what its files say of how far it came."""

    run: Path
    folder: ArmFolder
    info: ArmInfo
    rehearsal: dict[str, Any]

    def end(self, state: str, reason: str = "") -> None:
        """Write how it ended, and when the replay really began: what locust needs to start is not part of it."""
        began = self.info.started_at
        for file in self.folder.path.glob("replay-*.json"):
            began = json.loads(file.read_text(encoding="utf-8"))["started_at"] or began
        self.info = dataclasses.replace(self.info, state=state, reason=reason, started_at=began)
        lasted = datetime.now(UTC) - datetime.fromisoformat(began)
        self.folder.mark(Mark(lasted.total_seconds(), "", "arm", "ended"))
        self.folder.write_info(self.info)
        self.rehearsal |= {"state": state, "reason": reason, "ended_at": datetime.now(UTC).isoformat()}
        write_json(self.run / "rehearsal.json", self.rehearsal)


def _notes(scenario: Scenario, paced: Schedule, identities: Path | None, pools: Sequence[str]) -> list[str]:
    """What to know of the target's own values; ``paced`` is the schedule as it is played.

    Raises InputError where they cannot be used.
    """
    parsed = parse_pools(pools)
    templates = scenario.data / PAYLOADS
    check_pools(
        read_payloads(templates) if templates.exists() else {}, {name for pool in parsed for name in pool.parameters}
    )
    notes = [binding.told for binding in bindings_of(scenario.schedule, parsed)]
    if identities is not None:
        given = read_identities(identities, rank_clients(scenario.schedule))
        lack = tell_lack(needed_credentials(scenario.schedule), given, identities.name)
        notes += [f"Credentials are lacking for {lack}: requests that need them are not sent."] if lack else []
        sharing = lend(paced, given).note
        notes += [sharing] if sharing else []
    return notes


def _checked_target(url: str, allow: Sequence[str], scenario: Scenario) -> Target:
    """The same checks that the runtime makes, before anything is written or started."""
    target = parse_target(url)
    check_allowed(target.host, allow, "Load")
    capture = scenario.meta.get("capture") or {}
    if parse_environment(str(capture.get("environment", ""))) == PRODUCTION:
        check_not_production(target, capture.get("hosts") or ())
    return target


def _check_answers(target: Target) -> None:
    try:
        socket.create_connection((target.host, target.port), _ANSWERS_WITHIN_S).close()
    except OSError as error:
        raise StageError(f"{target.url} does not answer: {error}.", "Start it, or correct --target.") from error


def _create(run: Path, scenario: Scenario, schedule: Schedule, target_url: str) -> _Arm:
    """Make the run's folder. Raises InputError where it holds something already."""
    if run.is_file() or (run.is_dir() and any(run.iterdir())):
        raise InputError(f"{run} is there already.", "Choose another name with --out.")
    workload = scenario.path.stem
    capture = scenario.meta.get("capture") or {}
    started_at = datetime.now(UTC).isoformat()
    info = ArmInfo(
        arm=f"{workload}-control",
        workload=workload,
        role="production",
        steps=False,
        started_at=started_at,
        duration_s=schedule.duration_s,
        planned=len(schedule),
    )
    rehearsal = {
        "format": 1,
        "name": run.name,
        "state": "running",
        "reason": "",
        "started_at": started_at,
        "ended_at": None,
        "replay_version": __version__,
        "plan": {},
        "criteria": {},
        "captures": {workload: capture},
        "migrations": [],
        "target": target_url,
        "order": [info.arm],
        "reset": False,
        "endpoint_roles": {},
    }
    folder = ArmFolder(run / "arms" / info.arm)
    try:
        folder.create()
        folder.write_info(info)
        folder.mark(Mark(0.0, "", "arm", "started"))
        write_json(run / "rehearsal.json", rehearsal)
    except OSError as error:
        raise InputError(f"The run cannot be written to {run}: {error.strerror}.") from error
    return _Arm(run, folder, info, rehearsal)


def _play(process: LocustProcess, arm: _Arm) -> None:
    """Run locust to its end, with a line of progress. Raises the ReplayError that its exit code stands for."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,} requests"))
    seen: dict[Path, int] = {}
    try:
        with process, Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("Starting locust", total=arm.info.planned)
            while (code := process.wait(_LOOKS_EVERY_S)) is None:
                _count(arm.folder.path / "observations", seen)
                words = f"Replaying {arm.info.workload}" if seen else "Starting locust"
                progress.update(task, completed=sum(seen.values()), description=words)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted.", f"What was observed until then is kept in {arm.run}.") from None
    if code != 0:
        raise _ended_badly(code, process, arm.run)


def _count(folder: Path, seen: dict[Path, int]) -> None:
    for file in folder.glob("*.parquet"):
        if file not in seen:
            try:
                seen[file] = pq.read_metadata(file).num_rows
            except (OSError, pa.ArrowException):
                continue


def _ended_badly(code: int, process: LocustProcess, run: Path) -> ReplayError:
    log = f"All that locust said is in {run / 'locust.log'}."
    if code == ExitCode.INTERRUPTED:
        return Interrupted("The replay was interrupted.", f"What was observed until then is kept in {run}.")
    lines = process.last_words(20).splitlines()
    said = next((line.removeprefix("Error: ") for line in reversed(lines) if line.startswith("Error: ")), "")
    if code == ExitCode.INPUT:
        return InputError(said or "locust refused the locustfile or its options.", log)
    return ToolError(said or f"locust ended with exit code {code}: {lines[-1] if lines else 'it said nothing'}.", log)


def _summary(run: Path, arm_name: str) -> dict[str, Any]:
    arm = read_run(run).arms[arm_name]
    frame = arm.observations
    frame = frame.assign(latency_s=frame.done_s - frame.sent_s, late_s=frame.sent_s - frame.due_s - frame.waited_s)
    endpoints = [
        {
            "endpoint": endpoint,
            "requests": len(rows),
            "outcomes": {str(name): int(count) for name, count in rows.outcome.value_counts().items()},
            **{f"p{share}_s": _quantile(rows.latency_s, share) for share in (50, 95, 99)},
        }
        for endpoint, rows in frame.groupby("endpoint", sort=True)
    ]
    return {
        "run": str(run),
        "planned": arm.info.planned,
        "observed": len(frame),
        "sent": int(frame.sent_s.notna().sum()),
        "duration_s": arm.info.duration_s,
        "lateness_p50_s": _quantile(frame.late_s, 50),
        "lateness_p99_s": _quantile(frame.late_s, 99),
        "endpoints": endpoints,
    }


def _quantile(values: "pd.Series[float]", share: int) -> float | None:
    known = values.dropna()
    return round(float(known.quantile(share / 100)), 6) if len(known) else None


def _show(summary: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("Endpoint", overflow="fold")
    for heading in ("Requests", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    table.add_column("Outcomes")
    for row in summary["endpoints"]:
        times = ["-" if row[key] is None else f"{row[key] * 1000:,.1f}" for key in ("p50_s", "p95_s", "p99_s")]
        outcomes = ", ".join(f"{count:,} {name}" for name, count in row["outcomes"].items())
        table.add_row(plain(row["endpoint"]), f"{row['requests']:,}", *times, outcomes)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_IN_A_FILE)
    console.print(table)
    late = summary["lateness_p99_s"]
    own = "" if late is None else f" The replay's own lateness: p99 {late * 1000:,.1f} ms."
    console.print(
        f"{summary['observed']:,} of {summary['planned']:,} planned requests recorded.{own}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Evidence: {summary['run']}", highlight=False, soft_wrap=True)
