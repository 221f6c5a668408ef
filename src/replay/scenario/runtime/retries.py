"""What a client does where a request fails: give up, try again, log in anew. Pure: nothing here waits or sends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from replay.errors import InputError
from replay.evidence.values import Outcome
from replay.scenario.schedule import Inject, PlannedRequest, Schedule

_MOST_TIMES = 20
_BACKOFFS: Mapping[str, Callable[[int], float]] = {
    "constant": lambda number: 1.0,  # noqa: ARG005 - the same each time
    "linear": float,
    "exponential": lambda number: 2.0 ** (number - 1),
}
_WORDS = frozenset({Outcome.NO_CONNECTION.value, Outcome.TIMEOUT.value})
_REFUSED = 401


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed request is sent again, and after how long.

    The wait before the first is ``first_s``; ``backoff`` lets it stay (``constant``), grow by as much each time
    (``linear``) or double (``exponential``), up to ``most_s``. With ``jitter`` it is an even draw from nothing to that.
    A server's Retry-After is kept to where it asks for longer. ``on`` are the failures that are tried again: statuses,
    ``"no connection"``, ``"timeout"``. With ``reauth`` the client logs in anew on a 401, and sends once more.

    Raises ValueError where a value makes no sense.
    """

    times: int = 3
    backoff: str = "exponential"
    first_s: float = 0.5
    most_s: float = 30.0
    jitter: bool = True
    on: tuple[int | str, ...] = ("no connection", "timeout", 502, 503, 504)
    reauth: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.times <= _MOST_TIMES:
            raise ValueError(f"times is {self.times}; it may be from 0 to {_MOST_TIMES}")
        if self.backoff not in _BACKOFFS:
            raise ValueError(f"backoff is {self.backoff!r}; it may be {', '.join(_BACKOFFS)}")
        if not 0 <= self.first_s <= self.most_s < float("inf"):
            raise ValueError(f"first_s is {self.first_s} and most_s {self.most_s}; they are seconds, in this order")
        wrong = [one for one in self.on if one not in _WORDS and not (isinstance(one, int) and 400 <= one <= 599)]
        if wrong:
            raise ValueError(f"on has {wrong[0]!r}; it may have statuses from 400 on, and {', '.join(sorted(_WORDS))}")

    def reacts_to(self, failure: int | str | None) -> bool:
        """Whether a client does anything but give up."""
        return (self.times > 0 and failure in self.on) or (self.reauth and failure == _REFUSED)

    def wait_s(self, number: int, failure: int | str, chance: float, asked_s: float = 0.0) -> float | None:
        """How long to wait before retry ``number`` (from 1), or None for giving up.

        ``chance`` is a draw from 0 to 1 for the jitter, ``asked_s`` what the server asked for.
        """
        if number > self.times or failure not in self.on or asked_s > self.most_s:
            return None
        longest_s = min(self.most_s, self.first_s * _BACKOFFS[self.backoff](number))
        return max(asked_s, longest_s * chance if self.jitter else longest_s)


GIVE_UP = Retry(times=0)
SHORTHANDS: Mapping[str, Retry] = {"give_up": GIVE_UP, "retry": Retry(), "reauth": Retry(times=0, reauth=True)}

OnFailure = str | Retry | Mapping[str, str | Retry]


