"""Places where a secret can stand in an exchange: each puts a value under a name there."""

import base64
import gzip
import html
import json
import re
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, quote_plus

import brotli
import zstandard

from replay.traffic import Exchange, Headers, Request, Response

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)


def _exchange(
    number: int, request: dict[str, object], received: Headers = (), body: bytes | None = None, error: str = ""
) -> Exchange:
    made = Request("POST", "api.example.com", **{"path": "/v2/things", **request})  # type: ignore[arg-type]
    response = None if error else Response(200, received, body, len(body or b""))
    return Exchange(AT + timedelta(seconds=number), 0.1, "c", "1", made, response, error)


def _typed(media_type: str, *more: tuple[str, str]) -> Headers:
    return (("Content-Type", media_type), *more)


def _multipart(name: str, value: str) -> bytes:
    part = f'--bOuNd\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
    typed = '--bOuNd\r\nContent-Disposition: form-data; name="doc"\r\nContent-Type: application/json\r\n\r\n'
    typed += f"{json.dumps({name: value})}\r\n"
    return f"{part}{typed}--bOuNd--\r\n".encode()


def _graphql(name: str, value: str) -> bytes:
    field = re.sub(r"\W", "_", name)
    query = f"mutation {{ act({field}: {json.dumps(value)}, n: 3) {{ id }} }}"
    return json.dumps({"query": query, "variables": {"input": {field: value, "n": 1}}}).encode()


def _xml(name: str, value: str) -> bytes:
    tag = re.sub(r"\W", "_", name)
    text = html.escape(value)
    elements = f'<{tag}>{text}</{tag}><b {tag}="{text}"/><c><![CDATA[{value}]]></c><!-- {value} -->'
    return f'<?xml version="1.0"?><a>{elements}</a>'.encode()


def _escaped(value: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in value)


def _json(number: int, value: object) -> Exchange:
    return _exchange(number, {}, _typed("application/json"), json.dumps(value).encode())


def _packed(number: int, encoding: str, body: bytes) -> Exchange:
    return _exchange(number, {}, _typed("application/json", ("Content-Encoding", encoding)), body)


Place = Callable[[int, str, str], Exchange]

