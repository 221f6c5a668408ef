"""Replacing what is secret in traffic with pseudonyms, before anything touches a disk.

Replaced are: the Authorization header (a bearer's token, Basic's password), cookies, fields of headers, queries, forms
and JSON at any depth whose names say that they hold secrets (see ``fields``), JWTs, e-mail addresses, and the addresses
of clients. What was once seen to be a secret is replaced wherever it stands later as a whole field.
All the rest stays as it was, byte for byte.
"""

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote, unquote, unquote_plus

from replay.capture.fields import is_address, is_opaque, is_recognisable, is_secret, is_secret_name
from replay.capture.pseudonyms import Key, Pseudonyms
from replay.traffic import Exchange, Headers, Request, Response, Skipped

_PAIR = re.compile(r"(?:^|(?<=[?&#;]))([^=&?#;\s\"'<>]{1,200})=([^&#;\s\"'<>]*)")
_JWT = re.compile(r"(?<![\w-])eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*")
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}")
_WORD = re.compile(r"[A-Za-z0-9_.~+-]{8,}={0,2}")
_NOT_EMAIL = re.compile(r"@\d+x\.")  # `logo@2x.png`
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{3,}")
_SCHEME = re.compile(r"([A-Za-z][\w-]*) +(?=\S)")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_PART = re.compile(
    r'(Content-Disposition: form-data; name="([^"\r\n]*)"\r\n(?:[\w-]+:[^\r\n]*\r\n)*\r\n)(.*?)(?=\r\n--)',
    re.IGNORECASE | re.DOTALL,
)
_OAUTH_SIGNS = ("grant_type", "redirect_uri")
_COOKIE_HEADERS = frozenset({"cookie", "set-cookie"})
_AUTHORIZATION = frozenset({"authorization", "proxy-authorization"})
_TEXTUAL = ("text/", "json", "xml", "x-www-form-urlencoded", "javascript", "multipart/form-data")


