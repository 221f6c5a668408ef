"""``replay run --criteria``: what the file says, the probes beside the load, and the verdict."""

import difflib
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from replay.cli.text import plain
from replay.errors import ExitCode, PlanError, ToolError
from replay.evidence.files import READING_SCHEMA, ArmFolder, Segments
from replay.evidence.values import Attempt, LogEvent, Observation, Reading
from replay.judge.soak.criteria import SoakCriteria, parse_soak_criteria
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.outline import check_database
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.plan import ProbePlan, Setting, check_interval
from replay.rehearsal.probes.process import ProcessProbePlan
from replay.rehearsal.secrets import Scrubber, passwords_in
from replay.rehearsal.table import Dsn, Surroundings, named_tables, suggest
from replay.scenario.process import LocustProcess
from replay.target import check_allowed

_TABLES = ("criteria", "probes")
_EXIT_CODES = {"GO": ExitCode.GO, "NO_GO": ExitCode.NO_GO, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}
# What the kinds of probes read all through, and what can drift; counters, events and what is read at the ends cannot.
DRIFTING: dict[str, tuple[str, ...]] = {
    "postgres": (
        *("waiting_backends", "connections", "connections_limit", "replica_lag_s", "replica_lag_bytes"),
        *("replica_replay_lag_s", "slot_retained_bytes", "autovacuum_workers"),
    ),
    "mysql": (
        *("waiting_backends", "connections", "connections_limit", "threads_running", "history_list_length"),
        "replica_lag_s",
    ),
    "sqlite": ("sqlite_wal_bytes",),
    "log": (),
    "process": (
        *("process_cpu_cores", "process_memory_bytes", "process_open_files", "process_threads", "processes"),
        *("host_cpu_share", "host_memory_available_bytes", "host_swap_used_bytes", "host_load_1m"),
        "host_disk_free_bytes",
    ),
}
_LEAD_S = 1.0  # for the probes to connect, and the load to hear when it starts
_BOOT_LIMIT_S = 600.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class SoakFile:
    """What a file of criteria says, read as ``limits``. ``resolved`` are its probes as they may be written down."""

    criteria: dict[str, Any]
    limits: SoakCriteria
    probes: tuple[ProbePlan, ...]
    resolved: dict[str, Any]
    scrub: Scrubber

    @property
    def dsns(self) -> tuple[tuple[str, Dsn], ...]:
        """The probes' PostgreSQL databases, each with who goes there."""
        return tuple((f"The probe {probe.name!r}", dsn) for probe in self.probes for dsn in probe.dsns)


