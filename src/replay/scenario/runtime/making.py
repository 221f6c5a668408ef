"""From a planned request to its bytes: Stage's own values in their places, then the user's ``prepare``."""

from collections.abc import Callable
from dataclasses import dataclass

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
    """Makes requests, each time anew from the values that there are: ``prepare`` is called for every attempt."""

    values: CarriedValues
    prepare: Callable[[PlannedRequest, str], PlannedRequest]
    client: HttpClient

    def make(self, planned: PlannedRequest) -> Made:
        """The request as it is sent. Raises NotReadyError."""
        needed = self.values.needed(planned)
        if isinstance(needed, Missing):
            raise NotReadyError(needed.error, needed.caused_by)
        try:
            request = self.prepare(inject(planned, needed), planned.client)
        except NoPlaceError as error:
            raise NotReadyError(str(error)) from error
        except Exception as error:
            raise NotReadyError(f"prepare raised {type(error).__name__}: {error}") from error
        try:
            return Made(request, self.client.encode(request))
        except ValueError as error:
            raise NotReadyError(str(error)) from error
