"""Reads series of a Prometheus exposition while an arm is played."""

import contextlib
import fnmatch
import http.client
import math
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from replay.errors import InputError
from replay.rehearsal.probes.plan import Probe, ProbePlan, Setting, read_interval_s
from replay.rehearsal.probes.readings import Readings, Sampler
from replay.rehearsal.table import Table
from replay.target import Target, parse_target

_SHORTEST_S = 0.1
_TIMEOUT_S = 2.0
_TOO_SLOW = f"the answer took longer than {_TIMEOUT_S:g} s"
_LARGEST = 16 << 20
_MOST_SERIES = 200
_LONGEST_WORDS = 300
_ACCEPT = "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5"
_OPEN_HEADERS = ("accept", "host", "user-agent")  # which hold no secret
_HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_NOT_IN_A_HEADER = re.compile(r"[\r\n\0]")
_SELECTOR = re.compile(r"([A-Za-z_:*?][\w:*?]*)(?:\{(.*)\})?")
_LABEL = re.compile(r'\s*([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|\Z)')
_ESCAPED = re.compile(r"\\(.)")
_SAMPLE_NAME = re.compile(r"[A-Za-z_:][\w:]*")


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series are kept. ``*`` and ``?`` in a name or a label's value stand for any characters, or one."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()

    def names(self, name: str) -> bool:
        """Whether it is for series of this name. A counter may be named without its ``_total``."""
        return fnmatch.fnmatchcase(name, self.name) or fnmatch.fnmatchcase(name.removesuffix("_total"), self.name)

    def selects(self, sample: Sample) -> bool:
        """Whether it is for this series."""
        return self.names(sample.name) and all(
            label in sample.labels and fnmatch.fnmatchcase(sample.labels[label], value) for label, value in self.labels
        )


def parse_selector(text: str) -> Selector:
    """Read ``NAME`` or ``NAME{label="value"}``. Raises ValueError."""
    found = _SELECTOR.fullmatch(text.strip())
    if found is None:
        raise ValueError("is no name of a series")
    labels, rest = [], (found[2] or "").strip()
    while rest:
        label = _LABEL.match(rest)
        if label is None:
            raise ValueError('has labels that are not of the form label="value"')
        labels.append((label[1], _ESCAPED.sub(lambda one: "\n" if one[1] == "n" else one[1], label[2])))
        rest = rest[label.end() :].strip()
    return Selector(found[1], tuple(labels))


