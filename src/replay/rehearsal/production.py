"""Keeps a rehearsal away from what looks like production: by its names, and by a table that its database holds."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import psycopg
from psycopg.conninfo import conninfo_to_dict

from replay.errors import Refused
from replay.rehearsal.plan import NOT_PRODUCTION, USUAL_NAMES, Plan
from replay.rehearsal.table import Dsn

MARKER = "replay_production"
_CONNECT_LIMIT_S = 5
_HINT = f'Point the plan to Stage. If it is Stage, write not_production = "{NOT_PRODUCTION}" in [target].'


def check_names(plan: Plan) -> None:
    """Refuse hosts and databases whose names match a pattern of the plan's ``production``. Raises Refused."""
    if plan.target.not_production:
        return
    check_name("The target's host", plan.target.target.host, plan.target.production)
    for user, dsn in plan.dsns:
        values = conninfo_to_dict(dsn.value)
        for host in str(values.get("host") or "").split(","):
            check_name(f"{user} goes to the host", host, plan.target.production)
        check_name(f"{user} goes to the database", str(values.get("dbname") or ""), plan.target.production)
    for probe in plan.probes:
        for host in probe.hosts:
            check_name(f"The probe {probe.name!r} goes to the host", host, plan.target.production)


def check_marker(plan: Plan) -> None:
    """Refuse a database that holds the table ``replay_production``. Raises Refused; one out of reach is passed over."""
    if plan.target.not_production:
        return
    for user, dsn in plan.dsns:
        if _is_marked(dsn):
            raise Refused(
                f"{user} goes to a database that holds the table {MARKER}, which says that it is production's.",
                f"{_HINT} A copy of production on Stage is to lose the table.",
            )


def check_name(what: str, name: str, patterns: Iterable[str] = USUAL_NAMES) -> None:
    """Refuse the ``name`` of a host or a database that matches a pattern. Raises Refused; ``what`` says whose it is."""
    for part in (name.lower(), *name.lower().split(".")):
        for pattern in patterns:
            if part and fnmatchcase(part, pattern.lower()):
                raise Refused(f"{what} {name}, which looks like production ({pattern!r}).", _HINT)


def _is_marked(dsn: Dsn) -> bool:
    try:
        with psycopg.connect(
            dsn.value, connect_timeout=_CONNECT_LIMIT_S, application_name="replay check"
        ) as connection:
            found = connection.execute(
                "SELECT FROM pg_class WHERE relname = %s AND relkind IN ('r', 'p', 'v')", (MARKER,)
            )
            return bool(found.rowcount)
    except psycopg.Error:
        return False
