"""Words, the smallest texts: a token, the base64 of a text, a run of signs that is known, or nothing."""

import re
from abc import ABC, abstractmethod

from replay.capture.pseudonyms import Key, Pseudonyms
from replay.capture.scrubbing import forms
from replay.capture.scrubbing.pieces import around, in_base64_like, is_one_token, text_in_base64, text_in_gzip
from replay.capture.scrubbing.rules import NO_RULES, Rules

SHORTEST = 6
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}|[A-Za-z0-9_-]{8,}={0,2}")
_RUN = re.compile(r"[A-Za-z0-9_-]{8,}={0,2}")
_KNOWN_RUN = re.compile(r"[\w.~+-]{8,}={0,2}")
_PHONE = re.compile(forms.PHONE)
# How pictures, sounds, fonts and documents begin in base64, and what gzip packed.
_MEDIA = ("iVBORw0KGgo", "R0lGOD", "JVBERi0", "d09GM", "d09GR", "GkXfo", "T2dnUw", "AAEAAA", "T1RUTw", "UklGR")
_MAYBE_MEDIA = ("/9j/", "AAAA", "SUQz")
_MEDIA_LENGTH = 128
_GZIP = "H4sI"


class Words(ABC):
    """Gives what it finds in words to hooks. ``notes`` are the kinds of what was replaced."""

    def __init__(self, key: Key, rules: Rules = NO_RULES) -> None:
        self.rules = rules
        self.pseudonyms = Pseudonyms(key)
        self.notes: list[str] = []

    # The hooks

    @abstractmethod
    def secret(self, value: str, kind: str) -> str:
        """What takes the place of a value that is a secret."""

    @abstractmethod
    def hidden(self, value: str, kind: str) -> str:
        """What takes the place of a value that is a secret here, and may be anything elsewhere."""

    @abstractmethod
    def maybe(self, value: str) -> str | None:
        """What takes the place of a value that was seen to be a secret elsewhere, or None."""

    @abstractmethod
    def guess(self, value: str, kind: str = "token") -> str:
        """What takes the place of a value that looks random, or like a card's number, for no other reason."""

    @abstractmethod
    def spare(self, value: str) -> None:
        """Note a value that looks random, and is an id by its name."""

    @abstractmethod
    def text(self, value: str, *, guessing: bool = True) -> str:
        """A text of any kind without its secrets. Without ``guessing`` what only looks random stays."""

    @abstractmethod
    def deeper(self, text: str, guessing: bool) -> str:
        """A text that was encoded in another."""

    # Words

    def word(self, word: str, guessing: bool) -> str:
        """A text without blanks and quotes that is no URL and has no pairs."""
        if len(word) < 8:
            return word
        if "eyJ" in word:
            return around(forms.JWT, word, lambda m: self.secret(m[0], "jwt"), lambda rest: self._plain(rest, guessing))
        return self._plain(word, guessing)

    def _plain(self, word: str, guessing: bool) -> str:
        return around(forms.MAKERS, word, lambda m: self.secret(m[0], "token"), lambda rest: self._run(rest, guessing))

    def _run(self, word: str, guessing: bool) -> str:
        if len(word) < 8:
            return word
        known = self.maybe(word)
        if known is not None:
            return known
        if _BASE64.fullmatch(word):
            decoded = text_in_base64(word)
            if decoded is not None:
                scrubbed = self.deeper(decoded, guessing)
                return word if scrubbed == decoded else in_base64_like(word, scrubbed)
            if word.startswith(_MEDIA) or (len(word) > _MEDIA_LENGTH and word.startswith(_MAYBE_MEDIA)):
                return word
            if word.startswith(_GZIP) and (text := text_in_gzip(word)) is not None:
                return word if self.deeper(text, guessing) == text else self.secret(word, "packed")
            if guessing and "/" in word and is_one_token(word):
                return self.guess(word)
        guessing = guessing and not forms.is_file_name(word) and not forms.IS_DIGEST.match(word)
        guessing = guessing and not ("/" in word and forms.STATIC_FILE.search(word))
        return _KNOWN_RUN.sub(lambda run: self._known_or_like_one(run[0], guessing), word)

    def _known_or_like_one(self, run: str, guessing: bool) -> str:
        known = self.maybe(run)
        if known is not None:
            return known
        if run[0] == "+" and _PHONE.fullmatch(run):
            return self.secret(run, "phone")
        if run[-1].isdigit() and run[:2].isupper() and forms.is_iban(run):
            return self.secret(run, "iban")
        if guessing and (
            (run[0].isdigit() and forms.is_card(run)) or ("+" in run and _BASE64.fullmatch(run) and is_one_token(run))
        ):
            return self.guess(run, "card" if run[0].isdigit() and forms.is_card(run) else "token")
        return _RUN.sub(lambda part: self._part(part[0], run, guessing), run)

    def _part(self, part: str, run: str, guessing: bool) -> str:
        known = self.maybe(part) if part != run else None
        if known is not None:
            return known
        return self.guess(part) if guessing and forms.looks_random(part) else part
