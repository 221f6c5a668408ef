"""A little Stage: an HTTP server that notes what it gets. Run as `python stage.py NOTES`; prints its port."""

import asyncio
import gzip
import json
import os
import sys
import time
from pathlib import Path

NOTES = Path(sys.argv[1]).open("a", encoding="utf-8") if len(sys.argv) > 1 else None  # noqa: SIM115
tokens = 0
revoked = 0  # tokens up to this one count no more
renewal = ""  # the refresh token that may be used, once
failed: dict[str, int] = {}


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def as_json(status: int, value: object, **headers: str) -> bytes:
    return answer(status, json.dumps(value).encode(), Content_Type="application/json", **headers)


def token_number(authorization: str) -> int:
    number = authorization.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


async def respond(  # noqa: PLR0912 - one case a path
    method: str, path: str, headers: dict[str, str], body: bytes
) -> bytes | None:
    global tokens, revoked, renewal  # noqa: PLW0603
    parts = path.strip("/").split("/")
    match parts[0]:
        case "slow":
            await asyncio.sleep(int(parts[1]) / 1000)
        case "hang":
            await asyncio.sleep(3600)
        case "drop":
            return None
        case "die":
            os._exit(0)
        case "token":
            tokens += 1
            return as_json(200, {"access_token": f"stage-token-{tokens}"}, Set_Cookie=f"sid=cookie-{tokens}; Path=/")
        case "flaky":  # fails so often, so
            failed[path] = failed.get(path, 0) + 1
            if failed[path] <= int(parts[1]):
                return None if parts[2] == "drop" else answer(int(parts[2]), Retry_After="0")
            return as_json(200, {"id": f"after {parts[1]}"})
        case "revoke":
            revoked = tokens
        case "guarded" if token_number(headers.get("authorization", "")) <= revoked:
            return as_json(401, {"error": "expired"})
        case "renew" if body and body.decode() not in {renewal, "password"}:
            return as_json(400, {"error": "used"})
        case "renew":
            tokens += 1
            renewal = f"renewal={tokens}"
            return as_json(200, {"access_token": f"stage-token-{tokens}", "renewal": tokens})
        case "broken":
            return as_json(500, {"error": "broken", "access_token": "of no use"})
        case "events" if method == "POST":
            return as_json(201, {"id": 57}, Location="/v2/events/57")
        case "away":
            return answer(302, Location=f"http://{headers['host']}/landed")
        case "empty":
            return as_json(200, {"items": []})
        case "gzip":
            packed = gzip.compress(b'{"packed": true}')
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            return head + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (packed[:7], packed[7:])) + b"0\r\n\r\n"
        case "big":
            return answer(200, b"x" * 3_000_000, Content_Type="text/plain; charset=utf-8")
        case "once":
            return answer(200, b"[1]", Connection="keep-alive")
        case "eof":
            return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end"
        case "half":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
        case "nonsense":
            return b"this is not HTTP\r\n\r\n"
    return as_json(200, {"id": 1, "password": "hunter2 hunter2"})


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("peername")[1]
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            at = time.time()
            method, url, _ = head[0].split(" ")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path, _, query = url.partition("?")
            if NOTES:
                note = {"at": at, "method": method, "path": path, "query": query, "headers": headers}
                NOTES.write(json.dumps({**note, "body": body.decode("latin-1"), "connection": connection}) + "\n")
                NOTES.flush()
            said = await respond(method, path, headers, body)
            if said is not None:
                writer.write(said)
                await writer.drain()
            if said is None or path.strip("/").split("/")[0] in {"once", "eof", "half"}:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


asyncio.run(main())
