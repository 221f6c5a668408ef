"""What a request asks for where its path does not say it: the operation of GraphQL, JSON-RPC or SOAP."""

import json
import re
from functools import lru_cache

from replay.documents.xml import is_xml
from replay.traffic import Request
from replay.workload.endpoints.names import singular, snake

_GRAPHQL = re.compile(r"\s*(?:(query|mutation|subscription)\b\s*(\w*)[^{]*)?\{\s*(?:\w+\s*:\s*)?(\w+)")
_ELEMENT = re.compile(rb"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)[\s/>]")
_WRAPPING = frozenset({"envelope", "header", "body"})
_MAKES = "add create insert make new open place post put register save send set start submit update upsert".split()
_READS = "count fetch find get list load lookup query read search show validate view watch".split()
_VERB = re.compile(f"^(?:{'|'.join(_MAKES + _READS)})_(?=.)")
_ROLE = re.compile(r"_(?:request|response|result|payload|input|by_id)$")
_READING = re.compile(f"^(?:{'|'.join(_READS)})(?:_|$)")
_LONGEST = 200_000


@lru_cache(maxsize=1024)
def operation_of(body: bytes, content_type: str) -> str:
    """The operation that a body names, in snake case; empty where it names none."""
    return _operation(body, content_type)[1]


@lru_cache(maxsize=4096)
def subject_of(operation: str) -> str:
    """What an operation is about: ``create_order`` and ``order_response`` are about an ``order``."""
    subject = _VERB.sub("", _ROLE.sub("", operation))
    return singular(subject) if subject != operation else subject


def only_reads(request: Request) -> bool:
    """Whether a request with a body makes nothing by all that it says: a search, a query of GraphQL, ``getOrder``."""
    last = snake(request.path.rstrip("/").rpartition("/")[2])
    if _READING.match(last):
        return True
    kind, operation = _operation(request.body or b"", request.header("content-type") or "")
    return kind == "query" or (kind != "mutation" and bool(_READING.match(operation)))


@lru_cache(maxsize=1024)
def _operation(body: bytes, content_type: str) -> tuple[str, str]:
    if not body or len(body) > _LONGEST:
        return "", ""
    if is_xml(body, content_type):
        names = (snake(name.decode()) for name in _ELEMENT.findall(body[:2000]))
        return "", next((name for name in names if name not in _WRAPPING), "")
    if body.lstrip()[:1] != b"{" or not (b'"query"' in body or b'"operationName"' in body or b'"jsonrpc"' in body):
        return "", ""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if "jsonrpc" in document:
        return "", snake(str(document.get("method", "")).rpartition(".")[2])
    query = document.get("query")
    found = _GRAPHQL.match(query) if isinstance(query, str) else None
    name = document.get("operationName")
    if not found and not (isinstance(name, str) and name):
        return "", ""
    kind = (found[1] or "query") if found else ""
    return kind, snake(name if isinstance(name, str) and name else (found[2] or found[3] if found else ""))
