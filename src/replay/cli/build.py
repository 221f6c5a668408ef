"""``replay build``: turn a capture into a locust scenario."""

import math
from pathlib import Path

import click

from replay.capture.sources.moments import parse_duration_s
from replay.cli.text import plain, print_json, working
from replay.errors import InputError
from replay.scenario.answers import read_answers_file
from replay.scenario.identities import needed_credentials
from replay.scenario.locustfile import Scenario, build_scenario
from replay.scenario.modelled.schedule import Ask
from replay.scenario.policy import Policy
from replay.scenario.words import many

_CLIENTS_SHOWN = 10
_LONGEST_S = 31 * 24 * 3600.0  # what a model draws is measured second by second


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
@click.option(
    "--leave-out",
    multiple=True,
    metavar="PATTERN",
    help='Send nothing to endpoints like it: "POST /v2/payments", "WRITES *", "* /mail/*"; repeatable.',
)
@click.option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Answers that the scenario gives itself, for endpoints to which nothing is sent.",
)
@click.option("--model", is_flag=True, help="Draw the schedule from a model of the capture instead of repeating it.")
@click.option("--duration", metavar="TIME", help="With --model: how long the schedule is, e.g. 24h; else as long.")
@click.option("--scale", type=float, metavar="X", help="With --model: how many times the visitors; default 1.")
@click.option("--seed", type=int, metavar="N", help="With --model: the seed of chance; default 1.")
@click.option("--force", is_flag=True, help="Overwrite a locustfile that was edited.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON document.")
def command(
    capture: Path,
    out: Path,
    *,
    payloads: Path | None,
    leave_out: tuple[str, ...],
    answers: Path | None,
    model: bool,
    duration: str | None,
    scale: float | None,
    seed: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Turn the capture in folder CAPTURE into a locust scenario.

    Writes a locustfile, FILE.py, and its data beside it, FILE.data/. The locustfile is yours to edit; it runs with
    plain locust too. Writes whose bodies the capture does not hold are left out, and counted, but for those that
    --payloads has a template for. What must not reach the target is left out with --leave-out, and what needs a value
    of that with it, or gets an answer of --answers.

    The scenario repeats the capture exactly; `replay run` can speed it up, repeat it and multiply its visits. With
    --model it is traffic like the capture's instead, longer or larger than was recorded, the same for the same seed.

    \b
    Examples:
      replay build captures/production --out locustfiles/production.py
      replay build captures/access-log --out locustfiles/log.py --payloads payloads.toml
      replay build captures/production --out locustfiles/safe.py --leave-out "* /mail/*" --answers answers.toml
      replay build captures/production --out locustfiles/day.py --model --duration 24h --scale 3 --seed 7
      locust -f locustfiles/production.py --host http://127.0.0.1:8000
    """
    ask = _ask(model, duration, scale, seed)
    policy = Policy(leave_out, read_answers_file(answers) if answers else ())
    with working(f"Building {out} from {capture}") as say:
        scenario = build_scenario(capture, out, force=force, payloads=payloads, policy=policy, model=ask, say=say)
    if as_json:
        document = scenario.meta | {"locustfile": str(scenario.path), "data": str(scenario.data)}
        print_json(document)
    else:
        click.echo(_told(scenario))


def _ask(model: bool, duration: str | None, scale: float | None, seed: int | None) -> Ask | None:
    given = {"--duration": duration, "--scale": scale, "--seed": seed}
    if not model:
        needless = next((name for name, value in given.items() if value is not None), None)
        if needless:
            raise InputError(f"{needless} is for a modelled schedule.", "Add --model, or give it to `replay run`.")
        return None
    duration_s = None if duration is None else parse_duration_s(duration)
    if duration is not None and not duration_s:
        raise InputError(f"{duration!r} is not a duration.", "Write seconds (90, 90s), minutes (10m) or hours (24h).")
    if duration_s and duration_s > _LONGEST_S:
        raise InputError(
            f"A modelled schedule may last 31 days (744h) at most, and {duration!r} is longer.",
            "Let `replay run --duration` repeat a shorter one.",
        )
    if scale is not None and not (scale > 0 and math.isfinite(scale)):
        raise InputError("The scale must be a number above 0.")
    if seed is not None and seed < 0:
        raise InputError("The seed must be 0 or more.")
    return Ask(duration_s, 1.0 if scale is None else scale, 1 if seed is None else seed)


def _told(scenario: Scenario) -> str:
    meta = scenario.meta
    counts = [many(meta[noun + "s"], noun) for noun in ("request", "visit", "client")]
    counts.append(many(len(meta["endpoints"]), "endpoint"))
    lines = [
        f"Wrote {scenario.path} and {scenario.data}/:",
        f"  {', '.join(counts)}, {meta['duration_s']:,.1f} s.",
    ]
    model = meta.get("model")
    if model:
        lines.append(
            f"Drawn from a model of {meta['capture']['name']} (scale {model['scale']:g}, seed {model['seed']})."
        )
        lines += [plain(note) for note in model["notes"]]
    if meta["left_out"]:
        count = sum(meta["left_out"].values())
        share = count / meta["capture"]["exchanges"]
        which = "Not in the model" if model else "Left out"
        lines.append(f"{which}, as the capture lacks their bodies: {many(count, 'request')} ({share:.1%}).")
        lines += [f"  {own:,} {plain(endpoint)}" for endpoint, own in list(meta["left_out"].items())[:_CLIENTS_SHOWN]]
        if len(meta["left_out"]) > _CLIENTS_SHOWN:
            lines.append(f"  and {len(meta['left_out']) - _CLIENTS_SHOWN:,} endpoints more")
        lines.append("Templates for them can be given with --payloads.")
    lines += [plain(sentence) for sentence in scenario.kept_back.told()]
    if meta["pools"]:
        lines.append(f"Pools are needed for the payloads: {', '.join(meta['pools'])}. Give each with --pool NAME=FILE.")
    links = sum(link["count"] for link in meta["correlations"])
    if model or len(scenario.schedule) < scenario.kept_back.planned:
        links = sum(inject.origin is not None for planned in scenario.schedule for inject in planned.injects)
    if links:
        lines.append(f"  {many(links, 'value')} that a response hands out, sent back by a later request.")
    needed = meta["credentials"]
    if model:
        schedule = scenario.schedule
        sending = {schedule.copies.get(client, client) for client, _ in needed_credentials(schedule)}
        needed = [one for one in needed if one["client"] in sending]
    if needed:
        lines.append(f"The target's own credentials are needed for {many(len(needed), 'client')}:")
        lines += [f"  {one['client']}: {', '.join(one['columns'])}" for one in needed[:_CLIENTS_SHOWN]]
        if len(needed) > _CLIENTS_SHOWN:
            lines.append(f"  and {len(needed) - _CLIENTS_SHOWN:,} more")
        lines.append(f"Fill in a copy of {scenario.data / 'identities.example.csv'} and give it with --identities.")
    return "\n".join(lines)
