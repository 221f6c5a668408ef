"""The tables in the middle of the report: statements, the error log, responses, the quality of the evidence."""

from dataclasses import dataclass
from typing import Any

from replay.evidence.run import ArmEvidence
from replay.evidence.values import Sample
from replay.judge.probes.waits import StepWaits
from replay.report import formats, frames
from replay.report.frames import StepSpan
from replay.report.story import Story, rows

MOST_TEMPLATES = 12
MOST_RESPONSES = 14
LONGEST_BODY = 600


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One statement of a step (or the step itself, where it has none), and what it did in each workload's arm."""

    step: str
    kind: str
    statement: str
    runs: list["StatementRun | None"]


@dataclass(frozen=True, slots=True)
class StatementRun:
    """One statement in one arm. ``waited_s`` is its longest lock wait that a probe saw, None where none looked."""

    span: StepSpan
    waited_s: float | None


@dataclass(frozen=True, slots=True)
class OutageRow:
    """One outage of an endpoint: the interval that holds the moment when it broke, the one of its coming back."""

    endpoint: str
    broke: str
    broke_in: str
    back: str | None
    back_in: str
    failures: int
    requests: int
    again: bool = False  # what failed later, and to the end, was not sent or tells too little

    @property
    def share(self) -> float:
        """The share of its requests that failed, from the first failure to the last."""
        return self.failures / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class LogRow:
    """One template of the error log: its lines in each arm, when the arm with the steps first had it, an example."""

    template: str
    count: int
    control: int | None
    before: int | None
    first_s: float
    example: str


@dataclass(frozen=True, slots=True)
class LogTable:
    """The log of the main arm. ``rows`` is None where no log was read."""

    rows: list[LogRow] | None
    left_out: int
    lines_left_out: int


@dataclass(frozen=True, slots=True)
class Response:
    """A response as a client saw it, beside what the same endpoint gives in good times."""

    endpoint: str
    outcome: str
    at_s: float
    status: int | None
    error: str
    observed: str
    expected_status: int | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class ArmQuality:
    """How far one arm's evidence can be trusted. Lateness is the load generator's own, in seconds."""

    arm: str
    state: str
    planned: int
    observed: int
    unsent: int
    late_p50_s: float | None
    late_p99_s: float | None
    late_most_s: float | None
    damaged: tuple[str, ...]


def statements(story: Story) -> list[StatementRow]:
    """Every statement of the steps, side by side for production, pre-production and without traffic."""
    arms = [story.arm(name) for name in (story.main, story.before, story.quiet) if name is not None]
    made: dict[tuple[str, str, int], StatementRow] = {}
    for column, arm in enumerate(arms):
        waits = None if arm is None else StepWaits(arm.readings)
        for place, span in _numbered(arm):
            row = made.setdefault(
                (span.name, span.kind, place),
                StatementRow(span.name, span.kind, span.statement, [None] * len(arms)),
            )
            waited = waits.longest_s(span.name, span.started_s, span.ended_s) if waits else None
            row.runs[column] = StatementRun(span, waited)
    return list(made.values())


def outages(story: Story) -> list[OutageRow]:
    """The outages of the main workload's endpoints, in the order in which they began, in the arm that is shown."""
    made = []
    for row in _endpoints(story):
        of_row = rows(row.get("outages"))
        for one in of_row:
            first_bad_s, first_good_s = one.get("first_bad_s"), one.get("first_good_s")
            shown = OutageRow(
                endpoint=str(row.get("endpoint")),
                broke=formats.interval(one.get("last_good_s"), first_bad_s),
                broke_in=str(one.get("broke") or ""),
                back=None if first_good_s is None else formats.interval(one.get("last_bad_s"), first_good_s),
                back_in=str(one.get("came_back") or ""),
                failures=int(one.get("failures") or 0),
                requests=int(one.get("requests") or 0),
                again=bool(row.get("never_recovered")) and first_good_s is not None and one is of_row[-1],
            )
            made.append((float("inf") if first_bad_s is None else float(first_bad_s), shown))
    return [shown for _, shown in sorted(made, key=lambda pair: (pair[0], pair[1].endpoint))]


def _numbered(arm: ArmEvidence | None) -> list[tuple[int, StepSpan]]:
    """The statements of an arm, numbered within their step; a step without any stands for itself."""
    if arm is None:
        return []
    inner = frames.statement_spans(arm)
    with_statements = {span.name for span in inner}
    spans = sorted(
        [*inner, *(span for span in frames.step_spans(arm) if span.name not in with_statements)],
        key=lambda span: span.started_s,
    )
    seen: dict[str, int] = {}
    made = []
    for span in spans:
        seen[span.name] = seen.get(span.name, 0) + 1
        made.append((seen[span.name], span))
    return made


