"""Writes a capture as a large API has it, straight as Parquet: visits of many clients, hot and rare keys, bodies.

python bench/large_capture.py EXCHANGES FOLDER
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from replay.capture.folder import MANIFEST
from replay.capture.manifest import COMPLETE, Manifest, Scrubbing, Source
from replay.capture.segments import SCHEMA, write_segment

_START_US = round(datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp() * 1_000_000)
_A_SECOND = 300
_IN_BLOCK = 500_000
_CLIENTS = 200_000
_KEYS = 1_000_000
_LONGEST_VISIT = 40

# Method, path before the key, path behind it, whether there is a key, and where a visit goes on from here.
_ENDPOINTS = [
    ("POST", "/oauth/token", "", False),
    ("GET", "/v1/events", "", False),
    ("GET", "/v1/events/", "", True),
    ("GET", "/v1/events/", "/registrations", True),
    ("POST", "/v1/events/", "/registrations", True),
    ("GET", "/v1/registrations/", "", True),
    ("PATCH", "/v1/registrations/", "", True),
    ("GET", "/v1/users/", "/tickets", True),
    ("GET", "/v2/search", "", False),
    ("GET", "/v1/me", "", False),
    ("DELETE", "/v1/registrations/", "", True),
    ("GET", "/status", "", False),
]
_NEXT = np.array([0.02, 0.2, 0.3, 0.12, 0.06, 0.08, 0.02, 0.06, 0.08, 0.04, 0.005, 0.015]).cumsum()

_USUAL, _RARE = b'{"user_id": %d, "count": %d, "note": null}', b'{"user_id": %d, "count": %d}'

Numbers = npt.NDArray[np.int64]


def write(exchanges: int, folder: Path) -> None:
    """Write a capture of so many exchanges; the same each time."""
    chance = np.random.default_rng(1)
    (folder / "exchanges").mkdir(parents=True)
    segments, end_us = [], _START_US
    for number, start in enumerate(range(0, exchanges, _IN_BLOCK), 1):
        table, end_us = _block(chance, min(_IN_BLOCK, exchanges - start), end_us)
        segments.append(f"exchanges/{number:06}.parquet")
        write_segment([table], folder / segments[-1])
    _write_manifest(folder, exchanges, end_us, segments)


def _block(chance: np.random.Generator, count: int, start_us: int) -> tuple[pa.Table, int]:
    lengths = np.minimum(chance.geometric(1 / 12, count), _LONGEST_VISIT)
    lengths = lengths[: int(np.searchsorted(lengths.cumsum(), count)) + 1]
    visit = np.repeat(np.arange(lengths.size), lengths)[:count]
    first = np.r_[True, visit[1:] != visit[:-1]]
    span_us = round(count / _A_SECOND * 1e6)
    begin = chance.integers(0, span_us, lengths.size)[visit]
    think = np.where(first, 0, chance.lognormal(1.0, 1.2, count) * 1e6).cumsum()
    think -= np.maximum.accumulate(np.where(first, think, 0))
    at = start_us + np.minimum(begin + think, span_us - 1).astype(np.int64)
    client = (_CLIENTS * chance.random(lengths.size) ** 2.5).astype(np.int64)[visit]
    endpoint = np.where(first & (chance.random(count) < 0.3), 0, np.searchsorted(_NEXT, chance.random(count)))
    endpoint = np.minimum(endpoint, len(_ENDPOINTS) - 1)
    key = (_KEYS * chance.random(count) ** 4).astype(np.int64) + 1000
    order = np.argsort(at, kind="stable")
    table = _table(chance, at[order], client[order], endpoint[order], key[order])
    return table, start_us + span_us


def _table(chance: np.random.Generator, at: Numbers, client: Numbers, endpoint: Numbers, key: Numbers) -> pa.Table:
    count = at.size
    whole = [(f"{before}%d{behind}" if keyed else before) for _, before, behind, keyed in _ENDPOINTS]
    path = [whole[one] % number if "%" in whole[one] else whole[one] for one, number in zip(endpoint, key, strict=True)]
    identity = chance.integers(0, 2**62, count)
    headers = [
        f'[["Host", "api.example.com"], ["User-Agent", "app/{one % 40}.1 (id {one % 7})"], '
        f'["Authorization", "Bearer tok_{one * 7919:012x}"], ["Accept", "application/json"], '
        f'["X-Request-Id", "{mark:016x}"]]'
        for one, mark in zip(client.tolist(), identity.tolist(), strict=True)
    ]
    answers = [f'{{"id": {number}, "name": "thing {number % 97}", "tags": ["a", "b"]}}'.encode() for number in key]
    bodies = [
        None
        if _ENDPOINTS[one][0] not in {"POST", "PATCH"}
        else (_RARE if number % 33 == 0 else _USUAL) % (who, number % 5)
        for one, who, number in zip(endpoint, client.tolist(), key.tolist(), strict=True)
    ]
    status = np.where(chance.random(count) < 0.01, 404, np.where(chance.random(count) < 0.002, 503, 200))
    columns = [
        pa.array(at).cast(pa.timestamp("us", tz="UTC")),
        pa.array(chance.lognormal(-3.5, 0.8, count)),
        pa.array([f"c{one:06}" for one in client.tolist()]),
        pa.array([f"{one}" for one in (client * 3 + at // 600_000_000 % 3).tolist()]),
        pa.array([_ENDPOINTS[one][0] for one in endpoint]),
        pa.array(["api.example.com"] * count),
        pa.array(path),
        pa.array([f"limit={one}" if one % 4 == 0 else "" for one in key.tolist()]),
        pa.array(headers),
        pa.array(bodies, pa.binary()),
        pa.array(status.astype(np.int32)),
        pa.array(['[["Content-Type", "application/json"]]'] * count),
        pa.array(answers, pa.binary()),
        pa.array([len(answer) for answer in answers]),
        pa.array([""] * count),
    ]
    return pa.Table.from_arrays(
        [column.cast(field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def _write_manifest(folder: Path, exchanges: int, end_us: int, segments: list[str]) -> None:
    start, end = (datetime.fromtimestamp(us / 1e6, UTC) for us in (_START_US, end_us + 60_000_000))
    manifest = Manifest(
        name=folder.name,
        environment="production",
        state=COMPLETE,
        exchanges=exchanges,
        window=(start, end),
        hosts=("api.example.com",),
        sources=(Source("made up", exchanges, exchanges),),
        scrubbing=Scrubbing(on=True, key_id="0" * 16),
        segments=tuple(segments),
    )
    manifest.write(folder / MANIFEST)


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]))
