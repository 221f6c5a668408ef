"""Replacing what is secret in traffic with pseudonyms, before anything touches a disk.

Secrets are found by the names under which they stand (``fields``), by their form under any name (``scrubbing.forms``,
with the table of what is replaced and what stays), and because they were seen to be secrets elsewhere. They are found
in headers, cookies, paths, queries, forms, multipart bodies, JSON at any depth, JSON in JSON, XML and HTML, GraphQL,
CSV and plain text, percent-encoded, in base64, and in bodies that are still compressed. A body in which they cannot be
looked for is dropped. All the rest stays as it was, byte for byte.

A secret that shows itself only later is caught by two passes: ``learn`` for every exchange, then ``exchange`` for every
exchange. Where there is only one pass, it is replaced from where it showed itself on. A short secret (below 8
characters, or a plain word) is replaced under its name alone, since the same text elsewhere is something else.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, ParamSpec, TypeVar

from replay.capture.pseudonyms import Key
from replay.capture.scrubbing.forms import is_recognisable
from replay.capture.scrubbing.known import Known
from replay.capture.scrubbing.passes import UNDECIDED, Cautious, Learning, Replacing
from replay.capture.scrubbing.rules import NO_RULES, Rules, load_rules
from replay.traffic import Exchange, Headers, Request, Response, Skipped

__all__ = ["NO_RULES", "SUSPICIOUS", "Rules", "Scrubber", "load_rules", "words"]

# One of these matches every path, query and header that the scrubber could change for a reason in the value itself
# (RE2's syntax; two, since as one they take it ten times as long). The other reasons are the user's rules about names
# and values, and what is known from elsewhere: see ``words``.
_RANDOM = r"[A-Za-z0-9_-]{20}|[A-Za-z0-9+/_-]{4}[a-z0-9+/_-][A-Z]|[a-z0-9+/_-][A-Z][A-Za-z0-9+/_-]{4}"
_TELLING = (
    r"(?i:token|secret|passw|passp|passc|pwd|pass|kennwort|key|jwt|otp|auth|bearer|credential|assertion|sess|sid|csrf|xsrf|"
    r"sig|hmac|mnemonic|cvv|cvc|pin|tan|saml|dsn|phrase|ssn|sas|code|verif|magic|state|nonce|salt|ticket|relay|challenge|"
    r"reset|confirm|activat|invit|unsubscribe|share|phone|mobile|cell|fax|msisdn|tel|handy|whatsapp|card|cc|pan|ip|forwarded|"
    r"addr|cookie|iban|pw|psw|mdp|geheim|contrase|motdepasse|mot[-_.]de|motpasse|senha|wachtwoord|heslo|hasl|salasana|"
    r"losenord|adgangskode|kodeord|jelszo|parol|parool|geslo|lozinka|sifre|sandi|sms:)|H4sI|"
    r"(?:%[C-Fc-f][0-9A-Fa-f]|[^\x00-\x7f])[^=&]{0,60}=|"
    r"@|%[2-7][0-9A-Fa-f]|://[^/?#]*:|\$|-----BEGIN|\+[1-9]|"
    r"[0-9](?:(?:[ +-]|[^\x00-\x7f]|(?:%[0-9A-Fa-f]{2}){1,3})?[0-9]){12}|"
    r"[A-Z]{2}[0-9]{2}(?:[ +]?[A-Z0-9]{4}){2}|[A-Z]{4}[0-9]|[A-Za-z0-9+/]{8}="
)
SUSPICIOUS: Final = (_RANDOM, _TELLING)
_What = ParamSpec("_What")
_Changed = TypeVar("_Changed")
_PIECES = re.compile(r"[^\s\"'<>(){}\[\],;|\\&=?#/:@%]{8,}")
_RUNS = re.compile(r"[\w.~+-]{8,}={0,2}|[A-Za-z0-9_-]{8,}={0,2}")
_CHUNKS = re.compile(r"[^\s\"'<>(){}\[\],|\\`;&?#]{8,}")
_HOST = re.compile(r"[\w.:\[\]-]*")
_LONG_NAME = 24
_STALE_UNPACKED = frozenset({"content-encoding", "content-length"})
_STALE_RESIZED = frozenset({"content-length"})


def words(value: str) -> Iterator[str]:
    """What could be known as a secret in a path, a query or a header that ``SUSPICIOUS`` does not match.

    Where it matches, what is encoded in the value may be known too: give it to the scrubber.
    """
    found = {value, *_CHUNKS.findall(value), *_PIECES.findall(value), *_RUNS.findall(value)}
    found.update(chunk.partition("=")[2] for chunk in tuple(found))
    found.update(chunk.rstrip(".,:;!?") for chunk in tuple(found))
    return (word for word in found if len(word) >= 8 and is_recognisable(word))


class Scrubber:
    """Scrubs exchanges and what columns of logs hold.

    ``counts`` says how many values of each kind it replaced, ``dropped`` how many bodies it dropped for each reason,
    ``known`` what it has seen to be a secret. Nothing else is remembered, but in caches of bounded size.
    """

    def __init__(self, key: Key, rules: Rules = NO_RULES) -> None:
        self.key = key
        self.rules = rules
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.known = Known(key)
        self._replacing = Replacing(key, rules, self.known)
        self._learning = Learning(key, rules, self.known)
        self._cautious = Cautious(key, rules, self.known)

    def learn(self, exchange: Exchange) -> None:
        """Note the secrets in ``exchange``: the first of two passes. Changes and counts nothing."""
        self._learning.notes.clear()
        _scrubbed(exchange, self._learning, Counter())

    def exchange(self, exchange: Exchange) -> Exchange:
        """``exchange`` without its secrets: the second of two passes, or the only one."""
        return self._counted(_scrubbed, exchange, self._replacing, self.dropped)

    def cautious(self, exchange: Exchange) -> tuple[Exchange, bool]:
        """``exchange`` without its secrets and without whatever may yet turn out to be one, and whether there was such.

        What may turn out to be one has the pseudonym that it would get. The same for the same exchange, whatever was
        met before; its secrets are learned. Where there was such nothing is counted, since ``exchange`` will.
        """
        notes = self._cautious.notes
        notes.clear()
        dropped: Counter[str] = Counter()
        scrubbed = _scrubbed(exchange, self._cautious, dropped)
        if UNDECIDED in notes:
            return scrubbed, True
        self.counts.update(notes)
        self.dropped.update(dropped)
        return scrubbed, False

    def skipped(self, skipped: Skipped, *, cautiously: bool = False) -> Skipped:
        """``skipped`` without the secrets that its text may quote; ``cautiously`` also without what may become one."""
        where = self._cautious.addresses(skipped.where) if cautiously else self.message(skipped.where)
        return Skipped(skipped.source, where, self.message(skipped.reason))

    # Columns of logs

    def path(self, value: str) -> str:
        """A path without its secrets."""
        return self._counted(self._replacing.whole_path, value)

    def query(self, value: str) -> str:
        """A query without its secrets."""
        return self._counted(self._replacing.query, value)

    def header(self, name: str, value: str) -> str:
        """A header's value without its secrets."""
        return self._counted(self._replacing.header, name, value)

    def connection(self, value: str) -> str:
        """Another name for a connection, since one may hold a client's IP address."""
        return self._replacing.pseudonyms.connection(value)

    def host(self, value: str) -> str:
        """A host as it is; what can be none without its secrets."""
        return self._counted(_host, self._replacing, value)

    def address(self, value: str) -> str:
        """The pseudonym of a client's IP address."""
        return self._counted(self._replacing.address, value)

    def message(self, value: str) -> str:
        """What a program says, such as why there is no response, without its secrets and without IP addresses."""
        return self._counted(self._replacing.addresses, value)

    def text(self, value: str) -> str:
        """Any text without its secrets."""
        return self._counted(self._replacing.text, value)

    def learn_path(self, value: str) -> None:
        """Note the secrets in a path."""
        self._learning.whole_path(value)

    def learn_query(self, value: str) -> None:
        """Note the secrets in a query."""
        self._learning.query(value)

    def learn_header(self, name: str, value: str) -> None:
        """Note the secrets in a header's value."""
        self._learning.header(name, value)

    def learn_text(self, value: str) -> None:
        """Note the secrets in a text."""
        self._learning.text(value)

    def _counted(self, change: Callable[_What, _Changed], *what: _What.args, **more: _What.kwargs) -> _Changed:
        """What ``change`` makes, with all that is known by now; what it replaced is counted."""
        self._replacing.refresh()
        self._replacing.notes.clear()
        changed = change(*what, **more)
        if self._replacing.notes:
            self.counts.update(self._replacing.notes)
        return changed


