"""The reasons of a verdict in sentences, the weightiest first."""

from replay.evidence.values import Outcome
from replay.judge.afterwards import not_compared
from replay.judge.case import Case
from replay.judge.findings import (
    BLOCKING,
    ELSEWHERE,
    GROUNDS,
    GROUNDS_OF,
    SUSPECT,
    TOLERATED,
    WHOLE_STAGE,
    Check,
    Finding,
    listed,
    percent,
    seconds,
)
from replay.judge.pairs.compared import BESIDE
from replay.judge.trust.databases import unseen_accepted

_MOST = 4
_STALLS = ("stall_s", "stalls_s")
_TOLD_S = 0.25  # shorter waits for a lock are nobody's concern


def reasons(verdict: str, findings: list[Finding], checks: list[Check], cases: list[Case]) -> list[str]:
    """The sentences that a verdict rests on. Never empty."""
    blocking = [finding for finding in findings if finding.severity == BLOCKING]
    suspects = [finding for finding in findings if finding.severity == SUSPECT]
    failed = [check for check in checks if check.about == "evidence" and not check.passed]
    told = _told(_weightiest(_own(blocking)))
    told += grounds(blocking)
    told += [f"{check.sentence} {check.hint}".strip() for check in failed]
    if verdict == "NO_GO":
        told += _beside(suspects, blocking)
    if verdict == "INCONCLUSIVE":
        elsewhere = any(one.evidence.get(ELSEWHERE) for one in suspects)
        seen = "Not confirmed" if elsewhere else "Seen once, not confirmed"
        told += [f"{sentence} {seen}: rehearse again." for sentence in _told(_weightiest(suspects))]
    if verdict == "GO":
        told += [*_why_go(cases, findings), *_seen_once(findings), *unseen_accepted(checks), *not_compared(checks)[:1]]
    return told or ["There is no evidence to judge. Rehearse first."]


def grounds(blocking: list[Finding]) -> list[str]:
    """What findings rest on: a sentence for each ground, the strongest first; of several, each names its findings."""
    found = {ground: [one for one in blocking if one.ground == ground] for ground in GROUNDS}
    found = {ground: mine for ground, mine in found.items() if mine}
    if len(found) == 1:
        return [GROUNDS[ground] for ground in found]
    said: set[str] = set()
    told = []
    for ground, mine in found.items():
        names = [name for name in dict.fromkeys(map(_subject, _weightiest(mine))) if name not in said]
        said |= set(names)
        if names:
            told.append(f"{GROUNDS_OF[ground]} {listed(names, _MOST)}.")
    return told


_SUBJECTS = {
    "step_failed": "the step that failed",
    "rollback_failed": "the rollback that failed",
    "lock_wait_s": "the wait for a lock",
    "lock_contention": "sessions that wait for each other",
    "replica_lag_s": "the replica's lag",
    "replica_lag_bytes": "the replica's lag",
    "log_lines": "the flood of the error log",
    "new_error_lines": "the new lines of the error log",
    "data_after_rollback": "what the rollback left behind",
    "migration_s": "how long the migration took",
}


def _subject(finding: Finding) -> str:
    """What a finding is about, in words."""
    if finding.endpoint is None:
        return _SUBJECTS.get(finding.metric or "", str(finding.metric))
    name = "the whole Stage" if finding.endpoint == WHOLE_STAGE else finding.endpoint
    return f"{name} (slow)" if finding.metric == "latency_p95_s" else name


def _seen_once(findings: list[Finding]) -> list[str]:
    """What one of two pairs of arms had and the other had not: no reason against a release, but to be known."""
    once = [one for one in findings if one.confirmed is False and (one.unit == "share" or one.metric in _STALLS)]
    told = [one.explanation for one in _weightiest(once)]
    more = f" There are {len(told) - 1} more such findings." if len(told) > 1 else ""
    return [f"{told[0]}{more}"] if told else []


def _own(findings: list[Finding]) -> list[Finding]:
    """Without those of pre-production that production's say already: under its traffic too."""
    said = {one.key for one in findings if one.role == "production" and one.only_in_production is False}
    return [one for one in findings if one.role != "pre-production" or one.key not in said]


