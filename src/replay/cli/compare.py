"""`replay compare`: what production does that another capture never tries."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from replay.capture.store import read_manifest
from replay.cli.profiling import pictures, profiling_options, wide_console
from replay.cli.text import plain, print_json, working
from replay.errors import InputError
from replay.report.formats import LOST_TO, MISSING, number, percent, seconds, too_small
from replay.workload.comparison.compare import compare_captures
from replay.workload.document import comparison_document
from replay.workload.endpoints.routes import read_rules
from replay.workload.engine import Engine

_ENDPOINTS_SHOWN = 30
_SHOWN_OF_A_KIND = 3
_BAR, _LADDER = 12, 40
_BLOCKS = " ▏▎▍▌▋▊▉█"
_STEPS = {
    "endpoint": "endpoint called",
    "variant": "+ such a variant sent",
    "predecessor": "+ after the same one",
    "concurrency": "+ as many at once",
}


@click.command("compare")
@click.argument("production", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@profiling_options
def command(
    production: Path, other: Path, *, routes: Path | None, engine: str, page: Path | None, as_json: bool
) -> None:
    """Show what the capture in folder PRODUCTION does that the one in OTHER never tries.

    First how much of production the other covers: the share of its exchanges whose endpoint, variant, predecessor and
    concurrency the other has seen too. Then the blind spots, those first that concern most of production.

    \b
    Examples:
      replay compare captures/production captures/qa
      replay compare captures/production captures/qa --html compared.html
      replay compare captures/production captures/qa --json | jq .coverage
      replay compare captures/production captures/qa --routes openapi.yaml
    """
    if page is not None and not page.absolute().parent.is_dir():
        raise InputError(f"There is no folder {page.parent}.", "Make it first, or name another file with --html.")
    rules = read_rules(routes) if routes else None
    captures = {"production": (production, read_manifest(production)), "other": (other, read_manifest(other))}
    with working(f"Comparing {other} with {production}") as say, Engine(engine) as opened:
        found = compare_captures(production, other, opened, rules, say)
        document = comparison_document(found)
        for side, (path, manifest) in captures.items():
            about = {"path": str(path), "name": manifest.name, "environment": manifest.environment}
            document[side] = about | document[side]
        if page is not None:
            say("drawing")
            from replay.report.workload import write_comparison  # noqa: PLC0415 - charts take a second to import

            write_comparison(document, page)
    if as_json:
        print_json(document)
        return
    console = wide_console()
    _show(console, document)
    if page is not None:
        console.print(pictures(page), soft_wrap=True)


def _show(console: Console, document: dict[str, Any]) -> None:
    sides = [document["production"], document["other"]]
    names = [plain(side["name"] or side["path"]) for side in sides]
    if names[0] == names[1]:
        names[1] = "the other"
    console.print(_facts(names, [side["profile"] for side in sides]))
    for name, side in zip(names, sides, strict=True):
        for note in side["profile"]["notes"]:
            console.print(f"note on {name}: {note}")
    console.print(f"\nHow much of {names[0]} has its like in {names[1]}:\n")
    ladder = Table.grid(padding=(0, 2))
    for step, words in _STEPS.items():
        covered = document["coverage"][step]
        known = covered is not None
        ladder.add_row(words, bar(covered, _LADDER) if known else "not known", percent(covered) if known else MISSING)
    console.print(ladder)
    console.print()
    console.print(_endpoints(names, document))
    _show_more(console, len(document["endpoints"]) - _ENDPOINTS_SHOWN + document["left_out"]["endpoints"])
    _show_spots(console, names, document)


def _facts(names: list[str], profiles: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    table.add_row("exchanges", *(number(own["exchanges"]) for own in profiles))
    table.add_row("duration", *(seconds(own["duration_s"]) for own in profiles))
    table.add_row("clients", *(number(own["clients"]["count"]) for own in profiles))
    table.add_row("visits", *(number(own["visits"]["count"]) for own in profiles))
    rates = (own["arrivals"] for own in profiles)
    table.add_row(
        "requests a second", *(f"{number(own['mean_per_s'])}, at most {number(own['highest_per_s'])}" for own in rates)
    )
    return table


def _endpoints(names: list[str], document: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("endpoint", overflow="fold")
    for name in names:
        table.add_column(name, no_wrap=True)
    table.add_column("covered", justify="right")
    table.add_column("lost to", no_wrap=True)
    rows = document["endpoints"][:_ENDPOINTS_SHOWN]
    most = max((max(row["share"], row["other_share"]) for row in rows), default=0.0)
    for row in rows:
        shares = (row["share"], row["other_share"])
        bars = (f"{percent(one):>6} {bar(one / most, _BAR) if most else ''}" for one in shares)
        lost = LOST_TO.get(row["lost_at"], "")
        table.add_row(plain(row["endpoint"]), *bars, percent(row["covered"]), lost)
    return table


def _show_spots(console: Console, names: list[str], document: dict[str, Any]) -> None:
    by_kind: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for spot in document["blind_spots"]:
        by_kind[spot["kind"]].append(spot)
    if not by_kind:
        console.print(f"\nNothing that {names[0]} does is a blind spot of {names[1]}.")
    else:
        console.print(f"\nBlind spots of {names[1]}, with the share of {names[0]} that they concern:\n")
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for kind, spots in by_kind.items():
            for place, spot in enumerate(spots[:_SHOWN_OF_A_KIND]):
                table.add_row(percent(spot["share"]), kind if place == 0 else "", plain(spot["sentence"]))
            if len(spots) > _SHOWN_OF_A_KIND:
                table.add_row("", "", f"and {len(spots) - _SHOWN_OF_A_KIND:,} more of this kind")
        console.print(table)
    _show_more(console, document["left_out"]["blind_spots"])
    small = len(document["too_small_to_tell"]) + document["left_out"]["too_small_to_tell"]
    if small:
        console.print(f"\n{too_small(small, names[1])} (with --json).")


def _show_more(console: Console, more: int) -> None:
    if more > 0:
        console.print(f"and {more:,} more, with --json")


def bar(part: float, width: int) -> str:
    """A bar of so many characters for 1, told to an eighth of one, padded to its width."""
    eighths = round(min(1.0, max(0.0, part)) * width * 8)
    if part > 0:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_BLOCKS[rest] if rest else "")).ljust(width)
