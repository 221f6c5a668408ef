"""A share of an endpoint's requests as a finding: the figures that are the same whatever happened to them."""

from typing import Any

from replay.judge.arrays import Rows
from replay.judge.case import Case
from replay.judge.findings import Finding
from replay.judge.statistics import rate_difference

_SHOWN = 5


def share_finding(
    case: Case, phase: str, rows: Rows, hit: Rows, in_control: int, *, phi: float, **told: Any
) -> Finding:
    """What happened to the requests ``hit`` among ``rows``, and to ``in_control`` of them without the steps.

    Both are positions of pairs, (n,) and (x,). ``phi`` widens the interval; ``told`` are the finding's other fields, of
    which ``evidence`` gets the first requests added.
    """
    n, x = len(rows), len(hit)
    shown = [int(number) for number in case.pairs["request"].to_numpy()[hit[:_SHOWN]]]
    return Finding(
        workload=case.workload,
        arm=case.steps.info.arm,
        phase=phase,
        unit="share",
        observed=x / n,
        control=in_control / n,
        effect=(x - in_control) / n,
        interval=rate_difference(x, n, in_control, n, phi),
        requests=n,
        failures=x,
        **{**told, "evidence": {"requests": shown, **told.get("evidence", {})}},
    )


def without_steps(in_control: int) -> str:
    """How many of the same requests had it without the steps, as the end of a sentence."""
    return f"{in_control} of the same requests did" if in_control else "none of the same requests did"
