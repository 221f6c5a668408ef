"""`replay import`: turn files of any format into a capture."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from replay.capture.importing import DryRun, Importing, OnProgress, import_files, try_import
from replay.capture.importing import Progress as Step
from replay.capture.inputs import find_paths, input_of
from replay.capture.manifest import Manifest
from replay.capture.segments import spare_memory
from replay.capture.selection import Selection
from replay.capture.sources.capture import is_capture
from replay.capture.sources.source import ReadOptions
from replay.cli.scrubbing import check_scrubbing, key_and_rules, scrubbing_options
from replay.cli.text import plain, print_json
from replay.errors import InputError, Interrupted, ToolError
from replay.target import parse_environment

_REASONS_SHOWN = 8


@click.command("import")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="The capture's folder, made anew.")
@click.option("--format", "format_name", metavar="NAME", help="The format of every source; else found by its contents.")
@click.option("--log-format", metavar="TEXT", help="A log's own format: an nginx log_format or an Apache LogFormat.")
@click.option(
    "--map",
    "columns",
    metavar="NAME=FIELD",
    multiple=True,
    help="Where a JSON log or a table has something: at=ts, path=req.uri, status=code... Can be given several times.",
)
@click.option("--host", default="", metavar="HOST[:PORT]", help="The host of records that name none.")
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="The zone of times that name none.")
@click.option(
    "--environment",
    help="Where it was recorded: production (the default), pre-production, stage... Captures keep theirs. A rehearsal "
    "never sends to a host of production.",
)
@click.option("--name", default="", help="The capture's name; its folder's by default.")
@scrubbing_options
@click.option("--since", metavar="TIME", help="Only from then on: 2026-03-01T12:00Z, or 10m from the start.")
@click.option("--until", metavar="TIME", help="Only what began before then.")
@click.option("--only-host", "hosts", multiple=True, metavar="HOST", help="Only this host. Can be given several times.")
@click.option(
    "--endpoint", "endpoints", multiple=True, metavar="ENDPOINT", help='Only such requests: "GET /v2/events/{id}".'
)
@click.option("--client", "clients", multiple=True, metavar="NAME", help="Only this client, by its name in a capture.")
@click.option(
    "--client-share",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Only such a share of the clients, each with all its requests: 0.1.",
)
@click.option(
    "--join/--no-join",
    default=True,
    show_default=True,
    help="Give a mirror's requests the answers that logs imported with it tell of.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be read, skipped and changed; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    *,
    sources: tuple[str, ...],
    out: Path | None,
    format_name: str | None,
    log_format: str | None,
    columns: tuple[str, ...],
    host: str,
    timezone: str,
    environment: str | None,
    name: str,
    scrub: str,
    scrub_key: Path | None,
    scrub_rules: Path | None,
    since: str | None,
    until: str | None,
    hosts: tuple[str, ...],
    endpoints: tuple[str, ...],
    clients: tuple[str, ...],
    client_share: float | None,
    join: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Turn files of any format into one capture: HAR, mitmproxy, GoReplay, access logs, JSON logs, CSV, captures...

    SOURCE is a file, a glob in quotes, a capture's folder, or - for standard input; gzip, bzip2 and Zstandard are read
    through. The format is found by the contents.

    \b
    Examples:
      replay import access.log.gz --out captures/production --host api.example.com
      replay import 'logs/*.json' session.har --out captures/mixed --scrub-key secrets/scrub.key
      replay import app.log --log-format '$remote_addr [$time_local] "$request" $status' --out captures/app
      replay import captures/production --since 10m --until 20m --client-share 0.1 --out captures/small
      replay import captures/mirror access.log --scrub-key secrets/scrub.key --out captures/production
      ssh web1 cat /var/log/nginx/access.log | replay import - --out captures/web1
      replay import dump.mitm --dry-run
    """
    if out is None and not dry_run:
        raise InputError("Missing option '--out'.", "Name the capture's folder, such as --out captures/production.")
    check_scrubbing(scrub, scrub_key, scrub_rules)
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    spare_memory()
    paths = find_paths(sources)
    captures = tuple(path for path in paths if is_capture(path))
    inputs = tuple(input_of(path) for path in paths if path not in captures)
    options = ReadOptions(log_format, _columns(columns), _host(host), _zone(timezone))
    key, rules = key_and_rules(scrub_key, scrub_rules)  # not before, since a key that is missing is made
    importing = Importing(
        inputs=inputs,
        captures=captures,
        environment=parse_environment(environment) if environment else None,
        name=name,
        format=format_name,
        options=options,
        scrub=scrub == "on",
        key=key,
        rules=rules,
        selection=Selection.parse(
            since=since, until=until, hosts=hosts, endpoints=endpoints, clients=clients, client_share=client_share
        ),
        join=join,
    )
    if scrub == "off" and importing.inputs:
        console.print("Scrubbing is OFF: the capture will hold its passwords, tokens and addresses as they are.")
    with _Bar(console) as bar:
        if dry_run or out is None:
            result = try_import(importing, bar.show)
            document, lines = _dry_document(result), _dry_lines(result)
        else:
            manifest = _import(importing, out, bar.show)
            document, lines = {"path": str(out), **manifest.to_json()}, _lines(manifest, out)
    if as_json:
        print_json(document)
        return
    output = Console(highlight=False, markup=False, soft_wrap=True)
    for line in lines:
        output.print(plain(line))


