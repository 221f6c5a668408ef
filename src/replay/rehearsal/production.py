"""Keeps a rehearsal away from what looks like production: by its names, and by a table that its database holds."""

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from functools import partial

import psycopg
from psycopg.conninfo import make_conninfo

from replay.errors import Refused, StageError, first_line
from replay.rehearsal.destinations import Destination, destinations_of, settings_of, single_hosts
from replay.rehearsal.plan import Plan
from replay.rehearsal.probes.plan import ProbePlan
from replay.rehearsal.sessions import Session, limited
from replay.rehearsal.table import Dsn
from replay.target import USUAL_NAMES, Target, check_host_not_production, check_name, override

MARKER = "replay_production"
_CONNECT_LIMIT_S, _ANSWER_LIMIT_S = 5, 10.0
_MARKED = "SELECT FROM pg_class WHERE relname = %s AND relkind IN ('r', 'p', 'v', 'm', 'f')"
_ALWAYS_THERE = ("postgres", "template1")  # databases of every server, as a rule


def check_names(plan: Plan) -> None:
    """Refuse hosts and databases whose names match a pattern of the plan's ``production``. Raises Refused."""
    if not plan.target.not_production:
        check_name("The target's host", plan.target.target.host, plan.target.production)
        check_places(destinations_of(plan), plan.target.production)


def check_places(
    destinations: Iterable[Destination], patterns: Collection[str] = USUAL_NAMES, *, by_option: bool = False
) -> None:
    """Refuse hosts and databases whose names match a pattern. Raises Refused."""
    for one in destinations:
        for host in one.hosts:
            check_name(f"{one.user} goes to the host", host, patterns, by_option=by_option)
        for name in one.databases:
            check_name(f"{one.user} goes to the database", name, patterns, by_option=by_option)


def check_captured(target: Target, destinations: Iterable[Destination], production_hosts: Collection[str]) -> None:
    """Refuse destinations on a host that a production capture was recorded from. Raises Refused."""
    for one in destinations:
        for host in one.hosts:
            check_host_not_production(one.user, host, target, production_hosts)


def check_marker(plan: Plan) -> None:
    """Refuse a plan one of whose databases is marked as production's. Raises as ``check_marked``."""
    if not plan.target.not_production:
        check_marked(plan.dsns, plan.probes)


def check_marked(dsns: Iterable[tuple[str, Dsn]], probes: Iterable[ProbePlan], *, by_option: bool = False) -> None:
    """Refuse databases that hold the table ``replay_production``: of DSNs with their users, and of probes beside them.

    Raises Refused for one that does; StageError, after all were asked, for one of which that cannot be known. A
    database that its server does not have is none.
    """
    unknown: StageError | None = None
    questions = {dsn.value: (user, partial(_is_marked, dsn)) for user, dsn in reversed(tuple(dsns))}
    asked: list[tuple[str, Callable[[], bool]]] = [*reversed(questions.values())]
    asked += [(f"The probe {probe.name!r}", partial(probe.holds, MARKER)) for probe in probes]
    for user, is_marked in asked:
        try:
            marked = is_marked()
        except StageError as error:
            unknown = unknown or StageError(
                f"{user} goes to a database of which nobody knows whether it is production's: {error.message}",
                f"Nothing is done before that is known: see that it runs, and that its dsn is right. "
                f"{override(by_option=by_option)}",
            )
            continue
        if marked:
            raise Refused(
                f"{user} goes to a database that holds the table {MARKER}, which says that it is production's.",
                f"{override(by_option=by_option)} A copy of production on Stage is to lose the table.",
            )
    if unknown:
        raise unknown


def _is_marked(dsn: Dsn) -> bool:
    # Of several hosts any may be gone to in the end; one that is marked outweighs one that does not answer.
    unknown: psycopg.Error | None = None
    for conninfo in single_hosts(dsn.value):
        try:
            with _session(conninfo) as session:
                if session.execute(_MARKED, (MARKER,)).rowcount:
                    return True
        except psycopg.Error as error:
            if not _is_missing(conninfo):  # else the reset may be what makes it
                unknown = unknown or error
    if unknown is not None:
        raise StageError(f"{first_line(unknown)}.") from unknown
    return False


def _is_missing(conninfo: str) -> bool:
    """Whether the server answers, and has no such database. Its refusal has no code, and is in any language."""
    name = settings_of(conninfo)["dbname"]
    for other in _ALWAYS_THERE:
        try:
            with _session(make_conninfo(conninfo, dbname=other)) as session:
                return not session.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).rowcount
        except psycopg.errors.ConnectionTimeout:
            return False
        except psycopg.Error:
            continue
    return False


def _session(conninfo: str) -> AbstractContextManager[Session]:
    return limited(conninfo, _ANSWER_LIMIT_S, "replay check", connect_limit_s=_CONNECT_LIMIT_S)
