"""Chunks, texts without blanks: URLs, paths, pairs, what is percent-encoded, e-mail addresses, or words."""

import re
from abc import abstractmethod
from collections.abc import Callable
from urllib.parse import quote, unquote, unquote_plus

from replay.capture.fields import Says, is_opaque, is_uuid, place_says
from replay.capture.scrubbing import forms
from replay.capture.scrubbing.pieces import around
from replay.capture.scrubbing.words import SHORTEST, Words

_USER_INFO = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]{1,30}://)(?:([^\s/?#]{0,2000})@)?([^\s/?#]*)([^\s?#]*)(.*)", re.DOTALL
)
_SEPARATORS = re.compile(r"([&?#;])")
_PATH = re.compile(r"([^?#]*)(.*)", re.DOTALL)
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_PHONE = re.compile(forms.PHONE)
_DIALLED = re.compile(r"(?i)(?:tel|sms|fax):(?=[0-9(])")
_PICTURE = "/9j/"  # a JPEG in base64
_AS_IT_WAS = "-._~"
_SPECIAL = "!*'()/:@,$[]|;=?"
_LONG_NAME = 8


class Chunks(Words):
    """Takes chunks apart."""

    # Whether what is read is a program: `token=next()` gives a secret away no more than a variable's name does.
    _is_code = False

    @abstractmethod
    def field(self, name: str, value: str, kind: str, beside: str = "") -> str:
        """The value of a field of that name, without its secrets; ``beside`` is the text that it stands in."""

    def chunk(self, chunk: str, *, guessing: bool = True) -> str:
        """A text without blanks and quotes."""
        if len(chunk) < 20 and chunk.isalpha():
            return chunk
        core = chunk.rstrip(".,:;!?")
        known = self.maybe(core)
        if known is not None:
            return known + chunk[len(core) :]
        if "://" in chunk:
            url = _USER_INFO.search(chunk)
            if url:
                return self.chunk(chunk[: url.start()], guessing=guessing) + self._url(url)
        if core[:1] == "/" and ";" in core and (parts := _PATH.fullmatch(chunk)):  # `/a;v=1/b?n=2`
            path, query = parts.groups()
            return self.path(path, guessing=guessing) + self._pairs(query, guessing)
        if ("=" in core.rstrip("=") or "&" in core or ";" in core) and not (self._is_code and "?" not in core):
            return self._pairs(chunk, guessing)
        if core[:1] in "tTsSfF" and (dialled := _DIALLED.match(core)) and forms.is_phone(core[dialled.end() :]):
            return dialled[0] + self.secret(core[dialled.end() :], "phone") + chunk[len(core) :]
        if "%" in chunk and _PERCENT.search(chunk):
            if "/" in chunk:
                return self.path(chunk, guessing=guessing)
            return self.encoded(chunk, lambda decoded: self.deeper(decoded, guessing))
        if core[:1] == "/" and "/" in core[1:] and not core.startswith(_PICTURE):
            return self.path(chunk, guessing=guessing)
        if "@" in chunk:
            return around(forms.EMAIL, chunk, lambda m: self.secret(m[0], "email"), lambda s: self.word(s, guessing))
        return self.word(chunk, guessing)

    def encoded(self, raw: str, scrub: Callable[[str], str], *, plus: bool = False) -> str:
        """A percent-encoded text, which stays as it was encoded unless it changes."""
        value = unquote_plus(raw) if plus else unquote(raw)
        scrubbed = scrub(value)
        if scrubbed == value:
            return raw
        if raw == value:
            return scrubbed if not plus else quote(scrubbed, safe=_AS_IT_WAS + "".join(c for c in _SPECIAL if c in raw))
        made = quote(scrubbed, safe=_AS_IT_WAS + "".join(c for c in _SPECIAL if c in raw))
        return made.replace("%20", "+") if plus and "+" in raw and "%20" not in raw else made

    def pairs(self, text: str, kind: str) -> str:
        """A query or a form: pairs between ``&``, percent-encoded."""
        if len(text) < 3:
            return text
        return "&".join([self._pair(pair, text, kind) for pair in text.split("&")])

    def path(self, path: str, *, guessing: bool = True) -> str:
        """A path, percent-encoded; what one segment is may be said by the one before."""
        if len(path) < SHORTEST:
            return path
        segments = path.split("/")
        guessing = guessing and not forms.STATIC_FILE.search(path)
        for number, segment in enumerate(segments):
            if len(segment) >= 4:
                place = segments[number - 1] if number else ""
                segments[number] = self._segment(segment, place, guessing)
        return "/".join(segments)

    def _segment(self, segment: str, place: str, guessing: bool) -> str:
        if ";" in segment:
            return ";".join([self._parameter(piece, place, guessing) for piece in segment.split(";")])
        says = place_says(place) if place else Says.NOTHING
        if says is Says.PERHAPS and is_opaque(segment) and not is_uuid(segment) and not forms.is_file_name(segment):
            return self.secret(segment, "path")
        if says is Says.ID:
            guessing = False
            if forms.looks_random(segment):
                self.spare(segment)
        if "%" in segment:
            return self.encoded(segment, lambda value: self.text(value, guessing=guessing))
        return self.text(segment, guessing=guessing)

    def _parameter(self, piece: str, place: str, guessing: bool) -> str:
        """A parameter in a path: ``/a;jsessionid=...``."""
        name, _, raw = piece.partition("=")
        if not raw:
            return self._segment(piece, place, guessing)
        return f"{name}={self.encoded(raw, lambda value: self.field(unquote(name), value, 'path'))}"

    def _url(self, url: re.Match[str]) -> str:
        scheme, user_info, host, path, rest = url.groups()
        if user_info:
            user, colon, password = user_info.partition(":")
            if colon and password:
                password = self.encoded(password, lambda value: self.secret(value, "url"))
            elif not colon:  # `https://TOKEN@host`
                user = self.word(user, guessing=True)
            scheme += f"{user}{colon}{password}@"
        return scheme + host + self.path(path) + (self._pairs(rest, guessing=True) if rest else "")

    def _pairs(self, chunk: str, guessing: bool) -> str:
        pieces = _SEPARATORS.split(chunk)
        for number in range(0, len(pieces), 2):
            piece = pieces[number]
            if len(piece) >= 3:
                if "=" in piece.rstrip("="):
                    pieces[number] = self._pair(piece, chunk, "query")
                elif len(pieces) > 1:
                    pieces[number] = self.chunk(piece, guessing=guessing)
                else:
                    pieces[number] = self.word(piece, guessing)
        return "".join(pieces)

    def _pair(self, pair: str, beside: str, kind: str) -> str:
        name, equals, raw = pair.partition("=")
        if not raw:
            return self.chunk(pair) if len(pair) >= SHORTEST else pair
        if len(name) >= _LONG_NAME:
            return self.encoded(name, self.text, plus=True) + equals + self._value(name, raw, beside, kind)
        return name + equals + self._value(name, raw, beside, kind)

    def _value(self, name: str, raw: str, beside: str, kind: str) -> str:
        if self._is_code and not any(map(str.isdigit, raw)):
            return self.chunk(raw)
        if "%" not in raw and "+" not in raw:
            value = self.field(unquote_plus(name), raw, kind, beside)
            return raw if value == raw else quote(value, safe=_AS_IT_WAS + _SPECIAL)
        if raw[0] == "+" and _PHONE.fullmatch(dialled := "+" + unquote_plus(raw[1:])):  # a plus that nobody encoded
            return quote(self.secret(dialled, "phone"), safe="+()/ ").replace(" ", "+")
        if "+" in raw and "%" not in raw and (known := self.maybe(raw)) is not None:
            return quote(known, safe=_AS_IT_WAS + _SPECIAL)
        plus = not forms.IS_DIGEST.match(raw)
        return self.encoded(raw, lambda value: self.field(unquote_plus(name), value, kind, beside), plus=plus)
