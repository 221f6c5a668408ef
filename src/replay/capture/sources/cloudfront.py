"""CloudFront's standard log.

As https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html has it: a W3C log
with tabs. Times are those of the end, in UTC, and durations in seconds. Values are percent-encoded, what was encoded
before included, so that a ``%20`` that was sent is logged as ``%2520``; until 2019 so was a space in a header.
"""

import re
from urllib.parse import unquote

import pyarrow as pa

from replay.capture.logs.reader import LogSource, Patterns
from replay.capture.sources.w3c import names_fields_of_cloudfront
from replay.capture.sources.w3c_fields import decoded, field_patterns

_ROLES = {
    "cs-method": "{method}",
    "cs-uri-stem": "{path}",
    "cs-uri-query": "{query}",
    "x-host-header": "{host}",
    "cs(host)": "{host}",  # the distribution's own name
    "c-ip": "{address}",
    "sc-status": "{status}",
    "sc-bytes": "{size}",
    "time-taken": "{duration:s}",
    "x-edge-detailed-result-type": "{error}",
    "x-edge-result-type": "{error}",
    "x-forwarded-for": "{request_header:X-Forwarded-For}",
    "sc-content-type": "{response_header:Content-Type}",
}
_TWICE = re.compile(r"%25(?=[0-9A-Fa-f]{2})")


def _directive(line: bytes, _patterns: Patterns) -> Patterns | None:
    name, _, value = line[1:].decode("utf-8", "replace").partition(":")
    fields = value.split()
    return field_patterns(fields, _ROLES) if name == "Fields" and names_fields_of_cloudfront(fields) else None


def _url(text: str) -> str:
    return _TWICE.sub("%", text)


def _referer(text: str) -> str:
    return _url(text.replace("%23", "#"))


def _header(text: str) -> str:
    return unquote(text).replace("%20", " ")


_DECODERS = {"path": _url, "query": _url, "error": _header, "request_header:referer": _referer, "header": _header}


def _decode(table: pa.Table) -> pa.Table:
    return decoded(table, "%", _DECODERS)


CLOUDFRONT = LogSource("cloudfront", "CloudFront standard log", (), _directive, _decode)
SOURCES = (CLOUDFRONT,)
