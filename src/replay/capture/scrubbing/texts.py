"""How a text is searched for secrets: taken apart once, from left to right, and no part of it looked at twice.

A text is whole (known, JSON, markup), or it has spots: a private key, `name: value`, a phone number, a card, an IBAN,
or a chunk without blanks. A chunk is a URL, pairs, something percent-encoded, an e-mail address, or words; a word is a
token, the base64 of a text, or nothing. What is found is given to one of the hooks, and what that returns is final, so
that no pseudonym is ever taken for a secret.
"""

import base64
import binascii
import re
from abc import abstractmethod
from functools import lru_cache

from replay.capture.fields import Says, is_opaque, name_says
from replay.capture.pseudonyms import Key
from replay.capture.scrubbing import forms
from replay.capture.scrubbing.chunks import Chunks
from replay.capture.scrubbing.pieces import around
from replay.capture.scrubbing.rules import NO_RULES, Rules
from replay.capture.scrubbing.words import SHORTEST

_DEEPEST = 12
_CACHED = 16384
_CACHED_LENGTH = 400

# A name that may say that its value is a secret, and the value; looked for where a text has one of the hints.
_HINTS = (
    *(
        "passw",
        "passp",
        "passc",
        "passor",
        "pwd",
        "pswd",
        "secret",
        "token",
        "key",
        "authori",
        "credential",
        "kennwort",
    ),
    *("contrase", "motdepasse", "mot_de_passe", "senha", "wachtwoord", "x-auth", "signature", "bearer", "basic"),
    *("cookie", "парол", "密码", "パスワード", "pin:", "sessid"),
)
_NAMED = re.compile(
    r"(?P<name>(?<![\w.-])(?=[\w.-]{0,50}?(?i:passw|passp|passc|passor|pwd|pswd|secret|token|key|authori|credential|"
    r"kennwort|contrase|mot_?de_?passe|senha|wachtwoord|x-auth|signature|парол|密码|パスワード|pin|sessid))[\w.-]{2,60})"
    r"(?P<sign>\\{0,3}[\"']?[ \t]{0,8}(?::(?!//)|=(?=[\"' \t\\]))[ \t]{0,8})"
    r"(?P<quote>\\{0,3}[\"']|)(?P<value>(?<=\")[^\"\n\\]{1,500}|(?<=')[^'\n\\]{1,500}|"
    r"(?<![\"'])(?:(?i:bearer|basic|token|digest|apikey|negotiate)[ \t]{1,4})?[^\s\"'<>,;&\\]+)"
)
_SCHEMED = r"(?<![A-Za-z0-9])(?:[Bb]earer|[Bb]asic|BEARER|BASIC)[ \t]{1,4}[A-Za-z0-9._~+/-]{8,}={0,2}"
_COOKIE = r"(?<![\w-])(?i:(?:set-)?cookie)[ \t]{0,4}:[ \t]{0,4}[^\r\n\"']{3,4000}"
# What a chunk is made of; it ends before a number that goes on behind a blank: `to=+49 170 1234567`.
_SIGN = r"[^\s\"'<>(){}\[\],|\\`]"
_NUMBER = r"\+[1-9][0-9]{0,5}[ \u00a0(]|[0-9]{4,8}[ \u00a0][0-9]{4}|[A-Z]{2}[0-9]{2} [A-Z0-9]{4} "
_FORMS = (
    f"(?P<phone>{forms.PHONE})|(?P<card>{forms.DIGITS})|(?P<iban>{forms.IBAN})|"
    f"(?P<chunk>(?={_SIGN}{{{SHORTEST}}})(?:{_SIGN[:-1]}=:]++|[=:](?!{_NUMBER}))+)"
)
_SPOT = re.compile(f"(?P<pem>{forms.PRIVATE_KEY})|{_FORMS}")
_HINTED_SPOT = re.compile(
    f"(?P<pem>{forms.PRIVATE_KEY})|(?P<cookie>{_COOKIE})|(?P<named>{re.sub('[?]P<[a-z]+>', '?:', _NAMED.pattern)})|"
    f"(?P<schemed>{_SCHEMED})|{_FORMS}"
)
# What is nothing secret by itself, but perhaps as a whole: words and short numbers, a slug, a UUID, a time.
_PLAIN = re.compile(
    r"(?:[(]?[^\W\d_]{1,19}[).,;!?]{0,2}(?: |\Z)|"
    r"[(]?(?:\d[\d.,]{0,10}|\d{1,11}\.\d{1,17})[).,;!?%]{0,2}(?: (?=[^\W\d_])|\Z))+|"
    r"[a-z]{1,19}(?:[-_.][a-z]{1,19})*(?:[-_][0-9]{1,8})?|[A-Z]{1,19}(?:_[A-Z]{1,19})*|"
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|"
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
)
_SCHEMES = ("earer ", "asic ", "EARER ", "ASIC ")
# What an error message may say of a password or a token.
_SAID = frozenset(
    "bearer basic token is was are must should has have had cannot can required invalid incorrect missing expired "
    "unknown wrong not expected empty too denied revoked mismatch reset needed the a an".split()
)
_SCHEME = re.compile(r"(?i:bearer|basic|token|apikey|digest|negotiate)\s+(?=\S)")
_CHUNKS = re.compile(r"[^\s\"'<>(){}\[\],|\\`]+")
# IP addresses, without the port behind them; what only looks like one is found out later.
_IP = re.compile(
    r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.[0-9])|"
    r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?!\w|\.[0-9]|:[0-9]{1,3}\.)"
)
_HIDDEN = frozenset("true false null none undefined yes no on off 0 1 nil redacted filtered hidden masked".split())
_COUNT_LENGTH = 7
_OAUTH_SIGNS = ("grant_type", "redirect_uri", "code_verifier", "session_state")