def _import(importing: Importing, out: Path, on_progress: OnProgress) -> Manifest:
    hint = f"`replay inspect {out} --repair` completes it with what was read so far."
    existed = out.exists()
    try:
        return import_files(importing, out, on_progress).manifest
    except KeyboardInterrupt:
        if existed or not out.is_dir():
            raise
        raise Interrupted(f"Interrupted: {out} is not complete.", hint) from None
    except OSError as error:  # mostly a full disk
        if existed or not out.is_dir():
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ToolError(f"{out} could not be completed: {reason}.", hint) from error


def _columns(pairs: tuple[str, ...]) -> dict[str, str]:
    columns = {}
    for pair in (piece for text in pairs for piece in text.split(",")):
        name, equals, found = (piece.strip() for piece in pair.partition("="))
        if not (name and equals and found):
            raise InputError(f"--map {pair!r} is not NAME=FIELD.", "Such as --map at=timestamp --map path=req.uri.")
        columns[name] = found
    return columns


def _host(text: str) -> str:
    """A host as requests name it; that of a URL where one is given."""
    if not text:
        return ""
    is_url = "://" in text
    try:
        parts = urlsplit(text if is_url else f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not re.fullmatch(r"[\w.-]+|[0-9a-f:.]+", host) or (not is_url and re.search("[/@?#]", text)):
        raise InputError(f"--host {text!r} is no host.", "Such as api.example.com or api.example.com:8080.")
    host = f"[{host}]" if ":" in host else host.removesuffix(".")
    return host if port in {None, 80, 443} else f"{host}:{port}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f"There is no time zone {name!r}.", "Such as UTC or Europe/Berlin.") from error


class _Bar:
    """A progress bar where there is a terminal, else nothing."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[exchanges]:,} exchanges"),
            console=console,
            transient=True,
        )
        self._bar.disable = not console.is_terminal
        self._task = self._bar.add_task("", total=None, exchanges=0)

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, step: Step) -> None:
        """Show how far it is."""
        self._bar.update(
            self._task,
            description=plain(step.doing),
            completed=step.read_bytes,
            total=step.total_bytes,
            exchanges=step.exchanges,
        )


def _lines(manifest: Manifest, out: Path) -> list[str]:
    lines = [f"{manifest.exchanges:,} exchanges in {out}"]
    if not any(manifest.hosts):
        lines.append("hosts: none named; give --host, so that load never goes to where they came from")
    for source in manifest.sources:
        lines.append(f"  {source.name}: {source.read:,} read, {source.kept:,} kept")
        lines += _counted("left out by", source.left_out) + _counted("skipped", source.skipped)
    lines += _scrubbing(dataclasses.asdict(manifest.scrubbing)) + _bodies(manifest.bodies_not_kept)
    return lines + [f"note: {note}" for note in manifest.notes]


def _dry_lines(result: DryRun) -> list[str]:
    lines = []
    for tally in result.tallies:
        total = tally.kept + sum(tally.skipped.values()) + sum(tally.left_out.values())
        lines.append(f"{tally.source}: {tally.format}, {total:,} records, {tally.kept:,} would be kept")
        lines += _counted("left out by", tally.left_out) + _counted("skipped", tally.skipped)
    if result.window:
        lines.append(f"from {result.window[0].isoformat()} to {result.window[1].isoformat()}")
    lines.append(f"hosts: {', '.join(filter(None, result.hosts)) or 'none named; give --host'}")
    lines += _scrubbing(dataclasses.asdict(result.scrubbing)) + _bodies(result.bodies_not_kept)
    return lines + [f"note: {note}" for note in result.notes]


def _dry_document(result: DryRun) -> dict[str, Any]:
    start, end = result.window or (None, None)
    return {
        "sources": [dataclasses.asdict(tally) for tally in result.tallies],
        "window": {"start": start and start.isoformat(), "end": end and end.isoformat()},
        "hosts": list(result.hosts),
        "scrubbing": dataclasses.asdict(result.scrubbing),
        "bodies_not_kept": result.bodies_not_kept,
        "notes": list(result.notes),
    }


def _counted(what: str, counts: dict[str, int]) -> list[str]:
    by_count = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    lines = [f"    {what} {reason}: {count:,}" for reason, count in by_count[:_REASONS_SHOWN]]
    rest = sum(count for _, count in by_count[_REASONS_SHOWN:])
    return [*lines, f"    {what} for other reasons: {rest:,}"] if rest else lines


def _scrubbing(scrubbing: dict[str, Any]) -> list[str]:
    if not scrubbing["on"]:
        return ["scrubbing: off"]
    counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(scrubbing["counts"].items()))
    key = f"key {scrubbing['key_id']}" if scrubbing["key_id"] else "several keys"
    return [f"scrubbed: {counts or 'nothing secret was found'} ({key})"]


def _bodies(counts: dict[str, int]) -> list[str]:
    return [f"bodies not kept {count:,}: {reason}" for reason, count in sorted(counts.items())]
