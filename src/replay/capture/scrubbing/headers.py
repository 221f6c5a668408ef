"""Headers: authorization, cookies, clients' addresses, and any other by its name and its value."""

import re
from urllib.parse import quote, unquote

from replay.capture.fields import Says, is_opaque, is_uuid
from replay.capture.scrubbing import forms
from replay.capture.scrubbing.texts import Texts

_AUTHORIZATION = frozenset({"authorization", "proxy-authorization"})
_COOKIES = frozenset({"cookie", "set-cookie", "cookie2", "set-cookie2"})
# Headers that steer the transport: nothing else can stand in them.
_PLAIN = frozenset(
    "accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-headers "
    "access-control-allow-methods age allow cache-control connection content-encoding content-language content-length "
    "content-type date dnt expires host keep-alive last-modified pragma priority range retry-after te trailer "
    "transfer-encoding upgrade upgrade-insecure-requests vary".split()
)
_MISPLACED = re.compile(f"://|@|%[2-7][0-9A-Fa-f]|{forms.MAKERS.pattern}|{forms.JWT.pattern}")
# Headers that hold digests, traces or products, which look random and are no secrets.
_NO_GUESSING = frozenset(
    "alt-svc baggage cf-ray content-digest content-disposition content-md5 content-range content-security-policy "
    "content-security-policy-report-only digest etag forwarded if-match if-modified-since if-none-match if-range nel "
    "permissions-policy public-key-pins public-key-pins-report-only repr-digest report-to sec-websocket-accept "
    "sec-websocket-key server server-timing traceparent tracestate uber-trace-id via x-amz-cf-id "
    "x-amz-cf-pop x-amz-id-2 x-amz-request-id x-amzn-requestid x-amzn-trace-id x-b3-parentspanid x-b3-spanid "
    "x-b3-traceid x-cache x-cdn-backend x-cloud-trace-context x-correlation-id x-datadog-parent-id "
    "x-datadog-trace-id x-fb-debug x-github-request-id x-goog-generation x-goog-hash x-guploader-uploadid x-msedge-ref "
    "x-object-meta-sha1base36 x-request-id x-runtime x-served-by x-timer x-trace-id x-varnish x-vercel-id".split()
)
_SCHEME = re.compile(r"([A-Za-z][\w-]*) +(?=\S)")
_PARAMETER = re.compile(r"([A-Za-z][\w-]*)(\s*=\s*)(\"[^\"]*+\"|[^\s,;\"]++)")
_PARAMETERS = re.compile(r"\s*[A-Za-z][\w-]*\s*=\s*(?:\"[^\"]*\"|[^\s,;\"=]+)\s*(?:[,;]|$)")
# Between several cookies that a program joined: a comma in `Expires=Mon, 02 Mar 2026` is none of these.
_SEVERAL = re.compile(r"([\r\n]+\s*|,\s*(?=[\w!#$%&'*+.^`|~-]+=))")
_COOKIE_NAME = re.compile(r"[ \w!#$%&'*+.^`|~-]*")
_SESSION = re.compile(r"(?i:sess|sid\b|sid$|auth|token|jwt|login|logged|remember|identity)")
# What Digest, OAuth 1 and AWS say beside the secret.
_OPEN_PARAMETERS = frozenset(
    "realm qop algorithm uri nc signedheaders oauth_version oauth_signature_method oauth_timestamp stale charset "
    "userhash version ts ext".split()
)
# Cookies of settings: what can be nobody's session.
_SETTING = re.compile(
    r"(?i:true|false|yes|no|on|off|null|none|dark|light|auto|system|grid|list|asc|desc|all|accept(?:ed)?|denied|granted|"
    r"deny|allow|dismissed|necessary|[a-z]{2}(?:[-_][a-z]{2})?|desktop|mobile|tablet)|[A-Z]{3}|\d{1,3}|[\"']{0,2}"
)
# A cookie may have no name (RFC 6265bis, 5.6: then all of it is its value); what is shorter is a stray word.
_SHORTEST_NAMELESS = 8


