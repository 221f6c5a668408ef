"""`replay inspect`: what a capture holds, and what can be saved of a broken one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.digest import digest_of
from replay.capture.manifest import Manifest
from replay.capture.store import Capture, exchanges_of, read_manifest, read_tables, repair_capture
from replay.cli.inspection import show_inspection
from replay.cli.profiling import pictures, profiling_options, wide_console
from replay.cli.text import print_json, working
from replay.errors import InputError
from replay.traffic import Exchange
from replay.workload.document import profile_document
from replay.workload.endpoints.routes import read_rules
from replay.workload.engine import Engine, Table
from replay.workload.model import model_workload
from replay.workload.profile.profile import Profile, profile

_FOLLOWED = 50_000  # so many exchanges are followed value by value, in memory
_CLIENTS_COUNTED = 40


@click.command("inspect")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Complete a capture whose recording broke off, with what can be saved.")
@profiling_options
def command(capture: Path, *, repair: bool, routes: Path | None, engine: str, page: Path | None, as_json: bool) -> None:
    """Show what the capture in folder CAPTURE holds: endpoints, clients, visits, arrivals, hot keys, correlations.

    Of a capture that is half written or damaged it shows what can be saved, says what is wrong, and exits with 2.

    \b
    Examples:
      replay inspect captures/production
      replay inspect captures/production --html production.html
      replay inspect captures/production --routes openapi.yaml
      replay inspect captures/production --json | jq .workload.endpoints
      replay inspect captures/broken-off --repair
    """
    rules = read_rules(routes) if routes else None
    if repair:
        repair_capture(capture)
    manifest = read_manifest(capture, repair=True)
    with working(f"Inspecting {manifest.exchanges:,} exchanges of {capture}") as say, Engine(engine) as opened:
        say("reading")
        seen, exchanges = _read(capture, manifest, opened)
        say("modelling")
        document = _document(capture, manifest, seen, profile(exchanges, opened, rules))
        if page:
            say("drawing")
            from replay.report.workload import write_inspection  # noqa: PLC0415 - charts take a second to import

            write_inspection(document | {"profile": document["workload"]}, page)
    if as_json:
        print_json(document)
    else:
        console = wide_console()
        show_inspection(console, document)
        if page:
            console.print(pictures(page), soft_wrap=True)
    if seen.wrong:
        raise seen.wrong[0]


@dataclass(slots=True)
class _Seen:
    """What is counted while the capture in ``path`` is read: also of one that is damaged."""

    path: Path
    exchanges: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    first: list[Exchange] = field(default_factory=list)
    digest: str | None = None
    wrong: list[InputError] = field(default_factory=list)

    def counted(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Count each table as it passes."""
        for table in tables:
            self.exchanges += table.num_rows
            classes = pc.fill_null(pc.cast(pc.divide(table["status"], 100), pa.string()), "")
            for found in pc.value_counts(classes).to_pylist():
                self.statuses[f"{found['values']}xx" if found["values"] else "no response"] += found["counts"]
            for found in pc.value_counts(table["client"]).to_pylist():
                self.clients[found["values"]] += found["counts"]
            if len(self.first) < _FOLLOWED:
                self._follow(table.slice(0, _FOLLOWED - len(self.first)))
            yield table

    def _follow(self, table: pa.Table) -> None:
        try:
            self.first += exchanges_of(self.path, table)
        except InputError as error:  # what can be told without its headers is told all the same
            self.wrong.append(error)


def _read(capture: Path, manifest: Manifest, engine: Engine) -> tuple[_Seen, Table]:
    """What a capture holds, and its exchanges for the engine: all that can be read, where it is damaged."""
    seen = _Seen(capture)
    try:
        seen.digest = digest_of(seen.counted(read_tables(capture)))
    except InputError as error:
        damage: list[InputError] = []
        seen = _Seen(capture)
        exchanges = engine.spooled(seen.counted(read_tables(capture, repair=True, on_damage=damage.append)))
        seen.wrong = _different([error, *damage, *seen.wrong])
        return seen, exchanges
    seen.wrong = _different(seen.wrong)
    return seen, engine.read(Capture(capture, manifest).files)


def _different(errors: list[InputError]) -> list[InputError]:
    return list({error.message: error for error in errors}.values())


def _document(capture: Path, manifest: Manifest, seen: _Seen, found: Profile) -> dict[str, Any]:
    skipped: Counter[str] = Counter()
    for source in manifest.sources:
        skipped.update(source.skipped)
    followed = model_workload(seen.first, name=manifest.name, environment=manifest.environment).to_json()
    return {
        "path": str(capture),
        **manifest.to_json(),
        "exchanges": seen.exchanges,
        "digest": seen.digest,
        "problems": [error.message for error in seen.wrong],
        "skipped": dict(skipped),
        "status_classes": dict(sorted(seen.statuses.items())),
        "exchanges_of": dict(seen.clients.most_common(_CLIENTS_COUNTED)),
        "workload": {
            **profile_document(found),
            "correlations": followed["correlations"],
            "credentials": followed["credentials"],
            "followed": len(seen.first),
        },
    }
