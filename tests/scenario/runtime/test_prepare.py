"""The examples of `prepare` in the documentation, played against a server that checks what they sign."""

import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from replay.scenario.schedule import PlannedRequest

SCENARIOS = Path(__file__).resolve().parents[3] / "docs" / "scenarios.md"
SECRETS = {"SIGNING_KEY": "made-up-signing-key", "ACCESS_KEY": "AKMADEUP", "SECRET_KEY": "made-up-secret"}
Check = Callable[[BaseHTTPRequestHandler, bytes], bool]


def example(heading: str) -> str:
    text = SCENARIOS.read_text(encoding="utf-8").split(f"### {heading}\n")[1]
    return text.split("```python\n")[1].split("```")[0]


class Server:
    """Answers 200 to what its check accepts, else 403, and counts both."""

    def __init__(self, check: Check) -> None:
        statuses: list[int] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                statuses.append(200 if check(self, body) else 403)
                self.send_response(statuses[-1])
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_POST = do_GET  # noqa: N815 - the server's own names

            def log_message(self, *_: object) -> None:
                pass

        self.statuses = statuses
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()


@pytest.fixture
def serve() -> Iterator[Callable[[Check], Server]]:
    servers: list[Server] = []

    def start(check: Check) -> Server:
        servers.append(Server(check))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


def play(room: Any, source: str, url: str, requests: list[PlannedRequest], monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    room.write(requests)
    room.locustfile.write_text(source)
    return room.play(url)


def signed_by_hmac(seen: set[str]) -> Check:
    def check(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        at = handler.headers["x-timestamp"]
        signed = f"{at}\n{handler.command}\n{handler.path}\n".encode() + body
        wanted = hmac.new(SECRETS["SIGNING_KEY"].encode(), signed, hashlib.sha256).hexdigest()
        key = handler.headers.get("idempotency-key", "")
        fresh = handler.command != "POST" or (bool(key) and key not in seen)
        seen.add(key)
        near = abs(datetime.now(UTC).timestamp() - int(at)) < 300
        return near and fresh and hmac.compare_digest(wanted, handler.headers["x-signature"])

    return check


def test_an_hmac_and_idempotency_keys(room: Any, planned: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(signed_by_hmac(set()))
    old = (("X-Signature", "recorded"), ("x-timestamp", "1"), ("Idempotency-Key", "recorded"))
    requests = [planned(0, "/a%20b", query="x=1&y=%C3%A4", headers=old)]
    requests += [planned(n, "/orders", method="POST", body=b'{"n": 1}', headers=old) for n in (1, 2)]
    played = play(room, example("An HMAC and an idempotency key"), server.url, requests, monkeypatch)
    assert server.statuses == [200] * 3, played.said


def signed_by_sigv4(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    """Written from the description of the scheme, not from the example."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        handler.headers.get("authorization", ""),
    )
    if not found or found[1] != SECRETS["ACCESS_KEY"]:
        return False
    _, day, region, service, names, signature = found.groups()
    split = urlsplit(handler.path)
    query = sorted(parse_qsl(split.query, keep_blank_values=True))
    canonical = "\n".join(
        [
            handler.command,
            quote(split.path, safe="/~"),
            "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in query),
            *(f"{name}:{handler.headers[name].strip()}" for name in names.split(";")),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    key = b"AWS4" + SECRETS["SECRET_KEY"].encode()
    for text in (day, region, service, "aws4_request"):
        key = hmac.digest(key, text.encode(), "sha256")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{handler.headers['x-amz-date']}\n{scope}\n{digest}"
    near = abs(
        (datetime.now(UTC) - datetime.strptime(handler.headers["x-amz-date"], "%Y%m%dT%H%M%S%z")).total_seconds()
    )
    return near < 300 and hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), signature)


def test_a_signature_in_the_manner_of_sigv4(
    room: Any, planned: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(signed_by_sigv4)
    old = (("Authorization", "AWS4-HMAC-SHA256 recorded"), ("X-Amz-Date", "20200101T000000Z"))
    requests = [planned(0, "/orders", query="b=2&a=1%2F2&a=", headers=old)]
    requests.append(planned(1, "/orders/7~x", method="POST", body=b"abc", headers=old))
    played = play(room, example("A signature in the manner of SigV4"), server.url, requests, monkeypatch)
    assert server.statuses == [200] * 2, played.said


def test_pkce(room: Any, planned: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    challenges: list[str] = []

    def check(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        if handler.command == "GET":
            challenges.append(dict(parse_qsl(urlsplit(handler.path).query))["code_challenge"])
            return True
        form = dict(parse_qsl(body.decode()))
        digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        return digest in challenges and form["code"] == "c1"

    server = serve(check)
    body = b"grant_type=authorization_code&code=c1&code_verifier=a-stand-in"
    requests = [
        planned(0, "/authorize", query="code_challenge=a-stand-in&code_challenge_method=S256"),
        planned(1, "/token", method="POST", body=body, after=0),
    ]
    played = play(room, example("PKCE"), server.url, requests, monkeypatch)
    assert server.statuses == [200] * 2, played.said
