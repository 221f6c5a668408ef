"""A HAR that a real browser writes while it is used, through Playwright."""

import gzip
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from replay.capture.inputs import Input
from replay.capture.sources.har import Har
from replay.capture.sources.har_entry import FROM_TEST, IN_A_FILE, NOT_IN_HAR
from replay.capture.sources.http_message import WEBSOCKET
from replay.capture.sources.source import ReadOptions, Record
from replay.traffic import Exchange, Skipped

CHROMIUM = shutil.which("chromium")
SCRIPT = """async () => {
  const send = (path, options) => fetch(path, options).then(r => r.arrayBuffer()).catch(() => 0)
  await send('/json?q=a%20b')
  await send('/binary')
  await send('/redirect')
  await send('/none')
  await send('/mocked')
  await send('/stopped')
  await send('/dropped')
  await send('/form', {method: 'POST', body: new URLSearchParams({a: '1 2', b: 'é&'})})
  const form = new FormData()
  form.append('title', 'x')
  form.append('file', new Blob(['content']), 'n.txt')
  await send('/multipart', {method: 'POST', body: form})
  await send('/bytes', {method: 'PUT', body: new Uint8Array([0, 255, 31, 139])})
  await send('data:text/plain,x')
  await new Promise(done => { new WebSocket('ws://' + location.host + '/live').onerror = done })
}"""


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self.answer(200, b"<title>x</title>", Content_Type="text/html", Set_Cookie="session=abc123; HttpOnly")
        elif path == "/json":
            self.answer(
                200, gzip.compress('{"é": 1}'.encode()), Content_Type="application/json", Content_Encoding="gzip"
            )
        elif path == "/binary":
            self.answer(200, bytes(range(256)), Content_Type="application/octet-stream")
        elif path == "/redirect":
            self.answer(302, Location="/json")
        elif path == "/none":
            self.send_response(204)
            self.end_headers()
        elif path == "/dropped":
            self.close_connection = True
        else:
            self.answer(404)

    def do_POST(self) -> None:
        received = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, json.dumps({"received": len(received)}).encode(), Content_Type="application/json")

    do_PUT = do_POST  # noqa: N815 - the server's own name


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()


def recorded(server: str, folder: Path, content: str) -> list[Record | Skipped]:
    if not CHROMIUM:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(record_har_path=folder / "a.har", record_har_content=content)
        page = context.new_page()
        page.route("**/mocked", lambda route: route.fulfill(status=200, body="m"))
        page.route("**/stopped", lambda route: route.abort())
        page.goto(f"http://{server}/")
        page.evaluate(SCRIPT)
        context.close()
        browser.close()
    file = Input("a.har", folder / "a.har")
    assert Har().likeness(file.head) > 0.9
    return list(Har().read(file, ReadOptions()))


def by_path(items: list[Record | Skipped]) -> dict[str, Exchange]:
    return {item.exchange.request.path: item.exchange for item in items if isinstance(item, Record)}


def test_chromium_through_playwright(server: str, tmp_path: Path) -> None:
    items = recorded(server, tmp_path, "embed")
    exchanges = by_path(items)
    assert {exchange.request.host for exchange in exchanges.values()} == {server}
    assert [item.reason for item in items if isinstance(item, Skipped) and item.reason != WEBSOCKET] == [FROM_TEST] * 2
    assert WEBSOCKET in [item.reason for item in items if isinstance(item, Skipped)]
    assert exchanges["/"].response.header("set-cookie") == "session=abc123; HttpOnly"
    assert exchanges["/json"].request.header("cookie") == "session=abc123"
    assert exchanges["/json"].response.body == '{"é": 1}'.encode()
    assert exchanges["/json"].response.size_bytes == len(gzip.compress('{"é": 1}'.encode()))
    assert [item.exchange.request.query for item in items if isinstance(item, Record)].count("q=a%20b") == 1
    assert exchanges["/binary"].response.body == bytes(range(256))
    assert (exchanges["/redirect"].response.status, exchanges["/redirect"].response.body) == (302, b"")
    assert (exchanges["/none"].response.status, exchanges["/none"].response.body) == (204, b"")
    assert (exchanges["/dropped"].response, exchanges["/dropped"].error) == (None, "net::ERR_EMPTY_RESPONSE")
    assert exchanges["/form"].request.body == b"a=1+2&b=%C3%A9%26"
    multipart = exchanges["/multipart"].request.body
    assert b'filename="n.txt"' in multipart
    assert json.loads(exchanges["/multipart"].response.body) == {"received": len(multipart)}
    moments = [item.exchange.at for item in items if isinstance(item, Record)]
    assert moments == sorted(moments)
    lacks = {item.exchange.request.path: item.bodies_not_kept for item in items if isinstance(item, Record)}
    assert lacks["/bytes"] == (NOT_IN_HAR,)  # Playwright writes no body that is no text


def test_bodies_beside_the_har_are_counted(server: str, tmp_path: Path) -> None:
    items = recorded(server, tmp_path, "attach")
    lacks = {item.exchange.request.path: item.bodies_not_kept for item in items if isinstance(item, Record)}
    assert lacks["/binary"] == (IN_A_FILE,)
    assert lacks["/form"] == (IN_A_FILE, IN_A_FILE)
