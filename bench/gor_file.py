"""Writes a large ``.gor`` as GoReplay records a busy API, piece by piece, the same each time.

python bench/gor_file.py MB FILE
"""

import gzip
import json
import random
import sys
from collections import deque
from pathlib import Path

SEPARATOR = "\n🐵🙈🙉\n".encode()
START_NS = 1_767_225_600_000_000_000
_REPEATED = 0.5  # how many of the answers were given before


def write_gor(path: Path, size_bytes: int, seed: int = 1) -> int:
    """Write a recording of about ``size_bytes``, piece by piece; how many requests, each with its response, it holds.

    An API's traffic: three of four requests read, responses of 1 to 20 kB, half of them given before, a third of them
    gzip in chunks, that come up to 40 requests after theirs.
    """
    chance = random.Random(seed)  # noqa: S311 - a benchmark's traffic, not a key
    bodies = [_body(chance) for _ in range(200)]
    late: deque[bytes] = deque()
    count = written = 0
    with path.open("wb") as file:
        while written < size_bytes:
            request, response = _exchange(chance, bodies, count)
            count += 1
            late.append(response)
            written += file.write(request)
            while len(late) > 40 or (late and chance.random() < 0.5):
                written += file.write(late.popleft())
        file.writelines(late)
    return count


def _exchange(chance: random.Random, bodies: list[bytes], number: int) -> tuple[bytes, bytes]:
    at_ns = START_NS + number * 20_000  # close together: GoReplay waits from one to the next even in a dry run
    identity = f"{chance.getrandbits(96):024x}"
    client = chance.randrange(2000)
    head = (
        f"Host: api.example.com\r\nUser-Agent: example/{client % 7}\r\nAccept: application/json\r\n"
        f"Accept-Encoding: gzip\r\nAuthorization: Bearer tok_{client:08x}Zq81hRk30sPx77Lm\r\n"
        f"X-Request-Id: {chance.getrandbits(128):032x}\r\n"
    )
    if chance.random() < 0.75:
        message = f"GET /v2/events/{chance.randrange(10**5)}?page={chance.randrange(9)} HTTP/1.1\r\n{head}\r\n"
    else:
        body = json.dumps({"event": chance.randrange(10**5), "seats": [chance.randrange(500) for _ in range(4)]})
        message = f"POST /v2/orders HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
    answer = f"2 {identity} {at_ns + 30_000_000} {chance.randrange(10**6)}\nHTTP/1.1 200 OK\r\n".encode()
    return (
        f"1 {identity} {at_ns} 0\n{message}".encode() + SEPARATOR,
        answer + (chance.choice(bodies) if chance.random() < _REPEATED else _body(chance)) + SEPARATOR,
    )


def _body(chance: random.Random) -> bytes:
    rows = [
        {"id": chance.randrange(10**6), "title": f"Event {chance.random()}"} for _ in range(chance.randrange(20, 400))
    ]
    plain = json.dumps({"events": rows}).encode()
    head = b"Content-Type: application/json\r\nServer: example\r\n"
    if chance.random() < 2 / 3:
        return head + b"Content-Length: %d\r\n\r\n%s" % (len(plain), plain)
    packed = gzip.compress(plain)
    head += b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)


if __name__ == "__main__":
    print(write_gor(Path(sys.argv[2]), int(sys.argv[1]) * 10**6))
