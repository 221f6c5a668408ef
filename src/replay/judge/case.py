"""One workload's two arms side by side: everything that the rules below look at, computed once."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import WAIT, Outcome
from replay.judge.answers.differences import pair
from replay.judge.answers.texts import Texts, texts_of
from replay.judge.arrays import Flags, Rows, Times, Values
from replay.judge.criteria import Criteria
from replay.judge.effects.noise import Stall, find_stalls, merge, near_stall, within
from replay.judge.findings import short
from replay.judge.phases import BEFORE, Span, step_spans
from replay.judge.probes.errors import NamedError, names_in
from replay.judge.probes.locks import Queue, lock_queues
from replay.judge.probes.severity import tells_error
from replay.judge.probes.sql_names import changed_names

_AFTERMATH_S = 2.0
_WAITED_S = 0.25
_SHOWN = 5


@dataclass(frozen=True)
class Case:
    """A workload with its control and its steps arm, and the plan's limits. ``migrations`` are the steps' SQL texts.

    ``givers`` are the endpoints that hand out what later requests authenticate with.

    ``more_controls`` are further arms without the steps: the steps arm is paired with ``control``, and all of them are
    the reference.
    """

    workload: str
    role: str
    control: ArmEvidence
    steps: ArmEvidence
    criteria: Criteria
    migrations: tuple[str, ...] = ()
    more_controls: tuple[ArmEvidence, ...] = ()
    givers: frozenset[str] = frozenset()

    @cached_property
    def beside(self) -> tuple["Case", ...]:
        """The same steps arm beside each further control."""
        return tuple(dataclasses.replace(self, control=control, more_controls=()) for control in self.more_controls)

    @property
    def arm(self) -> str:
        """The name of the steps arm."""
        return self.steps.info.arm

    @property
    def controls(self) -> tuple[ArmEvidence, ...]:
        """All arms without the steps."""
        return (self.control, *self.more_controls)

    @cached_property
    def all_spans(self) -> tuple[Span, ...]:
        """The steps of the steps arm."""
        return step_spans(self.steps.marks)

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Those that do more than wait: phases are told by them."""
        return tuple(span for span in self.all_spans if span.kind != WAIT)

    @cached_property
    def end_s(self) -> float:
        """When the steps arm ended."""
        ended = [mark.at_s for mark in self.steps.marks if not mark.step and mark.event != "started"]
        return max([self.steps.info.duration_s, *ended])

    @cached_property
    def first_step_s(self) -> float:
        """When the first step started; infinity where none did."""
        return min((span.started_s for span in self.spans), default=np.inf)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Each request of the steps arm beside its control, as `replay.judge.answers.differences.pair` has it."""
        return pair(
            self.control, self.steps, self.spans, self.givers, lambda endpoint: self.criteria.of(endpoint).patience_s
        )

    @cached_property
    def rows(self) -> dict[str, Rows]:
        """The positions in ``pairs`` of every endpoint, by name."""
        endpoint = texts_of(self.pairs["endpoint"])
        order = np.argsort(endpoint.codes, kind="stable")
        edges = np.searchsorted(endpoint.codes[order], np.arange(len(endpoint.names) + 1))
        found = {name: order[edges[n] : edges[n + 1]] for n, name in enumerate(endpoint.names)}
        return dict(sorted(found.items()))

    @cached_property
    def clients(self) -> Rows:
        """Whose request each pair is, as numbers from 0 on."""
        return self.pairs["client"].to_numpy(np.int64)

    def rows_of(self, endpoint: str) -> Rows:
        """The positions in ``pairs`` of an endpoint, none where it was not asked."""
        return self.rows.get(endpoint, np.array([], dtype=np.int64))

    def numbers(self, rows: Rows) -> list[int]:
        """The numbers of the first five requests at these positions in ``pairs``: where to look in the evidence."""
        return [int(number) for number in self.pairs["request"].to_numpy()[rows[:_SHOWN]]]

    @cached_property
    def phase(self) -> Texts:
        """The phase that each pair belongs to."""
        return texts_of(self.pairs["phase"])

    @cached_property
    def later(self) -> Flags:
        """Which pairs belong to a phase from the first step's start on."""
        return self.phase.where([name != BEFORE for name in self.phase.names])

    @cached_property
    def fair(self) -> Flags:
        """Which pairs say something: what fails in both arms does not."""
        return self.flags("c_good") | self.flags("c_new") | self.flags("t_good") | self.flags("t_new")

    @cached_property
    def queues(self) -> tuple[Queue, ...]:
        """Lock queues behind the steps, the longest wait first."""
        return lock_queues(self.steps.readings, self.spans)

    @cached_property
    def lock_windows(self) -> list[tuple[float, float]]:
        """When the application waited behind a step."""
        return merge([window for queue in self.queues for window in queue.windows])

    @cached_property
    def step_windows(self) -> list[tuple[float, float]]:
        """When the steps ran, and the aftermath of two seconds."""
        return merge([(span.started_s, span.end_s(self.end_s) + _AFTERMATH_S) for span in self.spans])

    @cached_property
    def control_stalls(self) -> tuple[Stall, ...]:
        """When the whole Stage stood still in the control."""
        return find_stalls(self.column("c_start"), self.column("c_end"), self.flags("c_good"), self.end_s)

    @cached_property
    def steps_stalls(self) -> tuple[Stall, ...]:
        """When the whole Stage stood still in the steps arm."""
        return find_stalls(self.column("t_start"), self.column("t_end"), self.flags("t_good"), self.end_s)

    @cached_property
    def later_stalls(self) -> tuple[Stall, ...]:
        """The steps arm's stalls that ended after the first step's start."""
        return tuple(stall for stall in self.steps_stalls if stall.to_s >= self.first_step_s)

    @cached_property
    def reference_stalls(self) -> tuple[Stall, ...]:
        """The controls' stalls and those before the first step."""
        before = tuple(stall for stall in self.steps_stalls if stall not in self.later_stalls)
        return tuple(stall for case in (self, *self.beside) for stall in case.control_stalls) + before

    def behind_lock(self, stall: Stall) -> bool:
        """Whether the application waited behind a step for at least half of a stall."""
        waits = merge([wait for queue in self.queues for wait in queue.waits])
        shared = [min(stall.to_s, end) - max(stall.from_s, start) for start, end in waits]
        return sum(max(0.0, overlap) for overlap in shared) >= stall.length_s / 2

    @cached_property
    def masked(self) -> tuple[Flags, Flags]:
        """Requests (of the control, of the steps arm) that met a stall of the whole Stage, which is one event.

        What a step's lock caused is never masked, nor stalls long enough to be judged themselves, nor any once
        they last longer together than the reference's by twice as much: then they are no noise.
        """
        limit_s = self.criteria.stall_s
        noise = [stall for stall in self.later_stalls if not self.behind_lock(stall) and stall.length_s < limit_s]
        usual_s = sum(stall.length_s for stall in self.reference_stalls)
        if sum(stall.length_s for stall in noise) > usual_s + 2 * limit_s:
            noise = []
        before = [stall for stall in self.steps_stalls if stall not in self.later_stalls]
        return (
            near_stall(self.column("c_start"), self.control_stalls),
            near_stall(self.column("t_start"), (*before, *noise)),
        )

    @cached_property
    def named_errors(self) -> tuple[NamedError, ...]:
        """The lines of logs that are new since the steps, tell an error, and name what the steps' SQL changes."""
        log = self.steps.log
        new = log[(log["at_s"] + 1 > self.first_step_s) & ~log["template"].isin(self.known_templates)]
        found = []
        for at_s, example, count in zip(new["at_s"], new["example"], new["count"], strict=True):
            line = str(example)
            if (names := names_in(line, self.changed)) and tells_error(line):
                found.append(NamedError(float(at_s), line, int(count), names))
        return tuple(found)

    @cached_property
    def known_templates(self) -> set[str]:
        """The templates of log lines that a control had, or the time before the steps."""
        log = self.steps.log
        early = log["template"][log["at_s"] + 1 <= self.first_step_s]
        return set(early).union(*(control.log["template"] for control in self.controls))

    @cached_property
    def changed(self) -> frozenset[str]:
        """The names of what the steps' SQL changes: tables, columns, constraints."""
        texts = [*self.migrations, *(one.statement for span in self.spans for one in span.statements)]
        return changed_names(texts)

    def column(self, name: str) -> Values:
        """A column of ``pairs`` as numbers."""
        return self._arrays(name, np.float64)

    def flags(self, name: str) -> Flags:
        """A column of ``pairs`` as flags."""
        return self._arrays(name, np.bool_)

    def texts(self, name: str) -> npt.NDArray[Any]:
        """A column of ``pairs`` as text."""
        return self._arrays(name, object)

    def _arrays(self, name: str, kind: Any) -> npt.NDArray[Any]:
        if name not in self._kept:
            self._kept[name] = self.pairs[name].to_numpy(kind)
        return self._kept[name]

    @cached_property
    def _kept(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    @cached_property
    def error_windows(self) -> list[tuple[float, float]]:
        """When errors came up that are new since the steps and name what they change."""
        return merge([(error.at_s - 1, error.at_s + 2) for error in self.named_errors])

    def met_cause(self, from_s: Times, to_s: Times) -> Flags:
        """Which intervals met what can prove a cause: a lock queue behind a step, or such an error at their end.

        ``from_s`` and ``to_s`` are (n,), in seconds of the steps arm: when each request was due and when it ended.
        """
        return self._met_lock(from_s, to_s, self.lock_windows) | within(to_s, to_s, self.error_windows)

    @staticmethod
    def _met_lock(from_s: Times, to_s: Times, windows: list[tuple[float, float]]) -> Flags:
        """What overlaps a lock queue and took time itself: an answer that failed at once did not wait for a lock."""
        return within(from_s, to_s, windows) & (to_s - from_s >= _WAITED_S)

    def cause_of(self, from_s: Times, to_s: Times) -> str | None:
        """What proves the cause of effects at these intervals, in words; None where less than half of them have it.

        ``from_s`` and ``to_s`` are (n,), in seconds of the steps arm; n may be 0, of which nothing is the cause.
        """
        if not len(from_s):
            return None
        if 2 * self._met_lock(from_s, to_s, self.lock_windows).sum() >= len(from_s):
            return max(self.queues, key=lambda queue: int(within(from_s, to_s, queue.windows).sum())).root
        if 2 * within(to_s, to_s, self.error_windows).sum() >= len(from_s):
            return named_root(self._error_at(to_s))
        return None

    def _error_at(self, to_s: npt.NDArray[np.float64]) -> str:
        """The line that tells most of the errors at these moments.

        One that tells an error itself, of these the one with most names, and of these the usual one.
        """
        tells, counts = dict[str, tuple[bool, int]](), Counter[str]()
        for error in self.named_errors:
            if within(to_s, to_s, [(error.at_s - 1, error.at_s + 2)]).any():
                line = short(error.line, 160)
                tells[line] = error.itself, len(error.names)
                counts[line] += error.count
        return max(sorted(tells), key=lambda line: (tells[line], counts[line]))


def named_root(line: str) -> str:
    """What a finding calls its cause where a line of the log proves it."""
    return f"error new since the steps: {short(line, 160)}"


def empty_like(arm: ArmEvidence) -> ArmEvidence:
    """An arm that has nothing, to stand for one that is missing."""
    return ArmEvidence(arm.info, arm.observations.iloc[:0], arm.readings.iloc[:0], arm.log.iloc[:0], (), ())


def as_far_as_played(arm: ArmEvidence) -> ArmEvidence:
    """An arm that did not come to its end, without the requests that were never played: Stage had no part in that."""
    if arm.info.state == "complete" or not len(arm.observations):
        return arm
    rows = arm.observations
    last_s = float(rows[["sent_s", "done_s"]].max().fillna(0.0).max())
    never = (rows["outcome"] == str(Outcome.UNSENT)) & (rows["due_s"] > last_s)
    info = dataclasses.replace(arm.info, duration_s=min(arm.info.duration_s, last_s))
    return dataclasses.replace(arm, info=info, observations=rows[~never].reset_index(drop=True))