class Policies:
    """Which client does what, as a locustfile says in ``on_failure``.

    That is one for all (``"retry"``), or one for each endpoint or client: ``{"*": Retry(times=5), "POST /orders":
    "give_up"}``. What is named as it is comes before a pattern (``kiosk-*``, ``GET *``), an endpoint before a client,
    and the first pattern that fits before the others. ``copies`` are the clients that are another's, as in
    ``Schedule``: they do as it does.
    """

    def __init__(self, on_failure: OnFailure, copies: Mapping[str, str] | None = None) -> None:
        """Raises InputError where a key is no text, or a value none that is known."""
        given = on_failure if isinstance(on_failure, Mapping) else {"*": on_failure}
        for name in given:
            if not isinstance(name, str):
                raise InputError(
                    f"on_failure has the key {name!r}.",
                    "A key is an endpoint, a client, or a pattern of either; statuses go into Retry(on=(503,)).",
                )
        self._given = {name: _retry(name, value) for name, value in given.items()}
        self._copies = copies or {}
        self._found: dict[tuple[str, str], Retry] = {}

    def of(self, planned: PlannedRequest) -> Retry:
        """What is done where this request fails."""
        key = planned.endpoint, self._copies.get(planned.client, planned.client)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._find(key)
        return found

    def unmatched(self, schedule: Schedule) -> list[str]:
        """The keys that are no endpoint and no client of a schedule, and no pattern that fits one."""
        names = {planned.endpoint for planned in schedule} | {planned.client for planned in schedule}
        names |= {self._copies.get(name, name) for name in names}
        return [key for key in self._given if key not in names and not any(fnmatchcase(name, key) for name in names)]

    def _find(self, names: tuple[str, str]) -> Retry:
        exact = (self._given[name] for name in names if name in self._given)
        patterns = (
            retry for pattern, retry in self._given.items() if any(fnmatchcase(name, pattern) for name in names)
        )
        return next(exact, None) or next(patterns, GIVE_UP)


def _retry(name: str, value: object) -> Retry:
    if isinstance(value, Retry):
        return value
    found = SHORTHANDS.get(value) if isinstance(value, str) else None
    if found is None:
        raise InputError(
            f"on_failure is {value!r} for {name!r}.", f"Set it to a Retry(...), or one of {', '.join(SHORTHANDS)}."
        )
    return found


def failure_of(status: int | None, *, timed_out: bool = False) -> int | str | None:
    """What went wrong, in the words of ``Retry.on``: ``status`` is None where no whole answer came. None: nothing."""
    if status is None:
        return (Outcome.TIMEOUT if timed_out else Outcome.NO_CONNECTION).value
    return status if status >= 400 else None


def find_login(planned: PlannedRequest) -> int | None:
    """The request whose answer handed out what ``planned`` shows for a token; None where it shows none such."""
    shown = [inject for inject in planned.injects if inject.origin is not None]
    shown.sort(key=_rank)
    return shown[0].origin if shown and _rank(shown[0]) < len(_TOKENS) else None


_TOKENS = ("bearer", "header:authorization", "cookie:", "header:", "query:")


def _rank(inject: Inject) -> int:
    return next((rank for rank, start in enumerate(_TOKENS) if inject.place.startswith(start)), len(_TOKENS))


def logins(login: int, by_number: Mapping[int, PlannedRequest]) -> tuple[tuple[PlannedRequest, ...], ...]:
    """The ways to log in anew, the likeliest first: each a row of requests to be played again in order.

    The first is the login itself, with what it needs of other endpoints played before it (the page whose form has a
    CSRF token). Where it was a renewal, such as the use of a refresh token that may count once only, the second
    is the login that the renewals began with.
    """
    last = by_number.get(login)
    if last is None:
        return ()
    first = last
    while (before := _renewed(first, by_number)) is not None:
        first = before
    ways = [_with_needs(last, by_number)]
    return tuple(ways if first is last else [*ways, _with_needs(first, by_number)])


def _renewed(planned: PlannedRequest, by_number: Mapping[int, PlannedRequest]) -> PlannedRequest | None:
    """The earlier request of the same endpoint that handed out what this one needs."""
    origins = (by_number.get(inject.origin) for inject in planned.injects if inject.origin is not None)
    return next((one for one in origins if one and one.endpoint == planned.endpoint), None)


def _with_needs(planned: PlannedRequest, by_number: Mapping[int, PlannedRequest]) -> tuple[PlannedRequest, ...]:
    origins = {inject.origin for inject in planned.injects if inject.origin is not None}
    needs = [by_number[number] for number in sorted(origins) if number in by_number]
    return (*(need for need in needs if need.endpoint != planned.endpoint), planned)


def asked_s(retry_after: str | None) -> float:
    """The seconds of a Retry-After header; a date in one, and nonsense, count as none."""
    return float(retry_after) if retry_after and retry_after.strip().isdecimal() and len(retry_after) < 9 else 0.0
