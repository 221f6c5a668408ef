"""From a planned request to its bytes: Stage's own values in their places, then the user's ``prepare``."""

from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from types import NoneType

from replay.scenario.runtime.carried import CarriedValues, Missing
from replay.scenario.runtime.places import NoPlaceError, inject
from replay.scenario.runtime.transport import HttpClient
from replay.scenario.schedule import PlannedRequest


class NotReadyError(Exception):
    """A request cannot be sent; ``caused_by`` is the number of the request whose failure is the root, or None."""

    def __init__(self, message: str, caused_by: int | None = None) -> None:
        super().__init__(message)
        self.caused_by = caused_by


@dataclass(frozen=True, slots=True)
class Made:
    """A request with everything in its place, and its bytes."""

    request: PlannedRequest
    data: bytes


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes requests, each time anew from the values that there are: ``prepare`` is called for every attempt.

    Those to the ``answered`` endpoints it never makes: whoever asks for one, it must not be sent.
    """

    values: CarriedValues
    prepare: Callable[[PlannedRequest, str], PlannedRequest]
    client: HttpClient
    answered: Collection[str] = frozenset()

    def make(self, planned: PlannedRequest) -> Made:
        """The request as it is sent. Raises NotReadyError."""
        if planned.endpoint in self.answered:
            raise NotReadyError("the scenario answers it")
        needed = self.values.needed(planned)
        if isinstance(needed, Missing):
            raise NotReadyError(needed.error, needed.caused_by)
        try:
            filled = inject(planned, needed)
        except NoPlaceError as error:
            raise NotReadyError(str(error)) from error
        try:
            request = _request(self.prepare(filled, planned.client))
        except (Exception, SystemExit) as error:
            raise NotReadyError(f"prepare raised {type(error).__name__}: {error}") from error
        try:
            return Made(request, self.client.encode(request))
        except Exception as error:  # where prepare changed it, anything may stand in it
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise NotReadyError(said if request is filled else f"prepare gave a wrong request: {said}") from error


_FIELDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("client", "method", "path", "query"), (str,)),
    "body": (bytes, NoneType),
}


def _request(given: object) -> PlannedRequest:
    """What ``prepare`` gave. Raises TypeError where that is no request, or one of its values is none to send."""
    if isinstance(given, Coroutine):
        given.close()
        raise TypeError("it is an async function, and should be a plain one")
    if not isinstance(given, PlannedRequest):
        raise TypeError(f"it returned {_kind(given)} and not the request to send")
    for name, kinds in _FIELDS.items():
        if not isinstance(value := getattr(given, name), kinds):
            raise TypeError(f"it returned a request whose {name} is {_kind(value)}")
    return given


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