def log_lines(story: Story) -> LogTable:
    """The templates of the main arm's error log, those first that the control has least of."""
    arm = story.arm(story.main)
    if arm is None or (arm.log.empty and not (arm.readings["metric"] == "log_lines").any()):
        return LogTable(None, 0, 0)
    control, before = _counts(story.arm(story.main, steps=False)), _counts(story.arm(story.before))
    made = []
    for template, found in arm.log.groupby("template"):
        made.append(
            LogRow(
                template=str(template),
                count=int(found["count"].sum()),
                control=None if control is None else control.get(str(template), 0),
                before=None if before is None else before.get(str(template), 0),
                first_s=float(found["at_s"].min()),
                example=str(found["example"].iloc[0]),
            )
        )
    made.sort(key=lambda row: ((row.control or 0) - row.count, row.first_s, row.template))
    rest = made[MOST_TEMPLATES:]
    return LogTable(made[:MOST_TEMPLATES], len(rest), sum(row.count for row in rest))


def _counts(arm: ArmEvidence | None) -> dict[str, int] | None:
    if arm is None:
        return None
    return {str(template): int(count) for template, count in arm.log.groupby("template")["count"].sum().items()}


def responses(story: Story) -> list[Response]:
    """One response for each endpoint and bad outcome, the endpoints in the order in which they broke."""
    arm = story.arm(story.main)
    if arm is None:
        return []
    control = story.arm(story.main, steps=False)
    good: dict[str, Sample] = {}
    for sample in (*arm.samples, *(control.samples if control else ())):
        if sample.outcome == "ok":
            good.setdefault(sample.endpoint, sample)
    answered = arm.observations.dropna(subset=["expected_status"])
    expected = dict(zip(answered["request"], answered["expected_status"].astype(int), strict=True))
    order = {row.endpoint: place for place, row in enumerate(story.endpoint_rows(story.main))}
    seen: set[tuple[str, str]] = set()
    made = []
    for sample in sorted(arm.samples, key=lambda one: (order.get(one.endpoint, len(order)), one.at_s, one.request)):
        if sample.outcome == "ok" or (sample.endpoint, sample.outcome) in seen:
            continue
        seen.add((sample.endpoint, sample.outcome))
        like = good.get(sample.endpoint)
        made.append(
            Response(
                endpoint=sample.endpoint,
                outcome=sample.outcome,
                at_s=sample.at_s,
                status=sample.status,
                error=sample.error,
                observed=_cut(sample.body),
                expected_status=expected.get(sample.request),
                expected=None if like is None else _cut(like.body),
            )
        )
    return made[:MOST_RESPONSES]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_BODY else f"{text[:LONGEST_BODY]} … ({len(text):,} characters)"


def quality(story: Story) -> list[ArmQuality]:
    """The trust that each arm deserves."""
    made = []
    for arm in story.arms:
        seen = arm.observations
        late = (seen["sent_s"] - seen["due_s"] - seen["waited_s"]).dropna()
        made.append(
            ArmQuality(
                arm=arm.info.arm,
                state=arm.info.state,
                planned=arm.info.planned,
                observed=len(seen),
                unsent=int((seen["outcome"] == "unsent").sum()),
                late_p50_s=None if late.empty else max(float(late.quantile(0.5)), 0.0),
                late_p99_s=None if late.empty else max(float(late.quantile(0.99)), 0.0),
                late_most_s=None if late.empty else max(float(late.max()), 0.0),
                damaged=arm.damaged,
            )
        )
    return made


