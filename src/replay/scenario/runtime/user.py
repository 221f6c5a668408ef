"""The locust user that replays a scenario: one in each locust process, sending for all of its clients."""

import gc
import inspect
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import gevent
import locust
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from replay.errors import ExitCode, InputError, ReplayError
from replay.evidence.files import ArmFolder
from replay.evidence.values import Observation, Outcome, expected_outcome
from replay.scenario.answers import Answers, read_answers
from replay.scenario.copies import lend
from replay.scenario.data import read_data
from replay.scenario.identities import Identities, needed_columns, rank_clients, read_identities
from replay.scenario.lacking import kind_of, tell_example, tell_lacking
from replay.scenario.pace import pace
from replay.scenario.payloads import PAYLOADS, read_payloads
from replay.scenario.pools import bindings_of, parse_pools
from replay.scenario.process import NOTE, PARENT_VARIABLE
from replay.scenario.repeats import Coming, coming, only, per_second, round_of
from replay.scenario.runtime import pacing as pacings
from replay.scenario.runtime.answering import notes_on
from replay.scenario.runtime.binding import bind
from replay.scenario.runtime.carried import CarriedValues, find_renewals
from replay.scenario.runtime.engine import ArmClock, Engine, Play
from replay.scenario.runtime.filling import Filler
from replay.scenario.runtime.options import Options, checked_target, read, register
from replay.scenario.runtime.pruning import keep_small
from replay.scenario.runtime.recorder import Recorder, worker_name
from replay.scenario.runtime.retries import OnFailure, Policies
from replay.scenario.runtime.start import await_start
from replay.scenario.runtime.starting import watch_start
from replay.scenario.runtime.transport import HttpClient
from replay.scenario.runtime.web.tab import add_tab
from replay.scenario.runtime.web.tally import Tally
from replay.scenario.schedule import PlannedRequest, Schedule

_EVENTS: Any = locust.events  # which have no types
_SWITCH_S = 0.0005


