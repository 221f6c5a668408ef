"""W3C extended logs, as IIS, http.sys and many others write them: https://learn.microsoft.com/iis/configuration/.

``#Fields`` says what the lines after it have, and may change in midway; without it the fields are those that IIS logs
by default. Times are those of the end, and in UTC. IIS decodes paths, and writes a plus sign for a space; the plus sign
itself it refuses in paths unless told otherwise.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from replay.capture.inputs import Head, Input
from replay.capture.logs.reader import LogSource, Patterns
from replay.capture.sources.source import Lines, ReadOptions
from replay.capture.sources.w3c_fields import decoded, field_patterns
from replay.errors import InputError
from replay.traffic import Skipped

_ROLES = {
    "cs-method": "{method}",
    "cs-uri-stem": "{path}",
    "cs-uri-path": "{path}",
    "cs-uri-query": "{query}",
    "cs-uri": "{target}",
    "cs(host)": "{host}",
    "cs-host": "{host}",
    "cs-uri-port": "{port}",
    "c-ip": "{address}",
    "cs-username": "{user}",
    "sc-status": "{status}",
    "sc-bytes": "{size}",
    "bytes": "{size}",
    "time-taken": "{duration}",
    "timetakenms": "{duration:ms}",  # IIS Advanced Logging
    "x-forwarded-for": "{request_header:X-Forwarded-For}",  # a field of one's own
}
_OF_IIS = (
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status "
    "sc-substatus sc-win32-status time-taken"
)
# Where no line says so: IIS from 8 on, and before.
_DEFAULTS = tuple(
    replace(field_patterns(fields.split(), _ROLES)[0], weight=0.8)
    for fields in (_OF_IIS, _OF_IIS.replace("cs(Referer) ", ""))
)
# Those that CloudFront alone has.
_OF_CLOUDFRONT = ("x-edge-", "x-host-header", "DistributionId")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EVENTS = "Microsoft-Windows-IIS-Logging"
# A plus sign before an address is most often one, as in (+http://example.com/bot), and so is one before a number that
# nothing stands before: no value begins with a blank.
_BLANK = re.compile(r"(?!^\+[1-9])(?:(?<![(+])\+|\+(?!https?:))")
_PLUS_IN_PATH = re.compile(r"(?<=[/;=])\+(?=[1-9])")
_BLANK_IN_LIST = re.compile(r"(?<=[,;])\+")
_DECODERS = {
    "path": lambda text: _PLUS_IN_PATH.sub("%2B", text).replace("+", "%20"),
    "request_header:user-agent": lambda text: text if " " in text else _BLANK.sub(" ", text),
    "request_header:referer": lambda text: text,
    "header": lambda text: text if " " in text else _BLANK_IN_LIST.sub(" ", text),
}


class W3cLog(LogSource):
    """A log of this format. What Windows exports of IIS as events is known too, to say that it is of no use."""

    def likeness(self, head: Head) -> float:
        """See Source."""
        return 0.6 if _is_events(head) else super().likeness(head)

    def read(self, file: Input, options: ReadOptions) -> Iterator[Lines | Skipped]:
        """See Source. Raises InputError for XML and for what is binary."""
        self._refuse_others(file)
        return super().read(file, options)

    def read_texts(self, file: Input, options: ReadOptions) -> Iterator[pa.Table]:
        """See LogSource. Raises InputError as ``read`` does."""
        self._refuse_others(file)
        return super().read_texts(file, options)

    def _refuse_others(self, file: Input) -> None:
        hint = "Give the files that IIS writes in W3C format."
        if file.head.text.lstrip().startswith("<"):
            raise InputError(f"{file.name} is XML, as Windows exports events.", hint)
        if "\0" in file.head.text and not super().likeness(file.head):
            raise InputError(f"{file.name} is binary, and no log in lines.", hint)


def names_fields_of_cloudfront(fields: list[str]) -> bool:
    """Whether a ``#Fields`` line is one of CloudFront."""
    return any(field.startswith(_OF_CLOUDFRONT) for field in fields)


def _directive(line: bytes, patterns: Patterns) -> Patterns | None:
    name, _, value = line[1:].decode("utf-8", "replace").partition(":")
    if name in {"Date", "Start-Date"}:
        day = _DAY.search(value)
        return tuple(replace(pattern, day=day[0]) for pattern in patterns) if day else None
    fields = value.split()
    if name != "Fields" or names_fields_of_cloudfront(fields):
        return None
    return field_patterns(fields, _ROLES, patterns[0].day if patterns else "")


def _decode(table: pa.Table) -> pa.Table:
    return decoded(table, "+", _DECODERS)


def _is_events(head: Head) -> bool:
    return head.text.lstrip().startswith("<") and _EVENTS in head.text


W3C = W3cLog("w3c", "W3C extended log (IIS)", _DEFAULTS, _directive, _decode)
SOURCES = (W3C,)
