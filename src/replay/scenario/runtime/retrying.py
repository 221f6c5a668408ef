"""Sends again what failed and logs clients in anew, as their policy says."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import gevent
import gevent.lock

from replay.evidence.values import Attempt, Outcome, outcome_of
from replay.scenario.chance import draw
from replay.scenario.runtime.carried import CarriedValues
from replay.scenario.runtime.making import Maker, NotReadyError
from replay.scenario.runtime.recorder import Recorder
from replay.scenario.runtime.retries import Policies, Retry, asked_s, failure_of, find_login, logins
from replay.scenario.runtime.transport import HttpClient, Reply
from replay.scenario.schedule import PlannedRequest
from replay.traffic import Response


@dataclass(frozen=True, slots=True)
class Retrying:
    """How failures are followed. ``seed`` draws the jitter; nothing is sent again after ``last_s``."""

    policies: Policies
    seed: int
    last_s: float


class Retrier:
    """Follows a reply: what the client does about it, until it has an answer or gives up."""

    def __init__(
        self,
        retrying: Retrying,
        by_number: Mapping[int, PlannedRequest],
        clock: Callable[[], float],
        maker: Maker,
        recorder: Recorder,
    ) -> None:
        self._retrying = retrying
        self._by_number = by_number
        self._clock = clock
        self._maker = maker
        self._client: HttpClient = maker.client
        self._values: CarriedValues = maker.values
        self._recorder = recorder
        self._attempts: Counter[int] = Counter()
        self._logged_in_s: dict[int, float] = {}
        self._locks: dict[int, gevent.lock.BoundedSemaphore] = defaultdict(gevent.lock.BoundedSemaphore)

    def follow(self, planned: PlannedRequest, reply: Reply) -> Reply:
        """The last reply that a request got, after whatever its client did about the first."""
        retry = self._retrying.policies.of(planned)
        before = failure_of(planned.expected_status)
        if retry.reacts_to(before):
            return reply  # it failed in the capture too: what the client did about it is in the schedule
        number = 0
        has_logged_in = False
        while retry.reacts_to(failure := _failure(reply)):
            if failure == 401 and retry.reauth and not has_logged_in:
                has_logged_in = True
                goes_on = self._log_in(planned, reply)
            else:
                number += 1
                goes_on = self._wait(planned, retry, number, reply)
            again = self._send(planned, str(failure)) if goes_on else None
            if again is None:
                return reply
            reply = again
        return reply

    def forget(self, number: int) -> None:
        """Nobody needs what is known of a request any more."""
        self._attempts.pop(number, None)
        self._logged_in_s.pop(number, None)
        self._locks.pop(number, None)

    def _wait(self, planned: PlannedRequest, retry: Retry, number: int, reply: Reply) -> bool:
        failure, response = _failure(reply), _response(reply)
        if failure is None:
            return False
        chance = draw(self._retrying.seed, "retry", planned.request, number)
        wait_s = retry.wait_s(number, failure, chance, asked_s(response.header("retry-after") if response else None))
        if wait_s is None or self._clock() + wait_s > self._retrying.last_s:
            return False
        gevent.sleep(wait_s)
        return True

    def _log_in(self, planned: PlannedRequest, refused: Reply) -> bool:
        """Play the client's last login again; whether that gave it new values."""
        login = find_login(planned)
        if login is None:
            return False
        with self._locks[login]:  # what is refused meanwhile waits for the same login
            if self._logged_in_s.get(login, float("-inf")) > (refused.sent_s or 0.0):
                return True
            for way in logins(login, self._by_number):
                if response := self._play_way(way, planned.request):
                    # Where the values came from an earlier login of the same endpoint, they stand at the same places.
                    self._values.answered(self._by_number[login], response)
                    self._logged_in_s[login] = self._clock()
                    return True
        return False

    def _play_way(self, way: tuple[PlannedRequest, ...], caused_by: int) -> Response | None:
        response: Response | None = None
        for planned in way:
            reply = self._send(planned, "login", caused_by)
            response = _response(reply) if reply else None
            if response is None or response.status >= 400:
                return None
            self._values.answered(planned, response)
        return response

    def _send(self, planned: PlannedRequest, why: str, caused_by: int | None = None) -> Reply | None:
        """Send a request once more and record that; None where it cannot be sent."""
        try:
            made = self._maker.make(planned)
        except NotReadyError:
            return None
        self._attempts[planned.request] += 1
        attempt = 1 + self._attempts[planned.request]
        reply = Reply(sent_s=self._clock(), error="stopped before its answer came")
        outcome = Outcome.UNSENT
        try:
            reply = self._client.send(made.request, made.data)
            outcome = outcome_of_reply(reply)
        finally:
            # Also where it is killed meanwhile.
            answer, worker = reply.answer, self._recorder.worker
            status = answer.status or None if answer else None
            error = reply.error or None
            self._recorder.retried(
                Attempt(
                    planned.request, attempt, why, caused_by, reply.sent_s, reply.done_s, status, outcome, error, worker
                )
            )
        return reply


def outcome_of_reply(reply: Reply) -> Outcome:
    """The outcome of what came back, or did not."""
    if reply.answer and not reply.error:
        return outcome_of(reply.answer.status, reply.answer.form.shape)
    return Outcome.TIMEOUT if reply.timed_out else Outcome.NO_CONNECTION


def _failure(reply: Reply) -> int | str | None:
    response = _response(reply)
    return failure_of(response.status if response else None, timed_out=reply.timed_out)


def _response(reply: Reply) -> Response | None:
    return reply.answer.response() if reply.answer and not reply.error else None
