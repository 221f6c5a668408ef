"""The HTTP API of an event-registration product: what the demonstration rehearses on.

Written as such products are: a token looked up in the database on every call, two pools of connections, and a
middleware that answers 200 with nothing in it when there is no connection in time. ``python -m replay.demo.api --port
N`` with the database's DSN in STAGE_DSN and the error log's path in API_ERROR_LOG.
"""

import argparse
import asyncio
import base64
import csv
import hashlib
import io
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import psycopg
import uvicorn
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DATA_CONNECTIONS = 16
DATA_WAIT_S = 1.5
# Authentication must answer fast, so it has connections of its own and gives up early.
TOKEN_CONNECTIONS = 2
TOKEN_WAIT_S = 0.75
TOKEN_LIFETIME_S = 3600
# Reports are read slowly on purpose, so that they do not starve interactive traffic.
EXPORT_BATCH = 150
EXPORT_PAUSE_S = 0.25

Connection = psycopg.AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]

log = logging.getLogger("event_api")


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request with its connection. SQL carries the route, so that a lock wait can be traced to it."""

    request: Request
    connection: Connection
    route: str
    device: str | None

    async def rows(self, sql: str, *values: object) -> list[DictRow]:
        """Run ``sql`` and return its rows."""
        return await (await self.connection.execute(_routed(sql, self.route), values)).fetchall()

    async def row(self, sql: str, *values: object) -> DictRow | None:
        """Run ``sql`` and return its first row."""
        rows = await self.rows(sql, *values)
        return rows[0] if rows else None

    def number(self, name: str, default: int, most: int) -> int:
        """The query parameter ``name``, at most ``most``."""
        given = self.request.query_params.get(name, "")
        return min(int(given), most) if given.isdecimal() else default


Handler = Callable[[Call], Awaitable[Response]]


async def list_events(call: Call) -> Response:
    """Events, a page at a time."""
    limit = call.number("limit", 20, 100)
    rows = await call.rows(
        "SELECT id, name, venue, capacity, starts_at FROM events WHERE id > %s ORDER BY id LIMIT %s",
        _after(call),
        limit + 1,
    )
    return _page(rows, limit)


async def show_event(call: Call) -> Response:
    """One event."""
    return _one(
        await call.row(
            "SELECT id, name, venue, capacity, starts_at FROM events WHERE id = %s", call.request.path_params["id"]
        )
    )


async def list_attendees(call: Call) -> Response:
    """Who is registered for an event, a page at a time."""
    limit = call.number("limit", 20, 100)
    rows = await call.rows(
        "SELECT r.id, r.attendee_id, a.name, r.ticket, r.status FROM registrations r "
        "JOIN attendees a ON a.id = r.attendee_id WHERE r.event_id = %s AND r.id > %s ORDER BY r.id LIMIT %s",
        call.request.path_params["id"],
        _after(call),
        limit + 1,
    )
    return _page(rows, limit)


async def show_attendee(call: Call) -> Response:
    """One attendee."""
    return _one(await call.row("SELECT id, name, email FROM attendees WHERE id = %s", call.request.path_params["id"]))


async def register(call: Call) -> Response:
    """Register a new attendee for an event."""
    try:
        wanted = json.loads(await call.request.body())
        name, email, ticket = (str(wanted[field]) for field in ("name", "email", "ticket"))
    except (ValueError, KeyError, TypeError):
        return _problem(422, "name, email and ticket are needed")
    registration = await call.row(
        "WITH attendee AS (INSERT INTO attendees (name, email) VALUES (%s, %s) RETURNING id) "
        "INSERT INTO registrations (event_id, attendee_id, ticket) "
        "SELECT e.id, attendee.id, %s FROM attendee, events e WHERE e.id = %s "
        "RETURNING id, event_id, attendee_id, ticket, status, created_at",
        name,
        email,
        ticket,
        call.request.path_params["id"],
    )
    return _one(registration, status=201)


async def show_registration(call: Call) -> Response:
    """One registration."""
    return _one(
        await call.row(
            "SELECT id, event_id, attendee_id, ticket, status, created_at FROM registrations WHERE id = %s",
            call.request.path_params["id"],
        )
    )


async def check_in(call: Call) -> Response:
    """Checking in twice is checking in once."""
    return _one(
        await call.row(
            "WITH found AS "
            "(UPDATE registrations SET status = 'checked-in' WHERE id = %s RETURNING id, event_id, status), "
            "seen AS (INSERT INTO check_ins (registration_id, device) SELECT id, %s FROM found "
            "ON CONFLICT (registration_id) DO NOTHING) SELECT id, event_id, status FROM found",
            call.request.path_params["id"],
            call.device,
        )
    )


async def search(call: Call) -> Response:
    """Events whose name or venue has the words of ``q``."""
    words = call.request.query_params.get("q", "")
    rows = await call.rows(
        "SELECT id, name, venue, starts_at FROM events WHERE name ILIKE %s OR venue ILIKE %s "
        "ORDER BY starts_at LIMIT 20",
        f"%{words}%",
        f"%{words}%",
    )
    return _json({"query": words, "count": len(rows), "items": rows})


async def summary(call: Call) -> Response:
    """An event with its registrations counted."""
    return _one(
        await call.row(
            "SELECT e.id, e.name, e.capacity, count(r.id) AS registrations, "
            "count(r.id) FILTER (WHERE r.status = 'checked-in') AS checked_in, max(r.created_at) AS latest "
            "FROM events e LEFT JOIN registrations r ON r.event_id = e.id WHERE e.id = %s GROUP BY e.id",
            call.request.path_params["id"],
        )
    )


async def export_registrations(call: Call) -> Response:
    """Registrations of the days ``from`` to ``to``, and of ``event_id`` where it is given, as CSV."""
    try:
        first, last = (date.fromisoformat(call.request.query_params[name]) for name in ("from", "to"))
    except (KeyError, ValueError):
        return _problem(422, "from and to are needed, as days")
    event = call.number("event_id", 0, 2**31 - 1)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["registration", "event", "attendee", "ticket", "status", "checked_in_at"])
    async with call.connection.cursor(name="export") as cursor:
        await cursor.execute(
            _routed(
                "SELECT r.id, e.name, a.name AS attendee, r.ticket, r.status, c.at FROM registrations r "
                "JOIN events e ON e.id = r.event_id JOIN attendees a ON a.id = r.attendee_id "
                "LEFT JOIN check_ins c ON c.registration_id = r.id "
                "WHERE r.created_at >= %s AND r.created_at < %s AND %s IN (0, r.event_id) ORDER BY r.created_at",
                call.route,
            ),
            (first, last + timedelta(days=1), event),
        )
        while rows := await cursor.fetchmany(EXPORT_BATCH):
            lines.writerows(row.values() for row in rows)
            if len(rows) < EXPORT_BATCH:
                break
            await asyncio.sleep(EXPORT_PAUSE_S)
    return Response(text.getvalue(), media_type="text/csv")


_BY_CREDENTIALS = """
INSERT INTO access_tokens (token_hash, refresh_hash, claims, expires_at, integration_id, device)
SELECT %(token)s, %(refresh)s, %(claims)s::jsonb, now() + %(lifetime)s, id, %(device)s
FROM integrations WHERE client_id = %(client)s AND secret_hash = %(secret)s
"""
_BY_REFRESH = """
INSERT INTO access_tokens (token_hash, refresh_hash, claims, expires_at, integration_id, device)
SELECT %(token)s, %(refresh)s, %(claims)s::jsonb, now() + %(lifetime)s, i.id, t.device
FROM access_tokens t JOIN integrations i ON i.id = t.integration_id
WHERE t.refresh_hash = %(proof)s AND i.client_id = %(client)s AND i.secret_hash = %(secret)s
"""


async def issue_token(request: Request) -> Response:
    """OAuth's two grants for programs: by secret, and by refresh token. A device may be named with the first."""
    form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
    statement = {"client_credentials": _BY_CREDENTIALS, "refresh_token": _BY_REFRESH}.get(form.get("grant_type", ""))
    if statement is None:
        return _json({"error": "unsupported_grant_type"}, 400)
    access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    claims = {
        "iss": "https://id.events.example.test/oauth",
        "aud": "https://api.events.example.test/v1",
        "sub": form.get("client_id"),
        "jti": secrets.token_hex(16),
        "agent": request.headers.get("user-agent", ""),
    }
    values = {
        "token": _hash(access),
        "refresh": _hash(refresh),
        "claims": json.dumps(claims),
        "lifetime": timedelta(seconds=TOKEN_LIFETIME_S),
        "client": form.get("client_id"),
        "secret": _hash(form.get("client_secret", "")),
        "device": form.get("device"),
        "proof": _hash(form.get("refresh_token", "")),
    }
    pool: Pool = request.app.state.token_pool
    async with pool.connection() as connection:
        issued = await connection.execute(_routed(statement, "POST /oauth/token"), values)
    if not issued.rowcount:
        return _json({"error": "invalid_client"}, 401)
    return _json(
        {"access_token": access, "refresh_token": refresh, "expires_in": TOKEN_LIFETIME_S, "token_type": "Bearer"}
    )


