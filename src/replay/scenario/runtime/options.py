"""The options that a scenario adds to locust's own, and what they say about one replay."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locust.argument_parser import LocustArgumentParser

from replay.errors import InputError
from replay.scenario.pace import DEFAULT_SEED
from replay.target import PRODUCTION, Target, check_allowed, check_not_production, parse_environment, parse_target

DEFAULT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """What one replay was asked for. ``start_at`` is in seconds since the epoch; ``start_file`` will tell it."""

    evidence: Path | None = None
    start_at: float | None = None
    start_file: Path | None = None
    duration_s: float | None = None
    speed: float = 1.0
    scale: float = 1.0
    seed: int = DEFAULT_SEED
    identities: Path | None = None
    pools: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    timeout_s: float = DEFAULT_TIMEOUT_S
    worker: str = ""
    live: Path | None = None


def register(parser: LocustArgumentParser) -> None:
    """Add the options to locust's command line."""

    def add(name: str, kind: Any = str, default: Any = None, **more: Any) -> None:
        parser.add_argument(name, type=kind, default=default, include_in_web_ui=False, **more)

    add("--evidence", metavar="FOLDER", help="write what became of every request there: an arm's folder of a run")
    add("--start-at", float, metavar="EPOCH_SECONDS", help="when the first second begins; at once where not given")
    add("--start-file", metavar="FILE", help="make FILE.ready when loaded, then wait for --start-at's number in FILE")
    add("--duration", _positive, metavar="SECONDS", help="cut or repeat the schedule to this length")
    add("--speed", _positive, 1.0, metavar="X", help="time compressed X times")
    add("--scale", _positive, 1.0, metavar="X", help="visits multiplied by X")
    add("--seed", int, DEFAULT_SEED, metavar="N", help="draws when copies of visits start, and retries")
    add("--identities", metavar="FILE", help="Stage's credentials for the capture's clients, as CSV")
    add("--pool", default=[], action="append", metavar="PARAMETER=FILE", help="Stage's own values; repeatable")
    add("--allow", default=[], action="append", metavar="HOST", help="refuse any --host but this; repeatable")
    add("--timeout", _positive, DEFAULT_TIMEOUT_S, metavar="SECONDS", help="give up an answer that takes longer")
    add("--worker-name", default="", metavar="NAME", help="name of this process in the evidence")
    add("--live", metavar="FILE", help="what the tab of the replay shows beside what this process knows, as JSON")


def read(parsed: argparse.Namespace) -> Options:
    """The options of a parsed command line."""
    return Options(
        evidence=Path(parsed.evidence) if parsed.evidence else None,
        start_at=parsed.start_at,
        start_file=Path(parsed.start_file) if parsed.start_file else None,
        duration_s=parsed.duration,
        speed=parsed.speed,
        scale=parsed.scale,
        seed=parsed.seed,
        identities=Path(parsed.identities) if parsed.identities else None,
        pools=tuple(parsed.pool or ()),
        allow=tuple(parsed.allow or ()),
        timeout_s=parsed.timeout,
        worker=parsed.worker_name,
        live=Path(parsed.live) if parsed.live else None,
    )


def checked_target(host: str | None, options: Options, scenario: Mapping[str, Any]) -> Target:
    """The target that load may go to. Raises InputError or Refused with the reason why there is none."""
    if not host:
        raise InputError("There is no target.", "Say where the requests go: --host http://127.0.0.1:8000.")
    target = parse_target(host)
    if options.allow:
        check_allowed(target.host, options.allow, "Load", by_option=True)
    capture = scenario.get("capture") or {}
    if parse_environment(str(capture.get("environment", ""))) == PRODUCTION:
        check_not_production(target, capture.get("hosts") or ())
    return target


def _positive(text: str) -> float:
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number (times are in seconds)") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value
