"""The values that Stage hands out during a replay, carried from one client's answers into its later requests. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from replay.scenario.identities import Identities
from replay.scenario.runtime.clock import render
from replay.scenario.runtime.places import extract
from replay.scenario.schedule import Extract, Inject, PlannedRequest
from replay.traffic import Response

_MOST_SECRETS = 500


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a request cannot be sent. ``caused_by`` is the request whose failure is the root, or None."""

    error: str
    caused_by: int | None


def find_renewals(requests: Sequence[PlannedRequest]) -> dict[str, frozenset[str]]:
    """The endpoints that hand out what they ask for the next time, such as a refresh token, and at which places.

    Only POSTs: a page's cursor is asked for by a GET, and no former page stands in for one that failed.
    """
    by_number = {planned.request: planned for planned in requests}
    places: dict[str, set[str]] = {}
    for planned in requests:
        for injection in planned.injects:
            origin = by_number.get(-1 if injection.origin is None else injection.origin)
            if origin and planned.method == "POST" and origin.endpoint == planned.endpoint:
                handed_out = {wanted.place for wanted in origin.extracts if wanted.captured == injection.captured}
                places.setdefault(planned.endpoint, set()).update(handed_out)
    return {endpoint: frozenset(found) for endpoint, found in places.items()}


class CarriedValues:
    """What each answered request handed out, under its number and the value's name, and why others did not.

    ``now`` gives the time that requests with a date in them are sent at.
    """

    def __init__(
        self,
        identities: Identities,
        renewals: Mapping[str, frozenset[str]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._identities = identities
        self._now = now
        self._renewals = renewals
        self._values: dict[int, dict[str, str]] = {}
        self._latest: dict[tuple[str, str, str], str] = {}
        self._lost: dict[int, Missing] = {}
        self._failed: dict[int, PlannedRequest] = {}
        self._secrets: dict[str, dict[str, None]] = {
            client: {value: None for value in columns.values() if len(value) > 2}
            for client, columns in identities.items()
        }
        self._given = {client: len(own) for client, own in self._secrets.items()}

    def answered(self, planned: PlannedRequest, response: Response) -> None:
        """Keep what a response hands out. A refusal that the capture did not have hands out nothing."""
        expected = planned.expected_status or 200
        if response.status >= 400 and response.status // 100 != expected // 100:
            self.failed(planned, f"it answered {response.status}")
            return
        absent = ""
        for wanted in planned.extracts:
            value = extract(wanted, response)
            if value is None:
                absent = absent or wanted.place
            else:
                self._values.setdefault(planned.request, {})[wanted.captured] = value
                if _secret(value):
                    self._hide(planned.client, value)
        if absent:
            self.failed(planned, f"its answer has no {absent}")
        for place in self._renewals.get(planned.endpoint, ()):
            if value := extract(Extract(place, ""), response):
                self._latest[planned.client, planned.endpoint, place] = value

    def failed(self, planned: PlannedRequest, why: str, caused_by: int | None = None) -> None:
        """Remember why a request handed out nothing, or not all; ``caused_by`` where another one is the root."""
        if planned.extracts:
            root = planned.request if caused_by is None else caused_by
            self._lost[planned.request] = Missing(f"no value from request {planned.request} ({why})", root)
            self._failed[planned.request] = planned

    def forget(self, number: int) -> None:
        """Nobody needs what a request handed out any more, or why it did not."""
        self._values.pop(number, None)
        self._lost.pop(number, None)
        self._failed.pop(number, None)

    def _hide(self, client: str, value: str) -> None:
        """Remember a value that must not be shown: of a client the last few hundred, besides its own credentials."""
        own = self._secrets.setdefault(client, {})
        own[value] = None
        if len(own) > _MOST_SECRETS + (given := self._given.get(client, 0)):
            del own[next(islice(own, given, None))]

    def needed(self, planned: PlannedRequest) -> dict[Inject, str] | Missing:
        """The values that a request needs, or the first reason why it cannot have them."""
        values: dict[Inject, str] = {}
        for injection in planned.injects:
            if injection.origin is not None:
                value = self._values.get(injection.origin, {}).get(injection.captured) or self._renewed(
                    planned, injection
                )
                if value is None:
                    never = Missing(f"no value from request {injection.origin} (it hands out none)", injection.origin)
                    return self._lost.get(injection.origin, never)
            elif injection.clock:
                value = render(injection.clock, self._now(), injection.offset_s)
            else:
                value = self._identities.get(planned.client, {}).get(injection.credential)
                if value is None:
                    return Missing(f"no credential '{injection.credential}' for client {planned.client}", None)
            values[injection] = value
        return values

    def _renewed(self, planned: PlannedRequest, injection: Inject) -> str | None:
        """What a renewal falls back on when the one before it failed: the last value that its endpoint gave the client.

        A client whose refresh fails still has its former token and tries again with that; without this one failure
        would end its visit.
        """
        failed = self._failed.get(-1 if injection.origin is None else injection.origin)
        if failed is None or failed.endpoint != planned.endpoint or planned.endpoint not in self._renewals:
            return None
        places = (wanted.place for wanted in failed.extracts if wanted.captured == injection.captured)
        return next((self._latest.get((planned.client, planned.endpoint, place)) for place in places), None)

    def secrets(self, client: str) -> frozenset[str]:
        """The values of a client that must not be shown."""
        return frozenset(self._secrets.get(client, ()))


def _secret(value: str) -> bool:
    """Whether a value could be one: a short number is an id."""
    return len(value) > 5 and not (value.isdigit() and len(value) < 12)
