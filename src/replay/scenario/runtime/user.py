"""The locust user that replays a scenario: one in each locust process, sending for all of its clients."""

import gc
import inspect
import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import gevent
import locust
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from replay.errors import ExitCode, InputError, ReplayError, ToolError
from replay.evidence.files import ArmFolder
from replay.evidence.values import INTERRUPTED, Observation, Outcome, expected_outcome
from replay.scenario.lacking import kind_of
from replay.scenario.process import PARENT_VARIABLE
from replay.scenario.repeats import Coming, coming, only, per_second, round_of
from replay.scenario.runtime import pacing as pacings
from replay.scenario.runtime.carried import CarriedValues, find_renewals
from replay.scenario.runtime.engine import ArmClock, Engine, Play
from replay.scenario.runtime.loading import Loaded, load
from replay.scenario.runtime.options import Options, checked_target, read, register
from replay.scenario.runtime.pruning import keep_small
from replay.scenario.runtime.recorder import Recorder, worker_name
from replay.scenario.runtime.retries import OnFailure
from replay.scenario.runtime.start import await_start
from replay.scenario.runtime.starting import watch_start
from replay.scenario.runtime.together import Follower, Leader, end_workers
from replay.scenario.runtime.transport import HttpClient
from replay.scenario.runtime.web.tab import add_tab
from replay.scenario.runtime.web.tally import Tally
from replay.scenario.schedule import PlannedRequest

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
        if not session.claim():
            raise StopUser  # locust gave this process the user of one that is gone
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
            session.is_playing = False
        session.leave(ExitCode.GO)
        raise StopUser


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
        self.is_playing = False
        self._is_done = False
        runner = environment.runner
        self._follower = Follower(runner) if isinstance(runner, WorkerRunner) else None
        self._tally: Tally | None = None
        if environment.web_ui is not None:
            sent = only(loaded.schedule.requests, lambda one: one.endpoint not in loaded.answers)
            self._tally = Tally(per_second(sent), loaded.schedule.duration_s)
            add_tab(environment, self._tally.look, live=loaded.options.live, only_to_watch=_is_conducted())

    def claim(self) -> bool:
        """Whether nobody plays here yet, nor has, and whoever asks now does."""
        if self.is_playing or self._is_done:
            return False
        self.is_playing = True
        return True

    def renew(self) -> None:
        """A worker is to play again: its master has begun anew, and not only given out a lost worker's user."""
        self._is_done = False

    def open(self, index: int = 0, count: int = 1) -> Recorder:
        """The recorder of this replay, from now on answerable for every request of the part ``index`` of ``count``."""
        if self._recorder is None:
            options = self._loaded.options
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
        if self._follower:
            self._take_over_options(type(user))
        options = self._loaded.options
        target = checked_target(user.host or self._environment.host, options, self._loaded.scenario)
        if self._follower:
            share = self._follower.begin(len(self._loaded.schedule))
            recorder = self.open(share.index, share.count)
            start_at: float | None = share.start_at
        else:
            recorder, start_at = self.open(), options.start_at
        clock = ArmClock(await_start(options.start_file) if options.start_file else start_at)
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

    def _take_over_options(self, user_class: type[Replay]) -> None:
        """A worker that was started by itself gets its options from the master, with the first user."""
        assert self._environment.parsed_options is not None  # noqa: S101 - without them there is no session
        own = self._loaded.options.worker
        options = replace(read(self._environment.parsed_options), worker=own)
        if options != self._loaded.options:
            self._loaded = load(user_class, options)

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
            self.close(INTERRUPTED)

    def leave(self, code: int) -> None:
        """End the run, and the process too, whose exit code is the first that is not 0.

        A process that somebody started by hand to have a web page stays.
        """
        if self._follower:
            self._environment.process_exit_code = self._environment.process_exit_code or int(code)
            self._is_done = True
            self._follower.end(code)
        else:
            _leave(self._environment, code)

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