async def health(request: Request) -> Response:
    """Whether the database answers. Connections that a restart of the database broke are replaced on the way."""
    for pool in (request.app.state.data_pool, request.app.state.token_pool):
        await pool.check()
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
    return _json({"status": "ok"})


_ROUTES: Mapping[str, Handler] = {
    "GET /v1/events": list_events,
    "GET /v1/events/{id}": show_event,
    "GET /v1/events/{id}/attendees": list_attendees,
    "GET /v1/events/{id}/summary": summary,
    "POST /v1/events/{id}/registrations": register,
    "GET /v1/attendees/{id}": show_attendee,
    "GET /v1/registrations/{id}": show_registration,
    "POST /v1/registrations/{id}/check-in": check_in,
    "GET /v1/search": search,
    "GET /v1/exports/registrations": export_registrations,
}
# These read for long: their token's check and their rows belong to one transaction, so that they see one moment.
_IN_ONE_TRANSACTION = frozenset({"GET /v1/exports/registrations"})


def _route(name: str, handler: Handler) -> Route:
    method, path = name.split()

    async def endpoint(request: Request) -> Response:
        pool: Pool = request.app.state.data_pool
        async with pool.connection() as connection:
            if name not in _IN_ONE_TRANSACTION:
                return await _authenticated(request, connection, name, handler)
            async with connection.transaction():
                return await _authenticated(request, connection, name, handler)

    return Route(path.replace("{id}", "{id:int}"), endpoint, methods=[method])


