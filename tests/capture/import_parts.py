"""Files of several formats to import from, written from the same few facts, and short words for importing them."""

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow, tutils

from replay.capture.importing import Importing, import_files
from replay.capture.inputs import find_inputs
from replay.capture.pseudonyms import Key
from replay.capture.scrub import Scrubber
from replay.capture.sources.capture import is_capture
from replay.capture.store import Capture, CaptureWriter
from replay.traffic import Exchange, Headers, Request, Response

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
KEY = Key(b"k" * 32)
SEPARATOR = "\n🐵🙈🙉\n"
JSON = "application/json"


def moment(second: float) -> datetime:
    return AT + timedelta(seconds=second)


def combined(second: int, target: str = "/v2/events/7", status: int = 200, address: str = "192.0.2.7") -> str:
    return f'{address} - - [{moment(second):%d/%b/%Y:%H:%M:%S +0000}] "GET {target} HTTP/1.1" {status} 12 "-" "one/1"\n'


def json_line(second: float, target: str = "/v2/events/7", status: int = 200, **more: str) -> str:
    values = {"time": moment(second).isoformat(), "method": "GET", "path": target, "status": status, **more}
    return json.dumps(values) + "\n"


def entry(second: float, target: str = "/v2/events/7", headers: dict[str, str] | None = None, body: str = "{}") -> Any:
    return {
        "startedDateTime": moment(second).isoformat(),
        "time": 12.5,
        "request": {
            "method": "GET",
            "url": f"https://shop.example.com{target}",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": name, "value": value} for name, value in (headers or {}).items()],
            "cookies": [],
            "queryString": [],
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": "content-type", "value": JSON}],
            "cookies": [],
            "content": {"size": len(body), "mimeType": JSON, "text": body},
            "redirectURL": "",
        },
        "cache": {},
        "timings": {"send": 1, "wait": 10, "receive": 1.5},
    }


def har(*entries: Any) -> str:
    return json.dumps({"log": {"version": "1.2", "creator": {"name": "a", "version": "1"}, "entries": list(entries)}})


def gor(second: float, target: str = "/v2/events/7", headers: str = "", identity: str = "a1b2c3") -> str:
    nanoseconds = int(moment(second).timestamp() * 1e9)
    request = f"1 {identity} {nanoseconds} 0\nGET {target} HTTP/1.1\r\nHost: shop.example.com\r\n{headers}\r\n"
    response = f"2 {identity} {nanoseconds + 5_000_000} 0\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{{}}"
    return f"{request}{SEPARATOR}{response}{SEPARATOR}"


def flow(second: float, path: str = "/v2/events/7", **headers: str) -> bytes:
    """A dump of mitmproxy with one flow."""
    at = moment(second).timestamp()
    pairs = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    request = tutils.treq(path=path.encode(), headers=pairs, timestamp_start=at, timestamp_end=at + 0.001)
    response = tutils.tresp(content=b"{}", timestamp_start=at + 0.01, timestamp_end=at + 0.02)
    file = io.BytesIO()
    FlowWriter(file).add(tflow.tflow(req=request, resp=response))
    return file.getvalue()


def write(path: Path, contents: str | bytes | Iterable[str]) -> Path:
    data = contents if isinstance(contents, str | bytes) else "".join(contents)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def importing(*sources: Path | str, **options: Any) -> Importing:
    paths = [Path(source) for source in sources]
    return Importing(
        inputs=tuple(find_inputs(str(path) for path in paths if not is_capture(path))),
        captures=tuple(path for path in paths if is_capture(path)),
        **{"key": KEY, **options},
    )


def imported(out: Path, *sources: Path | str, **options: Any) -> Capture:
    return import_files(importing(*sources, **options), out)


def exchange(
    second: float, target: str = "/v2/events/7", headers: Headers = (), client: str = "a", *, status: int | None = 200
) -> Exchange:
    path, _, query = target.partition("?")
    request = Request("GET", "shop.example.com", path, query, headers)
    return Exchange(moment(second), 0.1, client, "", request, Response(status) if status else None)


def capture_of(
    path: Path,
    exchanges: Iterable[Exchange],
    *,
    source: str = "proxy",
    key: Key | None = KEY,
    environment: str = "stage",
) -> Path:
    """A complete capture; without a ``key`` as it comes, not scrubbed."""
    with CaptureWriter(path, environment=environment, scrubber=Scrubber(key) if key else None) as writer:
        for one in exchanges:
            writer.add(one, source)
    return path


def targets(capture: Capture) -> list[str]:
    return [f"{one.request.path}{'?' * bool(one.request.query)}{one.request.query}" for one in capture.exchanges()]


def everything_in(path: Path) -> str:
    """All that a capture holds, as text."""
    said = "".join(file.read_text() for file in path.rglob("*") if file.suffix in {".json", ".jsonl"})
    return said + "".join(map(repr, Capture(path, None).exchanges()))  # type: ignore[arg-type]