def _scrubbed(exchange: Exchange, texts: Replacing, dropped: Counter[str]) -> Exchange:
    request, response = exchange.request, exchange.response
    ruled = _ruled(texts.rules, request)
    # Bodies last: what headers and queries say to be a secret is known there.
    request_headers = _headers(texts, request.headers)
    response_headers = _headers(texts, response.headers) if response else ()
    query = texts.query(request.query)
    path = texts.whole_path(request.path)
    texts.refresh()
    body, stale = _body(texts, request, dropped, ruled)
    method, host = texts.text(request.method), _host(texts, request.host)
    request = Request(method, host, path, query, _without(stale, request_headers), body)
    if response:
        texts.refresh()
        body, stale = _body(texts, response, dropped, ruled)
        response = Response(response.status, _without(stale, response_headers), body, response.size_bytes)
    error = texts.addresses(exchange.error) if exchange.error else ""
    connection = texts.pseudonyms.connection(exchange.connection)
    return replace(exchange, connection=connection, request=request, response=response, error=error)


def _host(texts: Replacing, host: str) -> str:
    return host if _HOST.fullmatch(host) else texts.text(host)


def _headers(texts: Replacing, headers: Headers) -> Headers:
    return tuple([(_name(texts, name), texts.header(name, value)) for name, value in headers])


def _name(texts: Replacing, name: str) -> str:
    # What a damaged head of a message holds may be taken for a name.
    return name if len(name) < _LONG_NAME and "=" not in name else texts.text(name)


def _without(stale: frozenset[str], headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0].lower() not in stale) if stale else headers


def _body(
    texts: Replacing, message: Request | Response, dropped: Counter[str], ruled: str
) -> tuple[bytes | None, frozenset[str]]:
    """A body without its secrets, and the names of the headers that no longer hold."""
    body = message.body
    if not body or ruled == "keep":
        return body, frozenset()
    if ruled == "drop":
        dropped["dropped by a rule"] += 1
        return None, frozenset()
    scrubbed = texts.body(message.headers, body)
    if scrubbed.dropped:
        dropped[scrubbed.dropped] += 1
    if scrubbed.unpacked:
        return scrubbed.data, _STALE_UNPACKED
    if scrubbed.data is not None and len(scrubbed.data) != len(body):
        return scrubbed.data, _STALE_RESIZED
    return scrubbed.data, frozenset()


def _ruled(rules: Rules, request: Request) -> str:
    if rules.drop_endpoints is None and rules.keep_endpoints is None:
        return ""
    endpoint = f"{request.method.upper()} {request.path}"
    if rules.drop_endpoints and rules.drop_endpoints.fullmatch(endpoint):
        return "drop"
    return "keep" if rules.keep_endpoints and rules.keep_endpoints.fullmatch(endpoint) else ""
