"""The HTTP API of an event-registration product: what the demonstration rehearses on.

Written as such products are: a token looked up in the database on every call, two pools of connections, and a
middleware that answers 200 with nothing in it when there is no connection in time. ``python -m replay.demo.api --socket
FD --release v1`` answers at a socket that it is given, with the database's DSN in STAGE_DSN and the error log's path in
API_ERROR_LOG. How one release takes over from another by the files of ``--turn`` is told in `replay.demo.releases`.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
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

from replay.demo.endpoints import IN_ONE_TRANSACTION, ROUTES, VENUE, Call, Connection, Handler, as_json, problem, routed
from replay.demo.releases import TURNS

DATA_CONNECTIONS = 16
DATA_WAIT_S = 1.5
# Authentication must answer fast, so it has connections of its own and gives up early.
TOKEN_CONNECTIONS = 2
TOKEN_WAIT_S = 0.75
TOKEN_LIFETIME_S = 3600
# A release that is replaced answers what it has begun: the longest report takes seven seconds.
DRAIN_S = 10
_GRACE_S = 0.1

Pool = AsyncConnectionPool[Connection]

log = logging.getLogger("event_api")


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
        return as_json({"error": "unsupported_grant_type"}, 400)
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
        issued = await connection.execute(routed(statement, "POST /oauth/token"), values)
    if not issued.rowcount:
        return as_json({"error": "invalid_client"}, 401)
    return as_json(
        {"access_token": access, "refresh_token": refresh, "expires_in": TOKEN_LIFETIME_S, "token_type": "Bearer"}
    )


async def health(request: Request) -> Response:
    """Whether the database answers. Connections that a restart of the database broke are replaced on the way."""
    for pool in (request.app.state.data_pool, request.app.state.token_pool):
        await pool.check()
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
    return as_json({"status": "ok"})


def _route(name: str, handler: Handler) -> Route:
    method, path = name.split()

    async def endpoint(request: Request) -> Response:
        pool: Pool = request.app.state.data_pool
        async with pool.connection() as connection:
            if name not in IN_ONE_TRANSACTION:
                return await _authenticated(request, connection, name, handler)
            async with connection.transaction():
                return await _authenticated(request, connection, name, handler)

    return Route(path.replace("{id}", "{id:int}"), endpoint, methods=[method])


async def _authenticated(request: Request, connection: Connection, name: str, handler: Handler) -> Response:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    found = await connection.execute(
        routed("SELECT device FROM access_tokens WHERE token_hash = %s AND expires_at > now()", name), (_hash(token),)
    )
    holder = await found.fetchone()
    if scheme.lower() != "bearer" or holder is None:
        return problem(401, "a valid token is needed")
    return await handler(Call(request, connection, name, holder["device"], request.app.state.venue))


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
            answer = problem(500, "internal error")
        else:
            return
        if not started:
            await answer(scope, receive, send)


async def _at_once() -> None:
    pass


def create_app(dsn: str, release: str = "v1", turn: Callable[[], Awaitable[None]] = _at_once) -> Starlette:
    """The API over the database of ``dsn``, in one of its releases. It answers once ``turn`` has come."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with (
            _pool(dsn, "data", DATA_CONNECTIONS, DATA_WAIT_S) as app.state.data_pool,
            _pool(dsn, "tokens", TOKEN_CONNECTIONS, TOKEN_WAIT_S) as app.state.token_pool,
        ):
            app.state.venue = VENUE[release]
            await app.state.data_pool.wait()
            await app.state.token_pool.wait()
            await turn()
            yield

    routes = [_route(name, handler) for name, handler in ROUTES.items()]
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


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class _Server(uvicorn.Server):
    """A server that says in a file when it takes no more requests; it then answers those that it has begun."""

    def __init__(self, config: uvicorn.Config, left: Path) -> None:
        super().__init__(config)
        self._left = left

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, then close those that wait for a request, then wait for what is being answered."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(_GRACE_S)  # who has just connected is about to ask
        asyncio.get_running_loop().call_soon(self._left.touch)  # once all idle connections have been closed
        await super().shutdown(sockets)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--release", choices=list(VENUE), required=True)
    parser.add_argument("--turn", type=Path, required=True)
    asked = parser.parse_args()
    errors = logging.FileHandler(os.environ["API_ERROR_LOG"])
    errors.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(errors)
    ready, go, left = (asked.turn.with_suffix(suffix) for suffix in TURNS)

    async def turn() -> None:
        ready.touch()
        while not go.exists():
            await asyncio.sleep(0.01)

    config = uvicorn.Config(
        create_app(os.environ["STAGE_DSN"], asked.release, turn),
        http="httptools",
        loop="asyncio",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
    )
    _Server(config, left).run(sockets=[socket.socket(fileno=asked.socket)])


if __name__ == "__main__":
    _main()
