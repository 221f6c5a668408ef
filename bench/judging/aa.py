"""How often the judge is wrong about rehearsals in which the steps do nothing.

    python bench/judging/aa.py --rehearsals N [--regime I|M|S|X|H|all] [--processes 2] [--seed S] [--keep FILE]
    python bench/judging/aa.py --show --regime M --seed S

Each rehearsal has two workloads (`regimes.py`) and follows the protocol: one pair of arms each is judged; where the
verdict leaves workloads to be confirmed, a second pair of these is played, and all of it is judged together. Each
rehearsal is a line of FILE (build/judging/aa.jsonl), with what was suspected and what was found; runs with other seeds
add up, and the table is of all of them. ``--show`` tells of a single one. Leaves with 1 where a regime that is not the
hardest has more than 1% NO_GO, or any less than 95% GO.
"""

import json
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from keeping import asking, known_of, left_of
from measure import print_table
from regimes import REGIMES, Pair, evidence, mixed, pair, scheduled

from replay.judge.findings import NOTE
from replay.judge.statistics import wilson
from replay.judge.verdict import GO, INCONCLUSIVE, NO_GO, Verdict, judge

WORKLOADS = (("production", "production"), ("qa", "pre-production"))
HARDEST = "X"
KEEP = Path("build/judging/aa.jsonl")
STEPS_S = (5.0, 20.0)  # every other rehearsal has a brief step


def rehearse(regime: str, seed: int) -> tuple[Verdict, Verdict]:
    """The verdicts on one rehearsal in which nothing was done: on the first pairs, and once all were played."""
    rng = np.random.default_rng([seed, ord(regime)])
    step_s = STEPS_S[seed % len(STEPS_S)]
    plans = {name: scheduled(rng, name, role, mixed(rng)) for name, role in WORKLOADS}
    pairs: list[tuple[Pair, int]] = [
        (pair(rng, plan, REGIMES[regime], first=number == 0), 1) for number, plan in enumerate(plans.values())
    ]
    first = judge(evidence(*pairs, step_s=step_s))
    if not first.unconfirmed:
        return first, first
    more = [(pair(rng, plans[name], REGIMES[regime]), 2) for name in sorted(first.unconfirmed)]
    return first, judge(evidence(*pairs, *more, step_s=step_s))


def result(regime: str, seed: int) -> dict[str, Any]:
    """One rehearsal as a line of the results."""
    first, last = rehearse(regime, seed)
    return {
        "regime": regime,
        "seed": seed,
        "verdict": last.verdict,
        "first": first.verdict,
        "suspected": told(first),
        "found": told(last),
        "failed": sorted({check.name for check in last.checks if check.about == "evidence" and not check.passed}),
    }


def show(regime: str, seed: int) -> None:
    """Print what one rehearsal came to."""
    first, last = rehearse(regime, seed)
    for verdict in (first, last) if last is not first else (last,):
        print(verdict.verdict, *verdict.reasons, sep="\n  ")
        for one in verdict.findings:
            if one.severity != NOTE or one.confirmed is not None:
                print(f"  {one.severity}, p = {one.p_value}, {one.arm}: {one.explanation}")


def told(verdict: Verdict) -> list[list[Any]]:
    """What was found that is no note: which rule, how weighty, where, how large and how sure."""
    return [
        [one.metric or "failures", one.severity, one.workload, one.endpoint, one.phase, one.failures, one.requests]
        for one in verdict.findings
        if one.severity != NOTE
    ]


def _result(task: tuple[str, int]) -> dict[str, Any]:
    return result(*task)


def gather(tasks: list[tuple[str, int]], processes: int) -> Iterator[dict[str, Any]]:
    """The results of all tasks, as they come."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_result, tasks, chunksize=4)


def add_up(results: Iterable[dict[str, Any]]) -> bool:
    """Print the table of all results, and say whether the bars are met."""
    by_regime: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        by_regime.setdefault(one["regime"], []).append(one)
    rows, well = [], True
    for regime in sorted(by_regime, key=list(REGIMES).index):
        mine = by_regime[regime]
        verdicts = Counter(one["verdict"] for one in mine)
        second = sum(bool(one["suspected"]) for one in mine)
        rows.append(
            [
                regime,
                f"{len(mine)}",
                *(_rate(verdicts[name], len(mine)) for name in (NO_GO, INCONCLUSIVE, GO)),
                _rate(second, len(mine)),
            ]
        )
        well &= regime == HARDEST or verdicts[NO_GO] <= 0.01 * len(mine)
        well &= verdicts[GO] >= 0.95 * len(mine)
        for kind, count in _rules(mine).most_common():
            print(f"{regime}: {kind}: {count}")
    print_table(["regime", "rehearsals", "NO_GO", "INCONCLUSIVE", "GO", "suspected by one pair"], rows)
    return well


def _rate(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{100 * count / of:.2f}% ({100 * low:.2f} to {100 * high:.2f})"


def _rules(results: list[dict[str, Any]]) -> Counter[str]:
    """Which rule raised what is no GO, or which check failed."""
    wrong = [one for one in results if one["verdict"] != GO]
    found = {(one["seed"], one["verdict"], *finding[:2]) for one in wrong for finding in one["found"]}
    failed = {(one["seed"], one["verdict"], name, "evidence") for one in wrong for name in one["failed"]}
    return Counter(f"{verdict} by {rule} ({kind})" for _, verdict, rule, kind in found | failed)


def main() -> int:
    """Rehearse, keep the results, and print what all of them say."""
    parser = asking(__doc__, KEEP)
    parser.add_argument("--show", action="store_true", help="print what the rehearsal of this seed comes to, no more")
    asked = parser.parse_args()
    if asked.show:
        show(asked.regime, asked.seed)
        return 0
    known = known_of(asked.keep)
    with asked.keep.open("a", encoding="utf-8") as kept:
        for result in gather(left_of(asked, known), asked.processes):
            print(json.dumps(result), file=kept, flush=True)
            known.append(result)
    return 0 if add_up(known) else 1


if __name__ == "__main__":
    sys.exit(main())
