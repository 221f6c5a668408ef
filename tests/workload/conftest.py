"""Traffic written by hand: one line for an exchange."""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from replay.traffic import Exchange, Request, Response
from replay.workload.engine import Engine

sys.path.insert(0, str(Path(__file__).parent))  # for engines

START = datetime(2026, 3, 2, 9, 0, 0, 250_000, tzinfo=UTC)  # whole seconds would be those of a coarse log


class Recording:
    """Exchanges in the order they are added. ``client`` is the address that the capture would fall back to."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def add(
        self,
        at_s: float,
        request: str,
        *,
        status: int = 200,
        answer: Any = None,
        answered: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        bearer: str = "",
        form: Mapping[str, str] | None = None,
        body: Any = None,
        took_s: float = 0.1,
        client: str = "address-1",
    ) -> int:
        """Add an exchange and return its number. ``request`` is such as ``GET /v1/events?limit=5``."""
        method, _, target = request.partition(" ")
        path, _, query = target.partition("?")
        sent = dict(headers or {})
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        content = None
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            content = urlencode(form).encode()
        elif body is not None:
            sent["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        payload = b"" if answer is None else json.dumps(answer).encode()
        got = {"Content-Type": "application/json", **(answered or {})}
        self.exchanges.append(
            Exchange(
                at=START + timedelta(seconds=at_s),
                duration_s=took_s,
                client=client,
                connection="1",
                request=Request(method, "api.test", path, query, tuple(sent.items()), content),
                response=Response(status, tuple(got.items()), payload, len(payload)) if status else None,
                error="" if status else "connection reset",
            )
        )
        return len(self.exchanges) - 1


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture(scope="session")
def duckdb() -> Iterator[Engine]:
    """One for many tests: their tables must not get in each other's way."""
    with Engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def spark() -> Iterator[Engine]:
    """One for all tests, as it takes long to start."""
    from engines import spark_or_skip  # noqa: PLC0415 - found from here on

    with spark_or_skip() as engine:
        yield engine


@pytest.fixture
def either(request: pytest.FixtureRequest) -> Engine:
    """The engine that a test of ``engines.EITHER`` is asked for."""
    engine: Engine = request.getfixturevalue(request.param)
    return engine
