"""The options that say how secrets are replaced, for `capture` and `import` alike."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from replay.errors import InputError

if TYPE_CHECKING:
    from replay.capture.pseudonyms import Key
    from replay.capture.scrubbing.rules import Rules

Command = TypeVar("Command", bound=Callable[..., None])


def scrubbing_options(command: Command) -> Command:
    """``--scrub``, ``--scrub-key`` and ``--scrub-rules``."""
    options = (
        click.option(
            "--scrub",
            type=click.Choice(["on", "off"]),
            default="on",
            show_default=True,
            help="Replace secrets with pseudonyms before anything is written. Off is for captures of test "
            "environments.",
        ),
        click.option(
            "--scrub-key",
            type=click.Path(path_type=Path, dir_okay=False),
            help="A key file, made if missing: captures with one key have the same pseudonyms. Without: a key in "
            "memory only.",
        ),
        click.option(
            "--scrub-rules",
            type=click.Path(path_type=Path, dir_okay=False),
            help="A TOML file of more names and patterns.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def check_scrubbing(scrub: str, key: Path | None, rules: Path | None) -> None:
    """Raises InputError where options of scrubbing are given and there is to be none."""
    if scrub == "off" and (key or rules):
        raise InputError("--scrub-key and --scrub-rules are of no use with --scrub off.", "Leave them out.")


def key_and_rules(key: Path | None, rules: Path | None) -> "tuple[Key, Rules]":
    """What the options name, else a fresh key and no rules. Raises InputError where a file cannot be read."""
    from replay.capture.pseudonyms import fresh_key, load_key  # noqa: PLC0415 - --help need not wait for it
    from replay.capture.scrubbing.rules import NO_RULES, load_rules  # noqa: PLC0415

    return load_key(key) if key else fresh_key(), load_rules(rules) if rules else NO_RULES