def what_cannot_be_said(story: Story) -> list[str]:
    """The limits of this very rehearsal, in sentences."""
    said = [str(warning) for warning in story.rehearsal.get("warnings") or []]
    for workload in story.workloads:
        shown = story.arm(workload)
        if workload in story.confirmed_workloads:
            said.append(
                f"{workload} met the steps in a second pair of passes too, with a control of its own, to see whether "
                "what one pair had shown without a proof comes back."
            )
        elif shown is not None and (times := story.repetitions(workload)) > 1:
            said.append(
                f"{workload} met the steps {times} times, and the verdict rests on all of them. "
                f"Where one arm is shown, it is {shown.info.arm}, that of its weightiest finding."
            )
    if story.before is None:
        said.append(
            "No pre-production workload was rehearsed, so nothing is said about what QA's tests would have seen."
        )
    if not story.rehearsal.get("reset"):
        said.append("Stage was not put back between the arms: what one arm wrote, the next one met.")
    measured = {metric for arm in story.arms if arm.info.steps for metric in arm.readings["metric"]}
    if "waiting_backends" not in measured and "lock_wait_s" not in measured:
        said.append(
            "No probe looked at the database's locks, so a lock queue would show only as slow or failed requests."
        )
    if "replica_lag_s" not in measured:
        said.append("No replica was measured.")
    if "log_lines" not in measured:
        said.append("No error log was read.")
    kinds = {span.kind for span in story.step_spans(story.main)}
    if not kinds & {"rollback", "revert"}:
        said.append("Undoing the change was not rehearsed.")
    if story.lost_arms:
        said.append(f"Of these planned arms there is nothing: {', '.join(story.lost_arms)}.")
    said.append(
        "Only the endpoints and the hours that the captures hold were replayed; a pattern of traffic that they do not "
        "have was not tried."
    )
    said.append(
        "Stage's machine, data and caches are not production's: durations will differ there, and rare events may not "
        "have come up in one pass."
    )
    return said


def smallest_effects(story: Story) -> list[dict[str, Any]]:
    """For each endpoint of the main workload: how many failures it would have taken to stand out from noise.

    ``failures`` and ``share`` are None where not even all of its requests would have.
    """
    made = []
    for row in _endpoints(story):
        smallest = row.get("smallest_effect")
        seen = smallest if isinstance(smallest, dict) and (smallest.get("share") or 0.0) <= 1 else {}
        made.append(
            {
                "endpoint": str(row.get("endpoint")),
                "workload": str(row.get("workload")),
                "requests": (row.get("steps") or {}).get("requests"),
                "failures": seen.get("failures"),
                "share": seen.get("share"),
            }
        )
    return made


def smallest_sentence(story: Story) -> str:
    """What of new failures a GO would have seen, for whoever releases on it. Empty for another verdict."""
    shares = [row["share"] for row in smallest_effects(story)] if story.word == "GO" else []
    seen = [share for share in shares if share is not None]
    unseen = len(shares) - len(seen)
    if not shares:
        return ""
    parts = [f"{_from_to(min(seen), max(seen))} of an endpoint's requests failing newly"] if seen else []
    parts += [f"of {unseen} asked too seldom, nothing"] if unseen else []
    return f"The smallest effect that would have been seen: {'; '.join(parts)}."


def _from_to(least: float, most: float) -> str:
    low, high = formats.share(least), formats.share(most)
    return high if low == high else f"{low} to {high}"


def _endpoints(story: Story) -> list[dict[str, Any]]:
    """What the verdict has of the main workload's endpoints, in the arm that is shown."""
    arm = story.arm(story.main)
    shown = {None, arm.info.arm if arm else None}
    return [
        row
        for row in rows(story.verdict.get("endpoints"))
        if row.get("workload") == story.main and row.get("arm") in shown
    ]


def provenance(story: Story) -> list[tuple[str, str]]:
    """Versions, digests and seed: what has to be the same for the same rehearsal."""
    run = story.rehearsal
    made = [
        ("replay", str(run.get("replay_version") or "")),
        ("Began", str(run.get("started_at") or "")),
        ("Ended", str(run.get("ended_at") or "")),
        ("Plan", str(run.get("plan_digest") or "")),
        ("Seed", str(run.get("seed") if run.get("seed") is not None else "")),
    ]
    for name, capture in (run.get("captures") or {}).items():
        made.append((f"Capture of {name}", f"{capture.get('path', '')} {capture.get('digest', '')}"))
    made += [
        (f"Migration {migration.get('step', '')}", f"{migration.get('file', '')} {migration.get('digest', '')}")
        for migration in rows(run.get("migrations"))
    ]
    stage = run.get("stage") or {}
    made.append(("Database", str(stage.get("database version") or "")))
    for digest, arms in _by_fingerprint(stage.get("fingerprints") or {}).items():
        made.append((f"Stage before {', '.join(arms)}", digest))
    return [(name, value.strip()) for name, value in made if value.strip()]


def _by_fingerprint(fingerprints: dict[str, object]) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for arm, digest in fingerprints.items():
        made.setdefault(str(digest), []).append(arm)
    return made
