"""What is done with the secrets that are found: noted, replaced, or replaced with all that may yet prove to be one."""

import hashlib
from functools import lru_cache

from replay.capture.pseudonyms import Key
from replay.capture.scrubbing.bodies import Body, scrub_body
from replay.capture.scrubbing.forms import is_recognisable
from replay.capture.scrubbing.headers import scrub_header
from replay.capture.scrubbing.json_text import looks_like_json, scrub_json
from replay.capture.scrubbing.known import Known
from replay.capture.scrubbing.markup import has_markup, looks_like_markup, scrub_markup
from replay.capture.scrubbing.rules import Rules
from replay.capture.scrubbing.texts import Texts
from replay.traffic import Headers, first_header

# Among the notes of what was replaced: a value that nobody knows yet to be a secret.
UNDECIDED = "undecided"
_CACHED = 16384
_CACHED_LENGTH = 1000
_BODIES_BYTES = 16_000_000
_ENTRY_BYTES = 500


class Replacing(Texts):
    """Replaces secrets, and what is known to be one. What it meets, it learns."""

    def __init__(self, key: Key, rules: Rules, known: Known) -> None:
        super().__init__(key, rules)
        self.known = known
        self._version = -1
        self._header = lru_cache(maxsize=_CACHED)(self._noted_header)
        self._query = lru_cache(maxsize=_CACHED)(self._noted_query)
        self._path = lru_cache(maxsize=_CACHED)(self._noted_path)
        self._is_known = lru_cache(maxsize=_CACHED)(self._looked_up)
        self._bodies: dict[tuple[bytes, str, str], tuple[Body | None, tuple[str, ...]]] = {}
        self._bodies_bytes = 0

    def secret(self, value: str, kind: str) -> str:
        """Its pseudonym, counted."""
        self.notes.append(kind)
        if is_recognisable(value) and self.known.add(value):
            self._is_known.cache_clear()
        return self.pseudonyms.of(value)

    def hidden(self, value: str, kind: str) -> str:
        """Its pseudonym, counted."""
        self.notes.append(kind)
        return self.pseudonyms.of(value)

    def maybe(self, value: str) -> str | None:
        """The pseudonym of what is known to be a secret."""
        if len(value) < 8 or not self.known.may_hold(value):
            return None
        if not (self._is_known(value) if len(value) < _CACHED_LENGTH else self._looked_up(value)):
            return None
        self.notes.append("repeated")
        return self.pseudonyms.of(value)

    def guess(self, value: str, kind: str = "token") -> str:
        """The pseudonym of what looks like a secret, where nothing says that it is an id."""
        if self.known.is_id(value):
            return value
        self.notes.append(kind)
        return self.pseudonyms.of(value)

    def spare(self, value: str) -> None:
        """Note that it is an id."""
        self.known.add_id(value)

    def structured(self, value: str) -> str | None:
        """JSON, GraphQL or markup in a text."""
        first = value.lstrip("\ufeff \t\r\n")[:1]
        if first in {"{", "[", "q", "m", "s", "f"} and looks_like_json(value):
            return scrub_json(self, value)
        if "<" in value and (looks_like_markup(value) or has_markup(value)):
            return scrub_markup(self, value)
        return None

    # Whole parts of an exchange

    def header(self, name: str, value: str) -> str:
        """A header's value."""
        return self._told(self._header(name, value) if len(value) < _CACHED_LENGTH else self._noted_header(name, value))

    def query(self, value: str) -> str:
        """A query."""
        if not value:
            return value
        return self._told(self._query(value) if len(value) < _CACHED_LENGTH else self._noted_query(value))

    def whole_path(self, value: str) -> str:
        """A path."""
        return self._told(self._path(value) if len(value) < _CACHED_LENGTH else self._noted_path(value))

    def body(self, headers: Headers, body: bytes) -> Body:
        """A body, which may still be in an encoding. Many are the same, so those met lately are remembered."""
        said = (first_header(headers, "content-type") or "", first_header(headers, "content-encoding") or "")
        key = (hashlib.blake2b(body, digest_size=16).digest(), *said)
        if (found := self._bodies.get(key)) is None:
            outer, self.notes = self.notes, []
            try:
                scrubbed = scrub_body(self, headers, body)
                found = (None if scrubbed.data == body else scrubbed), tuple(self.notes)
            finally:
                self.notes = outer
            self._remember(key, found)
        self.notes += found[1]
        return found[0] or Body(body)

    def _remember(self, key: tuple[bytes, str, str], found: tuple[Body | None, tuple[str, ...]]) -> None:
        size_bytes = len(found[0].data or b"") if found[0] else 0
        self._bodies_bytes += size_bytes + _ENTRY_BYTES
        if self._bodies_bytes > _BODIES_BYTES:
            self._bodies.clear()
            self._bodies_bytes = size_bytes + _ENTRY_BYTES
        self._bodies[key] = found

    def refresh(self) -> None:
        """Forget what was remembered for speed where more is known by now."""
        if self.known.version != self._version:
            self._version = self.known.version
            self.forget()
            self._bodies.clear()
            self._bodies_bytes = 0
            for cache in (self._header, self._query, self._path, self._is_known):
                cache.cache_clear()

    def _told(self, scrubbed: tuple[str, tuple[str, ...]]) -> str:
        if scrubbed[1]:
            self.notes += scrubbed[1]
        return scrubbed[0]

    def _noted_header(self, name: str, value: str) -> tuple[str, tuple[str, ...]]:
        outer, self.notes = self.notes, []
        try:
            return scrub_header(self, name, value), tuple(self.notes)
        finally:
            self.notes = outer

    def _noted_query(self, value: str) -> tuple[str, tuple[str, ...]]:
        outer, self.notes = self.notes, []
        try:
            return self.pairs(value, "query"), tuple(self.notes)
        finally:
            self.notes = outer

    def _noted_path(self, value: str) -> tuple[str, tuple[str, ...]]:
        outer, self.notes = self.notes, []
        try:
            return self.path(value), tuple(self.notes)
        finally:
            self.notes = outer

    def _looked_up(self, value: str) -> bool:
        return is_recognisable(value) and value in self.known


