"""``replay build``: turn a capture into a locust scenario."""

from pathlib import Path

import click

from replay.cli.text import plain, print_json
from replay.scenario.locustfile import Scenario, build_scenario

_CLIENTS_SHOWN = 10


@click.command("build")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE.py", help="The locustfile to write."
)
@click.option(
    "--payloads",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Templates for bodies that the capture does not hold, such as one from a log.",
)
@click.option("--force", is_flag=True, help="Overwrite a locustfile that was edited.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON document.")
def command(capture: Path, out: Path, *, payloads: Path | None, force: bool, as_json: bool) -> None:
    """Turn the capture in folder CAPTURE into a locust scenario.

    Writes a locustfile, FILE.py, and its data beside it, FILE.data/. The locustfile is yours to edit; it runs with
    plain locust too. Writes whose bodies the capture does not hold are left out, and counted, but for those that
    --payloads has a template for.

    \b
    Examples:
      replay build captures/production --out locustfiles/production.py
      replay build captures/access-log --out locustfiles/log.py --payloads payloads.toml
      locust -f locustfiles/production.py --host http://127.0.0.1:8000
    """
    scenario = build_scenario(capture, out, force=force, payloads=payloads)
    if as_json:
        document = scenario.meta | {"locustfile": str(scenario.path), "data": str(scenario.data)}
        print_json(document)
    else:
        click.echo(_told(scenario))


def _told(scenario: Scenario) -> str:
    meta = scenario.meta
    counts = [_many(meta[noun + "s"], noun) for noun in ("request", "visit", "client")]
    counts.append(_many(len(meta["endpoints"]), "endpoint"))
    lines = [
        f"Wrote {scenario.path} and {scenario.data}/:",
        f"  {', '.join(counts)}, {meta['duration_s']:,.1f} s.",
    ]
    if meta["left_out"]:
        count = sum(meta["left_out"].values())
        share = count / meta["capture"]["exchanges"]
        lines.append(f"Left out, as the capture lacks their bodies: {_many(count, 'request')} ({share:.1%}).")
        lines += [f"  {own:,} {plain(endpoint)}" for endpoint, own in list(meta["left_out"].items())[:_CLIENTS_SHOWN]]
        if len(meta["left_out"]) > _CLIENTS_SHOWN:
            lines.append(f"  and {len(meta['left_out']) - _CLIENTS_SHOWN:,} endpoints more")
        lines.append("Templates for them can be given with --payloads.")
    if meta["pools"]:
        lines.append(f"Pools are needed for the payloads: {', '.join(meta['pools'])}. Give each with --pool NAME=FILE.")
    if meta["correlations"]:
        links = sum(link["count"] for link in meta["correlations"])
        lines.append(f"  {_many(links, 'value')} that a response hands out, sent back by a later request.")
    if meta["credentials"]:
        needed = meta["credentials"]
        lines.append(f"The target's own credentials are needed for {_many(len(needed), 'client')}:")
        lines += [f"  {one['client']}: {', '.join(one['columns'])}" for one in needed[:_CLIENTS_SHOWN]]
        if len(needed) > _CLIENTS_SHOWN:
            lines.append(f"  and {len(needed) - _CLIENTS_SHOWN:,} more")
        lines.append(f"Fill in a copy of {scenario.data / 'identities.example.csv'} and give it with --identities.")
    return "\n".join(lines)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