class Replay(locust.User):
    """Replays the scenario whose data lies beside the locustfile.

    ``scenario`` is the data's folder; ``pacing`` is ``visits`` (what followed an answer waits for it) or ``strict``
    (everything at its due time, except that a value is waited for). ``on_failure`` is what clients do about an answer
    that failed and did not in the capture: ``give_up``, ``retry``, ``reauth`` or a ``Retry``; or a mapping of these by
    endpoint or client, see ``Policies``.
    """

    abstract = True
    fixed_count = 1
    scenario: ClassVar[str] = ""
    pacing: ClassVar[str] = pacings.VISITS
    on_failure: ClassVar[OnFailure] = "give_up"

    def prepare(self, request: PlannedRequest, client: str) -> PlannedRequest:  # noqa: ARG002 - for scenarios to use
        """Change a request just before it is sent: sign it, say. Stage's own values are in it already.

        It is called for every attempt. What has to be the same in all of them, such as an idempotency key, is made from
        ``request.request``.
        """
        return request

    @locust.task
    def replay(self) -> None:
        """Play the schedule once; then the run is over."""
        session = _session(self.environment)
        try:
            session.play(self)
        except ReplayError as error:
            _say(error)
            session.leave(error.exit_code)
        except Exception:  # noqa: BLE001 - whatever broke, it must not look like a verdict
            traceback.print_exc()
            session.close("the replay itself broke")
            session.leave(ExitCode.BROKEN)
        finally:
            session.close("the run was stopped")
        session.leave(ExitCode.GO)
        raise StopUser


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario read from disk and checked, with what the command line says about it."""

    options: Options
    scenario: dict[str, Any]
    schedule: Schedule
    identities: Identities
    filler: Filler
    pacing: str
    policies: Policies
    answers: Answers


class Session:
    """One replay in this process: from its start to the evidence's last segment."""

    def __init__(self, environment: Environment, loaded: Loaded) -> None:
        self._environment = environment
        self._loaded = loaded
        self._recorder: Recorder | None = None
        self._engine: Engine | None = None
        self._coming: Coming = iter(())
        self._plays = 0
        self.has_begun = False
        self._tally: Tally | None = None
        if environment.web_ui is not None:
            sent = only(loaded.schedule.requests, lambda one: one.endpoint not in loaded.answers)
            self._tally = Tally(per_second(sent), loaded.schedule.duration_s)
            add_tab(environment, self._tally.look, live=loaded.options.live, only_to_watch=_is_conducted())

    def open(self) -> Recorder:
        """The recorder of this replay, from now on answerable for every planned request."""
        if self._recorder is None:
            options = self._loaded.options
            index, count = _place(self._environment)
            folder = ArmFolder(options.evidence) if options.evidence else None
            if folder and self._plays:
                raise InputError("This arm was played already.", "Start locust again with another --evidence folder.")
            requests = pacings.part(self._loaded.schedule, index, count)
            sent = only(requests, lambda planned: planned.endpoint not in self._loaded.answers)
            self._recorder = Recorder(folder, options.worker or worker_name(index), sent, self._fail)
            self._coming = coming(requests)
            self._plays += 1
        return self._recorder

    def play(self, user: Replay) -> None:
        """Play the whole schedule. Raises ReplayError where load may not go to the target."""
        self.has_begun = True
        options = self._loaded.options
        target = checked_target(user.host or self._environment.host, options, self._loaded.scenario)
        recorder = self.open()
        clock = ArmClock(await_start(options.start_file) if options.start_file else options.start_at)
        if self._tally:
            self._tally.clock = clock
        client = HttpClient(target, timeout_s=options.timeout_s, clock=clock)
        play = Play(
            pacing=self._loaded.pacing,
            last_s=self._loaded.schedule.duration_s + options.timeout_s,
            client=client,
            values=CarriedValues(self._loaded.identities, find_renewals(round_of(self._loaded.schedule).requests)),
            recorder=recorder,
            prepare=self._loaded.filler.before(user.prepare),
            observed=self._observed,
            policies=self._loaded.policies,
            seed=options.seed,
            answers=self._loaded.answers,
        )
        self._engine = Engine(self._coming, clock, play)
        recorder.start(clock.start_at)
        pruning = gevent.spawn(keep_small, self._environment.stats)
        try:
            self._engine.run()
        finally:
            pruning.kill()
            client.close()
        self.close()

    def refuse(self, reason: str) -> None:
        """Nobody can play: account for that and leave."""
        _say(InputError(reason, "Mend the locustfile."))
        self.close(reason)
        self.leave(ExitCode.INPUT)

    def close(self, reason: str = "") -> None:
        """Account for every planned request and write what is there. Again: nothing."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        if self._engine:
            self._engine.stop()
        recorder.close(reason)

    def interrupt(self) -> None:
        """Somebody wants it to stop: keep what there is, and leave."""
        self.end_early()
        self.leave(ExitCode.GO)

    def end_early(self) -> None:
        """Close a replay that is not over, if there is one, and let the exit code say so."""
        if self._recorder is not None:
            self._environment.process_exit_code = self._environment.process_exit_code or int(ExitCode.INTERRUPTED)
            self.close("interrupted")

    def leave(self, code: int) -> None:
        """End the run, and the process too, whose exit code is the first that is not 0.

        A process that somebody started by hand to have a web page stays.
        """
        self._environment.process_exit_code = self._environment.process_exit_code or int(code)
        runner = self._environment.runner
        if runner is not None:
            # Not from within: the runner waits for the user that would be calling.
            gevent.spawn(runner.stop if self._environment.web_ui and not _is_conducted() else self._quit)

    def _quit(self) -> None:
        runner, web_ui = self._environment.runner, self._environment.web_ui
        if runner is not None:
            runner.quit()
        if web_ui is not None and web_ui.server is not None:
            web_ui.server.stop(timeout=0)  # which locust waits for; a browser's open connection is not waited for

    def _fail(self, reason: str) -> None:
        sys.stderr.write(f"Error: {reason}\n")
        self._environment.process_exit_code = int(ExitCode.BROKEN)
        gevent.spawn(self._give_up, reason)

    def _give_up(self, reason: str) -> None:
        try:
            self.close(reason)
        finally:
            self.leave(ExitCode.BROKEN)

    def _observed(self, planned: PlannedRequest, observation: Observation) -> None:
        if self._tally:
            self._tally.observed(observation)
        sent_s, done_s = observation.sent_s, observation.done_s
        expected = expected_outcome(planned.expected_status, planned.expected_shape)
        request_event: Any = self._environment.events.request
        request_event.fire(
            request_type=planned.method,
            name=planned.endpoint.removeprefix(f"{planned.method} "),
            response_time=(done_s - sent_s) * 1000 if sent_s is not None and done_s is not None else None,
            response_length=observation.size_bytes or 0,
            exception=None if observation.outcome == expected else _Failure(observation, expected),
            context={},
        )


class _Failure(Exception):
    """How a response was not what the capture had. Locust counts failures by these words, so they hold no values."""

    def __init__(self, observation: Observation, expected: Outcome) -> None:
        more = f" {observation.status}" if observation.status else ""
        if observation.outcome == Outcome.UNSENT:
            more = f": {kind_of(observation.error or '')}"
        super().__init__(f"{observation.outcome}{more}" + ("" if expected == Outcome.OK else f" instead of {expected}"))

    def __repr__(self) -> str:
        return str(self)  # which locust's tables show


def load(user_class: type[Replay], options: Options) -> Loaded:
    """Read a scenario's data and pace it. Raises InputError where it cannot be played."""
    folder = data_folder(user_class)
    scenario, schedule = read_data(folder)
    answers = read_answers(folder, scenario)
    for note in notes_on(answers, schedule):
        sys.stderr.write(f"{NOTE}{note}\n")
    policies = Policies(user_class.on_failure, schedule.copies)
    for key in policies.unmatched(schedule):
        sys.stderr.write(f"{NOTE}on_failure has {key!r}, which is no endpoint and no client of the scenario.\n")
    ranked = rank_clients(schedule)
    bindings = bindings_of(schedule, parse_pools(options.pools))
    for binding in bindings:
        sys.stderr.write(f"{binding.told}\n")
    payloads = folder / PAYLOADS
    filler = Filler(read_payloads(payloads) if payloads.exists() else {}, bindings)
    schedule = bind(schedule, bindings)
    schedule = pace(
        schedule, speed=options.speed, scale=options.scale, duration_s=options.duration_s, seed=options.seed
    )
    once = round_of(schedule)
    pacings.check(once, user_class.pacing)
    needed = needed_columns(once)
    identities = read_identities(options.identities, ranked, needed) if options.identities else {}
    lent = lend(schedule, identities)
    policies = Policies(user_class.on_failure, schedule.copies)  # which now has more copies
    lack = tell_lacking(once, identities, options.identities)
    for note in (lent.note if identities else "", *([lack, tell_example(folder)] if lack else [])):
        sys.stderr.write(f"{note}\n" if note else "")
    return Loaded(options, scenario, lent.schedule, lent.identities, filler, user_class.pacing, policies, answers)