# Each place puts a value under a name into an exchange. A value of several lines stands in bodies only.
PLACES: dict[str, Place] = {
    "header": lambda n, name, v: _exchange(n, {"headers": ((f"X-{name}", v),)}, received=((f"X-{name}-Too", v),)),
    "cookie": lambda n, name, v: _exchange(n, {"headers": (("Cookie", f"a=1; {name}={quote(v, safe='')}; b=2"),)}),
    "set-cookie": lambda n, name, v: _exchange(
        n, {}, (("Set-Cookie", f"{name}={quote(v, safe='')}; Path=/; HttpOnly"),)
    ),
    "path": lambda n, name, v: _exchange(n, {"path": f"/v2/{name}/{quote(v, safe='')}/show"}),
    "query": lambda n, name, v: _exchange(n, {"query": f"page=2&{quote_plus(name)}={quote_plus(v)}&q=open+day"}),
    "twice encoded": lambda n, name, v: _exchange(
        n, {"query": f"next={quote(f'/in?{quote(name)}={quote(v)}', safe='')}"}
    ),
    "every character encoded": lambda n, name, v: _exchange(
        n, {"query": f"{name}={''.join(f'%{byte:02X}' for byte in v.encode())}"}
    ),
    "referer": lambda n, name, v: _exchange(
        n, {"headers": (("Referer", f"https://www.example.com/a?{name}={quote(v)}#b"),)}
    ),
    "location": lambda n, name, v: _exchange(n, {}, (("Location", f"/in/{quote(v, safe='')}?n=1&{name}={quote(v)}"),)),
    "json": lambda n, name, v: _exchange(
        n, {}, _typed("application/json"), json.dumps({"a": [{"b": {name: v}}, [v]]}).encode()
    ),
    "json untyped": lambda n, name, v: _exchange(
        n, {"body": json.dumps({"a": {name: [v, {"c": v}]}}, indent=1).encode()}
    ),
    "json in json": lambda n, name, v: _exchange(
        n, {}, _typed("application/json"), json.dumps({"a": json.dumps({"b": json.dumps({name: v})})}).encode()
    ),
    "base64 in json": lambda n, name, v: _exchange(
        n, {}, _typed("application/json"), json.dumps({name: base64.b64encode(f"is: {v}".encode()).decode()}).encode()
    ),
    "base64 of json in a query": lambda n, name, v: _exchange(
        n, {"query": f"b={base64.urlsafe_b64encode(json.dumps({name: v}).encode()).decode()}"}
    ),
    "form": lambda n, name, v: _exchange(
        n,
        {
            "headers": _typed("application/x-www-form-urlencoded"),
            "body": f"a=1&{quote_plus(name)}={quote_plus(v)}".encode(),
        },
    ),
    "multipart": lambda n, name, v: _exchange(
        n, {"headers": _typed("multipart/form-data; boundary=bOuNd"), "body": _multipart(name, v)}
    ),
    "xml": lambda n, name, v: _exchange(n, {}, _typed("application/xml"), _xml(name, v)),
    "html": lambda n, name, v: _exchange(
        n, {}, _typed("text/html"), f'<p>See <a href="/x?{name}={quote(v)}">{html.escape(v)}</a></p>'.encode()
    ),
    "graphql": lambda n, name, v: _exchange(n, {"headers": _typed("application/json"), "body": _graphql(name, v)}),
    "events": lambda n, name, v: _exchange(
        n, {}, _typed("text/event-stream"), f"event: x\ndata: {json.dumps({name: v})}\n\n".encode()
    ),
    "gzip": lambda n, name, v: _exchange(
        n, {}, _typed("application/json", ("Content-Encoding", "gzip")), gzip.compress(json.dumps({name: v}).encode())
    ),
    "gzip unsaid": lambda n, name, v: _exchange(n, {"body": gzip.compress(f"{name} {v}".encode())}),
    "plain text": lambda n, name, v: _exchange(n, {}, _typed("text/plain"), f"{name} {v}, and so on: {v}".encode()),
    "error": lambda n, name, v: _exchange(n, {}, error=f"connection to {name} failed ({v})"),
    "matrix parameter": lambda n, name, v: _exchange(n, {"path": f"/v2/a;{name}={quote(v, safe='')}/b"}),
    "fragment": lambda n, name, v: _exchange(n, {}, (("Location", f"/in#{name}={quote(v)}&n=1"),)),
    "query's name": lambda n, name, v: _exchange(n, {"query": f"{quote_plus(v)}=1&{name}=2"}),
    "JSON's name": lambda n, name, v: _json(n, {name: {v: {"n": 1}}}),
    "pairs": lambda n, name, v: _json(n, {"fields": [{"name": name, "value": v}, [name, v]]}),
    "JSON with escapes": lambda n, name, v: _exchange(
        n, {}, _typed("application/json"), f'{{"{name}": "{_escaped(v)}"}}'.encode()
    ),
    "lines of JSON": lambda n, name, v: _exchange(
        n, {}, _typed("application/x-ndjson"), f'{{"n": 1}}\n{json.dumps({name: v})}\n'.encode()
    ),
    "JSONP": lambda n, name, v: _exchange(
        n, {}, _typed("application/javascript"), f"cb({json.dumps({name: v})});".encode()
    ),
    "script": lambda n, name, v: _exchange(
        n, {}, _typed("text/html"), f"<script>var c = {{{name}: {json.dumps(v)}}};</script>".encode()
    ),
    "UTF-16": lambda n, name, v: _exchange(n, {}, _typed("application/json"), json.dumps({name: v}).encode("utf-16")),
    "UTF-16 without a mark": lambda n, name, v: _exchange(
        n, {}, _typed("application/json"), json.dumps({name: v}).encode("utf-16-be")
    ),
    "deflate": lambda n, name, v: _packed(n, "deflate", zlib.compress(json.dumps({name: v}).encode())),
    "brotli": lambda n, name, v: _packed(n, "br", brotli.compress(json.dumps({name: v}).encode())),
    "zstd": lambda n, name, v: _packed(n, "zstd", zstandard.compress(json.dumps({name: v}).encode())),
    "gzip in base64": lambda n, name, v: _json(
        n, {name: base64.b64encode(gzip.compress(json.dumps({"a": v}).encode())).decode()}
    ),
    "data URL": lambda n, name, v: _json(
        n, {name: f"data:text/plain;base64,{base64.b64encode(f'it is {v}'.encode()).decode()}"}
    ),
    "CSV": lambda n, name, v: _exchange(n, {}, _typed("text/csv"), f'id,{name},n\n1,"{v}",2\n'.encode()),
    "settings": lambda n, name, v: _exchange(
        n, {}, _typed("application/yaml"), f"a:\n  {name}: {json.dumps(v)}\n  n: 1\n".encode()
    ),
    "multipart without quotes": lambda n, name, v: _exchange(
        n,
        {
            "headers": _typed("multipart/form-data; boundary=b"),
            "body": f"--b\r\ncontent-disposition: form-data; name={name}\r\nContent-Type: text/plain\r\n\r\n{v}"
            "\r\n--b--".encode(),
        },
    ),
    "SOAP": lambda n, name, v: _exchange(
        n,
        {},
        _typed("text/xml"),
        f"<s:Envelope><s:Body><w:{name} w:Type='x'>{html.escape(v)}</w:{name}></s:Body></s:Envelope>".encode(),
    ),
    "GraphQL as it is": lambda n, name, v: _exchange(
        n,
        {
            "headers": _typed("application/graphql"),
            "body": f"mutation {{ act({name}: {json.dumps(v)}) {{ id }} }}".encode(),
        },
    ),
}
# Only here does a value of several lines stand as it is.
BODIES_ONLY = frozenset(
    {
        *("json", "json untyped", "json in json", "base64 in json", "base64 of json in a query", "gzip", "graphql"),
        *("events", "lines of JSON", "JSON with escapes", "UTF-16", "gzip in base64"),
    }
)
