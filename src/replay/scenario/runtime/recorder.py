"""Every planned request is recorded once, and written within about a second of being known."""

import io
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import quote, quote_plus

import gevent
import gevent.threadpool
import pyarrow.parquet as pq

from replay.evidence.files import OBSERVATION_SCHEMA, ArmFolder, write_json
from replay.evidence.values import Attempt, Observation, Outcome, Sample
from replay.scenario.runtime.lengths import Lengths
from replay.scenario.schedule import PlannedRequest

_SEGMENT_EVERY_S = 1.0
_BODY_CHARACTERS = 2048
_LOOKED_AT_CHARACTERS = 16384
_MOST_UNSENT = 100_000
_OK_SAMPLES = 1
_OTHER_SAMPLES = 3
_SECRET = "[secret]"  # noqa: S105 - what stands in a secret's place
_SECRET_FIELD = re.compile(
    r'("[^"]*(?:token|secret|passw|api_?key|authorization|cookie|credential)[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*(?:"|$)',
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\bbearer\s+)[\w.~+/=-]+", re.IGNORECASE)


class Recorder:
    """Takes the observations of one worker and writes them in segments, beside the dispatch and not in its way.

    ``folder`` is None where nobody asked for evidence: then observations are counted only. ``on_failure`` is called
    where a segment cannot be written, since a replay that leaves no evidence is not worth its load.
    """

    def __init__(
        self,
        folder: ArmFolder | None,
        worker: str,
        planned: Sequence[PlannedRequest],
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.worker = worker
        self._folder = folder
        self._planned = len(planned)
        self._coming = iter(planned)
        self._next: PlannedRequest | None = next(self._coming, None)
        self._open: dict[int, PlannedRequest] = {}
        self._known = 0
        self._batch: list[Observation] = []
        self._retried: list[Attempt] = []
        self._retries = 0
        self._answered = 0
        self._lateness = Lengths()
        self._sampled: dict[tuple[str, str], int] = {}
        self._on_failure = on_failure
        self._started_at: str | None = None
        self._started = time.monotonic()
        self._cpu_at_start = time.process_time()
        self._writer: gevent.Greenlet | None = None
        self._closed = False
        if folder:
            folder.create()
            folder.hold()
            self._segments = folder.observations(worker)
            self._retry_segments = folder.retries(worker)
            # The first table costs some tenths of a second, which no request should pay for.
            pq.write_table(OBSERVATION_SCHEMA.empty_table(), io.BytesIO(), compression="zstd")

    def start(self, started_at: float) -> None:
        """Begin to write segments, and to measure the process's share of a core.

        ``started_at`` is the arm's common start in seconds since the epoch.
        """
        self._started_at = datetime.fromtimestamp(started_at, UTC).isoformat()
        self._started = time.monotonic()
        self._cpu_at_start = time.process_time()
        if self._folder:
            # So that a process that is killed leaves word that it was not done, and others learn when it began.
            self._write_summary(complete=False, reason="running", ended=False)
            self._writer = gevent.spawn(self._write_segments)

    def record(self, observation: Observation) -> bool:
        """Take what became of a request. False, and nothing else, where that is known already."""
        while self._next is not None and self._next.request <= observation.request:
            self._open[self._next.request] = self._next
            self._next = next(self._coming, None)
        if self._open.pop(observation.request, None) is None:
            return False
        self._known += 1
        if observation.sent_s is not None:
            self._lateness.add(observation.sent_s - observation.due_s - observation.waited_s)
        if self._folder:
            self._batch.append(observation)
        return True

    def retried(self, attempt: Attempt) -> None:
        """Take an attempt after the first: no request is known by it."""
        self._retries += 1
        if self._folder:
            self._retried.append(attempt)

    def answered(self) -> None:
        """A request that is not among the planned ones got an answer of the scenario's own."""
        self._answered += 1

    def sample(self, observation: Observation, body: bytes, secrets: frozenset[str]) -> None:
        """Keep a response to be shown, where there are too few of its kind yet."""
        kind = (observation.endpoint, observation.outcome)
        most = _OK_SAMPLES if observation.outcome == Outcome.OK else _OTHER_SAMPLES
        if self._folder is None or self._sampled.get(kind, 0) >= most:
            return
        self._sampled[kind] = self._sampled.get(kind, 0) + 1
        text = scrubbed(body[:_LOOKED_AT_CHARACTERS].decode("utf-8", "replace"), secrets)
        self._folder.sample(
            Sample(
                request=observation.request,
                endpoint=observation.endpoint,
                outcome=observation.outcome,
                at_s=observation.done_s or observation.due_s,
                status=observation.status,
                body=text[:_BODY_CHARACTERS],
                error=observation.error or "",
            )
        )

    def close(self, reason: str = "") -> bool:
        """Record what is left as unsent, because of ``reason``, and write everything. Whether the replay is complete.

        It is complete where nothing was left, so that as many requests were observed as planned. Of what had not come
        yet the first 100,000 are recorded: hours of it would take minutes to write, and say nothing.
        """
        complete = self._known == self._planned
        if self._closed:
            return complete
        self._closed = True
        complete = complete and not reason
        if self._writer:
            self._writer.kill()
        left = [*self._open.values(), *([] if self._next is None else [self._next])]
        left += islice(self._coming, _MOST_UNSENT)
        self._next, self._open = None, {planned.request: planned for planned in left}
        for planned in left:
            self.record(unsent(planned, self.worker, reason or "the replay ended before it"))
        if self._folder:
            self._segments.write(self._batch)
            self._retry_segments.write(self._retried)
            self._write_summary(complete=complete, reason=reason, ended=True)
        return complete

    def _write_summary(self, *, complete: bool, reason: str, ended: bool) -> None:
        if self._folder is None:
            return
        late = self._lateness
        wall_s = time.monotonic() - self._started
        summary = {
            "worker": self.worker,
            "planned": self._planned,
            "observed": self._known,
            "sent": late.count,
            "retries": self._retries,
            "answered": self._answered,
            "lateness_p50_s": late.quantile(0.50),
            "lateness_p99_s": late.quantile(0.99),
            "lateness_max_s": late.longest,
            "cpu_share": round((time.process_time() - self._cpu_at_start) / wall_s, 4) if ended else None,
            "started_at": self._started_at,
            "ended_at": datetime.now(UTC).isoformat() if ended else None,
            "complete": complete,
            "reason": reason,
        }
        write_json(self._folder.path / f"replay-{self.worker}.json", summary)

    def _write_segments(self) -> None:
        pool = gevent.threadpool.ThreadPool(1)
        while True:
            gevent.sleep(_SEGMENT_EVERY_S)
            batch, self._batch = self._batch, []
            retried, self._retried = self._retried, []
            writing = pool.spawn(self._write, batch, retried)
            try:
                # Not to be cut short by the close: what is being written is written.
                writing.get()
            except gevent.GreenletExit:
                writing.get()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no evidence
                self._batch = [*batch, *self._batch]
                self._retried = [*retried, *self._retried]
                self._on_failure(f"evidence cannot be written: {error}")
                return

    def _write(self, batch: Sequence[Observation], retried: Sequence[Attempt]) -> None:
        self._retry_segments.write(retried)  # first: written twice they do no harm
        self._segments.write(batch)


def unsent(
    planned: PlannedRequest, worker: str, error: str, caused_by: int | None = None, waited_s: float = 0.0
) -> Observation:
    """The observation of a request that was not sent, given up ``waited_s`` after it was due."""
    return Observation(
        request=planned.request,
        visit=planned.visit,
        client=planned.client,
        endpoint=planned.endpoint,
        due_s=planned.due_s,
        waited_s=waited_s,
        sent_s=None,
        first_byte_s=None,
        done_s=None,
        status=None,
        size_bytes=None,
        digest=None,
        shape=None,
        expected_status=planned.expected_status,
        expected_shape=planned.expected_shape,
        outcome=Outcome.UNSENT,
        error=error,
        caused_by=caused_by,
        worker=worker,
        expected_items=planned.expected_items,
        reads_back=planned.reads_back,
    )


def scrubbed(text: str, secrets: frozenset[str]) -> str:
    """The text without known secrets, and without the values of JSON fields that are named like one."""
    for secret in sorted(secrets, key=len, reverse=True):
        for written in {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret), quote(secret)}:
            text = text.replace(written, _SECRET)
    text = _SECRET_FIELD.sub(rf'\1"{_SECRET}"', text)
    return _BEARER.sub(rf"\1{_SECRET}", text)


def worker_name(index: int) -> str:
    """A writer's name that is unlike any other of the arm, also where workers run on several machines."""
    return f"{os.uname().nodename.partition('.')[0]}-{os.getpid()}-{index}"
