"""``replay run``: replay a scenario without a migration."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from replay import __version__
from replay.cli.aiming import aim_at
from replay.cli.ending import ended_badly, never_began
from replay.cli.playing import watch
from replay.cli.soaking import SoakFile, exit_code, foretell, judge, probing, read_soak_file, show_verdict
from replay.cli.summing import show, summarise, tell_unsent
from replay.cli.text import plain, print_json
from replay.errors import ExitCode, InputError, Interrupted, StageError, ToolError
from replay.evidence.files import ArmFolder, write_json
from replay.evidence.values import ArmInfo, Mark, Outcome
from replay.judge.soak.criteria import SOAK
from replay.rehearsal.outline import check_endpoints
from replay.scenario.answers import count_sent
from replay.scenario.copies import lend
from replay.scenario.identities import needed_columns, rank_clients, read_identities
from replay.scenario.lacking import CREDENTIAL, PREPARE, tell_example, tell_lacking
from replay.scenario.locustfile import Scenario, read_scenario
from replay.scenario.pace import pace
from replay.scenario.payloads import PAYLOADS, check_pools, read_payloads
from replay.scenario.pools import bindings_of, parse_pools
from replay.scenario.process import LocustProcess, Web, locust_command, parse_web
from replay.scenario.repeats import only, round_of
from replay.scenario.schedule import Schedule
from replay.target import NOT_PRODUCTION, Target

_BYTES_OF_A_REQUEST = 120  # of evidence: 25 to 35 once it was rolled up, 55 to 90 before, and then some
_BYTES_OF_A_PROBE = 2_000  # a second
_LEAST_FREE = 200_000_000
_WORTH_SAYING = 100_000_000


def _seconds(text: str) -> float:
    """A length of time in seconds: ``90``, ``90s``, ``1.5m``, ``2h``."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:])
    try:
        seconds = float(text[:-1] if unit else text) * (unit or 1.0)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(
            f"{text!r} is not a length of time. Write seconds (90, 90s), minutes (1.5m) or hours (2h)."
        )
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
    "--criteria",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Judge the run by the limits in this TOML file, and watch it with its probes.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="runs/NAME",
    help="The run's folder, which must not hold anything yet.  [default: runs/ with the scenario's name and the time]",
)
@click.option(
    "--not-production",
    type=click.Choice([NOT_PRODUCTION]),
    metavar="SENTENCE",
    help=f'"{NOT_PRODUCTION}": names and marks of production are not looked at.',
)
@click.option("--web", metavar="HOST:PORT", help="Show it in a browser too: locust's web page, with a tab Replay.")
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
    criteria: Path | None,
    out: Path | None,
    not_production: str | None,
    web: str | None,
    as_json: bool,
) -> int:
    """Replay the scenario LOCUSTFILE against a target, as an open loop, and summarise what came back.

    What became of every request is kept in the run's folder. Leaves with 0 however the target answered, 2 where
    something given is wrong or refused or nothing could be sent, 4 where the target does not answer, 130 where it was
    interrupted. With --criteria the run is judged, also for drift: 0 for GO, 1 for NO_GO, 3 for INCONCLUSIVE.

    \b
    Examples:
      replay run locustfiles/production.py --target http://127.0.0.1:8000 --allow 127.0.0.1
      replay run locustfiles/production.py --target http://127.0.0.1:8000 --allow 127.0.0.1 \\
          --duration 60s --speed 2 --identities secrets/clients.csv --out runs/soak
      replay run locustfiles/production.py --target http://127.0.0.1:8000 --allow 127.0.0.1 \\
          --pool event_id=events.csv --pool user_id,owner_id=users.csv
      replay run locustfiles/production.py --target http://127.0.0.1:8000 --allow 127.0.0.1 \\
          --duration 8h --criteria soak.toml --out runs/night
    """
    scenario = read_scenario(locustfile)
    aim = aim_at(target_url, allow, scenario.meta.get("capture") or {}, looks=not_production is None)
    if identities is not None and not identities.is_file():
        raise InputError(f"There is no identities file at {identities}.", tell_example(scenario.data))
    _check_pools(pools)
    soak = None if criteria is None else aim.checked(read_soak_file(criteria, allow))
    schedule = pace(scenario.schedule, speed=speed, scale=scale, duration_s=duration_s)
    planned, lasts_s = count_sent(schedule, scenario.answers), schedule.duration_s
    notes = _notes(scenario, schedule, identities, pools)
    judging = _judged(soak, scenario.schedule.duration_s / speed, lasts_s)
    if soak is not None:
        counts = _count_asked(soak, scenario, schedule)
        notes += foretell(soak, planned, counts, (lasts_s, judging["cycle_s"]))
    del schedule  # which may be large; locust paces one of its own
    for note in notes:
        click.echo(f"Note: {plain(note)}", err=True)
    run = out or Path("runs") / f"{locustfile.stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if told := _check_disk(run, planned, lasts_s, soak):
        click.echo(f"Note: {told}", err=True)
    aim.ask(soak)
    address = None if web is None else parse_web(web)
    arm = _create(run, scenario, (planned, lasts_s), aim.target.url, judging)
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
        web=address,
    )
    start = arm.folder.path.absolute() / "start"
    if soak and soak.probes:
        asked += ["--start-file", str(start)]
    process = LocustProcess(asked, run / "locust.log")
    try:
        _play(process, arm, locustfile, soak, start, web=address)
    except _DiskFullError as error:
        arm.end("aborted", str(error))
        click.echo(f"Note: the replay was stopped: {error}.", err=True)
    except BaseException as error:
        arm.end("interrupted" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed", str(error))
        raise
    else:
        arm.end("complete")
    said = [note for note in process.notes() if note not in notes]
    for note in said:
        click.echo(f"Note: {plain(note)}", err=True)
    summary = summarise(run, arm.info.arm) | {"notes": [*notes, *said]}
    judged = None if soak is None else judge(run, summary)
    if as_json:
        print_json(summary | (judged or {}))
    else:
        show(summary)
        show_verdict(judged)
    code = _conclude(summary, scenario, aim.target)
    if judged is None and arm.info.state == "aborted":
        raise ToolError(f"The replay was stopped: {arm.info.reason}.", f"What was recorded lies in {run}.")
    return code if judged is None else exit_code(judged["verdict"])


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
    planned, paced = scenario.schedule, round_of(paced)
    given = {} if identities is None else read_identities(identities, rank_clients(planned), needed_columns(planned))
    if lack := tell_lacking(paced, given, identities):
        notes += [f"{lack} {tell_example(scenario.data)}"]
    if given and (sharing := lend(paced, given).note):
        notes += [sharing]
    return notes


def _count_asked(soak: SoakFile, scenario: Scenario, paced: Schedule) -> dict[str, int]:
    """How often each endpoint that the criteria name will be asked. Raises PlanError for one that is not there."""
    named = [name for name, _ in soak.limits.endpoints]
    check_endpoints(named, {one.endpoint for one in scenario.schedule}, "the scenario lacks")

    def count(name: str) -> int:
        return 0 if name in scenario.answers else len(only(paced.requests, lambda one: one.endpoint == name))

    return {name: count(name) for name in named}


def _check_pools(pools: Sequence[str]) -> None:
    for name, file in (pool.split("=", 1) for pool in pools if "=" in pool):
        if not Path(file).exists():
            raise InputError(f"There is no file {file} for the pool {name}.", "It has a value on each line.")


def _check_disk(run: Path, planned: int, lasts_s: float, soak: SoakFile | None) -> str:
    """What the run will write, to be said where it is much. Raises InputError where the disk cannot take it."""
    probes = len(soak.probes) if soak else 0
    needed = planned * _BYTES_OF_A_REQUEST + lasts_s * probes * _BYTES_OF_A_PROBE
    parent = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < needed + _LEAST_FREE:
        raise InputError(
            f"The run needs about {(needed + _LEAST_FREE) / 1e6:,.0f} MB in {parent}, "
            f"which has {free / 1e6:,.0f} MB left.",
            "Give another place with --out, or a shorter duration.",
        )
    return f"the evidence will be about {needed / 1e6:,.0f} MB." if needed >= _WORTH_SAYING else ""


def _judged(soak: SoakFile | None, cycle_s: float, lasts_s: float) -> dict[str, Any]:
    """What rehearsal.json says of how the run is judged."""
    known = {"cycle_s": cycle_s if cycle_s < lasts_s else None}
    if soak is None:
        return known
    return known | {"kind": SOAK, "criteria": soak.criteria, "plan": {"probes": soak.resolved}}


def _create(run: Path, scenario: Scenario, length: tuple[int, float], target_url: str, judged: dict[str, Any]) -> _Arm:
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
        duration_s=length[1],
        planned=length[0],
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
    } | judged
    folder = ArmFolder(run / "arms" / info.arm)
    try:
        folder.create()
        folder.write_info(info)
        folder.mark(Mark(0.0, "", "arm", "started"))
        write_json(run / "rehearsal.json", rehearsal)
    except OSError as error:
        raise InputError(f"The run cannot be written to {run}: {error.strerror}.") from error
    return _Arm(run, folder, info, rehearsal)


