"""A log in the format that the user gives: an nginx ``log_format`` or an Apache ``LogFormat``.

Variables: https://nginx.org/en/docs/varindex.html and https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats.
What nginx logs, it logs at the end of a request; Apache's time is that of the start unless it says otherwise.
"""

import re
from collections.abc import Callable, Iterator

import pyarrow as pa

from replay.capture.inputs import Head, Input
from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource
from replay.capture.sources.source import Lines, ReadOptions
from replay.errors import InputError
from replay.traffic import Skipped

_IGNORED = "{*}"
_NAMES = {
    "common": '%h %l %u %t "%r" %>s %b',
    "combined": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
}
# `log_format name escape=json '...' '...';` or `LogFormat "..." name`: the strings are what counts.
_NGINX_DIRECTIVE = re.compile(r"log_format\s+\S+\s+(.*?)\s*;?", re.DOTALL)
_APACHE_DIRECTIVE = re.compile(r'(?:LogFormat|(?:Custom|Transfer)Log\s+\S+)\s+("(?:[^"\\]|\\.)*").*', re.DOTALL)
_ESCAPE = re.compile(r"escape=(\w+)\s+(.*)", re.DOTALL)
_QUOTED = re.compile(r"(['\"])((?:(?!\1)[^\\]|\\.)*)\1", re.DOTALL)
# Each variable by what it is read as. Of those that say the same, the first that a format has is taken.
_NGINX_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NGINX = {
    "msec": "{ended:s}",
    "time_iso8601": "{ended:any}",
    "time_local": "{ended:clf}",
    "remote_addr": "{address}",
    "remote_user": "{user}",
    "request": "{request}",
    "request_method": "{method}",
    "request_uri": "{target}",
    "uri": "{path}",
    "document_uri": "{path}",
    "args": "{query}",
    "query_string": "{query}",
    "status": "{status}",
    "body_bytes_sent": "{size}",
    "bytes_sent": "{size}",
    "request_time": "{duration:s}",
    "host": "{host}",
    "http_host": "{host}",
    "server_name": "{host}",
    "server_port": "{port}",
    "connection": "{connection}",
    "request_id": "{request_header:X-Request-Id}",
    "proxy_add_x_forwarded_for": "{request_header:X-Forwarded-For}",
    "content_type": "{request_header:Content-Type}",
    "content_length": "{request_header:Content-Length}",
}
# What stands together without a text between; a target gets the slash that it lacks.
_NGINX_TOGETHER = (
    (re.compile(r"\$scheme://\$(?:host|http_host|server_name)\$request_uri\b"), "$__url"),
    (re.compile(r"(\$(?:host|http_host|server_name))(\$request_uri\b|\$uri\$is_args\$args\b)"), r"\1/\2"),
    (re.compile(r"\$(?:document_)?uri(?:\$is_args|\?)\$(?:args|query_string)\b"), "$request_uri"),
    (re.compile(r"\$remote_addr:\$remote_port\b"), "$remote_addr"),
)
_APACHE_VARIABLE = re.compile(r"%[!,0-9]*([<>]?)(?:\{([^}]*)\})?(\^?[A-Za-z]{1,2}|%)")
_APACHE = {
    "t": "[{at:clf}]",
    ">s": "{status}",
    "s": "{status}",
    "<s": "{status}",
    "h": "{address}",
    "a": "{address}",
    "u": "{user}",
    "r": "{request}",
    "m": "{method}",
    "U": "{path}",
    "q": "{query}",
    "B": "{size}",
    "b": "{size}",
    "O": "{size}",
    "{us}T": "{duration:us}",
    "D": "{duration:us}",
    "{ms}T": "{duration:ms}",
    "T": "{duration:s}",
    "{s}T": "{duration:s}",
    "V": "{host}",
    "v": "{host}",
    "p": "{port}",
    "{canonical}p": "{port}",
    "l": "{-}",
}
_APACHE_HEADERS = {"i": "request_header", "o": "response_header", "C": "cookie"}
_APACHE_TIME = re.compile(r"%\{((?:begin:|end:)?)([^}]*)\}t(?:([.,])%\{[^}]*(?:msec|usec)_frac\}t)?(?: ?%\{%z\}t)?")
_APACHE_TIMES = {"sec": "s", "msec": "ms", "usec": "us", "": "clf", "%d/%b/%Y:%H:%M:%S %z": "clf", "%s": "s"}
# Stand-ins for what takes more than one variable.
_TIME, _OTHER_TIME, _TARGET = "\ue000", "\ue001", "\ue002"
_NEEDED = ({"at", "ended"}, {"request", "target", "path"})