class Learning(Replacing):
    """Notes secrets and ids, and changes nothing."""

    def secret(self, value: str, kind: str) -> str:  # noqa: ARG002 - what it is counted as matters when it is replaced
        """Itself; from now on it is known."""
        if is_recognisable(value):
            self.known.add(value)
        return value

    def hidden(self, value: str, kind: str) -> str:  # noqa: ARG002 - it may be anything elsewhere
        """Itself."""
        return value

    def maybe(self, value: str) -> str | None:  # noqa: ARG002 - nothing is replaced yet
        """None."""
        return None

    def guess(self, value: str, kind: str = "token") -> str:  # noqa: ARG002 - a guess may turn out to be wrong
        """Itself."""
        return value

    def address(self, address: str) -> str:
        """Itself."""
        return address

    def refresh(self) -> None:
        """What was learned stays learned, so nothing goes stale."""


class Cautious(Replacing):
    """Replaces secrets and whatever would be replaced if it were learned later."""

    def maybe(self, value: str) -> str | None:
        """The pseudonym of what may turn out to be a secret."""
        if len(value) < 8 or not is_recognisable(value):
            return None
        self.notes.append(UNDECIDED)
        return self.pseudonyms.of(value)

    def guess(self, value: str, kind: str = "token") -> str:  # noqa: ARG002 - nothing is decided yet
        """Its pseudonym: it may turn out to be an id, or not."""
        self.notes.append(UNDECIDED)
        return self.pseudonyms.of(value)

    def refresh(self) -> None:
        """What it makes of a value does not depend on what is known."""