class Scrubber:
    """Scrubs exchanges in the order in which they are given. ``counts`` says how many secrets of each kind it met."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.counts: Counter[str] = Counter()
        self._pseudonyms = Pseudonyms(key)
        self._learned: dict[str, str] = {}

    def exchange(self, exchange: Exchange) -> Exchange:
        """``exchange`` without its secrets."""
        return replace(
            exchange,
            request=self._request(exchange.request),
            response=self._response(exchange.response) if exchange.response else None,
            error=self._text(exchange.error, "text"),
        )

    def skipped(self, skipped: Skipped) -> Skipped:
        """``skipped`` without the secrets that its text may quote."""
        return Skipped(skipped.source, self._text(skipped.where, "text"), self._text(skipped.reason, "text"))

    def _request(self, request: Request) -> Request:
        headers = tuple((name, self._header(name, value)) for name, value in request.headers)
        return replace(
            request,
            path=self._path(request.path),
            query=self._value(request.query, "query"),
            headers=headers,
            body=self._body(request.header("content-type"), request.body),
        )

    def _response(self, response: Response) -> Response:
        headers: Headers = tuple((name, self._header(name, value)) for name, value in response.headers)
        return replace(response, headers=headers, body=self._body(response.header("content-type"), response.body))

    # Where a secret may stand

    def _header(self, name: str, value: str) -> str:
        lower = name.lower()
        if lower in _AUTHORIZATION:
            return self._authorization(value)
        if lower in _COOKIE_HEADERS:
            return self._cookies(value, only_first=lower == "set-cookie")
        if is_address(lower):
            return _ADDRESS.sub(lambda match: self._address(match[0]), value)
        if is_secret(lower, value):
            return self._secret(value, "header")
        return self._text(value, "header")

    def _authorization(self, value: str) -> str:
        scheme = _SCHEME.match(value)
        if not scheme:
            return self._secret(value, "bearer")
        rest = value[scheme.end() :]
        if scheme[1].lower() != "basic":
            return scheme[0] + self._secret(rest, "bearer")
        try:
            user, colon, password = base64.b64decode(rest, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return scheme[0] + self._secret(rest, "basic")
        pair = self._value(user, "basic") + colon + self._secret(password, "basic")
        return scheme[0] + base64.b64encode(pair.encode()).decode()

    def _cookies(self, value: str, *, only_first: bool) -> str:
        pieces = value.split(";")
        for index, piece in enumerate(pieces[:1] if only_first else pieces):
            name, equals, secret = piece.partition("=")
            if equals:
                bare = secret.strip().strip('"')
                pieces[index] = name + equals + secret.replace(bare, self._quoted(bare, "cookie"), 1)
        return ";".join(pieces)

    def _path(self, path: str) -> str:
        return "/".join(self._encoded(segment, "path") for segment in path.split("/"))

    def _body(self, content_type: str | None, body: bytes | None) -> bytes | None:
        if not body:
            return body
        media_type = (content_type or "").lower()
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            if not any(word in media_type for word in _TEXTUAL):
                return body  # a picture or an archive: what looks like a secret in it is chance
            text = body.decode("utf-8", "surrogateescape")
        if "multipart/form-data" in media_type:
            scrubbed = _PART.sub(lambda part: part[1] + self._field(part[2], part[3], "form"), text)
        elif _is_json(text):
            scrubbed = self._json(text)
        elif "json" in media_type:  # several documents, or a broken one
            scrubbed = self._words(self._marked(self._json(text)))
        else:
            scrubbed = self._text(text, "form" if "urlencoded" in media_type else "text")
        return scrubbed.encode("utf-8", "surrogateescape")

    def _json(self, text: str) -> str:
        """JSON text with its secrets replaced, and not one byte changed beside them."""
        pieces: list[str] = []
        kept_to = 0
        names: list[str | None] = []  # the name under which each open object (None) or list stands
        name, is_key = "", False
        for match in _JSON_TOKEN.finditer(text):
            piece = match[0]
            if piece == "{":
                names.append(None)
                is_key = True
            elif piece == "[":
                names.append(name)
                is_key = False
            elif piece in "}]":
                if names:
                    names.pop()
                is_key = False
            elif piece == ",":
                is_key = bool(names) and names[-1] is None
                name = name if is_key or not names else names[-1] or ""
            elif piece == ":":
                is_key = False
            elif is_key:
                name = _unquoted(piece)
            else:
                scrubbed = self._json_value(name, piece, text)
                if scrubbed != piece:
                    pieces += [text[kept_to : match.start()], scrubbed]
                    kept_to = match.end()
        return "".join([*pieces, text[kept_to:]]) if pieces else text

    def _json_value(self, name: str, token: str, document: str) -> str:
        if not token.startswith('"'):
            worth_hiding = token.isdigit() and len(token) >= 4 and is_secret_name(name) and not name.endswith("s")
            return self._secret(token, "json") if worth_hiding else token
        value = _unquoted(token)
        scrubbed = self._field(name, value, "json", document)
        return token if scrubbed == value else json.dumps(scrubbed, ensure_ascii=token.isascii())

    # What a field holds

    def _field(self, name: str, value: str, kind: str, surroundings: str = "") -> str:
        if is_secret(name, value) or (name == "code" and any(sign in surroundings for sign in _OAUTH_SIGNS)):
            scheme = _SCHEME.match(value)
            start = scheme.end() if scheme and scheme[1].lower() in {"bearer", "basic", "token"} else 0
            return value[:start] + self._secret(value[start:], kind)
        if is_address(name):
            return self._address(value)
        return self._value(value, kind)

    def _value(self, value: str, kind: str) -> str:
        """A whole field's value: a known secret, or a text that holds secrets (a URL, an address)."""
        if value in self._learned:
            self.counts["repeated"] += 1
            return self._learned[value]
        if "=" in value:
            value = _PAIR.sub(lambda pair: self._pair(pair, kind, value), value)
        return self._marked(value)

    def _text(self, text: str, kind: str) -> str:
        """A text of any kind, in which a known secret may be any word."""
        return self._words(self._value(text, kind))

    def _marked(self, text: str) -> str:
        """A text without what can be known by its form alone: JWTs and e-mail addresses."""
        if "eyJ" in text:
            text = _JWT.sub(lambda match: self._jwt(match[0]), text)
        if "@" in text:
            text = _EMAIL.sub(lambda match: self._email(match[0]), text)
        return text

    def _words(self, text: str) -> str:
        return _WORD.sub(lambda word: self._value(word[0], "text") if word[0] in self._learned else word[0], text)

    def _pair(self, pair: re.Match[str], kind: str, surroundings: str) -> str:
        kind = "query" if kind in {"header", "json", "text"} else kind
        name, raw = unquote_plus(pair[1]), pair[2]
        return f"{pair[1]}={self._encoded(raw, kind, lambda value: self._field(name, value, kind, surroundings))}"

    def _encoded(self, raw: str, kind: str, scrub: Callable[[str], str] | None = None) -> str:
        """A percent-encoded value, which stays as it was encoded unless it changes."""
        value = unquote_plus(raw) if scrub else unquote(raw)
        scrubbed = scrub(value) if scrub else self._value(value, kind)
        return raw if scrubbed == value else quote(scrubbed, safe="-._~@" if "@" in raw else "-._~")

    def _quoted(self, value: str, kind: str) -> str:
        return quote(self._secret(unquote(value), kind)) if "%" in value else self._secret(value, kind)

    # The pseudonyms, counted

    def _secret(self, secret: str, kind: str) -> str:
        if not secret.strip("*"):  # nothing, or hidden already
            return secret
        self.counts[kind] += 1
        pseudonym = self._pseudonyms.secret(secret)
        if is_recognisable(secret) or is_opaque(secret):
            self._learned[secret] = pseudonym
        return pseudonym

    def _jwt(self, token: str) -> str:
        return token if self._pseudonyms.is_pseudonym(token) else self._secret(token, "jwt")

    def _email(self, address: str) -> str:
        if self._pseudonyms.is_pseudonym(address) or _NOT_EMAIL.search(address):
            return address
        self.counts["email"] += 1
        return self._pseudonyms.email(address)

    def _address(self, address: str) -> str:
        host, port = address, ""
        if "." in address and address.count(":") == 1:
            host, _, port = address.partition(":")
        pseudonym = self._pseudonyms.address(host)
        if pseudonym == host:
            return address
        self.counts["address"] += 1
        return f"{pseudonym}:{port}" if port else pseudonym


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in {"{", "[", '"'}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unquoted(token: str) -> str:
    if "\\" not in token:
        return token.strip('"')
    try:
        return str(json.loads(token))
    except ValueError:
        return token.strip('"')