def parse_log_format(text: str) -> LinePattern:
    """The pattern of an nginx ``log_format`` or an Apache ``LogFormat``, with or without the directive around it.

    Raises InputError where it has no variable, no time or no request, or where variables stand without a text between.
    """
    body = _NAMES.get(text.strip(), text.strip())
    if directive := _NGINX_DIRECTIVE.fullmatch(body) or _APACHE_DIRECTIVE.fullmatch(body):
        body = directive[1]
    option = _ESCAPE.fullmatch(body)
    body = _unquoted(option[2] if option else body)
    template = _from_nginx(body) if _NGINX_VARIABLE.search(body) else _from_apache(body.replace('\\"', '"'))
    pattern = LinePattern(template, escaped=not option or option[1] != "none")
    roles = {variable.role for variable in pattern.variables}
    if not all(needed & roles for needed in _NEEDED):
        raise InputError(
            "The log's format has no time or no request.",
            "Give the whole format, such as '$remote_addr [$time_local] \"$request\" $status'.",
        )
    return pattern


class LogFormatSource:
    """A log in the format that ``ReadOptions.log_format`` gives."""

    name = "log-format"
    title = "log in a format of its own"

    def likeness(self, head: Head) -> float:  # noqa: ARG002 - nothing shows that a format will be given
        """See Source: never found by itself."""
        return 0.0

    def read(self, file: Input, options: ReadOptions) -> Iterator[Lines | Skipped]:
        """See Source. Raises InputError where no format is given, or it makes no sense."""
        return self.source(options).read(file, options)

    def read_texts(self, file: Input, options: ReadOptions) -> Iterator[pa.Table]:
        """See LogSource."""
        return self.source(options).read_texts(file, options)

    def source(self, options: ReadOptions) -> LogSource:
        """The source that reads it."""
        if not options.log_format:
            raise InputError("No format of the log is given.", "Give it with --log-format.")
        return LogSource(self.name, self.title, (parse_log_format(options.log_format),))


SOURCES = (LogFormatSource(),)


def _unquoted(body: str) -> str:
    """The strings of a directive joined, where there are nothing but strings."""
    if body[:1] in "'\"" and not _QUOTED.sub("", body).strip():
        found = [match[2] for match in _QUOTED.finditer(body)]
        return re.sub(r"\\(['\"\\])", r"\1", "".join(found))
    return body


def _from_nginx(body: str) -> str:
    for together, instead in _NGINX_TOGETHER:
        body = together.sub(instead, body)
    chosen = _chosen(_NGINX, [match[1] or match[2] for match in _NGINX_VARIABLE.finditer(body)])

    def variable(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name in chosen:
            return chosen[name]
        for start, role in (("http_", "request_header"), ("sent_http_", "response_header")):
            if name.startswith(start):
                return f"{{{role}:{_header(name.removeprefix(start))}}}"
        if name.startswith("cookie_"):
            return f"{{cookie:{name.removeprefix('cookie_')}}}"
        if name.startswith("upstream_"):
            return "{list}"
        return "{target}" if name == "__url" else _IGNORED

    return _replaced(_NGINX_VARIABLE, variable, body)


def _from_apache(body: str) -> str:
    times: list[str] = []

    def time(match: re.Match[str]) -> str:
        if times or "%t" in body:
            return _OTHER_TIME
        written = "any" if match[3] else _APACHE_TIMES.get(match[2], "any")
        times.append(f"{{{'ended' if match[1] == 'end:' else 'at'}:{written}}}")
        return _TIME

    marked = _APACHE_TIME.sub(time, body).replace("%U%q", _TARGET)
    chosen = _chosen(_APACHE, [_apache_name(match) for match in _APACHE_VARIABLE.finditer(marked)])

    def variable(match: re.Match[str]) -> str:
        if match[3] == "%":
            return "%"
        kind = _APACHE_HEADERS.get(match[3])
        if kind and match[2]:
            is_host = (kind, match[2].lower()) == ("request_header", "host") and "{host}" not in chosen.values()
            return "{host}" if is_host else f"{{{kind}:{match[2]}}}"
        return chosen.get(_apache_name(match), _IGNORED)

    template = _replaced(_APACHE_VARIABLE, variable, marked).replace(_TARGET, "{target}").replace(_OTHER_TIME, _IGNORED)
    return template.replace(_TIME, times[0]) if times else template


def _apache_name(match: re.Match[str]) -> str:
    return f"{match[1] if match[3] == 's' else ''}{'{' + match[2] + '}' if match[2] else ''}{match[3]}"


def _chosen(known: dict[str, str], names: list[str]) -> dict[str, str]:
    """Of the known variables among ``names``, the best one for each role, and how it is read."""
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name, found in known.items():
        role = found.strip("[]{}").partition(":")[0]
        if name in names and (role not in taken or role == "-"):
            chosen[name] = found
            taken.add(role if role != "request_header" else found)
    return chosen


def _replaced(variables: re.Pattern[str], change: Callable[[re.Match[str]], str], body: str) -> str:
    """The template of ``body``: each variable changed, braces beside them doubled."""
    pieces, end = [], 0
    for match in variables.finditer(body):
        pieces += [_braced(body[end : match.start()]), change(match)]
        end = match.end()
    return "".join([*pieces, _braced(body[end:])])


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _header(name: str) -> str:
    return "-".join(word.capitalize() for word in name.split("_"))
