"""What is no secret stays, byte for byte, wherever one could stand: else a replay sends what Stage does not know."""

import base64
import json
import string
from collections.abc import Callable
from random import Random
from uuid import UUID

import pytest
from planted_places import PLACES

from replay.capture.pseudonyms import fresh_key
from replay.capture.scrub import Scrubber

_WORDS = (
    "event user account order ticket group summer open day fire report draft annual meeting location capacity waiting "
    "list member price start end status active title image gallery feed comment author search filter sort newest "
    "veranstaltung feuerwehr jahreshauptversammlung einladung anmeldung warteliste teilnehmer kasse spende mitglied "
    "evenement billet adresse rue ville horaire reservation precio entrada fecha lugar calle persona grupo"
).split()
_ALNUM = string.ascii_letters + string.digits
_LOWER = string.ascii_lowercase + string.digits


def _chance(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - plain values, which must be the same in each run


def _some(alphabet: str, size: int) -> Callable[[Random], str]:
    return lambda r: "".join(r.choices(alphabet, k=size))


def _hex(size: int) -> Callable[[Random], str]:
    return _some("0123456789abcdef", size)


def _words(r: Random, most: int, sign: str) -> str:
    return sign.join(r.choices(_WORDS, k=r.randrange(2, most)))


def _camel(r: Random, most: int) -> str:
    return "".join(word.title() for word in r.choices(_WORDS, k=r.randrange(2, most)))


def _uuid(r: Random) -> str:
    return str(UUID(bytes=r.randbytes(16), version=4))


def _ean(r: Random) -> str:
    digits = f"40{r.randrange(10**10):010d}"
    return digits + str(-sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(digits)) % 10)


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _browser(r: Random) -> str:
    version = f"{r.randrange(60, 140)}.0.{r.randrange(9999)}.{r.randrange(200)}"
    return f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}"