def scrub_header(texts: Texts, name: str, value: str) -> str:
    """The value of a header without its secrets."""
    lower = name.lower()
    if not value or lower in _PLAIN:
        return texts.text(value) if _MISPLACED.search(value) else value
    if lower in _AUTHORIZATION:
        return _authorization(texts, value)
    if lower in _COOKIES:
        if lower.startswith("set"):
            pieces = _SEVERAL.split(value)
            pieces[::2] = [_cookies(texts, piece, only_first=True) for piece in pieces[::2]]
            return "".join(pieces)
        return _cookies(texts, value, only_first=False)
    if texts.says(lower) is Says.ADDRESS:
        return texts.addresses(value)
    if lower in _NO_GUESSING:
        for word in forms.RUNS.findall(value) if len(value) < 500 else ():
            if forms.looks_random(word):
                texts.spare(word)
        return texts.text(value, guessing=False)
    return texts.field(lower, value, "header")


def _authorization(texts: Texts, value: str) -> str:
    scheme = _SCHEME.match(value)
    if not scheme:
        return texts.secret(value, "bearer")
    rest = value[scheme.end() :]
    if scheme[1].lower() == "basic":
        return scheme[0] + texts.basic(rest)
    if _PARAMETERS.match(rest):
        return scheme[0] + _PARAMETER.sub(lambda parameter: _parameter(texts, parameter), rest)
    return scheme[0] + texts.secret(rest, "bearer")


def _parameter(texts: Texts, parameter: re.Match[str]) -> str:
    name, equals, value = parameter.groups()
    bare = value.strip('"')
    if not bare or name.lower() in _OPEN_PARAMETERS:
        return parameter[0]
    if name.lower() in {"username", "client_id", "oauth_consumer_key", "id", "keyid"}:
        return name + equals + value.replace(bare, texts.text(bare), 1)
    return name + equals + value.replace(bare, texts.secret(bare, "authorization"), 1)


def _cookies(texts: Texts, value: str, *, only_first: bool) -> str:
    pieces = value.split(";")
    for number, piece in enumerate(pieces[:1] if only_first else pieces):
        name, equals, secret = piece.partition("=")
        bare = secret.strip().strip('"')
        if equals and bare and not _is_setting(texts, name.strip(), bare):
            value = secret.replace(bare, _cookie(texts, name.strip(), bare), 1)
            pieces[number] = texts.text(name, guessing=not _COOKIE_NAME.fullmatch(name)) + equals + value
        elif not equals and len(bare := piece.strip()) >= _SHORTEST_NAMELESS and bare.lower() != "httponly":
            pieces[number] = piece.replace(bare, _cookie(texts, "", bare), 1)
    if only_first:  # `Path=/reset/...`
        pieces[1:] = [texts.text(piece) for piece in pieces[1:]]
    return ";".join(pieces)


def _is_setting(texts: Texts, name: str, value: str) -> bool:
    if _SETTING.fullmatch(value):
        return texts.says(name) is not Says.SECRET
    return texts.rules.makes_plain(name)


def _cookie(texts: Texts, name: str, value: str) -> str:
    plain = unquote(value) if "%" in value else value
    scrubbed = texts.secret(plain, "cookie") if _opens(texts, name, plain) else texts.hidden(plain, "cookie")
    if plain == value:
        return scrubbed
    return value if scrubbed == plain else quote(scrubbed, safe="-._~" + "".join(c for c in "!*'()/:@$" if c in value))


def _opens(texts: Texts, name: str, value: str) -> bool:
    """Whether a cookie is so surely a session that its value is replaced wherever it stands: no date, path or id is."""
    if _SESSION.search(name):
        return True
    says = texts.says(name)
    if says in {Says.SECRET, Says.PERHAPS}:
        return True
    return says is not Says.ID and not is_uuid(value) and (is_opaque(value) or forms.looks_random(value))
