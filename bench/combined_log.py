"""Writes a Combined log as a busy API has it: clients that come back, hot and rare paths, searches, tokens in queries.

python bench/combined_log.py LINES FILE [CLIENTS]
"""

import itertools
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CLIENTS = 40_000
_AGENTS = [
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.{version * 47}.98 Safari/537.36"
    for version in range(60, 110)
    for system in (
        "X11; Linux x86_64",
        "Windows NT 10.0; Win64; x64",
        "Macintosh; Intel Mac OS X 10_15_7",
        "Linux; Android 13; Pixel 7",
    )
]
_START = datetime(2026, 3, 1, tzinfo=UTC)
_LINES_A_SECOND = 50
_BUFFERED = 10_000


def write(lines: int, file: Path, count: int = _CLIENTS) -> None:
    """Write so many lines of so many clients; the same each time."""
    chance = random.Random(1)  # noqa: S311 - made-up traffic
    clients = [_client(chance) for _ in range(count)]
    weights = list(itertools.accumulate(1 / (rank + 20) if count == _CLIENTS else 1 for rank in range(count)))
    seconds = 0.0
    with file.open("w", encoding="ascii") as out:
        for start in range(0, lines, _BUFFERED):
            count = min(_BUFFERED, lines - start)
            written = []
            for address, agent, token in chance.choices(clients, cum_weights=weights, k=count):
                seconds += chance.expovariate(_LINES_A_SECOND)
                at = (_START + timedelta(seconds=int(seconds))).strftime("%d/%b/%Y:%H:%M:%S +0000")
                method = "GET" if chance.random() < 0.9 else "POST"
                status = chance.choice((200, 200, 200, 304, 404))
                referer = "https://shop.example/" if chance.random() < 0.5 else "-"
                written.append(
                    f'{address} - - [{at}] "{method} {_target(chance, token)} HTTP/1.1" {status} '
                    f'{chance.randrange(100, 50000)} "{referer}" "{agent}"\n'
                )
            out.write("".join(written))


def _client(chance: random.Random) -> tuple[str, str, str]:
    address = ".".join(str(chance.randrange(1, 224)) for _ in range(4))
    return address, chance.choice(_AGENTS), f"{chance.getrandbits(160):040x}"


def _target(chance: random.Random, token: str) -> str:
    kind = chance.random()
    if kind < 0.4:
        return f"/v2/events/{chance.randrange(50000)}"
    if kind < 0.6:
        return f"/v2/search?q=term{chance.randrange(3000)}&page={chance.randrange(9)}"
    if kind < 0.7:
        bits = f"{chance.getrandbits(122):032x}"
        return f"/v2/orders/{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{bits[17:20]}-{bits[20:]}"
    if kind < 0.75:
        return f"/v2/me?access_token={token}"
    return f"/static/app.{chance.randrange(100)}.js"


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
