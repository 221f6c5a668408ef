"""Text of others on the way to a terminal, and documents for programs."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from replay.report.formats import visible


def plain(text: str) -> str:
    """``text`` for a terminal: what Stage, a capture or a plan says cannot move its cursor or rename its window."""
    return visible(text)


def one_line(text: str) -> str:
    """``text`` for one line of a terminal: no line of its own can look like one of ours."""
    return plain(" ".join(text.split()))


def print_json(document: Any, *, sort_keys: bool = False) -> None:
    """Print one JSON document; what is no text in it (the name of a file may be none) is replaced."""
    text = json.dumps(document, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    click.echo(text.encode("utf-8", "replace").decode())


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error ``what`` is being done: beside a spinner on a terminal, else in one line.

    Gives what to call with each part of it, which only a terminal shows.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        click.echo(plain(f"{what} ..."), err=True)
        yield lambda _: None
        return
    with console.status(Text(plain(what))) as status:
        yield lambda part: status.update(Text(plain(f"{what}: {part}")))