async def _authenticated(request: Request, connection: Connection, name: str, handler: Handler) -> Response:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    found = await connection.execute(
        _routed("SELECT device FROM access_tokens WHERE token_hash = %s AND expires_at > now()", name), (_hash(token),)
    )
    holder = await found.fetchone()
    if scheme.lower() != "bearer" or holder is None:
        return _problem(401, "a valid token is needed")
    return await handler(Call(request, connection, name, holder["device"]))


class Failures:
    """Answers what the API could not: nothing at all where no connection was to be had, else 500. Both are logged."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except PoolTimeout:
            log.exception("%s %s: no connection in time", scope["method"], scope["path"])
            answer = Response(b"")
        except Exception as error:  # a client is owed an answer, whatever broke
            log.exception("%s %s: %s", scope["method"], scope["path"], type(error).__name__)
            answer = _problem(500, "internal error")
        else:
            return
        if not started:
            await answer(scope, receive, send)


def create_app(dsn: str) -> Starlette:
    """The API over the database of ``dsn``."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with (
            _pool(dsn, "data", DATA_CONNECTIONS, DATA_WAIT_S) as app.state.data_pool,
            _pool(dsn, "tokens", TOKEN_CONNECTIONS, TOKEN_WAIT_S) as app.state.token_pool,
        ):
            yield

    routes = [_route(name, handler) for name, handler in _ROUTES.items()]
    routes += [Route("/oauth/token", issue_token, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Failures)])


def _pool(dsn: str, name: str, size: int, wait_s: float) -> Pool:
    return AsyncConnectionPool(
        dsn,
        connection_class=psycopg.AsyncConnection[DictRow],
        kwargs={"autocommit": True, "row_factory": dict_row, "application_name": "event-api"},
        min_size=size,
        max_size=size,
        timeout=wait_s,
        name=name,
        check=AsyncConnectionPool.check_connection,  # the database may have been put back in between
        open=False,
    )


def _routed(sql: str, route: str) -> str:
    return f"{sql.strip()} /*route='{route}'*/"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _after(call: Call) -> int:
    """The number that the cursor stands for; a cursor that is none starts at the beginning."""
    try:
        return int(
            base64.urlsafe_b64decode(call.request.query_params.get("cursor", "").encode()).removeprefix(b"after:")
        )
    except ValueError:
        return 0


def _page(rows: list[DictRow], limit: int) -> Response:
    items = rows[:limit]
    more = len(rows) > limit
    cursor = base64.urlsafe_b64encode(f"after:{items[-1]['id']:09}".encode()).decode() if more else None
    return _json({"items": items, "next_cursor": cursor})


def _one(row: DictRow | None, status: int = 200) -> Response:
    return _problem(404, "there is no such thing") if row is None else _json(row, status)


def _problem(status: int, detail: str) -> Response:
    return _json({"status": status, "detail": detail}, status)


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value, default=_text), status, media_type="application/json")


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON")


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    errors = logging.FileHandler(os.environ["API_ERROR_LOG"])
    errors.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(errors)
    uvicorn.run(
        create_app(os.environ["STAGE_DSN"]),
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="asyncio",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    _main()
