"""The open loop: every request leaves at its own moment from the arm's start, whatever Stage does."""

import dataclasses
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import gevent
import gevent.event
import gevent.pool

from replay.evidence.values import Observation, Outcome
from replay.scenario.answers import Answers, GivenAnswer
from replay.scenario.repeats import Coming
from replay.scenario.runtime.alarm import Alarm
from replay.scenario.runtime.backlog import Backlog
from replay.scenario.runtime.carried import CarriedValues, Missing
from replay.scenario.runtime.garbage import Collector
from replay.scenario.runtime.making import Made, Maker, NotReadyError
from replay.scenario.runtime.pacing import moment, predecessors
from replay.scenario.runtime.recorder import Recorder, unsent
from replay.scenario.runtime.retries import Policies
from replay.scenario.runtime.retrying import Retrier, Retrying, outcome_of_reply
from replay.scenario.runtime.transport import HttpClient, Reply
from replay.scenario.runtime.turns import Turn, Turns
from replay.scenario.schedule import PlannedRequest

_AHEAD_S = 0.02  # a request is made ready so long before it is due, so that only sending it is left
_OPEN_AHEAD_S = 0.0015  # and it has its connection, so near that no other request of its client would be done with one
_MAKING_S = 0.0003  # what it takes to make one, as a rule
_KEEPING_S = 0.0005  # what it takes to keep an answer, at most, and what each byte of it adds: its shape is found
_KEEPING_S_A_BYTE = 2.5e-8


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

    Nothing is sent after ``last_s``: what still waits for a predecessor then stays unsent. Nothing is ever sent to an
    endpoint that has one of ``answers``; the recorder is not told of such requests.
    """

    pacing: str
    last_s: float
    client: HttpClient
    values: CarriedValues
    recorder: Recorder
    prepare: Callable[[PlannedRequest, str], PlannedRequest]
    observed: Callable[[PlannedRequest, Observation], None]
    policies: Policies
    seed: int
    answers: Answers = field(default_factory=dict)


class Engine:
    """Plays planned requests: one greenlet each from shortly before it is due, so that none can delay another."""

    def __init__(self, coming: Coming, clock: ArmClock, play: Play) -> None:
        """``coming`` are the requests in order, each with those that nobody needs any more once it is over."""
        self._coming = coming
        self._clock = clock
        self._play = play
        self._greenlets = gevent.pool.Group()
        self._alarm = Alarm(clock)
        self._turns = Turns()
        self._backlog = Backlog(self._alarm, clock, self._break)
        self._maker = Maker(play.values, play.prepare, play.client, play.answers.keys())
        self._needed: dict[int, PlannedRequest] = {}
        retrying = Retrying(play.policies, play.seed, play.last_s)
        self._retrier = Retrier(retrying, self._needed, clock, self._maker, play.recorder)
        self._answered: dict[int, gevent.event.AsyncResult] = {}
        self._under_way: deque[tuple[int, tuple[int, ...]]] = deque()
        self._over: set[int] = set()
        self._roots: dict[int, int] = {}
        self._broken: Exception | None = None
        self._stopped = False

    def run(self) -> None:
        """Play to the end: returns when the last request is answered or given up. Raises what broke in the engine."""
        collector = Collector(self._alarm, self._clock)
        try:
            for planned, ends in self._coming:
                self._sleep_until(planned.due_s - _AHEAD_S)
                if self._stopped or self._broken:
                    break
                self._under_way.append((planned.request, ends))
                if planned.request not in ends:
                    self._needed[planned.request] = planned
                    self._answered[planned.request] = gevent.event.AsyncResult()
                self._greenlets.start(gevent.Greenlet(self._one, planned))
            self._greenlets.join()
        finally:
            collector.close()
            self._alarm.close()
            self._backlog.finish()
        if self._broken:
            raise self._broken

    def stop(self) -> None:
        """Give up what is under way. Requests that had left are recorded as such."""
        self._stopped = True
        self._greenlets.kill()
        self._backlog.finish()

    def _break(self, error: Exception) -> None:
        self._broken = self._broken or error

    def _sleep_until(self, moment_s: float) -> None:
        # A timer may fire a little early, as it starts from the loop's own idea of now.
        while (left_s := moment_s - self._clock()) > 0:
            gevent.sleep(left_s)

    def _one(self, planned: PlannedRequest) -> None:
        done_s: float | None = None
        try:
            done_s = self._wait_and_send(planned)
        except gevent.GreenletExit:
            pass  # stopped: the recorder's close accounts for it
        except Exception as error:  # noqa: BLE001 - a defect here must end the run and not only this greenlet
            self._break(error)
        finally:
            if answered := self._answered.get(planned.request):
                answered.set(self._clock() if done_s is None else done_s)
            self._forget(planned.request)

    def _forget(self, over: int) -> None:
        """Let go of what nobody needs any more now that request ``over`` is: a replay may go on for many hours."""
        self._over.add(over)
        while self._under_way and self._under_way[0][0] in self._over:
            number, ends = self._under_way.popleft()
            self._over.discard(number)
            for end in ends:
                self._needed.pop(end, None)
                self._answered.pop(end, None)
                self._roots.pop(end, None)
                self._play.values.forget(end)
                self._retrier.forget(end)

    def _wait_and_send(self, planned: PlannedRequest) -> float | None:
        """Play one request. When it was answered or given up; None where it was not sent."""
        answers = []
        for number in predecessors(planned, self._play.pacing):
            try:
                answered = self._answered.setdefault(number, gevent.event.AsyncResult())
                answers.append(answered.get(timeout=max(0.0, self._play.last_s - self._clock())))
            except gevent.Timeout:
                why = f"the replay ended while it waited for request {number}"
                self._not_sent(planned, why, self._roots.get(number, number))
                return None
        waited_s = moment(planned.due_s, answers).waited_s
        if given := self._play.answers.get(planned.endpoint):
            return self._answer(planned, given, planned.due_s + waited_s)
        turn = self._turns.take(planned.visit, planned.due_s + waited_s)
        try:
            reply = self._make_and_send(planned, turn, waited_s)
        finally:
            self._turns.stand(turn)
        if reply is None:
            return None
        takes_s = _KEEPING_S + (reply.answer.decoded_bytes * _KEEPING_S_A_BYTE if reply.answer else 0.0)
        self._backlog.put(lambda: self._keep(planned, waited_s, reply), takes_s)
        last = self._retrier.follow(planned, reply)
        self._carry(planned, last)
        return last.done_s

    def _answer(self, planned: PlannedRequest, given: GivenAnswer, at_s: float) -> float | None:
        """Let a request have the scenario's own answer, as if it had come. It is not sent, and no evidence of Stage."""
        needed = self._play.values.needed(planned)
        if isinstance(needed, Missing):
            self._not_sent(planned, needed.error, needed.caused_by)
            return None
        self._sleep_until(at_s + given.delay_s)
        self._play.values.answered(planned, given.response(planned.request))
        self._play.recorder.answered()
        return self._clock()

    def _make_and_send(self, planned: PlannedRequest, turn: Turn, waited_s: float) -> Reply | None:
        self._alarm.await_quiet(_MAKING_S, planned.due_s - _AHEAD_S / 2)
        try:
            made = self._maker.make(planned)
        except NotReadyError as error:
            self._not_sent(planned, str(error), error.caused_by)
            return None
        handed_s = self._clock()
        try:
            return self._send_at(turn, made)
        except gevent.GreenletExit:
            self._record(planned, _stopped(planned, waited_s, handed_s, self._play.recorder.worker))
            raise

    def _send_at(self, turn: Turn, made: Made) -> Reply:
        client, request, at_s = self._play.client, made.request, turn.moment_s
        self._sleep_until(at_s - _OPEN_AHEAD_S)
        opened = client.open(request.client)
        try:
            self._turns.await_earlier(turn)
            self._turns.stand(turn)
            self._alarm.wait_until(at_s, lambda: client.push(opened, made.data))
        except gevent.GreenletExit:
            client.release(request.client, opened)
            raise
        return client.send(request, made.data, opened, at_s)

    def _not_sent(self, planned: PlannedRequest, error: str, caused_by: int | None) -> None:
        root = planned.request if caused_by is None else caused_by
        self._roots[planned.request] = root
        self._play.values.failed(planned, "it was not sent", root)
        waited_s = max(0.0, self._clock() - planned.due_s)
        self._record(planned, unsent(planned, self._play.recorder.worker, error, caused_by, waited_s))

    def _carry(self, planned: PlannedRequest, reply: Reply) -> None:
        """Let the requests that follow have what a reply hands out."""
        if reply.answer and not reply.error:
            self._play.values.answered(planned, reply.answer.response())
        else:
            self._play.values.failed(planned, reply.error)

    def _keep(self, planned: PlannedRequest, waited_s: float, reply: Reply) -> None:
        """Record what became of the first attempt, which is what arms are compared by."""
        recorder = self._play.recorder
        observation = _observation(planned, waited_s, reply, recorder.worker)
        self._record(planned, observation)
        body = reply.answer.response().body if reply.answer and not reply.error else None
        recorder.sample(observation, body or b"", self._play.values.secrets(planned.client))

    def _record(self, planned: PlannedRequest, observation: Observation) -> None:
        if self._play.recorder.record(observation):
            self._play.observed(planned, observation)


def _observation(planned: PlannedRequest, waited_s: float, reply: Reply, worker: str) -> Observation:
    answer = reply.answer
    whole = answer if answer and not reply.error else None
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
        shape=whole.form.shape if whole else None,
        expected_status=planned.expected_status,
        expected_shape=planned.expected_shape,
        outcome=outcome_of_reply(reply),
        error=reply.error or None,
        caused_by=None,
        worker=worker,
        items=whole.form.items if whole else None,
        expected_items=planned.expected_items,
        reads_back=planned.reads_back,
    )


def _stopped(planned: PlannedRequest, waited_s: float, sent_s: float, worker: str) -> Observation:
    """Sent, but nobody waited for the answer: says nothing of Stage, so no outcome of Stage's."""
    answerless = _observation(planned, waited_s, Reply(sent_s=sent_s, error="stopped before its answer came"), worker)
    return dataclasses.replace(answerless, outcome=Outcome.UNSENT)
