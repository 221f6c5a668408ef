"""`replay demo`: all of it on the embedded Stage."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from replay.cli.rehearse import Rehearsed, outline_of, rehearse, show_verdict
from replay.cli.text import print_json
from replay.errors import ExitCode, InputError

if TYPE_CHECKING:
    from replay.demo.stage import Stage

DESERVED = {"unsafe": "NO_GO", "safe": "GO", "incident": "NO_GO", "deploy": "GO", "wrong-order": "NO_GO"}
_PLANS = Path(__file__).parent.parent / "demo" / "plans"


@click.command(name="demo")
@click.option(
    "--migration",
    type=click.Choice(list(DESERVED)),
    default="unsafe",
    show_default=True,
    help="unsafe: the one that broke production. safe: the same change done well. incident: a migration, a rollback "
    "that fails, a hotfix, a revert. deploy: a schema and its code in the right order. wrong-order: the schema first.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run's folder. [default: runs/demo, runs/demo-safe and so on]"
)
@click.option(
    "--captures",
    type=click.Path(path_type=Path),
    help="Where the two captures are. [default: those that come with replay]",
)
@click.option(
    "--record",
    is_flag=True,
    help="Record the two captures anew, in place of those there (about 90 s), and rehearse nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output and nothing else.")
def command(*, migration: str, out: Path | None, captures: Path | None, record: bool, as_json: bool) -> int:
    """Rehearse a migration on an embedded Stage under two recorded workloads, in less than five minutes.

    Starts a PostgreSQL with a streaming replica and an API of its own on 127.0.0.1, replays what a QA suite and what
    production sent to it, each with the migration and without, and judges what was seen. Leaves with 0 when the
    verdict is the one that the migration deserves: GO for safe and deploy, NO_GO for the others. The last three are
    rehearsed under production's workload alone.

    \b
    Examples:
      replay demo
      replay demo --migration safe
      replay demo --migration incident
      replay demo --record --captures captures
    """
    console = Console(stderr=True, highlight=False)
    folder = captures or _shipped_captures()
    if record:
        from replay.demo.recording import RECORDING_PORT, record_captures  # noqa: PLC0415 - wanted here alone

        with _stage(console, RECORDING_PORT) as stage, console.status("recording") as status:
            record_captures(stage, folder, status.update)
        console.print(f"Recorded {folder / 'production'} and {folder / 'qa'}.")
        return ExitCode.GO
    run = out or Path("runs") / ("demo" if migration == "unsafe" else f"demo-{migration}")
    _make_room(run)
    with _stage(console) as stage:
        done = _rehearse(stage, migration, folder, run, console)
    return _conclude(done, DESERVED[migration], console, as_json)


@contextlib.contextmanager
def _stage(console: Console, port: int = 0) -> Iterator["Stage"]:
    """A running Stage in a folder of its own, which goes with it."""
    try:
        from replay.demo.stage import Stage  # noqa: PLC0415 - its parts are an extra of the installation
    except ImportError as error:
        raise InputError(
            f"The demonstration needs {error.name}, which is not installed.",
            "Install it with its extra: `pip install '.[demo]'` in the clone of replay.",
        ) from error
    with tempfile.TemporaryDirectory(prefix="replay-demo-", ignore_cleanup_errors=True) as directory:
        with console.status("Stage: starting") as status:
            stage = Stage(Path(directory), port=port, say=lambda doing: status.update(f"Stage: {doing}"))
        with stage:
            yield stage


def _rehearse(stage: "Stage", migration: str, captures: Path, run: Path, console: Console) -> Rehearsed:
    from replay.demo.identities import write_identities  # noqa: PLC0415 - as above

    identities = stage.directory / "identities.csv"
    write_identities(identities)
    os.environ |= stage.environment | {
        "DEMO_CAPTURES": str(captures.absolute()),
        "DEMO_IDENTITIES": str(identities),
    }
    return rehearse(outline_of(_PLANS / f"{migration}.toml", run), run, console)


def _conclude(done: Rehearsed, deserved: str, console: Console, as_json: bool) -> int:
    worked = done.verdict == deserved
    if as_json:
        document = {**done.document, "run": str(done.run), "report": str(done.report), "deserved": deserved}
        print_json(document, sort_keys=True)
    else:
        click.echo(
            f"The migration deserves {deserved}: the demonstration {'worked' if worked else 'did NOT work'}. "
            f"In a pipeline, `replay rehearse` leaves with {int(done.exit_code)} for {done.verdict}."
        )
        show_verdict(done)
    if worked:
        return ExitCode.GO
    console.print(f"This run came to {done.verdict}, not to {deserved}. Was the machine starved? Run it again.")
    return done.exit_code or ExitCode.BROKEN


def _make_room(run: Path) -> None:
    """Take away an earlier demonstration's run; anything else in its place is not ours to take."""
    if not run.exists():
        return
    try:
        ours = json.loads((run / "rehearsal.json").read_text(encoding="utf-8"))["name"].startswith("demo")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        ours = False
    if not ours:
        raise InputError(f"{run} is there already and is no run of the demonstration.", "Give another --out.")
    shutil.rmtree(run)


def _shipped_captures() -> Path:
    """The captures of the source tree, or those that an installed package brings along."""
    packaged = _PLANS.parent / "captures"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "captures"