def data_folder(user_class: type[Replay]) -> Path:
    """Where a scenario's data lies: beside the file of the class that names it. Raises InputError."""
    for owner in user_class.__mro__:
        if vars(owner).get("scenario"):
            return Path(inspect.getfile(owner)).resolve().parent / user_class.scenario
    raise InputError(f"{user_class.__name__} names no scenario.", 'Set `scenario = "NAME.data"` in the class.')


_SESSIONS: dict[int, Session] = {}


def _session(environment: Environment) -> Session:
    return _SESSIONS[id(environment)]


def _is_conducted() -> bool:
    """Whether a process of ours started this one, and waits for its end."""
    return PARENT_VARIABLE in os.environ


def _place(environment: Environment) -> tuple[int, int]:
    """Which worker this process is, and of how many."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner) and environment.parsed_options:
        return runner.worker_index, max(1, int(environment.parsed_options.expect_workers))
    return 0, 1


@_EVENTS.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    register(parser)


@_EVENTS.init.add_listener  # type: ignore[untyped-decorator]
def _prepare(environment: Environment, **_: Any) -> None:
    """Read and check everything before the first request; what is wrong ends locust here with a sentence."""
    try:
        _prepare_session(environment)
    except ReplayError as error:
        _say(error)
        _leave_at_once(error.exit_code)
    except Exception:  # noqa: BLE001 - locust would leave with 1, which is NO_GO's
        traceback.print_exc()
        _leave_at_once(ExitCode.BROKEN)


def _leave_at_once(code: int) -> NoReturn:
    """End the process with just this code: threads of Arrow's that are starting up could abort an ordinary exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _prepare_session(environment: Environment) -> None:
    classes = [cls for cls in environment.user_classes if issubclass(cls, Replay)]
    parsed = environment.parsed_options
    if parsed is None:
        return
    if _is_conducted() and len(environment.user_classes) > len(classes):
        others = ", ".join(cls.__name__ for cls in environment.user_classes if cls not in classes)
        raise InputError(
            f"The locustfile has users that are no Replay, whose load nobody would check: {others}.",
            "Keep them in a file of their own.",
        )
    if not classes:
        return
    if len(classes) > 1:
        names = ", ".join(cls.__name__ for cls in classes)
        raise InputError(
            f"One scenario is replayed at a time, not {names}.",
            "Keep one in the file and let the others be `abstract = True`; plain locust takes a name: "
            f"locust -f FILE.py {classes[0].__name__}.",
        )
    options = read(parsed)
    distributed = isinstance(environment.runner, (MasterRunner, WorkerRunner))
    if distributed and options.evidence and options.start_at is None:
        raise InputError("Workers need a common start to write evidence of one arm.", "Give --start-at EPOCH_SECONDS.")
    environment.process_exit_code = int(ExitCode.GO)
    if isinstance(environment.runner, MasterRunner):
        # One user for each worker: every one of them plays the part of the schedule that its index gives it.
        classes[0].fixed_count = parsed.num_users = max(1, int(parsed.expect_workers))
        return
    if parsed.num_users is not None and parsed.num_users > 1 and not distributed:
        sys.stderr.write(f"One user sends for all clients: --users {parsed.num_users} counts as 1, see --scale.\n")
    loaded = load(classes[0], options)
    host = environment.host or classes[0].host
    alone = (environment.web_ui is None or _is_conducted()) and not distributed
    if host or alone:
        checked_target(host, options, loaded.scenario)
    session = Session(environment, loaded)
    _SESSIONS[id(environment)] = session
    # A schedule is large and stays: the collector need not walk through it while requests are due.
    gc.collect()
    gc.freeze()
    # The thread that writes evidence gives the interpreter back soon.
    sys.setswitchinterval(_SWITCH_S)
    if alone:
        session.open()
        gevent.signal_handler(signal.SIGINT, session.interrupt)
        file = Path(inspect.getfile(classes[0]))
        gevent.spawn(watch_start, environment.runner, file, lambda: session.has_begun, session.refuse)
        if parent := os.environ.get(PARENT_VARIABLE):
            gevent.spawn(_stop_with, int(parent), session)


def _stop_with(parent: int, session: Session) -> None:
    """End the load where the process that could end it is gone."""
    while os.getppid() == parent:
        gevent.sleep(1.0)
    session.interrupt()


@_EVENTS.quitting.add_listener  # type: ignore[untyped-decorator]
def _close(environment: Environment, **_: Any) -> None:
    session = _SESSIONS.get(id(environment))
    if session is not None:
        session.end_early()


def _say(error: ReplayError) -> None:
    sys.stderr.write(f"Error: {error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
