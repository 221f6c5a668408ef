"""Whether a second pair of arms shows again what the first one could only suspect.

Tests on a single pair of arms cry wolf once failures come in bursts, however they are made; what two independent pairs
show at the same place hardly ever does. So one pair screens, and what it finds without a proof is played once more,
with a control of its own. What is proven (a step that failed, a lock behind the step, an error that names what the
steps changed, a direct measurement) needs no second pair.
"""

import dataclasses
from collections.abc import Collection, Iterable, Sequence

from replay.judge.findings import BLOCKING, ELSEWHERE, NOTE, ONE_PAIR, PROVEN, RANK, STRONG, SUSPECT, Check, Finding
from replay.judge.pairs.again import Again, is_weighed

NOTHING = Again()


def unconfirmed(findings: Sequence[Finding], checks: Iterable[Check]) -> dict[str, str]:
    """The workloads that want a second pair of arms, each with the steps arm that it repeats.

    None where the verdict is NO_GO by what is proven, nor where the evidence is unsound: another pair would not help.
    """
    if any(finding.severity == BLOCKING and finding.rests_on == PROVEN for finding in findings):
        return {}
    unsound = {check.workload for check in checks if check.voids and not check.passed}
    wanted: dict[str, str] = {}
    for finding in findings:
        is_open = finding.severity != NOTE and finding.rests_on == ONE_PAIR and finding.confirmed is None
        if is_open and not unsound & {None, finding.workload}:
            wanted.setdefault(finding.workload, finding.arm)
    return wanted


def confirm(
    first: Sequence[Finding],
    second: Sequence[Finding],
    again: Again = NOTHING,
    *,
    sound: bool = True,
) -> list[Finding]:
    """The findings of the first pair (or its repetitions) and of the second, as what both say together.

    ``again`` is what both show by their evidence taken together: of an endpoint's failures and latency nothing else
    counts as shown by both. Of all other findings that counts which both pairs have.
    An unproven one that both show is blocking. One that a single pair shows is a suspect where it was strong enough to
    be blocking by itself, or an outage longer than any burst, else a note. What both show at other requests stays a
    suspect: it is what differs anyway, or what the steps do at random. Where the evidence is not ``sound`` nothing
    is confirmed, and nothing dismissed.
    """
    together = _together(first, second)
    if not sound:
        return together
    both = {key for key in _seen(first) & _seen(second) if not is_weighed(key)} | again.shown
    return [_weighed(one, both, again.elsewhere) for one in together]


def _seen(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    """The places at which a pair shows an effect that is no chance: a note may be one, if another pair suspects it."""
    return {finding.key for finding in findings}


def _together(first: Sequence[Finding], second: Sequence[Finding]) -> list[Finding]:
    """The findings of both pairs; of those that say the same the weightier one."""
    found: dict[tuple[str | None, ...], Finding] = {}
    for finding in (*first, *second):
        place = (*finding.key, finding.outcome, finding.probe, finding.phase)
        other = found.setdefault(place, finding)
        if (RANK[finding.severity], not finding.proven) < (RANK[other.severity], not other.proven):
            found[place] = finding
    return list(found.values())


def _weighed(finding: Finding, both: Collection[tuple[str, str]], elsewhere: Collection[tuple[str, str]]) -> Finding:
    if finding.rests_on != ONE_PAIR or finding.severity == NOTE:
        return finding
    told = finding.explanation.rstrip(".")
    if finding.key in both:
        return dataclasses.replace(
            finding, severity=BLOCKING, confirmed=True, explanation=f"{told}; a second pair of passes showed it again."
        )
    if finding.key in elsewhere:
        return dataclasses.replace(
            finding,
            severity=SUSPECT,
            confirmed=False,
            explanation=f"{told}; a second pair of passes showed it, but at other requests.",
            evidence={**finding.evidence, ELSEWHERE: True},
        )
    severity = SUSPECT if finding.severity == BLOCKING or finding.evidence.get(STRONG) else NOTE
    return dataclasses.replace(
        finding, severity=severity, confirmed=False, explanation=f"{told}; of two pairs of passes only one showed it."
    )
