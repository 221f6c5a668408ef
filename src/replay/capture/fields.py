"""Which fields hold secrets, by their names and, where a name says little, by how the value looks."""

import re
from functools import lru_cache

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SECRET_WORDS = frozenset(
    "token tokens secret secrets password passwords passwd pwd passphrase apikey jwt otp totp authorization bearer "
    "credential credentials assertion sessid".split()
)
_SECRET_ENDINGS = (
    *("token", "secret", "password", "passwd", "passphrase", "apikey", "accesskey", "secretkey", "privatekey"),
    *("authkey", "signingkey", "subscriptionkey", "sessionkey", "sessiontoken"),
)
_PASSWORD_WORDS = frozenset({"password", "passwd", "passphrase"})
_PASSWORD_ADDITIONS = frozenset("confirmation confirm confirmed again repeat repeated new old current 1 2".split())
# `next_page_token` is a cursor: it opens nothing.
_CURSOR_WORDS = frozenset("page next prev previous cursor continuation pagination sync pagetoken".split())
# Words that name secrets in one API and a talk, a voucher or a sort key in another: the value decides.
_PERHAPS = frozenset({"code", "session", "sessionid", "sid", "key", "auth", "state", "nonce"})
_PERHAPS_ENDINGS = (("session", "id"), ("session", "code"), ("auth", "code"), ("authorization", "code"))
_ADDRESSES = frozenset(
    "ip ipaddress clientip remoteip remoteaddr remoteaddress xforwardedfor xrealip xclientip trueclientip "
    "cfconnectingip xclusterclientip fastlyclientip forwarded xoriginalforwardedfor".split()
)
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{16,}={0,2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def is_secret(name: str, value: str) -> bool:
    """Whether the field ``name`` (of a header, query, form or JSON object) with this ``value`` holds a secret."""
    certainty = _certainty(name)
    if certainty == "perhaps":
        return is_opaque(value)
    return certainty == "surely"


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret whatever its value."""
    return _certainty(name) == "surely"


@lru_cache(maxsize=4096)
def is_address(name: str) -> bool:
    """Whether a field of this name holds a client's IP address."""
    return "".join(_WORDS.findall(name)).lower() in _ADDRESSES


def is_opaque(value: str) -> bool:
    """Whether a value looks like a key or a session: long, letters and digits mixed within a word, no date, no slug."""
    if _UUID.fullmatch(value):
        return True
    if not _OPAQUE.fullmatch(value) or _DATE.match(value):
        return False
    words = re.split(r"[-_]", value.rstrip("="))
    return any(len(word) >= 12 and not word.isalpha() and not word.isdigit() for word in words)


def is_recognisable(value: str) -> bool:
    """Whether a secret is so unlike anything else that it may be replaced wherever it stands.

    ``password`` as somebody's password must not turn ``grant_type=password`` into something else.
    """
    if len(value) < 8 or _DATE.match(value):
        return False
    return any(c.isalpha() for c in value) and any(c.isdigit() for c in value)


@lru_cache(maxsize=4096)
def _certainty(name: str) -> str:
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or _CURSOR_WORDS & set(words):
        return "no"
    joined = "".join(words)
    if words[-1] in _SECRET_WORDS or joined.endswith(_SECRET_ENDINGS):
        return "surely"
    if words[-1] in _PASSWORD_ADDITIONS and _PASSWORD_WORDS & set(words):
        return "surely"
    if joined in _PERHAPS or tuple(words[-2:]) in _PERHAPS_ENDINGS:
        return "perhaps"
    return "no"
