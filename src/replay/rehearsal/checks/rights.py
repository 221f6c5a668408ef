"""Whether the PostgreSQL databases of a plan answer, are what they should be, and allow what is to be done there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from replay.errors import first_line
from replay.rehearsal.checks.check import PLAN, STAGE, Check, failed, not_asked, passed
from replay.rehearsal.checks.clocks import DATABASE_LIMIT_S, judge_clock, look_at
from replay.rehearsal.checks.needs import CREATE, OWN, Need, made_by_none, needs_of
from replay.rehearsal.checks.places import database_listens, place_of
from replay.rehearsal.checks.uses import PROBE, REPLICA, STEP, Use
from replay.rehearsal.sessions import ENCODING

_PATIENCE_S = 5
_WHO = """
SELECT current_user::text, current_setting('server_version'), pg_is_in_recovery(), current_schema()::text,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements')
"""
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_OWNER = """
SELECT pg_has_role(current_user, c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""
_MAY = "SELECT has_table_privilege(c.oid, %s), c.oid::regclass::text FROM pg_class c WHERE c.oid = to_regclass(%s)"
_SCHEMA = "SELECT has_schema_privilege(n.oid, 'CREATE'), n.nspname::text FROM pg_namespace n WHERE n.nspname = %s"


@dataclass(frozen=True, slots=True)
class _Who:
    """Who a connection is, and where."""

    user: str
    version: str
    replica: bool
    schema: str | None
    sees_all: bool
    statements: str | None


Connection = psycopg.Connection[tuple[Any, ...]]


def check_database(dsn: str, uses: Sequence[Use]) -> Iterator[Check]:
    """All that is asked of one database for its users. The first check tells whether it answers."""
    place = place_of(dsn)
    name = f"database {place}"
    users = ", ".join(dict.fromkeys(use.user for use in uses))
    if why := database_listens(dsn):
        yield not_asked(name, f"Nobody answers there ({why}), where {users} would go.")
        return
    try:
        with psycopg.connect(
            dsn,
            autocommit=True,
            connect_timeout=_PATIENCE_S,
            application_name="replay check",
            prepare_threshold=None,  # a pooler may stand between
            client_encoding=ENCODING,
        ) as connection:
            connection.execute("SET statement_timeout = '10s'")
            who = _Who(*connection.execute(_WHO.encode()).fetchall()[0])
            yield _told(name, who, users)
            yield _clock(connection, place)
            yield from _of_uses(connection, who, uses)
    except psycopg.errors.ConnectionTimeout:
        yield failed(name, f"It does not answer within {_PATIENCE_S} s.", fault=STAGE)
    except psycopg.Error as error:
        hint = f"{users[:1].upper()}{users[1:]} would fail there: see dsn, and what it takes from the environment."
        yield failed(name, f"It refuses: {first_line(error)}.", hint, fault=PLAN)


def _told(name: str, who: _Who, users: str) -> Check:
    kind = "a replica" if who.replica else "a primary"
    return passed(
        name,
        f"It answers as {who.user}: PostgreSQL {who.version}, {kind}, for {users}.",
        figures={"user": who.user, "version": who.version, "replica": who.replica},
    )


def _clock(connection: Connection, place: str) -> Check:
    def read() -> float:
        return float(connection.execute(_NOW.encode()).fetchall()[0][0])

    return judge_clock(f"clock of the database {place}", look_at(read), DATABASE_LIMIT_S)


def _of_uses(connection: Connection, who: _Who, uses: Sequence[Use]) -> Iterator[Check]:
    for use in {(use.kind, use.user): use for use in uses}.values():
        name = f"rights of {use.user}"
        if use.kind in {STEP, PROBE} and who.replica:
            hint = "Give it the dsn of the primary."
            yield failed(name, "It goes to a replica, and needs a primary.", hint, fault=PLAN)
        elif use.kind == REPLICA and not who.replica:
            hint = "replicas has the DSNs of standbys; see that this one still follows its primary."
            yield failed(name, "It goes to a primary, and needs a replica.", hint, fault=PLAN)
        elif use.kind == STEP:
            yield _step(connection, who, use, name)
        elif use.kind in {PROBE, REPLICA}:
            yield _probe(connection, who, use, name)


def _probe(connection: Connection, who: _Who, use: Use, name: str) -> Check:
    if not who.sees_all:
        return failed(
            name,
            f"{who.user} may not see what other sessions do, nor how far replicas are.",
            f"GRANT pg_monitor TO {who.user}",
            fault=PLAN,
        )
    told = f"{who.user} may see what other sessions do."
    if use.kind == REPLICA:
        return passed(name, told)
    figures = {"pg_stat_statements": who.statements is not None}
    return passed(name, told, _tell_statements(connection, who.statements), figures=figures)


def _tell_statements(connection: Connection, schema: str | None) -> str:
    """What the cost of each statement would need; empty where it is there."""
    without = "the cost of each statement, and plans that change, will not be known"
    if schema is None:
        return f"Without the extension pg_stat_statements {without}."
    try:
        connection.execute(f"SELECT FROM {schema}.pg_stat_statements(false) LIMIT 1".encode())
    except psycopg.Error as error:
        return f"pg_stat_statements cannot be read ({first_line(error)}): {without}."
    return ""


def _step(connection: Connection, who: _Who, use: Use, name: str) -> Check:
    told = needs_of(use.statements)
    if told.roles:
        return not_asked(name, "It changes its role while it runs, so that its rights cannot be told beforehand.")
    needs = list(told.needs)
    if not needs and told.untold:
        needs = [Need(CREATE, "")]
    asked = [(need, _lacks(connection, who, need)) for need in needs]
    lacking = list(dict.fromkeys(lack for _, lack in asked if lack))
    there = sorted({need.name for need, lack in asked if lack is not None and need.name})
    later = sorted({need.name for need, lack in asked if lack is None} - set(there))
    figures = {"relations": there, "not there yet": later}
    if lacking:
        rest = len(lacking) - 1
        more = f", and {rest} right{'s' * (rest > 1)} more" if rest else ""
        hint = "; ".join(lacking[1:4]) or "Give the step the dsn of the role that will migrate production."
        return failed(name, f"{who.user} {lacking[0]}{more}.", hint, fault=PLAN, figures={**figures, "lacks": lacking})
    lost = [] if use.before is None else made_by_none(later, (*use.before, *use.statements))
    note = f"{', '.join(later[:5])}: not there yet, so not asked." if later else ""
    if lost:
        note = (
            f"{', '.join(lost[:5])}: not there, and no statement makes it. Unless something else does, the step fails."
        )
    what = f"what its SQL does to {', '.join(there[:5])}" if there else "what its SQL needs, as far as that tells"
    if len(there) > 5:
        what += f" and {len(there) - 5} more"
    return passed(name, f"{who.user} may do {what}.", note, figures=figures)


def _lacks(connection: Connection, who: _Who, need: Need) -> str | None:
    """What is not allowed, in words after the user's name; empty where it is, None where there is no such thing yet."""
    ask: dict[str, Callable[[], tuple[str, tuple[object, ...]]]] = {
        OWN: lambda: (_OWNER, (need.name,)),
        CREATE: lambda: (_SCHEMA, (_unquoted(need.name) or who.schema,)),
    }
    query, values = ask.get(need.right, lambda: (_MAY, (need.right, need.name)))()
    try:
        rows = connection.execute(query.encode(), values).fetchall()
    except psycopg.Error:  # a name that is none for the server
        return None
    if not rows:
        no_schema = need.right == CREATE and not need.name
        return "has no schema to create in, by its search path" if no_schema else None
    allowed, other = rows[0]
    if allowed:
        return ""
    if need.right == OWN:
        return f"is not the owner of {need.name}, who is {other}"
    return f"may not create in the schema {other}" if need.right == CREATE else f"may not {need.right} {other}"


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