def _leave(environment: Environment, code: int) -> None:
    environment.process_exit_code = environment.process_exit_code or int(code)
    runner = environment.runner
    if runner is not None:
        # Not from within: the runner waits for the user that would be calling.
        stays = environment.web_ui and not _is_conducted()
        gevent.spawn(runner.stop if stays else lambda: _quit(environment))


def _quit(environment: Environment) -> None:
    runner, web_ui = environment.runner, environment.web_ui
    if runner is not None:
        runner.quit()
    if web_ui is not None and web_ui.server is not None:
        web_ui.server.stop(timeout=0)  # which locust waits for; a browser's open connection is not waited for


_SESSIONS: dict[int, Session] = {}
_LEADERS: dict[int, Leader] = {}


def _session(environment: Environment) -> Session:
    return _SESSIONS[id(environment)]


def _is_conducted() -> bool:
    """Whether a process of ours started this one, and waits for its end."""
    return PARENT_VARIABLE in os.environ


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
        code: int = error.exit_code
    except Exception:  # noqa: BLE001 - locust would leave with 1, which is NO_GO's
        traceback.print_exc()
        code = ExitCode.BROKEN
    else:
        return
    if isinstance(environment.runner, MasterRunner):
        end_workers()
    _leave_at_once(code)


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
    environment.process_exit_code = int(ExitCode.GO)
    if isinstance(environment.runner, MasterRunner):
        _lead(environment, environment.runner, classes[0], options)
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
    if alone or isinstance(environment.runner, WorkerRunner):
        file = Path(inspect.getfile(classes[0]))
        gevent.spawn(watch_start, environment.runner, file, lambda: session.has_begun, session.refuse)
    if alone:
        session.open()
        gevent.signal_handler(signal.SIGINT, session.interrupt)
        if parent := os.environ.get(PARENT_VARIABLE):
            gevent.spawn(_stop_with, int(parent), session)


def _lead(environment: Environment, runner: MasterRunner, user_class: type[Replay], options: Options) -> None:
    """One user for each worker, at once: every one of them plays a part of the schedule."""
    parsed: Any = environment.parsed_options
    count = max(1, int(parsed.expect_workers))
    if parsed.processes:  # whose workers have the same files, and would be waited for where they cannot be played
        load(user_class, options)
    user_class.fixed_count = parsed.num_users = parsed.spawn_rate = count
    _LEADERS[id(environment)] = Leader(
        runner,
        count,
        options.start_at,
        over=lambda code: _leave(environment, code),
        fail=lambda reason: _say(ToolError(reason)),
    )


def _stop_with(parent: int, session: Session) -> None:
    """End the load where the process that could end it is gone."""
    while os.getppid() == parent:
        gevent.sleep(1.0)
    session.interrupt()


@_EVENTS.quitting.add_listener  # type: ignore[untyped-decorator]
def _close(environment: Environment, **_: Any) -> None:
    _stop_leading(environment, ExitCode.INTERRUPTED)
    session = _SESSIONS.get(id(environment))
    if session is not None:
        session.end_early()


@_EVENTS.test_start.add_listener  # type: ignore[untyped-decorator]
def _begin(environment: Environment, **_: Any) -> None:
    session = _SESSIONS.get(id(environment))
    if session is not None:
        session.renew()


@_EVENTS.test_stop.add_listener  # type: ignore[untyped-decorator]
def _stop(environment: Environment, **_: Any) -> None:
    stays = environment.web_ui and not _is_conducted()
    _stop_leading(environment, ExitCode.GO if stays else ExitCode.INTERRUPTED)


def _stop_leading(environment: Environment, code: int) -> None:
    leader = _LEADERS.get(id(environment))
    if leader is not None and leader.stop():
        environment.process_exit_code = environment.process_exit_code or int(code)


def _say(error: ReplayError) -> None:
    sys.stderr.write(f"Error: {error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