PLAIN: dict[str, Callable[[Random], str]] = {
    "number": lambda r: str(r.randrange(10 ** r.randrange(1, 12))),
    "number of 18 digits": lambda r: str(r.randrange(10**17, 10**18)),
    "fraction": lambda r: repr(r.uniform(-1000, 1000)),
    "price": lambda r: f"{r.randrange(10**6) / 100:.2f}",
    "price with its currency": lambda r: f"{r.randrange(1, 999)}.{r.randrange(1000):03d},{r.randrange(100):02d} €",
    "date": lambda r: f"20{r.randrange(10, 30)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}",
    "moment": lambda r: (
        f"2026-03-{r.randrange(1, 29):02d}T{r.randrange(24):02d}:{r.randrange(60):02d}:07.{r.randrange(999):03d}Z"
    ),
    "moment with its zone": lambda r: (
        f"2026-03-{r.randrange(1, 29):02d}T{r.randrange(24):02d}:{r.randrange(60):02d}+02:00"
    ),
    "moment of HTTP": lambda r: f"Mon, {r.randrange(1, 29):02d} Mar 2026 {r.randrange(24):02d}:00:00 GMT",
    "seconds": lambda r: str(r.randrange(15 * 10**8, 19 * 10**8)),
    "milliseconds": lambda r: str(r.randrange(15 * 10**11, 19 * 10**11)),
    "microseconds": lambda r: str(r.randrange(15 * 10**14, 19 * 10**14)),
    "UUID": _uuid,
    "UUID in capitals": lambda r: _uuid(r).upper(),
    "URN": lambda r: f"urn:uuid:{_uuid(r)}",
    "ULID": lambda r: "01" + _some("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24)(r),
    "ObjectId": _hex(24),
    "cuid": lambda r: "cl" + _some(_LOWER, 23)(r),
    "short id": _some(_ALNUM + "-_", 11),
    "short hash": _hex(7),
    "id of 16 hexadecimal digits": _hex(16),
    "id with its kind": lambda r: f"evt_{r.randrange(10**6):06d}",
    "slug": lambda r: _words(r, 8, "-"),
    "slug and a year": lambda r: f"{_words(r, 6, '-')}-2026",
    "words in one": lambda r: _camel(r, 6),
    "words in one, first one small": lambda r: r.choice(_WORDS) + _camel(r, 5),
    "words and a number": lambda r: f"{_camel(r, 5)}{r.randrange(99)}",
    "snake": lambda r: _words(r, 6, "_"),
    "constant": lambda r: _words(r, 6, "_").upper(),
    "key of a translation": lambda r: f"{_words(r, 5, '.')}.{r.choice(_WORDS)}{_camel(r, 3)}",
    "compound": lambda r: "".join(r.choices(_WORDS[-30:], k=3)),
    "sentence": lambda r: f"{_words(r, 20, ' ').capitalize()}.",
    "name": lambda r: f"{r.choice(_WORDS).title()} {r.choice(_WORDS).title()}-{r.choice(_WORDS).title()}",
    "address": lambda r: f"{r.choice(_WORDS).title()}straße {r.randrange(200)}, {r.randrange(10000, 99999)} Heilbronn",
    "version": lambda r: (
        f"v{r.randrange(9)}.{r.randrange(30)}.{r.randrange(99)}-rc.{r.randrange(9)}+build.{r.randrange(9999)}"
    ),
    "coordinates": lambda r: f"{r.uniform(-90, 90):.6f},{r.uniform(-180, 180):.6f}",
    "order": lambda r: f"ORD-2026-{r.randrange(10**6):06d}",
    "booking": _some(string.ascii_uppercase + string.digits, 6),
    "article": lambda r: f"{_some(string.ascii_uppercase, 3)(r)}-{r.randrange(9999)}-XL",
    "EAN": _ean,
    "ISBN": lambda r: f"978-3-{r.randrange(100, 999)}-{r.randrange(10000, 99999)}-{r.randrange(9)}",
    "VAT id": lambda r: f"DE{r.randrange(10**8, 10**9)}",
    "number of a car": lambda r: f"HN-AB {r.randrange(9999)}",
    "hashed script": lambda r: f"/static/js/{r.choice(_WORDS)}.{_hex(20)(r)}.js",
    "built style": lambda r: f"/assets/{r.choice(_WORDS)}-{_some(_ALNUM, 8)(r)}.css",
    "picture": lambda r: f"https://cdn.example.com/{_hex(2)(r)}/{_hex(32)(r)}.jpg?w=300",
    "picture by its id": lambda r: f"/media/{_some(_ALNUM, 24)(r)}.webp",
    "picture itself": lambda r: "data:image/png;base64,iVBORw0KGgo" + base64.b64encode(r.randbytes(90)).decode(),
    "digest with its name": lambda r: f"sha256:{_hex(64)(r)}",
    "integrity": lambda r: f"sha384-{base64.b64encode(r.randbytes(48)).decode()}",
    "cursor": lambda r: base64.b64encode(f"cursor:{r.randrange(10**9)}".encode()).decode(),
    "cursor of JSON": lambda r: _encoded({"id": r.randrange(10**6), "dir": "next"}),
    "id of a graph": lambda r: base64.b64encode(f"Event:{r.randrange(10**6)}".encode()).decode(),
    "sort": lambda r: f"-{r.choice(_WORDS)}_at,+{r.choice(_WORDS)}",
    "browser": _browser,
    "accept": lambda r: f"text/html,application/xhtml+xml,application/xml;q=0.{r.randrange(9)},image/avif,*/*;q=0.8",
    "type": lambda r: f"application/vnd.{r.choice(_WORDS)}+json; charset=utf-8",
    "language": lambda r: r.choice(
        ["de-DE,de;q=0.9,en-US;q=0.8", "Deutsch", "Português (Brasil)", "zh-Hant-TW", "es-419"]
    ),
    "zone": lambda r: r.choice(["Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"]),
    "colour": lambda r: f"#{_hex(6)(r)}",
    "path": lambda r: f"/{_words(r, 5, '/')}/{r.randrange(10**6)}",
    "URL": lambda r: f"https://www.example.com/{_words(r, 4, '/')}?page={r.randrange(9)}&sort=-{r.choice(_WORDS)}#top",
    "MAC address": lambda r: ":".join(_hex(2)(r) for _ in range(6)),
    "class": lambda r: f"com.example.{r.choice(_WORDS)}.{_camel(r, 5)}",
    "line of a stack": lambda r: f"at {_words(r, 4, '.')}.{_camel(r, 3)}({_camel(r, 3)}.java:{r.randrange(999)})",
    "HTML": lambda r: (
        f'<p class="{_words(r, 3, " ")}">{_words(r, 8, " ")} <a href="/{_words(r, 3, "/")}">{r.choice(_WORDS)}</a></p>'
    ),
    "image of a container": lambda r: (
        f"registry.example.com/{r.choice(_WORDS)}/{r.choice(_WORDS)}:{r.randrange(9)}.1-alpine"
    ),
    "pod": lambda r: (
        f"{r.choice(_WORDS)}-{_some('bcdfghjklmnpqrstvwxz2456789', 10)(r)}-{_some('bcdfghjklmnpqrstvwxz2456789', 5)(r)}"
    ),
    "package": lambda r: (
        f"@{r.choice(_WORDS)}/{r.choice(_WORDS)}-{r.choice(_WORDS)}@{r.randrange(9)}.{r.randrange(20)}.1"
    ),
    "boundary": lambda r: f"----WebKitFormBoundary{_some(_ALNUM, 16)(r)}",
}
# Every cookie but a setting is taken for a session, and what was packed is unpacked.
_OTHERS = {"cookie", "set-cookie", "gzip", "gzip unsaid", "deflate", "brotli", "zstd"}
_ELSEWHERE = [place for name, place in PLACES.items() if name not in _OTHERS]


@pytest.mark.parametrize("kind", PLAIN)
def test_it_stays_in_every_place(kind):
    chance = _chance(len(kind))
    values = [PLAIN[kind](chance) for _ in range(12)]
    scrubber = Scrubber(fresh_key())
    before = [place(number, "v", value) for number, place in enumerate(_ELSEWHERE) for value in values]
    for one in before:
        scrubber.learn(one)
    assert [scrubber.exchange(one) for one in before] == before
    assert not scrubber.counts
    assert not scrubber.dropped


@pytest.mark.parametrize(
    "value", ["15-Oct-2026", "/css/icons.svg.css?v39", "3f0c2a52-91f4-4a51-9d4b-0a4f5a9f1c11", "beacon-a136-pdx"]
)
def test_what_stands_in_a_cookie_and_is_no_session_stays_elsewhere(value):
    scrubber = Scrubber(fresh_key())
    cookie, elsewhere = PLACES["cookie"](1, "last", value), PLACES["json"](2, "v", value)
    for one in (cookie, elsewhere):
        scrubber.learn(one)
    assert value not in str(scrubber.exchange(cookie))
    assert scrubber.exchange(elsewhere) == elsewhere


def test_of_a_thousand_of_each_kind_next_to_none_is_changed():
    chance = _chance(3)
    scrubber = Scrubber(fresh_key())
    changed = [
        value
        for make in PLAIN.values()
        for value in (make(chance) for _ in range(1000))
        if scrubber.text(value) != value
    ]
    assert len(changed) <= 10, changed
