"""Evidence in, verdict out, and ``verdict.json`` beside the evidence.

``verdict.json`` (times are seconds of the arm; shares between 0 and 1; floats have six significant digits; nothing in it
depends on when or where it was made)::

    format 1, name (the run's), verdict GO | NO_GO | INCONCLUSIVE, reasons [sentence...]
    workload_verdicts {workload: GO | NO_GO | INCONCLUSIVE}, each judged alone
    roles {workload: role}

    findings [...] in the order in which things broke:
      workload, arm, phase ("during STEP", "after STEP"), severity, proven
          severity: blocking (NO_GO), suspect (seen once, not confirmed: INCONCLUSIVE), note (shown, changes nothing)
          proven: a lock behind the step, an error naming what the step changed, or a direct measurement proves the cause
      endpoint ("*" is the whole Stage) or probe ("steps" for a step that failed); the other is null
      outcome (refused, server error, empty, timeout, no connection, unsent, wrong shape) and difference (emptied, newly
          failing, wrong shape); or metric (latency_p95_s, stall_s, never_recovered, lock_wait_s, replica_lag_s,
          replica_lag_bytes, log_lines, step_failed, rollback_failed)
      unit (share, s, bytes, lines/s, count), control, observed, effect (observed - control), interval [low, high]|null,
          p_value | null, requests and failures (the counts behind a share)
      only_in_production true | false | null; interaction {effect, interval, pre_production} | null: how much larger the
          effect is than under the pre-production workload
      root (a sentence part, or the endpoint that caused it) | null; explanation (one sentence)
      first_bad_s, recovered_s (null: never), outage_s of the endpoint
      evidence {"requests": [numbers], ...}; of a lock: {step, statement, held_up_by, held_up_by_query, queued,
          waiting_endpoints {endpoint: longest wait}, from_s, to_s}; of a replica: {replica, at_s, caught_up_s, growing,
          slope, bytes}; of a log: {at_s, seconds, templates [{template, count, new}]}; of a step: {step, kind,
          statement, error}

    criteria [{name, about (change | evidence), limit, observed, passed, workload | null, sentence, hint}]
    limits {name: number}: the criteria as they were set
    arms [{arm, workload, role, steps, state, duration_s, planned, observed, outcomes {outcome: n}, latency_s {p50, p95,
          p99} | null, lateness_p99_s, max_replica_lag_s, max_replica_lag_bytes, max_lock_wait_s, log_lines}]
    steps [{arm, workload, step, kind, started_s, ended_s, duration_s, failed, error, lock_wait_s (the application's
          longest behind it), own_wait_s, queued, statements [{index, statement, started_s, ended_s, duration_s, failed,
          error, rows}]}]
    endpoints [{workload, endpoint, control {requests, failed, empty, p50_s, p95_s}, steps {the same}, phases {phase:
          {requests, failed, empty, control_failed, p95_s}}, first_bad_s, recovered_s, never_recovered, outage_s,
          smallest_effect {failures, share} | null}]    failed counts new failures, see `replay.judge.differences`
    broke_first [{workload, endpoint, first_bad_s, recovered_s, share, root}]: the endpoints that broke by themselves
    timeline [{at_s, workload, arm, kind (step, endpoint, recovery, lock, replica, log), subject, what}]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.evidence.files import write_json
from replay.evidence.run import Evidence, read_run
from replay.judge.criteria import parse_criteria
from replay.judge.findings import Check, Finding, plain

GO = "GO"
NO_GO = "NO_GO"
INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Verdict:
    """GO, NO_GO or INCONCLUSIVE, with its reasons, findings and checks. ``facts`` are the tables of ``verdict.json``."""

    name: str
    verdict: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    workload_verdicts: dict[str, str]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The content of ``verdict.json``."""
        document: dict[str, Any] = plain(
            {
                "format": 1,
                "name": self.name,
                "verdict": self.verdict,
                "reasons": self.reasons,
                "findings": self.findings,
                "criteria": self.checks,
                "workload_verdicts": self.workload_verdicts,
                **self.facts,
            }
        )
        for check in document["criteria"]:
            del check["voids"]
        return document


def judge_run(path: Path) -> Verdict:
    """Judge the run in folder ``path``, write its ``verdict.json``, and return the verdict.

    Raises InputError where ``path`` is not a run or its criteria cannot be read.
    """
    verdict = judge(read_run(path))
    write_json(path / "verdict.json", verdict.to_json())
    return verdict


def judge(evidence: Evidence) -> Verdict:
    """The verdict on the evidence. Pure: the same evidence gives the same verdict, to the byte."""
    parse_criteria(evidence.rehearsal.get("criteria") or {})
    name = str(evidence.rehearsal.get("name", ""))
    return Verdict(name, INCONCLUSIVE, ("Nothing is judged yet.",), (), (), {}, {})
