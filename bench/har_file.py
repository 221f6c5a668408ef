"""Writes a large HAR as a browser or a proxy exports it, piece by piece, the same each time.

python bench/har_file.py MB FILE
"""

import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

_START = datetime(2026, 3, 1, tzinfo=UTC)
_REPEATED = 0.5  # how many of the answers were given before


def write_har(path: Path, size_bytes: int, seed: int = 1) -> int:
    """Write a HAR of about ``size_bytes``; how many entries it has."""
    chance = random.Random(seed)  # noqa: S311 - a benchmark's traffic, not a key
    bodies = [_body(chance) for _ in range(200)]
    count = written = 0
    with path.open("w", encoding="ascii") as file:
        file.write(
            '{"log": {"version": "1.2", "creator": {"name": "bench", "version": "1"}, "pages": [], "entries": [\n'
        )
        while written < size_bytes:
            entry = json.dumps(_entry(chance, bodies, count))
            written += file.write(f",\n{entry}" if count else entry)
            count += 1
        file.write("]}}\n")
    return count


def _entry(chance: random.Random, bodies: list[str], number: int) -> dict[str, object]:
    client = chance.randrange(2000)
    body = chance.choice(bodies) if chance.random() < _REPEATED else _body(chance)
    request: dict[str, object] = {
        "method": "GET",
        "url": f"https://api.example.com/v2/events/{chance.randrange(10**5)}?page={chance.randrange(9)}",
        "httpVersion": "HTTP/1.1",
        "headers": [
            {"name": "Host", "value": "api.example.com"},
            {"name": "User-Agent", "value": f"example/{client % 7}"},
            {"name": "Authorization", "value": f"Bearer tok_{client:08x}Zq81hRk30sPx77Lm"},
            {"name": "X-Request-Id", "value": f"{chance.getrandbits(128):032x}"},
        ],
        "queryString": [],
        "cookies": [],
        "headersSize": -1,
        "bodySize": 0,
    }
    if chance.random() < 0.25:
        text = json.dumps({"event": chance.randrange(10**5), "seats": [chance.randrange(500) for _ in range(4)]})
        request |= {"method": "POST", "url": "https://api.example.com/v2/orders", "bodySize": len(text)}
        request["postData"] = {"mimeType": "application/json", "text": text}
    return {
        "startedDateTime": (_START + timedelta(milliseconds=2 * number)).isoformat(),
        "time": 30.5,
        "request": request,
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": "Content-Type", "value": "application/json"}],
            "cookies": [],
            "content": {"size": len(body), "mimeType": "application/json", "text": body},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": len(body),
        },
        "cache": {},
        "timings": {"send": 0.1, "wait": 30.0, "receive": 0.4},
        "serverIPAddress": "127.0.0.1",
        "connection": str(client),
    }


def _body(chance: random.Random) -> str:
    rows = [
        {"id": chance.randrange(10**6), "title": f"Event {chance.random()}"} for _ in range(chance.randrange(20, 400))
    ]
    return json.dumps({"events": rows})


if __name__ == "__main__":
    print(write_har(Path(sys.argv[2]), int(sys.argv[1]) * 10**6))