class Texts(Chunks):
    """Takes texts apart and gives what it finds to hooks."""

    def __init__(self, key: Key, rules: Rules = NO_RULES) -> None:
        super().__init__(key, rules)
        self._depth = 0
        self._remembered = lru_cache(maxsize=_CACHED)(self._noted)

    @abstractmethod
    def header(self, name: str, value: str) -> str:
        """A header's value without its secrets."""

    @abstractmethod
    def structured(self, value: str) -> str | None:
        """A text that is a document (JSON, markup, GraphQL) without its secrets, or None where it is none."""

    # What a field holds

    def field(self, name: str, value: str, kind: str, beside: str = "") -> str:
        """The value of a field of that name, without its secrets; ``beside`` is the text that it stands in."""
        if not value:
            return value
        says = self.says(name)
        if says is Says.PERHAPS:
            authorizes = name.lower() == "code" and any(sign in beside for sign in _OAUTH_SIGNS)
            says = Says.SECRET if authorizes or is_opaque(value) else Says.NOTHING
        if says is Says.NOTHING:
            return self.text(value)
        if says is Says.SECRET and name.endswith("s") and value.isdigit() and len(value) <= _COUNT_LENGTH:
            return value  # `max_tokens=1000`
        if says is Says.COOKIES and kind != "header":
            return (
                self.header("set-cookie" if name[0] in "sS" else "cookie", value) if "=" in value else self.text(value)
            )
        return self._meant(says, value, kind)

    def says(self, name: str) -> Says:
        """What a field's name says, by the user's rules and by our own."""
        if self.rules is not NO_RULES:
            if self.rules.makes_secret(name):
                return Says.SECRET
            if self.rules.makes_plain(name):
                return Says.NOTHING
        return name_says(name)

    def _meant(self, says: Says, value: str, kind: str) -> str:
        if says is Says.SECRET:
            return self.certain(value, kind)
        if says is Says.ADDRESS:
            return self.addresses(value)
        if says is Says.PHONE and forms.is_phone(value):
            return self.secret(value, "phone")
        if says is Says.CARD and forms.is_card(value, named=True):
            return self.secret(value, "card")
        if says is Says.IBAN and forms.is_iban(value):
            return self.secret(value, "iban")
        if says is Says.ID:
            if forms.looks_random(value) or (value[0].isdigit() and forms.is_card(value)):
                self.spare(value)
            return self.text(value, guessing=False)
        return self.text(value)

    def certain(self, value: str, kind: str) -> str:
        """The value of a field whose name says that it is a secret; a scheme before it stays."""
        if value.lower().strip("*[]<>x.- ") in _HIDDEN or not value.strip("* "):
            return value
        scheme = _SCHEME.match(value)
        start = scheme.end() if scheme else 0
        return value[:start] + self.secret(value[start:], kind)

    def addresses(self, value: str) -> str:
        """A text with IP addresses in it, such as X-Forwarded-For has, without these and its secrets."""
        return around(_IP, value, lambda match: self.address(match[0]), self.text)

    def address(self, address: str) -> str:
        """An IP address; what is none stays as it is."""
        pseudonym = self.pseudonyms.address(address)
        if pseudonym != address:
            self.notes.append("address")
        return pseudonym

    # Texts of any kind

    def text(self, value: str, *, guessing: bool = True) -> str:
        """A text of any kind without its secrets. Without ``guessing`` what only looks random stays."""
        if len(value) < SHORTEST:
            return value
        if not self.rules.values and _PLAIN.fullmatch(value) and not _names_scheme(value):
            return self.maybe(value) or value
        if len(value) > _CACHED_LENGTH or self._depth:
            return self._text(value, guessing)
        result, notes = self._remembered(value, guessing)
        if notes:
            self.notes += notes
        return result

    def code(self, value: str) -> str:
        """A program or a style sheet without its secrets."""
        if len(value) < SHORTEST:
            return value
        self._is_code = True
        try:
            return self._text(value, guessing=True)
        finally:
            self._is_code = False

    def forget(self) -> None:
        """Forget what was remembered for speed, since more is known by now."""
        self._remembered.cache_clear()

    def _noted(self, value: str, guessing: bool) -> tuple[str, tuple[str, ...]]:
        outer, self.notes = self.notes, []
        try:
            return self._text(value, guessing), tuple(self.notes)
        finally:
            self.notes = outer

    def _text(self, value: str, guessing: bool) -> str:
        if self._depth >= _DEEPEST:  # nobody nests so deep but to hide something
            return self.secret(value, "nested")
        whole = self.maybe(value)
        if whole is not None:
            return whole
        self._depth += 1
        try:
            structured = self.structured(value)
            if structured is not None:
                return structured
            if self.rules.values:
                return self._by_rules(value, guessing, 0)
            return self._spots(value, guessing)
        finally:
            self._depth -= 1

    def _by_rules(self, value: str, guessing: bool, number: int) -> str:
        if number == len(self.rules.values):
            return self._spots(value, guessing)
        pattern, kind = self.rules.values[number]
        return around(
            pattern, value, lambda m: self.secret(m[0], kind), lambda rest: self._by_rules(rest, guessing, number + 1)
        )

    def _spots(self, text: str, guessing: bool) -> str:
        pattern = _SPOT
        if ":" in text or "=" in text or _names_scheme(text):
            lower = text.lower()
            pattern = _HINTED_SPOT if any(hint in lower for hint in _HINTS) else _SPOT
        return pattern.sub(lambda spot: self._spot(spot, guessing), text)

    def _spot(self, spot: re.Match[str], guessing: bool) -> str:
        found, kind = spot[0], spot.lastgroup
        if kind == "chunk":
            return self.chunk(found, guessing=guessing)
        if kind == "named":
            return self._named(found, guessing)
        if kind == "schemed":
            return self._schemed(found, guessing)
        if kind == "pem":
            return self._key(found)
        if kind == "cookie":
            name, colon, cookies = found.partition(":")
            return name + colon + self.header(name.strip(), cookies)
        known = self.maybe(found)
        if known is not None:
            return known
        if kind == "card" and guessing and forms.is_card(found):
            return self.guess(found, "card")
        if kind == "phone" or (kind == "iban" and forms.is_iban(found)):
            return self.secret(found, str(kind))
        return _CHUNKS.sub(lambda chunk: self.chunk(chunk[0], guessing=guessing), found)

    def _key(self, key: str) -> str:
        """A private key stays between its first and its last line."""
        start = key.index("-----", 11) + 5
        end = key.find("-----END", start)
        end = len(key) if end < 0 else end
        return key[:start] + self.secret(key[start:end], "key") + key[end:] if key[start:end].strip() else key

    def _named(self, found: str, guessing: bool) -> str:
        parts = _NAMED.fullmatch(found)
        is_said = parts is not None and (parts["quote"] or not self._is_code)
        if parts is None or not is_said or self.says(parts["name"]) is not Says.SECRET:
            return _SPOT.sub(lambda spot: self._spot(spot, guessing), found)
        value = parts["value"]
        if not parts["quote"]:  # `(password: hunter2)`
            value = value.rstrip(")}]") if not any(sign in value for sign in "([{") else value
        if value.lower().rstrip(".!?:") in _SAID:
            return found
        return found[: parts.start("value")] + self.certain(value, "text") + parts["value"][len(value) :]

    def _schemed(self, found: str, guessing: bool) -> str:
        scheme, blank, rest = re.split(r"([ \t]+)", found, maxsplit=1)
        if rest.isalpha() and (rest.islower() or rest.istitle()):  # `bearer authentication`
            return found
        if scheme.lower() == "basic":
            return scheme + blank + self.basic(rest, "text")
        return scheme + blank + self.secret(rest, "bearer") if len(rest) >= 8 else self.chunk(found, guessing=guessing)

    def basic(self, encoded: str, kind: str = "basic") -> str:
        """The credentials of Basic authorization: the password goes, and a user that is an e-mail address."""
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return self.secret(encoded, kind)
        if not colon:
            return self.secret(encoded, kind)
        pair = f"{self.text(user)}:{self.secret(password, kind) if password else ''}"
        return base64.b64encode(pair.encode("utf-8", "surrogatepass")).decode()

    def deeper(self, text: str, guessing: bool) -> str:
        """A text that was encoded in another."""
        return self._text(text, guessing) if len(text) >= SHORTEST else text


def _names_scheme(text: str) -> bool:
    return " " in text and any(scheme in text for scheme in _SCHEMES)