def read_soak_file(file: Path, allow: Sequence[str]) -> SoakFile:
    """Read the file of ``--criteria``: ``[criteria]`` and ``[probes.NAME]``.

    Raises PlanError or InputError for whatever is wrong with it, and Refused where a probe would go to a host that is
    not in ``allow``.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(f"{file} cannot be read as TOML: {error}.") from error
    around = Surroundings(file.absolute())
    for key in values:
        if key not in _TABLES:
            raise around.error(f"Unknown table [{key}].", suggest(key, _TABLES))
    criteria = values.get("criteria", {})
    limits = parse_soak_criteria(criteria)
    tables = dict(named_tables("probes", values, around))
    probes = tuple(read_probe(name, table) for name, table in tables.items())
    for probe in probes:
        for dsn in probe.dsns:
            check_database(f"The probe {probe.name!r}", dsn, allow, by_option=True)
        for host in probe.hosts:
            check_allowed(host, allow, f"The probe {probe.name!r}", by_option=True)
        probe.check()
    _check_metrics(file, limits, {str(table.resolved["kind"]) for table in tables.values()})
    words = [word for probe in probes for dsn in probe.dsns for word in passwords_in(dsn.value)]
    words += [word for probe in probes for word in probe.secrets]
    written = [word for probe in probes for dsn in probe.dsns for word in passwords_in(dsn.written)]
    hide = Scrubber({}, [*written, *(word for probe in probes for word in probe.secrets)])
    resolved = {name: _hidden(table.resolved, hide) for name, table in tables.items()}
    return SoakFile(_without_inf(criteria), limits, probes, resolved, Scrubber(around.used, words))


def _check_metrics(file: Path, limits: SoakCriteria, kinds: set[str]) -> None:
    """Raise PlanError for a limit of drift on what no probe of the file can read, where that can be known."""
    if not kinds <= DRIFTING.keys():
        return  # a series of Prometheus, or of another package's probe, has any name
    known = sorted({metric for kind in kinds for metric in DRIFTING[kind]})
    for metric, _ in limits.drift_per_hour:
        if metric not in known:
            near = " or ".join(difflib.get_close_matches(metric, known, 3))
            told = f"Did you mean {near}?" if near else f"They read: {', '.join(known)}."
            raise PlanError(
                f"{file}: drift_per_hour has a limit for {metric!r}, which none of its probes reads as a level.",
                told if known else "Give the file a probe that reads it: [probes.NAME].",
            )


def foretell(soak: SoakFile, planned: int, asked: Mapping[str, int], length_s: tuple[float, float | None]) -> list[str]:
    """Sentences on what will make the soak INCONCLUSIVE, as far as it is known before its start.

    ``asked`` are the requests planned for the endpoints that the criteria name; ``length_s`` is how long it lasts, and
    its schedule before that repeats. Raises PlanError for a probe that would read nothing meanwhile.
    """
    from replay.judge.soak.drift import layout  # noqa: PLC0415 - heavy
    from replay.judge.soak.trend import FEWEST  # noqa: PLC0415

    limits, notes = soak.limits, list[str]()
    for probe in soak.probes:
        check_interval(probe, length_s[0], "the run")
    lay = layout(*length_s)
    if limits.drift_p_value and not lay.enough:
        notes.append(
            f"{length_s[0]:,.0f} s are too short to see drift, which needs {lay.block_s * FEWEST:,.0f} s: play longer, "
            "or set drift_p_value = 0."
        )
    if planned < limits.min_requests:
        notes.append(f"only {planned:,} requests are planned, of {limits.min_requests:,.0f} that are needed.")
    notes += [
        f"{name} is asked {times:,} times, of {limits.needed(name)} that its limits need."
        for name, times in asked.items()
        if times < limits.needed(name)
    ]
    notes += [soak.scrub(told) for probe in soak.probes if (told := _unmatched(probe))]
    return [f"The soak will be INCONCLUSIVE as it stands: {note}" for note in notes]


class _Seen(Segments):
    """Readings that are looked at once, and not kept."""

    def __init__(self) -> None:
        super().__init__(Path(), "", READING_SCHEMA)
        self.rows: list[Reading] = []

    def write(self, rows: Iterable[Observation | Attempt | Reading | LogEvent]) -> None:
        """Keep them for a look."""
        self.rows += [row for row in rows if isinstance(row, Reading)]


def _unmatched(plan: ProbePlan) -> str:
    """A sentence where a probe of processes finds none now."""
    if not isinstance(plan, ProcessProbePlan) or not plan.what:
        return ""
    seen = _Seen()
    probe = plan.open(Setting(ArmClock.started_now(), lambda _: seen, lambda _: seen, Scrubber({}, ())))
    probe.start()
    probe.stop()
    if not seen.rows or any(row.metric != "probe_failed" for row in seen.rows):
        return ""
    return f"the probe {plan.name!r} finds nothing yet, {seen.rows[0].detail['error']}."


def _without_inf(value: Any) -> Any:
    """The criteria as JSON can have them."""
    if isinstance(value, dict):
        return {key: _without_inf(item) for key, item in value.items()}
    return "inf" if value == float("inf") else value


def _hidden(value: Any, hide: Scrubber) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item, hide) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, hide) for item in value]
    return hide(value) if isinstance(value, str) else value


@contextmanager
def probing(soak: SoakFile, folder: ArmFolder, process: LocustProcess, start: Path) -> Iterator[None]:
    """Read the probes while the load runs, both by one clock: the load waits for its start in the file ``start``.

    Raises ToolError where the load is never ready; one that ended before is for the caller to see.
    """
    ready = start.with_name(f"{start.name}.ready")
    until = time.monotonic() + _BOOT_LIMIT_S
    while not ready.exists():
        if process.wait(_LOOK_EVERY_S) is not None:
            yield
            return
        if time.monotonic() > until:
            raise ToolError(f"The load was not ready after {_BOOT_LIMIT_S:g} s.")
    clock = ArmClock(time.time() + _LEAD_S)
    setting = Setting(clock, readings=folder.readings, log=folder.log, scrub=soak.scrub)
    with ExitStack() as stack:
        for plan in soak.probes:
            probe = plan.open(setting)
            stack.callback(probe.stop)
            probe.start()
        partial = start.with_name(f".{start.name}.part")
        partial.write_text(repr(clock.start_at), encoding="utf-8")
        partial.replace(start)
        yield
    for file in (start, ready):
        file.unlink(missing_ok=True)


def judge(run: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Judge a run, write its summary.md, and say the verdict: its ``verdict``, ``reasons`` and ``findings``."""
    from replay.judge.verdict import judge_run  # noqa: PLC0415 - heavy, and not wanted while the load runs

    document = judge_run(run).to_json()
    (run / "summary.md").write_text(_markdown(document, summary), encoding="utf-8", errors="replace")
    return {key: document[key] for key in ("verdict", "reasons", "findings", "criteria")}


def exit_code(verdict: str) -> ExitCode:
    """What a pipeline gets."""
    return _EXIT_CODES[verdict]


def show_verdict(judged: dict[str, Any] | None) -> None:
    """Print a verdict and its reasons, where there is one."""
    if judged is None:
        return
    colour = {"GO": "green", "NO_GO": "red"}.get(judged["verdict"], "yellow")
    click.secho(judged["verdict"], fg=colour, bold=True)
    for reason in judged["reasons"]:
        click.echo(f"  - {plain(reason)}")


def _markdown(document: dict[str, Any], summary: dict[str, Any]) -> str:
    from replay.report.summary import plain as marked  # noqa: PLC0415 - heavy too

    signs = {"GO": "✅", "NO_GO": "⛔", "INCONCLUSIVE": "⚠️"}
    lines = [f"## {signs[document['verdict']]} {document['verdict']}: {marked(document['name'])}", ""]
    lines += [*(f"- {marked(reason)}" for reason in document["reasons"]), ""]
    notes = [one["explanation"] for one in document["findings"] if one["severity"] == "note"]
    if notes:
        lines += ["Seen besides:", "", *(f"- {marked(note)}" for note in notes), ""]
    lines += ["| Endpoint | Requests | Outcomes | p50 ms | p95 ms | p99 ms |", "|---|---|---|---|---|---|"]
    for row in summary["endpoints"]:
        outcomes = ", ".join(f"{count:,} {name}" for name, count in row["outcomes"].items())
        times = ["-" if row[key] is None else f"{row[key] * 1000:,.1f}" for key in ("p50_s", "p95_s", "p99_s")]
        lines.append(f"| {marked(row['endpoint'])} | {row['requests']:,} | {outcomes} | {' | '.join(times)} |")
    return "\n".join(lines) + "\n"