@dataclass(frozen=True, slots=True)
class MetricsProbePlan(ProbePlan):
    """Series of what a program exposes at ``target`` and ``query``."""

    target: Target
    query: str
    series: tuple[Selector, ...]
    interval_s: float = 1.0
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The program's."""
        return (self.target.host,)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the headers hold, and its last word: a token stands behind its scheme."""
        values = [value for name, value in self.headers if name.lower() not in _OPEN_HEADERS]
        return tuple(dict.fromkeys([*values, *(value.split()[-1] for value in values if value.split())]))

    def open(self, setting: Setting) -> Probe:
        """The probe of one arm."""
        readings = Readings(self.name, setting.clock, setting.readings(self.name))
        reader = _Reader(self, readings, setting)
        return Sampler(f"probe {self.name}", self.interval_s, reader.sample, readings.close)


def read_metrics(name: str, table: Table) -> MetricsProbePlan:
    """Read the table of such a probe: ``url``, ``series``, ``interval``, ``headers``. Raises PlanError."""
    address, _, query = table.required_text("url").partition("?")
    try:
        target = parse_target(address)
    except InputError as error:
        raise table.error("url", f"is not an address: {error.message}", error.hint) from error
    selectors = []
    for text in table.texts("series"):
        try:
            selectors.append(parse_selector(text))
        except ValueError as error:
            raise table.error("series", f"has {text!r}, which {error}") from error
    if not selectors:
        raise table.error("series", "names none", 'Write series = ["http_requests_total", "pg_*"].')
    interval_s = read_interval_s(table, "1s", _SHORTEST_S)
    return MetricsProbePlan(name, target, query, tuple(selectors), interval_s, _headers(table))


def _headers(table: Table) -> tuple[tuple[str, str], ...]:
    headers = table.texts_by_name("headers")
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or _NOT_IN_A_HEADER.search(value):
            raise table.error("headers", f"has {name!r}, which cannot be sent")
    return headers


class _Reader:
    """Asks, and keeps the series that were asked for."""

    def __init__(self, plan: MetricsProbePlan, readings: Readings, setting: Setting) -> None:
        self._plan = plan
        self._readings = readings
        self._scrub = setting.scrub
        self._kept: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        self._told = False

    def sample(self) -> None:
        """Read them once."""
        at_s = self._readings.now_s
        try:
            content_type, body = fetch(self._plan)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._failed(str(error) or type(error).__name__)
            return
        try:
            samples = list(select(self._plan.series, content_type, body))
        except (ValueError, KeyError, IndexError, TypeError) as error:  # as the parsers raise them
            self._failed(f"the answer is no exposition: {error}")
            return
        if not samples:
            self._failed("no series of those asked for is there")
        left_out = 0
        for sample in samples:
            series = (sample.name, tuple(sorted(sample.labels.items())))
            if series not in self._kept:
                if len(self._kept) >= _MOST_SERIES:
                    left_out += 1
                    continue
                self._kept.add(series)
            labels = {label: self._scrub(value) for label, value in sample.labels.items()}
            self._readings.add(sample.name, float(sample.value), labels, at_s)
        if left_out and not self._told:
            self._told = True
            self._failed(f"{len(samples)} series are asked for, and {_MOST_SERIES} are kept: name fewer")

    def _failed(self, words: str) -> None:
        self._readings.failed(self._scrub(words)[:_LONGEST_WORDS])


def fetch(plan: MetricsProbePlan) -> tuple[str, str]:
    """The content type and the body of one answer.

    Asks that one host directly: no proxy, no redirect. Raises OSError or HTTPException where there is no good answer
    within two seconds, or it is larger than 16 MiB.
    """
    target, expired, began_s = plan.target, threading.Event(), time.monotonic()
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(target.host, target.port, timeout=_TIMEOUT_S)) as connection:
        connection.connect()
        link = connection.sock

        def expire() -> None:  # the socket's own limit is for each piece, and pieces may go on for ever
            expired.set()
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

        limit = threading.Timer(max(0.0, _TIMEOUT_S - (time.monotonic() - began_s)), expire)
        limit.start()
        try:
            answer = _answer(connection, plan)
        except (OSError, http.client.HTTPException) as error:
            if expired.is_set() or isinstance(error, TimeoutError):
                raise TimeoutError(_TOO_SLOW) from error
            raise
        finally:
            limit.cancel()
    if expired.is_set():  # a body without a length seems to end where it was cut
        raise TimeoutError(_TOO_SLOW)
    return answer


def _answer(connection: http.client.HTTPConnection, plan: MetricsProbePlan) -> tuple[str, str]:
    path = (plan.target.base_path or "/") + (f"?{plan.query}" if plan.query else "")
    connection.request("GET", path, headers={"Accept": _ACCEPT, **dict(plan.headers)})
    response = connection.getresponse()
    if response.status != 200:
        redirected = " (redirects are not followed)" if 300 <= response.status < 400 else ""
        raise http.client.HTTPException(f"the answer is {response.status}{redirected}")
    body = response.read(_LARGEST + 1)
    if len(body) > _LARGEST:
        raise http.client.HTTPException(f"the answer has more than {_LARGEST >> 20} MiB")
    return response.headers.get_content_type(), body.decode("utf-8", errors="replace")


def select(selectors: Iterable[Selector], content_type: str, body: str) -> Iterator[Sample]:
    """The samples that were asked for, in the order of the answer. Those that are no finite number are left out.

    Raises ValueError, or what else the parsers raise, where the answer is no exposition.
    """
    selectors = tuple(selectors)
    parse = (
        openmetrics.text_string_to_metric_families
        if content_type == "application/openmetrics-text"
        else text_string_to_metric_families
    )
    for family in parse(_needed(selectors, body)):
        for sample in family.samples:
            if math.isfinite(sample.value) and any(selector.selects(sample) for selector in selectors):
                yield sample


def _needed(selectors: tuple[Selector, ...], body: str) -> str:
    """The families that have a line that is asked for: the parsers are slow, and stumble over one odd family."""
    kept: list[str] = []
    family: list[str] = []
    known: dict[str, bool] = {}
    wanted = in_samples = False

    def close() -> None:
        if wanted:
            kept.extend(family)

    for line in body.splitlines():
        if line.startswith("#"):
            if in_samples:
                close()
                family, wanted, in_samples = [], False, False
        elif found := _SAMPLE_NAME.match(line):
            in_samples = True
            if (asked := known.get(found[0])) is None:
                asked = known[found[0]] = any(
                    one.names(found[0]) or one.names(f"{found[0]}_total") for one in selectors
                )
            wanted = wanted or asked
        if line != "# EOF":
            family.append(line)
    close()
    return "\n".join([*kept, "# EOF", ""])
