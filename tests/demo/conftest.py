"""A small Stage of the demonstration, started once for the tests of this folder."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from replay.demo.identities import INTEGRATIONS, Integration
from replay.demo.reset import reset
from replay.demo.stage import Stage


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Api:
    """Plain calls of the API."""

    url: str

    def get(self, path: str, token: str | None = None) -> Reply:
        return self._send("GET", path, token, None)

    def post(self, path: str, token: str | None = None, document: object = None) -> Reply:
        return self._send("POST", path, token, json.dumps(document).encode())

    def token(self, integration: Integration, **fields: str) -> Reply:
        form = {"client_id": integration.client_id, "client_secret": integration.client_secret}
        form |= {"grant_type": "client_credentials", **fields}
        return self._send("POST", "/oauth/token", None, urllib.parse.urlencode(form).encode())

    def log_in(self, integration: Integration, **fields: str) -> str:
        reply = self.token(integration, **fields)
        assert reply.status == 200, reply
        return str(reply.json()["access_token"])

    def _send(self, method: str, path: str, token: str | None, body: bytes | None) -> Reply:
        headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return Reply(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read())


@pytest.fixture(scope="session")
def running_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage"), size=0.02) as running:
        yield running


@pytest.fixture
def stage(running_stage: Stage) -> Stage:
    """Stage as the tests before left it, with its error log empty."""
    running_stage.error_log.write_bytes(b"")
    return running_stage


@pytest.fixture
def fresh_stage(stage: Stage) -> Stage:
    """Stage as it is at the start of an arm."""
    reset(stage.dsn)
    assert b"ok" in Api(stage.url).get("/health").body
    return stage


@pytest.fixture
def api(stage: Stage) -> Api:
    return Api(stage.url)


@pytest.fixture
def database(stage: Stage) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def scanner() -> Integration:
    return next(integration for integration in INTEGRATIONS if integration.product.name == "door-scanner")


@pytest.fixture(scope="session")
def suite() -> Integration:
    return next(integration for integration in INTEGRATIONS if integration.product.name == "qa-suite")