def _beside(suspects: list[Finding], blocking: list[Finding]) -> list[str]:
    """What is suspected of further endpoints, where they are lost for good: no other word would be lost on them."""
    known = {one.endpoint for one in blocking}
    lost = [one for one in suspects if one.metric == "never_recovered" and one.endpoint not in known]
    if not lost:
        return []
    names = list(dict.fromkeys(str(one.endpoint) for one in lost))
    return [f"Seen beside it, and not confirmed: {listed(names, _MOST)} failed to the end."]


def _told(findings: list[Finding]) -> list[str]:
    """A sentence for each finding; of a workload's failing or slow endpoints the first has its own, others share."""
    told: dict[tuple[str, str, str] | int, str] = {}
    others: dict[tuple[str, str], list[Finding]] = {}
    roots: set[str | None] = set()
    for number, finding in enumerate(findings):
        kind = _SHARED.get(finding.unit if finding.unit == "share" else finding.metric or "")
        if kind is not None and (finding.workload, kind, "first") in told:
            others.setdefault((finding.workload, kind), []).append(finding)
            continue
        sentence = _sentence(finding, is_new=finding.root not in roots)
        roots.add(finding.root)
        if kind is None:
            told[number] = sentence
        else:
            told[finding.workload, kind, "first"] = sentence
            told[finding.workload, kind, "others"] = ""
    for (workload, kind), more in others.items():
        told[workload, kind, "others"] = _together(more, kind)
    return [sentence for sentence in told.values() if sentence]


_SHARED = {"share": "failed", "latency_p95_s": "became slow", "never_recovered": "was still failing at the end"}


def _together(findings: list[Finding], kind: str) -> str:
    """One sentence for the further endpoints of a workload, the worst first."""
    worst: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda finding: -(finding.observed or 0.0)):
        worst.setdefault(str(finding.endpoint), finding)
    if kind == _SHARED["share"] and all(one.outcome == Outcome.UNSENT for one in findings):
        kind = "had requests that could not be sent"
    figure = seconds if kind == _SHARED["latency_p95_s"] else percent
    named = (
        list(worst)
        if kind == _SHARED["never_recovered"]
        else [f"{endpoint} ({figure(finding.observed or 0.0)})" for endpoint, finding in worst.items()]
    )
    count = "Another endpoint" if len(named) == 1 else f"{len(named)} more endpoints"
    scope = "" if findings[0].role == "pre-production" else _scope(findings) or _of_these(list(worst.values()))
    kind = kind if len(named) == 1 else kind.replace("was ", "were ")
    sentence = f"{count} {kind} under {findings[0].workload} too: {listed(named, _MOST)}."
    return f"{sentence} {scope}".strip()


_WEIGHT = {
    "step_failed": 0,
    "lock_wait_s": 1,
    "lock_contention": 1,
    "failures": 2,
    "changed_answers": 2,
    "never_recovered": 3,
    "rollback_failed": 4,
    "data_after_rollback": 4,
    "migration_s": 4,
    "replica_lag_s": 5,
    "replica_lag_bytes": 5,
    "log_lines": 6,
    "new_error_lines": 6,
    "recovery_s": 3,
    "stall_s": 7,
    "stalls_s": 7,
    "latency_p95_s": 8,
}


def _weightiest(findings: list[Finding]) -> list[Finding]:
    """Production first; the cause before its effects, those as they broke; of each endpoint the largest."""
    largest: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        key = (finding.workload, *finding.key)
        if key not in largest or (finding.effect or 0.0) > (largest[key].effect or 0.0):
            largest[key] = finding
    names = {finding.endpoint for finding in findings if finding.endpoint}
    return sorted(
        largest.values(),
        key=lambda finding: (
            finding.role != "production",
            _WEIGHT.get(finding.metric or "failures", 9),
            finding.root in names,
            -_slowed(finding),
        ),
    )