class _DiskFullError(Exception):
    """The disk is nearly full, so that the replay was stopped. Its evidence counts as far as it goes."""


def _play(
    process: LocustProcess, arm: _Arm, locustfile: Path, soak: SoakFile | None, start: Path, *, web: Web | None
) -> None:
    """Run locust to its end. Raises the ReplayError that its exit code stands for, or that the disk is full."""
    stopped, silent = "", web

    def tick() -> None:
        nonlocal stopped, silent
        if silent is not None and silent.answers():
            click.echo(silent.told, err=True)
            silent = None
        free = shutil.disk_usage(arm.run).free
        if free < _LEAST_FREE and not stopped:
            stopped = f"the disk has {free / 1e6:,.0f} MB left"
            process.interrupt()

    try:
        with process, probing(soak, arm.folder, process, start) if soak and soak.probes else nullcontext():
            code = watch(process, arm.folder.path, arm.info, Console(stderr=True), tick)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted.", f"What was observed until then is kept in {arm.run}.") from None
    if stopped:
        raise _DiskFullError(stopped)
    began = any(arm.folder.path.glob("replay-*.json"))
    if code != 0:
        raise ended_badly(code, process, locustfile, arm.run, began=began)
    if not began:
        raise never_began(locustfile, arm.run)


def _conclude(summary: dict[str, Any], scenario: Scenario, target: Target) -> int:
    """The exit code of a replay that came to its end. Raises InputError where nothing was sent.

    Raises StageError where all that was sent found nobody.
    """
    outcomes = {name for endpoint in summary["endpoints"] for name in endpoint["outcomes"]}
    recorded = f"What was recorded lies in {summary['run']}."
    if outcomes == {Outcome.UNSENT}:
        reason = summary["unsent"][0]["reason"]
        hint = recorded
        if reason.startswith(CREDENTIAL):
            hint = tell_example(scenario.data)
        elif reason.startswith(PREPARE):
            hint = f"Mend prepare() in {scenario.path}."
        raise InputError(f"Nothing was sent: {tell_unsent(summary)}", hint)
    if outcomes and not summary["answered"]:
        raise StageError(f"Nothing answered at {target.url}.", recorded)
    return ExitCode.GO
