"""What the API of the demonstration answers to whoever holds a token: events, attendees, registrations, reports."""

import asyncio
import base64
import csv
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import DictRow
from starlette.requests import Request
from starlette.responses import Response

# Reports are read slowly on purpose, so that they do not starve interactive traffic.
EXPORT_BATCH = 150
EXPORT_PAUSE_S = 0.25

Connection = psycopg.AsyncConnection[DictRow]


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request with its connection. SQL carries the route, so that a lock wait can be traced to it.

    ``venue`` is the column of an event's venue, as the release that runs knows it.
    """

    request: Request
    connection: Connection
    route: str
    device: str | None
    venue: str

    async def rows(self, sql: str, *values: object) -> list[DictRow]:
        """Run ``sql`` and return its rows. ``{venue}`` in it is the column of an event's venue."""
        known = sql.replace("{venue}", self.venue)
        return await (await self.connection.execute(routed(known, self.route), values)).fetchall()

    async def row(self, sql: str, *values: object) -> DictRow | None:
        """Run ``sql`` and return its first row."""
        rows = await self.rows(sql, *values)
        return rows[0] if rows else None

    def number(self, name: str, default: int, most: int) -> int:
        """The query parameter ``name``, at most ``most``."""
        given = self.request.query_params.get(name, "")
        return min(int(given), most) if given.isdecimal() else default


Handler = Callable[[Call], Awaitable[Response]]

# The column that each release of the API keeps an event's venue in. What it answers is the same.
VENUE: Mapping[str, str] = {"v1": "venue", "v2": "hall"}


async def list_events(call: Call) -> Response:
    """Events, a page at a time."""
    limit = call.number("limit", 20, 100)
    rows = await call.rows(
        "SELECT id, name, {venue} AS venue, capacity, starts_at FROM events WHERE id > %s ORDER BY id LIMIT %s",
        _after(call),
        limit + 1,
    )
    return _page(rows, limit)


async def show_event(call: Call) -> Response:
    """One event."""
    return _one(
        await call.row(
            "SELECT id, name, {venue} AS venue, capacity, starts_at FROM events WHERE id = %s",
            call.request.path_params["id"],
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
        return problem(422, "name, email and ticket are needed")
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
        "SELECT id, name, {venue} AS venue, starts_at FROM events WHERE name ILIKE %s OR {venue} ILIKE %s "
        "ORDER BY starts_at LIMIT 20",
        f"%{words}%",
        f"%{words}%",
    )
    return as_json({"query": words, "count": len(rows), "items": rows})


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
        return problem(422, "from and to are needed, as days")
    event = call.number("event_id", 0, 2**31 - 1)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["registration", "event", "attendee", "ticket", "status", "checked_in_at"])
    async with call.connection.cursor(name=call.route) as cursor:
        await cursor.execute(
            routed(
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


ROUTES: Mapping[str, Handler] = {
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
IN_ONE_TRANSACTION = frozenset({"GET /v1/exports/registrations"})


def routed(sql: str, route: str) -> str:
    """``sql`` with its route, so that whoever watches the database knows what it is for."""
    return f"{sql.strip()} /*route='{route}'*/"


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
    return as_json({"items": items, "next_cursor": cursor})


def _one(row: DictRow | None, status: int = 200) -> Response:
    return problem(404, "there is no such thing") if row is None else as_json(row, status)


def problem(status: int, detail: str) -> Response:
    """An answer that says what is wrong."""
    return as_json({"status": status, "detail": detail}, status)


def as_json(value: Any, status: int = 200) -> Response:
    """``value`` as a JSON answer."""
    return Response(json.dumps(value, default=_text), status, media_type="application/json")


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON")
