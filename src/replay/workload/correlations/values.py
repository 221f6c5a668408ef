"""A value that a request sends or a response hands out, and what its name, its place and its looks say of it."""

import re
from dataclasses import dataclass
from functools import lru_cache

from replay.capture.fields import is_secret_name

# Fields in which a request that logs in says who it is, the surest first.
USER_FIELDS = ("username", "user_name", "login", "email", "user")
# Fields in which a response hands out a token.
TOKEN_FIELDS = frozenset("access_token refresh_token id_token token auth_token session_token jwt".split())
_SESSION_COOKIE = re.compile(r"sess|sid\b|_sid|^sid|auth|token|jwt|login|remember", re.IGNORECASE)
_CSRF = re.compile(r"[cx]srf", re.IGNORECASE)
# What a client computes anew for each request or login, from a key or by chance: no column can hold it.
_COMPUTED = frozenset(
    "code_verifier codeverifier client_assertion assertion signature sig hmac hash_signature nonce "
    "saml_request samlrequest".split()
)

_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
# From a letter to a digit or back, from a small letter to a capital, or from two capitals to a small letter: every
# `Word` begins with one.
_CHANGE = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])|(?<=[A-Z]{2})(?=[a-z])")
_LEAST_CHANGES = 0.18
_SHORTEST_RANDOM = 8
_DATED = re.compile(r"\d{4}-?[01]\d(?:-?[0-3]\d)?(?:[T ][0-2]\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_DECIMAL = re.compile(r"-?\d+[.,]\d+|-\d+")


@dataclass(frozen=True, slots=True)
class Value:
    """A value, its place, and its name in snake case: an ``id`` is named with what it identifies (``event_id``)."""

    place: str
    name: str
    text: str


def secret_column(value: Value) -> str:
    """The column of the identities file that holds such a value of a client's, or an empty string for no secret."""
    kind, _, name = value.place.partition(":")
    if kind in {"bearer", "basic"}:
        return {"": "bearer", "password": "password"}.get(name, "")
    if value.place == "header:authorization":
        return "authorization"
    if kind == "cookie":
        return name if is_session_cookie(name) else ""
    if kind == "path" or is_csrf(value.name) or is_computed(value.name) or not is_secret_name(value.name):
        return ""
    return name.rpartition("/")[2] if kind in {"json", "xml"} else name


@lru_cache(maxsize=16384)
def is_csrf(name: str) -> bool:
    """Whether a field of this name guards a form: a token that every page hands out anew, and nobody's identity."""
    return bool(_CSRF.search(name))


@lru_cache(maxsize=16384)
def is_computed(name: str) -> bool:
    """Whether a field of this name is computed by the client: a signature, a nonce, a PKCE verifier."""
    return name in _COMPUTED or name.endswith(("_signature", "_hmac", "_nonce"))


@lru_cache(maxsize=16384)
def is_session_cookie(name: str) -> bool:
    """Whether a cookie of this name carries an identity, rather than a preference or a CSRF token."""
    return bool(_SESSION_COOKIE.search(name)) and not is_csrf(name)


@lru_cache(maxsize=65536)
def is_opaque(text: str) -> bool:
    """Whether ``text`` is too particular to be met twice by chance: long and random, no words, no date, no address."""
    if len(text) < 16 or "@" in text or "://" in text or any(character.isspace() for character in text):
        return False
    if is_date(text):
        return False
    return bool(_UUID.fullmatch(text)) or _is_random(text)


def looks_random(text: str) -> bool:
    """Whether ``text`` may be a token, though a short one: letters and digits, or both cases, mixed within words."""
    return len(text) >= _SHORTEST_RANDOM and not is_date(text) and " " not in text and _is_random(text)


def may_be_token(text: str) -> bool:
    """Whether ``text`` may be a token where a name says that one stands there: long enough, and no plain word."""
    if len(text) < _SHORTEST_RANDOM or is_date(text) or " " in text:
        return False
    return text != text.lower() != text.upper() or any(character.isdigit() for character in text)


def is_date(text: str) -> bool:
    """Whether ``text`` is a date or a moment: it moves with the clock, and nobody hands it out."""
    return bool(_DATED.fullmatch(text) or _HTTP_DATE.fullmatch(text))


def may_be_id(text: str) -> bool:
    """Whether ``text`` may identify something that was made: a whole number, or anything with a digit in it."""
    if not any(character.isdigit() for character in text):
        return is_opaque(text)
    return not (_DECIMAL.fullmatch(text) or (is_date(text) and not text.isdigit()))


@lru_cache(maxsize=16384)
def place_pattern(place: str) -> str:
    """The place with the indexes of lists left out: ``json:/items/3/id`` is ``json:/items/*/id``."""
    if place.startswith("json:"):
        pointer, tilde, part = place.partition("~query/") if "~query/" in place else place.partition("~path/")
        return re.sub(r"/\d+(?=/|$)", "/*", pointer) + tilde + part
    if place.startswith("xml:"):
        return re.sub(r"\[\d+\]", "[*]", place)
    return re.sub(r"#\d+$", "#*", place) if place.startswith("html:") else place


@lru_cache(maxsize=16384)
def is_listed(place: str) -> bool:
    """Whether a place of a response is one of many alike: an entry of a list, a link of a page."""
    return "*" in place_pattern(place) if place.startswith(("json:", "xml:")) else place.startswith("html:href/")


def _is_random(text: str) -> bool:
    """Whether letters, capitals and digits change places more often than words, names and numbers have them do."""
    changes = len(_CHANGE.findall(text))
    return changes >= 2 and changes >= _LEAST_CHANGES * (len(text) - 1)