def _slowed(finding: Finding) -> float:
    """The share of slow answers: what waits most is nearest to the cause; who shares a processor with it, less."""
    slow = finding.failures or 0 if finding.metric == "latency_p95_s" else 0
    return slow / (finding.requests or 1)


def _sentence(finding: Finding, *, is_new: bool) -> str:
    """A finding with its cause, unless a sentence before it has told that (``is_new`` says that none has)."""
    told = finding.explanation if finding.explanation.endswith(".") else f"{finding.explanation}."
    cause = f"Cause: {finding.root}." if is_new and finding.unit == "share" and finding.proven and finding.root else ""
    return " ".join(part for part in (told, cause, _scope([finding])) if part)


def _of_these(findings: list[Finding]) -> str:
    """Where it happens, where some of the endpoints say another thing than others."""
    if len(findings) == 1:
        return _scope(findings)
    told = {True: "only under production's traffic", False: "under pre-production's traffic too"}
    counts = {what: sum(one.only_in_production is value for one in findings) for value, what in told.items()}
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    return f"Of these {', '.join(parts)}." if parts else ""


def _scope(findings: list[Finding]) -> str:
    """Where it happens, as far as all of the findings say the same."""
    only = {finding.only_in_production for finding in findings}
    if only == {True}:
        return "Only under production's traffic."
    if only == {False}:
        return "Under pre-production's traffic too."
    if (
        only == {None}
        and len(why := {str(finding.evidence.get(BESIDE) or "") for finding in findings}) == 1
        and any(why)
    ):
        return f"Pre-production's traffic {why.pop()}."
    return f"Seen under {findings[0].workload}." if findings[0].role == "pre-production" else ""


def _why_go(cases: list[Case], findings: list[Finding]) -> list[str]:
    """A sentence for each workload, over all of its arms with the steps, and one for what the plan set itself."""
    told = []
    for workload in dict.fromkeys(case.workload for case in cases):
        mine = [case for case in cases if case.workload == workload]
        asked = sum(int(case.later.sum()) for case in mine)
        failed = sum(int((case.flags("t_new") & case.later).sum()) for case in mine)
        where = f" in {len(mine)} arms" if len(mine) > 1 else ""
        told.append(
            f"{workload}: {asked} requests since the first step{where}, {failed} newly failing "
            f"({percent(failed / max(1, asked))}), {_put_up_with(mine, findings)}; every criterion passed."
        )
    told += [sentence for case in cases for sentence in _waited(case)][:1]
    own = cases[0].criteria.own if cases else {}
    if own:
        limits = ", ".join(f"{name} = {limit:g}" for name, limit in own.items())
        told.append(f"The plan has limits of its own: {limits}.")
    return told


def _waited(case: Case) -> list[str]:
    """The longest wait behind a step, where there was one that was not too long, and who failed for it."""
    if not case.queues or case.queues[0].longest_s < _TOLD_S:
        return []
    queue, rows = case.queues[0], case.flags("t_new") & case.later
    failed = int(case.met_cause(case.column("root_start")[rows], case.column("root_end")[rows]).sum())
    met = f" {failed} request{'s' * (failed != 1)} failed meanwhile." if failed else ""
    longest, allowed = seconds(queue.longest_s), seconds(case.criteria.lock_wait_s)
    told = f"{case.workload}: the application waited up to {longest} for a lock behind {queue.told}"
    return [f"{told}; {allowed} are allowed.{met}"]


def _put_up_with(cases: list[Case], findings: list[Finding]) -> str:
    """Why so many new failures of a workload's arms are none too many."""
    arms = {case.arm for case in cases}
    own = [one for one in findings if one.arm in arms]
    if any(one.evidence.get(TOLERATED) for one in own):
        return "as many as the plan's limits put up with"
    if any(one.confirmed is False and one.unit == "share" for one in own):
        return "what is more than noise of it in one of two pairs of passes only"
    still = {one.arm for one in own if one.metric == "stall_s"}
    masked = sum(int((case.flags("t_new") & case.later & case.masked[1]).sum()) for case in cases if case.arm in still)
    return (
        f"{masked} of them while the whole Stage stood still, too briefly to count" if masked else "no more than noise"
    )
