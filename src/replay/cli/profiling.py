"""What `inspect` and `compare` have in common: the options of a profile, and where it is shown."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from replay.cli.text import plain
from replay.workload.engine import DUCKDB

_WIDTH_IN_A_FILE = 120

Command = TypeVar("Command", bound=Callable[..., None])


def profiling_options(command: Command) -> Command:
    """``--routes``, ``--engine``, ``--html`` (as ``page``) and ``--json`` (as ``as_json``)."""
    options = (
        click.option(
            "--routes",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="An OpenAPI document or a list of routes.",
        ),
        click.option(
            "--engine", default=DUCKDB, show_default=True, metavar="NAME", help="duckdb, or spark://HOST:PORT."
        ),
        click.option(
            "--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with pictures of it."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def pictures(page: Path) -> str:
    """The line that says where the pictures are."""
    return plain(f"\nPictures of it are in {page}.")


def wide_console() -> Console:
    """A console for tables, which have room in a file too."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=_WIDTH_IN_A_FILE)
