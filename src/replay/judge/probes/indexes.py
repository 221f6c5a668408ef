"""Invalid indexes that the steps left behind: they cost every write, and serve no query."""

from collections.abc import Iterable, Iterator, Sequence

from replay.evidence.run import ArmEvidence
from replay.judge.case import Case
from replay.judge.findings import NOTE, Finding, listed, short
from replay.judge.phases import BEFORE
from replay.judge.probes.waits import detail_of

METRIC = "invalid_indexes"
_MOST_TOLD = 5


def left_invalid(steps: ArmEvidence, controls: Sequence[ArmEvidence]) -> dict[str, list[str]] | None:
    """By probe, the indexes that are invalid after the steps, and were not before, nor after a control.

    None where no probe read them at both moments. Only probes that left some are named.
    """
    before, after = _invalid(steps, "start"), _invalid(steps, "end")
    compared = before.keys() & after.keys()
    if not compared:
        return None
    left = {}
    for probe in sorted(compared):
        known = before[probe].union(*(_invalid(arm, moment).get(probe, set()) for arm in controls for moment in _ALL))
        if new := sorted(after[probe] - known):
            left[probe] = new
    return left


_ALL = ("start", "end")


def _invalid(arm: ArmEvidence, moment: str) -> dict[str, set[str]]:
    rows = arm.readings[arm.readings["metric"] == METRIC]
    found: dict[str, set[str]] = {}
    for probe, text in zip(rows["probe"], rows["detail"], strict=True):
        detail = detail_of(text)
        names = detail.get("indexes")
        if detail.get("moment") == moment and isinstance(names, list):
            found[str(probe)] = set(map(str, names))
    return found


def index_findings(cases: Iterable[Case]) -> list[Finding]:
    """A note for each workload and probe whose database has invalid indexes since the steps. It weighs nothing."""
    found: dict[tuple[str, str], Finding] = {}
    for case in cases:
        for probe, names in (left_invalid(case.steps, case.controls) or {}).items():
            found.setdefault((case.workload, probe), _left(case, probe, names))
    return list(found.values())


def _left(case: Case, probe: str, names: list[str]) -> Finding:
    statements = {name: statement for name in names for statement in _naming(case, name)}
    return Finding(
        workload=case.workload,
        arm=case.arm,
        phase=case.spans[-1].after if case.spans else BEFORE,
        role=case.role,
        unit="count",
        observed=float(len(names)),
        control=0.0,
        explanation=f"{told_left(names)} An invalid index costs every write and serves no query: drop it, or build it "
        "anew.",
        severity=NOTE,
        probe=probe,
        metric=METRIC,
        effect=float(len(names)),
        root=short(next(iter(statements.values())), 160) if statements else None,
        evidence={"indexes": names, "statements": statements},
    )


def told_left(names: Sequence[str]) -> str:
    """That indexes were left behind, as a sentence."""
    several = len(names) > 1
    return (
        f"The steps left {len(names) if several else 'an'} invalid index{'es' * several} behind: "
        f"{listed(names, _MOST_TOLD)}."
    )


def _naming(case: Case, index: str) -> Iterator[str]:
    """The first statement of the steps that names an index."""
    bare = index.rpartition(".")[2].strip('"').lower()
    texts = (one.statement for span in case.spans for one in span.statements)
    yield from [text for text in texts if bare in text.lower()][:1]
