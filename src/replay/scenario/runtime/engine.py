"""The open loop: every request leaves at its own moment from the arm's start, whatever Stage does."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gevent
import gevent.event
import gevent.pool

from replay.evidence.values import Observation, Outcome, outcome_of
from replay.scenario.runtime.carried import CarriedValues, Missing
from replay.scenario.runtime.pacing import moment, predecessors
from replay.scenario.runtime.places import NoPlaceError, inject
from replay.scenario.runtime.recorder import Recorder, unsent
from replay.scenario.runtime.transport import HttpClient, Reply
from replay.scenario.schedule import PlannedRequest


class ArmClock:
    """Seconds since the arm's common start, by a clock that nobody sets."""

    def __init__(self, start_at: float | None) -> None:
        """``start_at`` is in seconds since the epoch; None is now."""
        now = time.time()
        self.start_at = now if start_at is None else start_at
        self._start = time.monotonic() + (self.start_at - now)

    def __call__(self) -> float:
        """The arm's time."""
        return time.monotonic() - self._start


@dataclass(frozen=True, slots=True)
class Play:
    """How a schedule is played: ``pacing``, the client that sends, and the scenario's own ``prepare``.

    Nothing is sent after ``last_s``: what still waits for a predecessor then stays unsent.
    """

    pacing: str
    last_s: float
    client: HttpClient
    values: CarriedValues
    recorder: Recorder
    prepare: Callable[[PlannedRequest, str], PlannedRequest]
    observed: Callable[[PlannedRequest, Observation], None]


class Engine:
    """Plays planned requests: one greenlet each from the moment it is due, so that none can delay another."""

    def __init__(self, requests: Sequence[PlannedRequest], clock: ArmClock, play: Play) -> None:
        self._requests = requests
        self._clock = clock
        self._play = play
        self._greenlets = gevent.pool.Group()
        self._answered: dict[int, gevent.event.AsyncResult] = {
            number: gevent.event.AsyncResult() for planned in requests for number in predecessors(planned, play.pacing)
        }
        self._roots: dict[int, int] = {}
        self._broken: Exception | None = None
        self._stopped = False

    def run(self) -> None:
        """Play to the end: returns when the last request is answered or given up. Raises what broke in the engine."""
        for planned in self._requests:
            self._sleep_until(planned.due_s)
            if self._stopped or self._broken:
                break
            self._greenlets.start(gevent.Greenlet(self._one, planned))
        self._greenlets.join()
        if self._broken:
            raise self._broken

    def stop(self) -> None:
        """Give up what is under way. Requests that had left are recorded as such."""
        self._stopped = True
        self._greenlets.kill()

    def _sleep_until(self, due_s: float) -> None:
        # A timer may fire a little early, as it starts from the loop's own idea of now.
        while (left_s := due_s - self._clock()) > 0:
            gevent.sleep(left_s)

    def _one(self, planned: PlannedRequest) -> None:
        done_s: float | None = None
        try:
            done_s = self._wait_and_send(planned)
        except gevent.GreenletExit:
            pass  # stopped: the recorder's close accounts for it
        except Exception as error:  # noqa: BLE001 - a defect here must end the run and not only this greenlet
            self._broken = self._broken or error
        finally:
            if answered := self._answered.get(planned.request):
                answered.set(self._clock() if done_s is None else done_s)

    def _wait_and_send(self, planned: PlannedRequest) -> float | None:
        """Play one request. When it was answered or given up; None where it was not sent."""
        play = self._play
        answers = []
        for number in predecessors(planned, play.pacing):
            try:
                answers.append(self._answered[number].get(timeout=max(0.0, play.last_s - self._clock())))
            except gevent.Timeout:
                why = f"the replay ended while it waited for request {number}"
                self._not_sent(planned, why, self._roots.get(number, number))
                return None
        waited_s = moment(planned.due_s, answers).waited_s
        needed = play.values.needed(planned)
        if isinstance(needed, Missing):
            self._not_sent(planned, needed.error, needed.caused_by)
            return None
        try:
            ready = play.prepare(inject(planned, needed), planned.client)
        except NoPlaceError as error:
            self._not_sent(planned, f"{error}", None)
            return None
        except Exception as error:  # noqa: BLE001 - prepare is the user's own code
            self._not_sent(planned, f"prepare raised {type(error).__name__}: {error}", None)
            return None
        handed_s = self._clock()
        try:
            reply = play.client.send(ready)
        except ValueError as error:
            self._not_sent(planned, str(error), None)
            return None
        except gevent.GreenletExit:
            self._record(planned, _stopped(planned, waited_s, handed_s, play.recorder.worker))
            raise
        self._keep(planned, reply, _observation(planned, waited_s, reply, play.recorder.worker))
        return reply.done_s

    def _not_sent(self, planned: PlannedRequest, error: str, caused_by: int | None) -> None:
        root = planned.request if caused_by is None else caused_by
        self._roots[planned.request] = root
        self._play.values.failed(planned, "it was not sent", root)
        waited_s = max(0.0, self._clock() - planned.due_s)
        self._record(planned, unsent(planned, self._play.recorder.worker, error, caused_by, waited_s))

    def _keep(self, planned: PlannedRequest, reply: Reply, observation: Observation) -> None:
        play = self._play
        response = reply.answer.response() if reply.answer and not reply.error else None
        if response:
            play.values.answered(planned, response)
        else:
            play.values.failed(planned, reply.error)
        self._record(planned, observation)
        body = response.body if response else b""
        play.recorder.sample(observation, body or b"", play.values.secrets(planned.client))

    def _record(self, planned: PlannedRequest, observation: Observation) -> None:
        if self._play.recorder.record(observation):
            self._play.observed(planned, observation)


def _observation(planned: PlannedRequest, waited_s: float, reply: Reply, worker: str) -> Observation:
    answer = reply.answer
    whole = answer if answer and not reply.error else None
    shape = whole.shape if whole else None
    if whole and shape is not None:
        outcome = outcome_of(whole.status, shape)
    else:
        outcome = Outcome.TIMEOUT if reply.timed_out else Outcome.NO_CONNECTION
    return Observation(
        request=planned.request,
        visit=planned.visit,
        client=planned.client,
        endpoint=planned.endpoint,
        due_s=planned.due_s,
        waited_s=waited_s,
        sent_s=reply.sent_s,
        first_byte_s=reply.first_byte_s,
        done_s=reply.done_s,
        status=answer.status or None if answer else None,
        size_bytes=answer.size_bytes if answer else None,
        digest=whole.digest if whole else None,
        shape=shape,
        expected_status=planned.expected_status,
        expected_shape=planned.expected_shape,
        outcome=outcome,
        error=reply.error or None,
        caused_by=None,
        worker=worker,
    )


def _stopped(planned: PlannedRequest, waited_s: float, sent_s: float, worker: str) -> Observation:
    """Sent, but nobody waited for the answer: says nothing of Stage, so no outcome of Stage's."""
    answerless = _observation(planned, waited_s, Reply(sent_s=sent_s, error="stopped before its answer came"), worker)
    return dataclasses.replace(answerless, outcome=Outcome.UNSENT)
