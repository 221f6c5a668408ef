"""`replay inspect`: what a capture holds, and what can be saved of a broken one."""

from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from replay.capture.manifest import COMPLETE, Manifest
from replay.capture.store import Capture, read_exchanges, read_manifest, repair_capture
from replay.cli.text import plain, print_json
from replay.errors import InputError
from replay.traffic import Exchange
from replay.workload import model_workload

_SHOWN = 40
_CLIENTS_SHOWN = 5
_WIDTH_IN_A_FILE = 120


@click.command("inspect")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Complete a capture whose recording broke off, with what can be saved.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(capture: Path, *, repair: bool, as_json: bool) -> None:
    """Show what the capture in folder CAPTURE holds: its sources, endpoints, clients, visits and correlations.

    Of a capture that is half written or damaged it shows what can be saved, says what is wrong, and exits with 2.

    \b
    Examples:
      replay inspect captures/production
      replay inspect captures/production --json | jq .workload.endpoints
      replay inspect captures/broken-off --repair
    """
    if repair:
        repair_capture(capture)
    manifest = read_manifest(capture, repair=True)
    with Console(stderr=True).status(f"Reading {manifest.exchanges:,} exchanges"):
        wrong, exchanges = _read(capture)
        document = _document(capture, manifest, exchanges, wrong)
    if as_json:
        print_json(document)
    else:
        console = Console(highlight=False, markup=False)
        if not console.is_terminal:
            console = Console(highlight=False, markup=False, width=_WIDTH_IN_A_FILE)
        _show(console, document)
    if wrong:
        raise wrong[0]


def _read(capture: Path) -> tuple[list[InputError], list[Exchange]]:
    """What is wrong with a capture (nothing, mostly), and all its exchanges that can be read."""
    try:
        return [], list(read_exchanges(capture))
    except InputError as error:
        damage: list[InputError] = []
        exchanges = list(read_exchanges(capture, repair=True, on_damage=damage.append))
        return list({found.message: found for found in [error, *damage]}.values()), exchanges


def _document(capture: Path, manifest: Manifest, exchanges: list[Exchange], wrong: list[InputError]) -> dict[str, Any]:
    skipped: Counter[str] = Counter()
    for source in manifest.sources:
        skipped.update(source.skipped)
    workload = model_workload(exchanges, name=manifest.name, environment=manifest.environment)
    return {
        "path": str(capture),
        **manifest.to_json(),
        "exchanges": len(exchanges),
        "digest": None if wrong else Capture(capture, manifest).digest(),
        "problems": [error.message for error in wrong],
        "skipped": dict(skipped),
        "status_classes": _status_classes(exchanges),
        "exchanges_of": dict(Counter(exchange.client for exchange in exchanges).most_common(_SHOWN)),
        "workload": workload.to_json(),
    }


def _status_classes(exchanges: list[Exchange]) -> dict[str, int]:
    classes = Counter(
        f"{exchange.response.status // 100}xx" if exchange.response else "no response" for exchange in exchanges
    )
    return dict(sorted(classes.items()))


def _show(console: Console, document: dict[str, Any]) -> None:
    workload = document["workload"]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("capture", plain(f"{document['name']} ({document['path']})"))
    facts.add_row("environment", plain(document["environment"]))
    state = document["state"] if document["state"] == COMPLETE else "not complete: this is what can be saved"
    facts.add_row("state", state)
    facts.add_row("hosts", plain(", ".join(document["hosts"])) or "none")
    facts.add_row("window", _window(document))
    facts.add_row("exchanges", f"{document['exchanges']:,}{_counts(document['status_classes'])}")
    facts.add_row("skipped", f"{sum(document['skipped'].values()):,}{plain(_counts(document['skipped']))}")
    if document["bodies_not_kept"]:
        facts.add_row("bodies not kept", _counts(document["bodies_not_kept"]).strip(" ()"))
    if document.get("lacking"):
        facts.add_row("LACKING", plain(_counts(document["lacking"])).strip(" ()"))
    facts.add_row("scrubbing", _scrubbing(document["scrubbing"]))
    facts.add_row("clients", f"{workload['clients']:,}")
    facts.add_row("visits", f"{workload['visits']:,}")
    for note in document.get("notes", ()):
        facts.add_row("note", plain(note))
    console.print(facts)
    _show_rows(
        console,
        ("source", "format", "read", "kept", "skipped", "left out"),
        [
            (
                *(source["name"], source.get("format", ""), source["read"], source["kept"]),
                *(sum(source["skipped"].values()), sum(source.get("left_out", {}).values())),
            )
            for source in document["sources"]
        ],
    )
    _show_rows(
        console,
        ("endpoint", "count", "share", "statuses", "empty"),
        [
            (
                endpoint["endpoint"],
                endpoint["count"],
                f"{endpoint['share']:.1%}",
                " ".join(f"{status}:{count:,}" for status, count in endpoint["statuses"].items()),
                f"{endpoint['empty_share']:.1%}",
            )
            for endpoint in workload["endpoints"]
        ],
    )
    _show_rows(console, ("client", "exchanges"), list(document["exchanges_of"].items())[:_CLIENTS_SHOWN])
    _show_rows(
        console,
        ("handed out by", "at", "sent to", "as", "count"),
        [(link["from"], link["handed"], link["to"], link["sent"], link["count"]) for link in workload["correlations"]],
    )


def _show_rows(console: Console, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        is_number = isinstance(rows[0][index], int) or column in {"share", "empty"}
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows[:_SHOWN]:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else plain(cell) for cell in row))
    console.print()
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"and {len(rows) - _SHOWN:,} more, with --json")


def _window(document: dict[str, Any]) -> str:
    window = document["window"]
    if not window["start"]:
        return "none"
    return f"{window['start']} to {window['end']}, {document['workload']['duration_s']:,.1f} s"


def _scrubbing(scrubbing: dict[str, Any]) -> str:
    if not scrubbing["on"]:
        return "off: the capture holds its secrets as they were"
    key = f"key {scrubbing['key_id']}" if scrubbing["key_id"] else "several keys"
    return f"on, {key}{_counts(scrubbing['counts'])}"


def _counts(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items()))
    return f" ({listed})" if listed else ""
