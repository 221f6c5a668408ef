"""Operations where one path serves many: GraphQL by its operation, JSON-RPC by its method, SOAP by its action.

They are found by regular expressions that Python, RE2 (DuckDB) and Java (Spark) read alike, so that an engine can
extract their groups over a large capture: only what differs comes to ``operation_from``, which both ways share. Where
the first characters of a body do not tell (a JSON-RPC call whose parameters stand before its method, and have a
``method`` of their own), the name may be the wrong one, but it is the same each time.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus

from replay.traffic import Request

LONGEST_BODY = 16_384
"""The characters of a body that are looked at."""

_LONGEST_NAME = 100
_BATCH = 4  # members of a batch that are told apart

_BLANK = r"[ \t\r\n]*"
# A text in JSON. Nothing here repeats a group without end: Java would run out of stack on a long body.
_TEXT = r'((?:[^"]*\\"){0,40}[^"]*)'
_BLANKS = r"[ ,\\nrt]*"  # within JSON
_DOCUMENT = rf"({_BLANKS}(?:#|query|mutation|subscription|fragment|\{{)" + _TEXT[1:]
_HASH_IN_QUERY = (
    r"(?:sha256Hash(?:%22|\x22)(?:%3A|:)(?:%20|\+)?(?:%22|\x22)|(?:^|&)(?:documentId|queryId|doc_id)=)"
    r"([A-Za-z0-9_.:-]+)"
)
_XML_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_PREFIX = rf"(?:{_XML_NAME}:)?"
_FIRST_IN_SOAP = (
    rf"(?is)<{_PREFIX}Envelope[ \t\r\n>].*?<{_PREFIX}Body(?:[ \t\r\n][^>]*)?>{_BLANK}(?:<!--[^>]*>{_BLANK}){{0,20}}"
    rf"<{_PREFIX}({_XML_NAME})"
)


@dataclass(frozen=True, slots=True)
class Extract:
    """Groups to be read off a request: ``source`` is ``query``, ``headers`` (as JSON) or ``body`` (its beginning)."""

    source: str
    pattern: str
    groups: int = 1


def _several(one: str) -> str:
    return one + rf"(?:.*?{one})?" * (_BATCH - 1)


def _field(names: str, value: str = _TEXT) -> str:
    return rf'"(?:{names})"{_BLANK}:{_BLANK}"{value}'


EXTRACTS = (
    Extract("query", r"(?:^|&)operationName=([^&]*)"),
    Extract("query", r"(?:^|&)query=([^&]*)"),
    Extract("query", _HASH_IN_QUERY),
    Extract("body", "(?s)" + _several(_field("operationName", '([A-Za-z0-9_]+)"')), _BATCH),
    Extract("body", "(?s)" + _several(_field("query", _DOCUMENT)), _BATCH),
    Extract("body", "(?s)" + _several(_field("sha256Hash|documentId|document_id|queryId|query_id|doc_id")), _BATCH),
    Extract("body", rf"(?s)^{_BLANK}((?:query|mutation|subscription|fragment)[ \t\r\n({{@].*\{{.*)"),
    Extract("body", r"(?:^|&)query=([^&]*)"),
    Extract("body", rf'"jsonrpc"{_BLANK}:{_BLANK}"([0-9.]+)"'),
    Extract("body", "(?s)" + _several(_field("method")), _BATCH),
    Extract("body", rf"^{_BLANK}(\[)"),
    Extract("body", _FIRST_IN_SOAP),
    Extract("headers", r'(?i)\["(?:soapaction|x-amz-target)", "(?:\\")?([^"\\]*)'),
    Extract("headers", r'(?i)\["content-type", "application/soap\+xml[^\]]*?action=(?:\\")?([^"\\;]*)'),
)
"""What ``operation_from`` needs, in this order; a group that is not there is an empty text."""

_COMPILED = tuple((extract, re.compile(extract.pattern)) for extract in EXTRACTS)
_GRAPHQL_PATH = re.compile(r"(?i)(?:graph-?ql|gql)")
_RPC_PATH = re.compile(r"(?i)rpc/?$")
_COMMENT = re.compile(r"#[^\n\r]*")
_BEGINS = re.compile(r"[\s,]*(?:\{|(?:query|mutation|subscription|fragment)\b)")
_STRING = re.compile(r'"""(?s:.*?)"""|"(?:[^"\\\n]|\\.)*"')
_NUMBER = re.compile(r"(?<![A-Za-z0-9_])-?[0-9][0-9.eE+-]*")
_NAMED = re.compile(r"(?:^|[}\s])(?:query|mutation|subscription)\s+([A-Za-z_][A-Za-z0-9_]*)")


def operation_of(request: Request) -> str:
    """The name of what ``request`` asks for, or an empty text where its path says it all.

    ``GetUser``; ``user.get+user.list`` for a batch; ``query-1f2e3d4c`` for a GraphQL query without a name.
    """
    if not request.body and not request.query:  # most requests: nothing is asked but what the path says
        return ""
    body = request.body[: 4 * LONGEST_BODY].decode("utf-8", "replace")[:LONGEST_BODY] if request.body else ""
    headers = json.dumps([list(header) for header in request.headers], ensure_ascii=False)
    sources = {"query": request.query, "headers": headers, "body": body}
    groups: list[str] = []
    for extract, pattern in _COMPILED:
        source = sources[extract.source]
        found = pattern.search(source) if source else None
        groups += ["" if text is None else text for text in found.groups()] if found else [""] * extract.groups
    return operation_from(request.path, *groups)


def operation_from(path: str, *groups: str) -> str:
    """The name of an operation, from the ``groups`` of ``EXTRACTS`` in their order. Raises ValueError for too few."""
    given = iter(groups)
    parts = [[next(given, "") for _ in range(extract.groups)] for extract in EXTRACTS]
    if len(groups) != sum(extract.groups for extract in EXTRACTS):
        raise ValueError("the groups are not those of EXTRACTS")
    (asked,), (query,), (known,), names, queries, hashes, (raw,), (form,), *others = parts
    (version,), methods, (batch,), (element,), (action,), (inner_action,) = others
    count = _BATCH if batch else 1
    candidates = [*map(_unescaped, queries[:count]), raw, *map(unquote_plus, (query, form))]
    documents = [text for text in candidates if _is_document(text)]
    is_graphql = bool(_GRAPHQL_PATH.search(path))
    if documents or is_graphql or any(hashes):
        called = _joined([unquote_plus(asked), *names[:count]]) or _joined(map(_document_name, documents))
        return called or (_joined([known, *hashes[:count]]) if is_graphql else "")
    if version or _RPC_PATH.search(path):
        return _joined(_unescaped(text) for text in methods[:count])
    return _last(action) or (_last(inner_action) or element if element else "")


def _joined(names: Iterable[str]) -> str:
    """The different names, each without blanks, in order."""
    clean = {re.sub(r"[\s#]+", "_", name.strip())[:_LONGEST_NAME] for name in names}
    return "+".join(sorted(clean - {""}))


def _last(action: str) -> str:
    """``GetUser`` of ``http://example.org/users#GetUser``; of ``Table_2012.GetItem``, all."""
    return _joined([re.split(r"[/#:]", action.strip("'\" ").rstrip("/"))[-1]])


def _is_document(text: str) -> bool:
    return "{" in text and bool(_BEGINS.match(_COMMENT.sub("", text)))


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:  # cut off
        return text.replace("\\n", "\n").replace('\\"', '"')


@lru_cache(maxsize=4096)
def _document_name(document: str) -> str:
    """The name of a query, or a digest of it that does not depend on blanks, comments or the values within."""
    plain = _COMMENT.sub("", _STRING.sub('""', document))
    named = _NAMED.search(plain)
    if named:
        return named[1]
    normal = " ".join(re.sub(r"([{}()\[\]:!$@,=|])", r" \1 ", _NUMBER.sub("0", plain)).replace(",", " ").split())
    return f"query-{hashlib.blake2b(normal.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"
