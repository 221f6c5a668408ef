"""Retries that a capture shows: what its clients did where a request of theirs failed."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from replay.scenario.words import quoted
from replay.traffic import Exchange
from replay.workload.model import Workload

_WITHIN_S = 60.0
_FEWEST = 2  # one may be a person's second click
_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSED = 401
_NONE = "no connection"
_SHAPES: Mapping[str, Callable[[int], float]] = {
    "constant": lambda number: 1.0,  # noqa: ARG005 - the same each time
    "linear": float,
    "exponential": lambda number: 2.0 ** (number - 1),
}

_Key = tuple[str, str, str, str, bytes | None]


@dataclass(frozen=True, slots=True)
class RetryPattern:
    """What clients did about failures of one endpoint: ``retried`` of its ``failures`` were followed by another try.

    ``times`` is the most that followed one failure; ``first_s`` the wait before the first, in seconds; ``on`` are the
    failures that were followed (a status, ``"no connection"``); ``reauth`` says that a 401 was followed with other
    credentials.
    """

    endpoint: str
    failures: int
    retried: int
    times: int
    backoff: str
    first_s: float
    jitter: bool
    on: tuple[int | str, ...]
    reauth: bool

    @property
    def source(self) -> str:
        """It as an entry of ``on_failure``, as it is written in a locustfile."""
        if not self.on:
            return '"reauth"'
        on = ", ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in self.on)
        parts = [f"times={self.times}", f'backoff="{self.backoff}"', f"first_s={self.first_s:g}"]
        parts += [f"jitter={self.jitter}", f"on=({on}{',' if len(self.on) == 1 else ''})"]
        parts += ["reauth=True"] if self.reauth else []
        return f"Retry({', '.join(parts)})"


@dataclass(slots=True)
class _Seen:
    """The failures of one endpoint. ``waits_s`` are by the number of the retry, from 1."""

    failures: int = 0
    retried: int = 0
    waits_s: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    on: set[int | str] = field(default_factory=set)
    reauth: bool = False


def find_retries(workload: Workload) -> tuple[RetryPattern, ...]:
    """How the clients of a capture retried, by endpoint, those with the most retries first.

    A retry is the same request (method, path, query, body) of the same client, sent within a minute after the one
    before it failed, and sooner than the client repeats that request anyway: who polls does not retry. An endpoint is
    told of where half of its failures were followed so, and two at least.
    """
    seen: dict[str, _Seen] = defaultdict(_Seen)
    for numbers in _same_requests(workload):
        polled_s = _polled_s(workload, numbers)
        number = 0
        for one, other in zip(numbers, [*numbers[1:], None], strict=True):
            failure = _failure(workload.exchanges[one])
            if failure is None:
                number = 0
                continue
            found = seen[str(workload.endpoints[one])]
            found.failures += number == 0
            wait_s = None if other is None else workload.starts_s[other] - _end_s(workload, one)
            if other is None or wait_s is None or not 0 <= wait_s < min(_WITHIN_S, polled_s):
                number = 0
                continue
            if failure == _REFUSED and not _shows_another(workload.exchanges[one], workload.exchanges[other]):
                number = 0
                continue
            found.retried += number == 0
            number += 1
            if failure == _REFUSED:
                found.reauth = True
            else:
                found.on.add(failure)
                found.waits_s[number].append(wait_s)
    patterns = [
        _pattern(endpoint, found)
        for endpoint, found in seen.items()
        if found.retried >= max(_FEWEST, found.failures / 2)
    ]
    return tuple(sorted(patterns, key=lambda pattern: (-pattern.retried, pattern.endpoint)))


def _same_requests(workload: Workload) -> Iterator[list[int]]:
    """The numbers of exchanges that one client sent alike, in order, where there are several."""
    alike: dict[_Key, list[int]] = defaultdict(list)
    for number, exchange in enumerate(workload.exchanges):
        request = exchange.request
        if request.body is None and request.method in {"POST", "PUT", "PATCH"}:
            continue  # its body may not have been kept
        key = workload.clients[number].name, request.method, request.path, request.query, request.body
        alike[key].append(number)
    return (numbers for numbers in alike.values() if len(numbers) > 1)


def _polled_s(workload: Workload, numbers: Sequence[int]) -> float:
    """Half the time that a client lets pass between an answer and the same request anew."""
    gaps_s = [
        workload.starts_s[other] - _end_s(workload, one)
        for one, other in itertools.pairwise(numbers)
        if _failure(workload.exchanges[one]) is None
    ]
    return statistics.median(gaps_s) / 2 if gaps_s else float("inf")


def _end_s(workload: Workload, number: int) -> float:
    return workload.starts_s[number] + max(0.0, workload.exchanges[number].duration_s)


def _failure(exchange: Exchange) -> int | str | None:
    if exchange.response is None:
        return _NONE
    status = exchange.response.status
    return status if status in _STATUSES or status == _REFUSED else None


def _shows_another(one: Exchange, other: Exchange) -> bool:
    """Whether the second shows credentials that the first did not."""
    return any(one.request.header(name) != other.request.header(name) for name in ("authorization", "cookie"))


def _pattern(endpoint: str, found: _Seen) -> RetryPattern:
    waits_s = {number: statistics.median(waits) for number, waits in found.waits_s.items()}
    first = found.waits_s.get(1, [])
    jitter = _is_spread(first)
    # A wait drawn evenly from nothing to the longest is half of it in the middle.
    first_s = waits_s.get(1, 0.0) * (2 if jitter else 1)
    return RetryPattern(
        endpoint=endpoint,
        failures=found.failures,
        retried=found.retried,
        times=max(waits_s, default=0),
        backoff=min(_SHAPES, key=lambda name: _misfit(waits_s, _SHAPES[name])),
        first_s=float(f"{first_s:.2g}"),
        jitter=jitter,
        on=tuple(sorted(found.on, key=str)),
        reauth=found.reauth,
    )


def _is_spread(waits_s: Sequence[float]) -> bool:
    """Whether waits look drawn by chance: the middle half of them is wider than half of the median."""
    if len(waits_s) < 4:
        return False
    low, middle, high = statistics.quantiles(waits_s, n=4)
    return high - low > middle / 2


def _misfit(waits_s: Mapping[int, float], shape: Callable[[int], float]) -> float:
    first_s = waits_s.get(1, 0.0)
    return sum(abs(wait_s - first_s * shape(number)) for number, wait_s in waits_s.items())


def suggest(patterns: Iterable[RetryPattern]) -> str:
    """``on_failure`` as Python source, empty where there is nothing to suggest."""
    entries = [f"    {quoted(pattern.endpoint)}: {pattern.source}," for pattern in patterns]
    return "\n".join(["on_failure = {", *entries, "}"]) if entries else ""
