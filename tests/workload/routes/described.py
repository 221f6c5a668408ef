"""Traffic for a described API: every route with values of its parameters' kinds, as many clients would send them."""

import base64
import random
import string
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from replay.workload.endpoints.templates import SeenPath

HERE = Path(__file__).parent
_LETTERS = string.ascii_lowercase
_ALNUM = string.ascii_letters + string.digits
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ONSETS = "b br c ch d dr f fl g gr h j k l m n p pr qu r s st t tr v w z".split()
_VOWELS = "a e i o u ai ea ou".split()
_CODAS = ["", "", "n", "r", "l", "s", "t", "nd", "ck", "m"]
_WORDS = (
    "amber anchor apple arrow autumn basin beacon berry birch blue bold brass breeze bright canyon cedar cliff "
    "cloud coral cotton crane dawn delta dune eagle ember fern field fjord flint forest frost garden glass "
    "golden grain green harbor hazel heron hill honey indigo iron island ivory jade juniper lake lantern leaf "
    "linen lunar maple marble meadow mist moss night north oak ocean olive opal orchid otter pearl pebble pine "
    "plum prairie quartz rain raven red reef river robin rose saddle sage sand shadow silver sky slate snow "
    "solar spruce star stone storm summer sun thistle tide timber topaz valley velvet violet wave willow wind "
    "winter wolf wren"
).split()
_FIRST = (
    "ada bea cleo dora emmy fay gwen hedy ida joan kim lise mary nora olga pia rosa sven tim uwe vera wim yann zoe abe "
    "ben carl dirk egon finn gus hans ivo jan kurt lars max nils otto paul"
).split()
_EXTENSIONS = "py md toml js css html yaml txt json rs go svg".split()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what was sent, the route that serves it, and whether there was such a thing."""

    method: str
    path: str
    route: str
    found: bool


@dataclass(frozen=True, slots=True)
class Api:
    """A described API: its routes with their prefix, a method and a path each, and the kinds of their parameters."""

    name: str
    routes: tuple[tuple[str, str], ...]
    kinds: dict[str, str]

    @property
    def templates(self) -> list[str]:
        return list(dict.fromkeys(path for _, path in self.routes))


@cache
def read_api(name: str) -> Api:
    document = YAML(typ="safe", pure=True).load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))
    url = document.get("servers", [{"url": ""}])[0]["url"]
    host, slash, rest = url.partition("://")[2].partition("/")
    prefix = document.get("basePath", slash + rest if host else url)
    described = document.get("parameters") or document["components"]["parameters"]
    kinds = {key: _kind(one) for key, one in described.items()}
    routes = tuple((method.upper(), prefix + path) for path, item in document["paths"].items() for method in item)
    return Api(name, routes, kinds)


def _kind(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", parameter)
    return str(schema.get("format") or schema["type"])


def traffic(api: Api, seed: int, requests: int = 4_000, missing: float = 0.04) -> list[Asked]:
    """Requests to all routes: a few get most, some one to three; keys likewise. Some things are not there."""
    draw = random.Random(f"{api.name}-{seed}")  # noqa: S311 - nothing secret
    values = _Values(draw, api.kinds)
    order = list(api.routes)
    draw.shuffle(order)
    weights = [1 / (rank + 1) ** 1.1 for rank in range(len(order))]
    chosen = draw.choices(order, weights, k=requests)
    for route in order:  # none is left out
        chosen += [route] * max(0, draw.randint(1, 3) - chosen.count(route))
    asked = []
    for method, route in chosen:
        absent = "{" in route and draw.random() < missing
        path = values.fill(route, absent=absent)
        asked.append(Asked(method, path, route, not absent))
    return asked


def seen(asked: list[Asked]) -> Iterator[SeenPath]:
    """The same as what an engine counts."""
    counts = Counter((one.method, one.path) for one in asked)
    found = {(one.method, one.path) for one in asked if one.found}
    for (method, path), count in counts.items():
        yield SeenPath(method, path, "", count, (method, path) in found)


class _Values:
    """Values of each parameter, from a pool of its own below each of those before it, the first ones far more often."""

    def __init__(self, draw: random.Random, kinds: dict[str, str]) -> None:
        self._draw = draw
        self._kinds = kinds
        self._pools: dict[str, list[str]] = {}

    def fill(self, route: str, *, absent: bool) -> str:
        parts = []
        names = [part.partition("}")[0] for part in route.split("{")[1:]]
        for index, piece in enumerate(route.split("{")):
            if not index:
                parts.append(piece)
                continue
            name, _, rest = piece.partition("}")
            value = self._missing(name) if absent and name == names[-1] else self._known(name, "".join(parts))
            parts += [value, rest]
        return "".join(parts)

    def _known(self, name: str, before: str) -> str:
        kind = self._kinds[name]
        shared = kind in _SHARED
        pool = self._pools.setdefault(name if shared else f"{name} {before}", [])
        size = _SIZES.get(kind, 300)
        rank = min(int(size ** self._draw.random()), size) - 1  # log-uniform: as Zipf has it
        while len(pool) <= rank:
            pool.append(make(kind, self._draw))
        return pool[rank]

    def _missing(self, name: str) -> str:
        if self._draw.random() < 0.2:
            return self._draw.choice(["undefined", "null", "NaN", "0", "-1"])
        return make(self._kinds[name], self._draw)


def make(kind: str, draw: random.Random) -> str:
    """A value of a kind."""
    return _MAKERS[kind](draw)


def _text(draw: random.Random, letters: str, low: int, high: int | None = None) -> str:
    return "".join(draw.choices(letters, k=draw.randint(low, high or low)))


def _word(draw: random.Random) -> str:
    if draw.random() < 0.6:
        return draw.choice(_WORDS)
    return "".join(draw.choice(_ONSETS) + draw.choice(_VOWELS) + draw.choice(_CODAS) for _ in range(draw.randint(1, 3)))


def _joined(draw: random.Random, low: int, high: int, by: str = "-") -> str:
    words = [_word(draw) for _ in range(draw.randint(low, high))]
    if draw.random() < 0.15:
        words.append(str(draw.randint(1, 2030)))
    return by.join(words)


def _username(draw: random.Random) -> str:
    first = draw.choice(_FIRST)
    return draw.choice(
        [
            first,
            first + _word(draw),
            f"{first}.{_word(draw)}",
            f"{first}{draw.randint(1, 99)}",
            f"{first}-{_word(draw)}",
            _word(draw),
        ]
    )


def _day(draw: random.Random) -> date:
    return date(2025, 1, 1) + timedelta(days=draw.randrange(700))


def _files(draw: random.Random) -> str:
    folders = [_word(draw) for _ in range(draw.choice([0, 0, 1, 1, 2, 3]))]
    return "/".join([*folders, f"{_word(draw)}.{draw.choice(_EXTENSIONS)}"])


def _base64url(draw: random.Random) -> str:
    return base64.urlsafe_b64encode(draw.randbytes(16)).decode().rstrip("=")


def _encoded(draw: random.Random) -> str:
    return "%2F".join([_word(draw), _word(draw), f"{_joined(draw, 1, 2)}.{draw.choice(['jpg', 'png', 'csv', 'json'])}"])


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "integer": lambda draw: str(draw.randint(1, 10 ** draw.randint(3, 9))),
    "small": lambda draw: str(draw.randint(1, 400)),
    "uuid": lambda draw: str(uuid.UUID(int=draw.getrandbits(128), version=4)),
    "ulid": lambda draw: "01" + _text(draw, _CROCKFORD, 24),
    "ksuid": lambda draw: _text(draw, _ALNUM, 27),
    "objectid": lambda draw: _text(draw, "0123456789abcdef", 24),
    "nanoid": lambda draw: _text(draw, _ALNUM + "_-", 21),
    "prefixed": lambda draw: f"{draw.choice(['ord', 'evt'])}_{_text(draw, _ALNUM, 14)}",
    "key": lambda draw: f"{draw.choice(['PROJ', 'OPS', 'WEB2', 'HR'])}-{draw.randint(1, 9000)}",
    "project": lambda draw: _text(draw, string.ascii_uppercase, 2, 6),
    "hex": lambda draw: _text(draw, "0123456789abcdef", 16, 40),
    "sha": lambda draw: _text(draw, "0123456789abcdef", draw.choice([8, 40])),
    "opaque": lambda draw: _text(draw, _ALNUM + "-_", 40, 120),
    "base64url": _base64url,
    "code": lambda draw: _text(draw, _CROCKFORD, 8),
    "promo": lambda draw: draw.choice(
        [_word(draw).upper() + str(draw.randint(5, 50)), f"{_word(draw).upper()}-{_text(draw, _CROCKFORD, 4)}"]
    ),
    "slug": lambda draw: _joined(draw, 2, 6),
    "category": lambda draw: _joined(draw, 1, 2),
    "name": lambda draw: _joined(draw, 1, 3),
    "word": _word,
    "city": _word,
    "label": lambda draw: draw.choice([_word(draw), _joined(draw, 2, 2), "good%20first%20issue"]),
    "room": lambda draw: f"{draw.choice('ABC')}{draw.randint(1, 40)}",
    "username": _username,
    "email": lambda draw: f"{_username(draw)}{draw.choice(['%40', '@'])}example.org",
    "date": lambda draw: _day(draw).isoformat(),
    "year": lambda draw: str(draw.randint(2019, 2027)),
    "month": lambda draw: f"{draw.randint(1, 12):02}",
    "coordinates": lambda draw: f"{draw.uniform(-90, 90):.4f},{draw.uniform(-180, 180):.4f}",
    "degree": lambda draw: f"{draw.uniform(-90, 90):.3f}",
    "currency": lambda draw: draw.choice(
        ["EUR", "USD", "GBP", "CHF", "PLN", "SEK", "NOK", "DKK", "CZK", "HUF", "JPY", "AUD"]
    ),
    "zone": lambda draw: (
        f"{draw.choice(['eu', 'us', 'ap'])}-{draw.choice(['west', 'east', 'north'])}{draw.randint(1, 3)}"
        f"-{draw.choice('abc')}"
    ),
    "sku": lambda draw: f"{_text(draw, string.ascii_uppercase, 2)}-{draw.randint(100, 9999)}-{draw.choice('SMLX')}",
    "gtin": lambda draw: str(draw.randint(10**12, 10**13 - 1)),
    "orderno": lambda draw: f"{draw.randint(2024, 2026)}-{draw.randint(100000, 999999)}",
    "document": lambda draw: f"{_joined(draw, 1, 3)}.{draw.choice(['pdf', 'pdf', 'xml', 'docx'])}",
    "image": lambda draw: f"{_joined(draw, 2, 4)}.{draw.choice(['jpg', 'webp', 'png'])}",
    "version": lambda draw: (
        f"v{draw.randint(0, 4)}.{draw.randint(0, 20)}.{draw.randint(0, 9)}{draw.choice(['', '', '-rc1'])}"
    ),
    "archive": lambda draw: f"v{draw.randint(0, 4)}.{draw.randint(0, 20)}.{draw.choice(['zip', 'tar.gz'])}",
    "branch": lambda draw: draw.choice(["main", "main", "develop", f"feature%2F{_word(draw)}", _joined(draw, 2, 3)]),
    "range": lambda draw: f"{_text(draw, '0123456789abcdef', 8)}...{_text(draw, '0123456789abcdef', 8)}",
    "files": _files,
    "object": lambda draw: draw.choice([_encoded(draw), _encoded(draw), f"{_joined(draw, 1, 2)}.csv"]),
}
_MAKERS |= {
    "base62": lambda draw: _text(draw, _ALNUM, 22),
    "short": lambda draw: _text(draw, _LETTERS + string.digits, 10),
    "isrc": lambda draw: (
        _text(draw, string.ascii_uppercase, 2)
        + _text(draw, string.ascii_uppercase + string.digits, 3)
        + str(draw.randint(10**6, 10**7 - 1))
    ),
    "genre": lambda draw: draw.choice(_GENRES),
    "country": lambda draw: draw.choice("us gb de fr es it pt br mx jp kr in au ca nl se no fi pl tr".split()),
    "handle": lambda draw: draw.choice(["", "@"]) + _username(draw),
    "language": lambda draw: draw.choice("en de fr es it pt ja ko".split()),
    "encounter": lambda draw: f"enc-{_text(draw, string.digits, 6)}",
    "icd": lambda draw: (
        f"{draw.choice('ABCEFGHIJKLM')}{draw.randint(0, 99):02}{draw.choice(['', f'.{draw.randint(0, 9)}'])}"
    ),
    "ward": lambda draw: draw.choice(
        "cardiology oncology surgery maternity icu neurology pediatrics psychiatry urology emergency".split()
    ),
    "initials": lambda draw: _text(draw, _LETTERS, 3) + str(draw.randint(1, 9)),
    "drug": lambda draw: (
        draw.choice(_ONSETS)
        + draw.choice(_VOWELS)
        + draw.choice(["x", "v", "z"])
        + draw.choice(["amab", "itol", "apine", "olol", "statin", "cillin"])
    ),
    "moment": lambda draw: f"{_day(draw).isoformat()}T{draw.randint(0, 23):02}%3A{draw.randint(0, 59):02}%3A00Z",
    "semver": lambda draw: (
        f"{draw.randint(0, 9)}.{draw.randint(0, 30)}.{draw.randint(0, 20)}{draw.choice(['', '', '', '-beta.1', 'rc2'])}"
    ),
    "reference": lambda draw: draw.choice(
        [
            f"{draw.randint(1, 9)}.{draw.randint(0, 20)}",
            f"v{draw.randint(1, 9)}",
            f"sha256:{_text(draw, '0123456789abcdef', 64)}",
        ]
    ),
    "digest": lambda draw: f"sha256:{_text(draw, '0123456789abcdef', 64)}",
    "package": lambda draw: draw.choice(
        [_word(draw), _joined(draw, 2, 3), f"@{_word(draw)}%2F{_word(draw)}", f"{_word(draw)}.js"]
    ),
    "month_range": lambda draw: draw.choice(["last-week", "last-month", "last-year", f"{_day(draw)}:{_day(draw)}"]),
    "advisory": lambda draw: f"ADV-{draw.randint(2019, 2026)}-{draw.randint(1000, 99999)}",
    "license": lambda draw: draw.choice(
        ["MIT", "Apache-2.0", "BSD-3-Clause", "GPL-3.0-only", "ISC", "MPL-2.0", "LGPL-2.1", "Unlicense", "0BSD"]
    ),
    "tarball": lambda draw: (
        f"{_joined(draw, 1, 2)}-{draw.randint(0, 9)}.{draw.randint(0, 30)}.{draw.randint(0, 20)}"
        f".{draw.choice(['tgz', 'tar.gz'])}"
    ),
}
_MAKERS |= {
    "iata": lambda draw: draw.choice(
        "FRA MUC HAM BER LHR CDG AMS MAD BCN FCO VIE ZRH CPH OSL ARN HEL LIS DUB JFK SFO".split()
    ),
    "airline": lambda draw: draw.choice("LH BA AF KL IB AZ OS LX SK AY TP EI U2 FR W6".split()),
    "flight": lambda draw: draw.choice("LH BA AF KL IB U2".split()) + str(draw.randint(10, 9999)),
    "compact_date": lambda draw: _day(draw).strftime("%Y%m%d"),
    "seat": lambda draw: f"{draw.randint(1, 40)}{draw.choice('ABCDEF')}",
    "hotel": lambda draw: f"{draw.choice(['hotel', 'grand-hotel', 'pension', 'the'])}-{_joined(draw, 1, 2)}",
    "photo": lambda draw: f"{_text(draw, '0123456789abcdef', 12)}.{draw.choice(['jpg', 'webp'])}",
    "place": lambda draw: draw.choice(_PLACES),
    "locator": lambda draw: _text(draw, string.ascii_uppercase + "23456789", 6),
    "member": lambda draw: f"M{draw.randint(10**7, 10**8)}",
    "jwt": lambda draw: f"eyJhbGciOiJIUzI1NiJ9.{_text(draw, _ALNUM, 60)}.{_text(draw, _ALNUM + '_-', 43)}",
    "title": lambda draw: _joined(draw, 3, 8),
    "tag": lambda draw: draw.choice(_GENRES + _PLACES),
    "draft": lambda draw: draw.choice(
        ["new_topic", f"topic_{draw.randint(1, 9999)}", f"topic_{draw.randint(1, 9999)}"]
    ),
}
_MAKERS |= {
    "floor": lambda draw: draw.choice(["ground", "basement", "roof", "1", "2", "3", "4", "5"]),
    "mac": lambda draw: ":".join(_text(draw, "0123456789abcdef", 2) for _ in range(6)),
    "measurement": lambda draw: draw.choice(
        "temperature humidity pressure co2 noise light power voltage current flow level".split()
    ),
    "seconds": lambda draw: str(1_750_000_000 + draw.randrange(10**7)),
    "serial": lambda draw: f"SN{_text(draw, string.digits, 8)}{draw.choice('AB')}",
    "model": lambda draw: draw.choice(["tx-100", "tx-200", "rx-5", "hub-mini", "hub-pro", "cam360", "meter3p"]),
    "hostname": lambda draw: f"gw{draw.randint(1, 40)}.{draw.choice(['north', 'south'])}.example.org",
}
_PLACES = (
    "berlin hamburg munich vienna zurich paris lyon rome milan madrid lisbon porto oslo bergen stockholm helsinki riga "
    "tallinn vilnius warsaw gdansk prague budapest athens dublin london york bath new-york san-francisco rio-de-janeiro"
).split()
_GENRES = (
    "rock pop jazz blues folk soul funk techno house ambient classical opera reggae ska punk metal grunge disco gospel "
    "country latin salsa samba swing bebop trance dubstep hiphop rap indie drum-and-bass lo-fi synthwave shoegaze k-pop"
).split()
_SIZES = {
    "floor": 8,
    "measurement": 11,
    "model": 7,
    "hostname": 60,
    "iata": 20,
    "airline": 15,
    "flight": 80,
    "place": 31,
    "tag": 40,
    "genre": 35,
    "country": 20,
    "language": 8,
    "ward": 10,
    "reference": 20,
    "month_range": 10,
    "license": 9,
    "small": 100,
    "word": 60,
    "currency": 12,
    "zone": 12,
    "year": 8,
    "month": 12,
    "label": 25,
    "category": 40,
    "branch": 30,
    "project": 20,
    "city": 50,
    "room": 30,
    "version": 40,
    "date": 90,
    "name": 60,
}
_SHARED = frozenset(
    {
        "measurement",
        "model",
        "mac",
        "iata",
        "airline",
        "flight",
        "place",
        "tag",
        "genre",
        "country",
        "language",
        "ward",
        "license",
        "package",
        "drug",
        "initials",
        "username",
        "label",
        "email",
        "slug",
        "category",
        "currency",
        "zone",
        "year",
        "month",
        "word",
        "city",
        "date",
    }
)
