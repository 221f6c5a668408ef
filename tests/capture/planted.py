"""Secrets to plant, places to plant them in, and a search for what is left of them.

A kind of secret either shows itself (by its form, under any name) or is known by a name only; then it is planted under
that name once, and everywhere else under names on no list. ``leaks`` looks for secrets in bytes as they are, and
decoded in all the ways in which they were planted.
"""

import base64
import gzip
import html
import json
import re
import string
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from urllib.parse import unquote, unquote_plus
from uuid import UUID

from planted_places import BODIES_ONLY, PLACES

from replay.capture.scrubbing.forms import iban_remainder, passes_luhn
from replay.traffic import Exchange, Request

_LETTERS = string.ascii_letters
_ALNUM = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of secret. ``listed`` is a name that says so; ``shows_itself``: it is one under any name."""

    name: str
    make: Callable[[Random], str]
    listed: str
    shows_itself: bool


@dataclass(frozen=True, slots=True)
class Planted:
    """A secret, and what of it must be found nowhere."""

    kind: Kind
    value: str

    @property
    def hidden(self) -> str:
        """What must not be found: of a URL or a connection string, its password."""
        match = re.match(r"[a-z+]+://[^:/@]*:([^@]+)@", self.value)
        if match:
            return match[1]
        if self.value.startswith("-----BEGIN"):
            return self.value.split("\n")[1]
        return self.value.rpartition(".")[2] if self.value.startswith("eyJ") else self.value


def _text(random: Random, alphabet: str, size: int) -> str:
    return "".join(random.choices(alphabet, k=size))


def _mixed(random: Random, alphabet: str, size: int) -> str:
    """Random characters with a letter and a digit among them, as nearly every secret has."""
    return (
        _text(random, alphabet, size - 2)
        + random.choice([c for c in alphabet if c.isalpha()])
        + random.choice("23456789")
    )


def _token(prefix: str, size: int, alphabet: str = _ALNUM) -> Callable[[Random], str]:
    return lambda random: prefix + _mixed(random, alphabet, size)


def _url_safe(size_bytes: int) -> Callable[[Random], str]:
    return lambda random: base64.urlsafe_b64encode(random.randbytes(size_bytes)).rstrip(b"=").decode()


def _base64(size_bytes: int) -> Callable[[Random], str]:
    return lambda random: base64.b64encode(random.randbytes(size_bytes)).decode()


def _password(random: Random) -> str:
    return (
        _text(random, _LETTERS, 5)
        + random.choice("!$#*")
        + _text(random, string.digits, 3)
        + _text(random, _LETTERS, 4)
    )


def _email(random: Random) -> str:
    name, other = (_text(random, string.ascii_lowercase, size) for size in (7, 6))
    return f"{name}.{other}@firma-{_text(random, _HEX, 4)}.example.org"


def _phone(random: Random) -> str:
    return f"+49 17{random.randrange(10)} {random.randrange(10**7, 10**8)}"


def _card(random: Random) -> str:
    digits = random.choice(["4", "51", "55", "2221"])
    digits += _text(random, string.digits, 15 - len(digits))
    return next(digits + last for last in string.digits if passes_luhn(digits + last))


def _iban(random: Random) -> str:
    account = _text(random, string.digits, 18)
    return f"DE{98 - iban_remainder('DE00' + account):02d}{account}"


def _jwt(random: Random) -> str:
    claims = {"sub": _text(random, string.digits, 9), "exp": 1893456000, "mail": _email(random)}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "HS256"}, claims)
    ]
    return ".".join([*parts, _url_safe(32)(random)])


def _pem(random: Random) -> str:
    lines = [_base64(48)(random) for _ in range(3)]
    return "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *lines, "-----END RSA PRIVATE KEY-----"])


def _dsn(scheme: str) -> Callable[[Random], str]:
    return lambda random: f"{scheme}://app:{_mixed(random, _ALNUM, 12)}@db.example.org/prod"


def _shown(name: str, make: Callable[[Random], str], listed: str = "access_token") -> Kind:
    return Kind(name, make, listed, shows_itself=True)


def _named(name: str, make: Callable[[Random], str], listed: str) -> Kind:
    return Kind(name, make, listed, shows_itself=False)


KINDS: tuple[Kind, ...] = (
    _shown("GitHub token", _token("ghp_", 36)),
    _shown("GitHub fine-grained token", _token("github_pat_", 60)),
    _shown("GitLab token", _token("glpat-", 20)),
    _shown("Stripe key", _token("sk_live_", 24)),
    _shown("Stripe webhook secret", _token("whsec_", 32)),
    _shown(
        "Slack token",
        lambda r: f"xoxb-{_text(r, string.digits, 12)}-{_text(r, string.digits, 12)}-{_mixed(r, _ALNUM, 24)}",
    ),
    _shown("Slack webhook", lambda r: _mixed(r, _ALNUM, 24)),
    _shown("AWS access key", _token("AKIA", 16, string.ascii_uppercase + string.digits)),
    _shown("AWS secret key", _base64(30)),
    _shown("Google API key", _token("AIza", 35)),
    _shown("Google OAuth token", _token("ya29.", 60)),
    _shown("Google client secret", _token("GOCSPX-", 28)),
    _shown("npm token", _token("npm_", 36)),
    _shown("PyPI token", _token("pypi-AgEIcHlwaS5vcmc", 60)),
    _shown("SendGrid key", lambda r: f"SG.{_mixed(r, _ALNUM, 22)}.{_mixed(r, _ALNUM, 43)}"),
    _shown("Mailgun key", _token("key-", 32, _HEX)),
    _shown("OpenAI key", _token("sk-proj-", 48)),
    _shown("Shopify token", _token("shpat_", 32, _HEX)),
    _shown("DigitalOcean token", _token("dop_v1_", 64, _HEX)),
    _shown("Vault token", _token("hvs.", 30)),
    _shown("Docker token", _token("dckr_pat_", 27)),
    _shown("Hugging Face token", _token("hf_", 34)),
    _shown("Twilio key", _token("SK", 32, _HEX)),
    _shown("Telegram bot token", lambda r: f"{r.randrange(10**9, 10**10)}:{_mixed(r, _ALNUM, 35)}"),
    _shown("JWT", _jwt),
    _shown("private key", _pem),
    _shown("postgres URL", _dsn("postgres")),
    _shown("amqp URL", _dsn("amqp")),
    _shown("URL with a password", _dsn("https")),
    _shown("e-mail address", _email),
    _shown("phone number", _phone),
    _shown("payment card", _card),
    _shown("IBAN", _iban),
    _shown("random token of 24 bytes", _url_safe(24)),
    _shown("random token of 32 bytes", _url_safe(32)),
    _shown("random hexadecimal of 16 bytes", _token("", 32, _HEX)),
    _shown("random hexadecimal of 32 bytes", _token("", 64, _HEX)),
    _shown("random base64", _base64(33)),
    _shown("Azure storage key", lambda r: f"AccountName=x;AccountKey={base64.b64encode(r.randbytes(64)).decode()}"),
    _shown("OpenSSH key", lambda r: _pem(r).replace("RSA PRIVATE", "OPENSSH PRIVATE")),
    _shown("age key", _token("AGE-SECRET-KEY-1", 58, string.ascii_uppercase + "0234567")),
    _shown("New Relic key", _token("NRAK-", 27)),
    _shown(
        "Slack app token",
        lambda r: f"xapp-1-A{_mixed(r, _ALNUM, 10)}-{_text(r, string.digits, 13)}-{_mixed(r, _HEX, 64)}",
    ),
    _shown("Grafana token", lambda r: f"glsa_{_mixed(r, _ALNUM, 32)}_{_text(r, _HEX, 8)}"),
    _shown("PASETO", _token("v4.local.", 60)),
    _shown("Argon2 hash", lambda r: f"$argon2id$v=19$m=65536,t=3,p=4${_mixed(r, _ALNUM, 22)}${_mixed(r, _ALNUM, 43)}"),
    _shown("IBAN with blanks", lambda r: re.sub(r"(.{4})(?=.)", r"\1 ", _iban(r))),
    _shown("card with blanks", lambda r: re.sub(r"(.{4})(?=.)", r"\1 ", _card(r))),
    _shown(
        "phone number, written by hand",
        lambda r: f"+1 ({r.randrange(200, 999)}) {r.randrange(200, 999)}-{r.randrange(1000, 9999)}",
    ),
    _shown("e-mail address with a tag", lambda r: _email(r).replace("@", "+shop@")),
    _shown("bcrypt hash", lambda r: f"$2b$12${_mixed(r, _ALNUM, 53)}"),
    _named("password", _password, "password"),
    _named("client secret", _token("", 14), "client_secret"),
    _named("API key", _token("", 16), "x-api-key"),
    _named("session", _token("", 18), "session_token"),
    _named("CSRF token", _token("", 16, _HEX), "csrf_token"),
    _named("OTP secret", lambda r: _mixed(r, string.ascii_uppercase + "234567", 16), "totp_secret"),
    _named("URL's signature", _token("", 18), "X-Amz-Signature"),
    _named("SAS signature", _token("", 17), "sig"),
    _named("SAML response", _token("", 19), "SAMLResponse"),
    _named("recovery code", lambda r: f"{_mixed(r, _ALNUM, 5)}-{_mixed(r, _ALNUM, 5)}", "recovery_code"),
    _named("refresh token", lambda r: str(UUID(bytes=r.randbytes(16), version=4)), "refresh_token"),
    _named("PIN and its like", lambda r: _text(r, string.digits, 17), "passcode"),
)

UNLISTED = ("t", "ref", "x1", "payload", "data", "value")


def plant(random: Random) -> list[Planted]:
    """One secret of every kind."""
    return [Planted(kind, kind.make(random)) for kind in KINDS]


def exchanges(planted: Iterable[Planted], random: Random) -> Iterator[Exchange]:
    """Every secret in every place under a name on no list, then, where it needs that, under the name that says it."""
    number = 0
    for one in planted:
        for place, put in PLACES.items():
            if "\n" not in one.value or place in BODIES_ONLY:
                number += 1
                yield put(number, random.choice(UNLISTED), one.value)
        if not one.kind.shows_itself:
            number += 1
            yield PLACES[random.choice(["json", "form", "query"])](number, one.kind.listed, one.value)


def leaks(data: bytes, planted: Iterable[Planted]) -> list[str]:
    """The kinds of the secrets that ``data`` holds, decoded in all the ways in which they were planted."""
    forms = list(decoded(data))
    return [one.kind.name for one in planted if any(one.hidden in form for form in forms)]


def bytes_of(made: Iterable[Exchange]) -> bytes:
    """All that exchanges hold, one after the other."""
    pieces: list[bytes] = []
    for exchange in made:
        for message in (exchange.request, exchange.response):
            if isinstance(message, Request):
                pieces += [message.path.encode(), message.query.encode()]
            if message:
                pieces += [f"{name}: {value}".encode("utf-8", "surrogatepass") for name, value in message.headers]
                pieces.append(message.body or b"")
        pieces.append(exchange.error.encode())
    return b"\n".join(pieces)


_WORD = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


def decoded(data: bytes) -> Iterator[str]:
    waiting, seen = [data.decode("utf-8", "replace")], set()
    for _ in range(4):
        found: list[str] = []
        for text in waiting:
            if text in seen:
                continue
            seen.add(text)
            yield text
            if "\0" in text:
                found.append(text.replace("\0", ""))
            found += [unquote(text), unquote_plus(text), html.unescape(text)]
            found.append(_ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else {"n": "\n"}.get(m[2], m[2]), text))
            found.append("\n".join(_from_base64(text)))
        waiting = found


def _from_base64(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        word = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(word + "=" * (-len(word) % 4))
            yield (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8")
        except (ValueError, OSError, EOFError, zlib.error):
            continue
