"""What a step of a plan does, read into a frozen value: exactly one of six kinds of things."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from replay.errors import PlanError
from replay.rehearsal.table import Command, Dsn, Table, Texts

RECOVERED = "recovered"
_KEYS = ("sql", "run", "http", "wait", "alembic", "django")
# A key that belongs to one of them, and is refused beside another.
_BELONGS = {
    "dsn": "sql",
    "headers": "http",
    "body": "http",
    "expect": "http",
    "config": "alembic",
    "migrate": "django",
}
_SENT_TO = re.compile(r"([A-Za-z]+) (/[\x21-\x7e]*)")
_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_STATUSES = re.compile(r"[1-5](?:xx|\d\d)")


@dataclass(frozen=True, slots=True)
class SqlFile:
    """An SQL file, sent statement by statement."""

    file: Path
    dsn: Dsn


@dataclass(frozen=True, slots=True)
class Run:
    """A command."""

    command: Command


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request to the plan's target. ``expect`` has statuses and their classes, such as ``2xx``."""

    method: str
    path: str
    headers: Texts = field(repr=False)
    body: str = field(repr=False)
    expect: tuple[str, ...]

    def expects(self, status: int) -> bool:
        """Whether this status is a success."""
        return str(status) in self.expect or f"{status // 100}xx" in self.expect


@dataclass(frozen=True, slots=True)
class Wait:
    """Waiting for so long, or until Stage has recovered (None)."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Alembic:
    """Alembic's ``order`` (upgrade or downgrade) to a revision, by a configuration file."""

    order: str
    revision: str
    config: Path


@dataclass(frozen=True, slots=True)
class Django:
    """Django's ``migrate`` by a project's manage.py: everything, or an app, or an app up to a migration."""

    manage: Path
    migrate: tuple[str, ...]


Action = SqlFile | Run | Call | Wait | Alembic | Django


def read_action(table: Table) -> Action:
    """What a step's table says is to be done. Raises PlanError unless it is exactly one thing, and all of it."""
    dsn = table.dsn("dsn")
    headers = table.texts_by_name("headers")
    body, config, migrate = table.text("body"), table.path("config"), table.text("migrate")
    given: dict[str, object] = {
        "sql": table.path("sql"),
        "run": table.command("run"),
        "http": table.text("http"),
        "wait": table.text("wait"),
        "alembic": table.text("alembic"),
        "django": table.path("django"),
    }
    expect = table.text("expect", "2xx" if given["http"] is not None else None)
    chosen = [key for key in _KEYS if given[key] is not None]
    if len(chosen) != 1:
        raise _not_one(table, chosen)
    (kind,) = chosen
    beside = {"dsn": dsn, "headers": headers, "body": body, "expect": expect, "config": config, "migrate": migrate}
    _check_belongings(table, kind, beside)
    match kind, given[kind]:
        case "sql", Path() as file:
            if dsn is None:
                raise table.error("sql", "needs a dsn to go through", 'Add dsn = "${STAGE_DSN}".')
            return SqlFile(file, dsn)
        case "run", Command() as command:
            return Run(command)
        case "http", str(asked):
            return _call(table, asked, headers, body or "", expect or "")
        case "alembic", str(revision):
            return _alembic(table, revision, config or table.folder / "alembic.ini")
        case "django", Path() as manage:
            return _django(table, manage, migrate or "")
    return _wait(table, str(given["wait"]))


def _not_one(table: Table, chosen: list[str]) -> PlanError:
    if not chosen:
        return table.error(_KEYS[0], f"is missing, and so is what else a step can do: one of {', '.join(_KEYS)}")
    return table.error(chosen[0], f"and {chosen[1]}: one of the two must be there, not both")


def _check_belongings(table: Table, kind: str, beside: Mapping[str, object]) -> None:
    for key, value in beside.items():
        if value and _BELONGS[key] != kind:
            why = "; a command gets its database from its own arguments or its environment" * (key == "dsn")
            raise table.error(key, f"is for {_BELONGS[key]}, and this step has {kind}{why}")


def _wait(table: Table, wanted: str) -> Wait:
    if wanted == RECOVERED:
        return Wait(None)
    try:
        return Wait(table.duration_s("wait"))
    except PlanError as error:
        raise table.error(
            "wait", f"is {wanted!r}, and must be {RECOVERED!r} or a duration", f'Write it like "{RECOVERED}" or "5s".'
        ) from error


def _call(table: Table, asked: str, headers: Texts, body: str, expect: str) -> Call:
    parts = _SENT_TO.fullmatch(asked)
    if parts is None:
        raise table.error(
            "http",
            f"is {asked!r}, and must be a method and a path: it goes to the plan's target",
            'Write it like "POST /admin/flush".',
        )
    for name, value in headers:
        if not _HEADER.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise table.error("headers", f"has {name!r}, which cannot be sent as a header")
        if name.lower() in {"host", "content-length", "transfer-encoding"}:
            raise table.error("headers", f"has {name!r}, which follows from the target and the body")
    statuses = tuple(status.strip() for status in expect.split(","))
    if not all(map(_STATUSES.fullmatch, statuses)):
        raise table.error("expect", f"is {expect!r}, and must be statuses", 'Write it like "2xx" or "204, 409".')
    return Call(parts[1].upper(), parts[2], headers, body, statuses)


def _alembic(table: Table, wanted: str, config: Path) -> Alembic:
    words = wanted.split()
    if len(words) == 1:
        down = words[0] == "base" or words[0].startswith("-")
        return Alembic("downgrade" if down else "upgrade", words[0], config)
    if len(words) != 2 or words[0] not in {"upgrade", "downgrade"}:
        raise table.error(
            "alembic", f"is {wanted!r}, and must be a revision", 'Write it like "head", "-1" or "downgrade 1a2b3c".'
        )
    return Alembic(words[0], words[1], config)


def _django(table: Table, manage: Path, migrate: str) -> Django:
    words = tuple(migrate.split())
    if len(words) > 2 or any(word.startswith("-") for word in words):
        raise table.error("migrate", f"is {migrate!r}, and must be an app and a migration", 'Write it like "app 0042".')
    return Django(manage, words)
