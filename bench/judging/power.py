"""What the judge finds of effects that are planted into rehearsals: each cell of the study's table, and some more.

    python bench/judging/power.py --rehearsals N [--regime I|M|S|X|H|all] [--processes 2] [--seed S] [--keep FILE]

One workload has an endpoint for each cell, whose effect is planted into the steps arm of both pairs; the second pair is
judged with the first, as in a rehearsal that was not sure. An effect is found where its endpoint has a finding that
makes the verdict NO_GO. The whole Stage's lock is planted into a rehearsal of its own, of one pair. Each rehearsal is a
line of FILE (build/judging/power.jsonl); runs with other seeds add up, and the table is of all of them.
"""

import json
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from keeping import asking, known_of, left_of
from measure import print_table
from regimes import DURATION_S, REGIMES, STEP_S, Arm, Endpoint, evidence, mixed, pair, scheduled

from replay.judge.findings import BLOCKING
from replay.judge.verdict import judge

KEEP = Path("build/judging/power.jsonl")
STEP_LASTS_S = 5.0
STAGE = "a 5 s lock of the whole Stage (one pair)"
Plant = Callable[[np.random.Generator, Arm, np.ndarray], None]


def failing(share: float, from_s: float = STEP_S, to_s: float = DURATION_S) -> Plant:
    """Let a share of the requests fail."""

    def plant(rng: np.random.Generator, arm: Arm, rows: np.ndarray) -> None:
        here = _between(arm, rows, from_s, to_s)
        arm.bad[here[rng.random(len(here)) < share]] = True

    return plant


def so_many(count: int) -> Plant:
    """Let so many requests fail, whenever."""

    def plant(rng: np.random.Generator, arm: Arm, rows: np.ndarray) -> None:
        arm.bad[rng.permutation(_between(arm, rows, STEP_S, DURATION_S))[:count]] = True

    return plant


def outage(length_s: float = 5.0) -> Plant:
    """Let all fail for some seconds, at a moment of its own in every pair."""

    def plant(rng: np.random.Generator, arm: Arm, rows: np.ndarray) -> None:
        start_s = rng.uniform(STEP_S + 2, DURATION_S - 20)
        arm.bad[_between(arm, rows, start_s, start_s + length_s)] = True

    return plant


def outage_of(count: int) -> Plant:
    """Let so many requests in a row fail."""

    def plant(rng: np.random.Generator, arm: Arm, rows: np.ndarray) -> None:
        here = _between(arm, rows, STEP_S + 2, DURATION_S)
        start = int(rng.integers(0, len(here) - count))
        arm.bad[here[start : start + count]] = True

    return plant


def doubled(slowest: float = 1.0, *, own: bool = True) -> Plant:
    """Double the latency of the slowest, by what is their own or by what came of it."""

    def plant(_: np.random.Generator, arm: Arm, rows: np.ndarray) -> None:
        slow = arm.own[rows] if own else arm.done_s[rows] - arm.sent_s[rows]
        hit = rows[(slow >= np.quantile(slow, 1 - slowest)) & (arm.plan.due_s[rows] >= STEP_S)]
        arm.done_s[hit] += arm.done_s[hit] - arm.sent_s[hit]

    return plant


def _between(arm: Arm, rows: np.ndarray, from_s: float, to_s: float) -> np.ndarray:
    due_s = arm.plan.due_s[rows]
    return rows[(due_s >= from_s) & (due_s < to_s)]


@dataclass(frozen=True)
class Cell:
    """An effect on an endpoint. ``bar`` is the study's power in I, M, S and X, in %."""

    name: str
    requests: int
    rate: float
    median_s: float
    plant: Plant
    bar: tuple[int, int, int, int] | None = None


_SOON = (STEP_S, STEP_S + 20)
CELLS = (
    Cell("10 new failures on a clean endpoint, 1,000 requests an arm", 1000, 0.0, 0.05, so_many(10), (84, 82, 77, 55)),
    *(
        Cell(
            f"1% new failures in 20 s where 0.3% fail anyway, {requests:,} requests",
            requests,
            0.003,
            0.05,
            failing(0.01, *_SOON),
            (0, 2, 4, 1),
        )
        for requests in (1000, 3000, 10_000)
    ),
    Cell("1% new failures in 20 s on a clean endpoint, 3,000 requests", 3000, 0.0, 0.05, failing(0.01, *_SOON)),
    Cell("2% until the end on a clean endpoint, 1,500 requests", 1500, 0.0, 0.05, failing(0.02)),
    Cell("20% in 20 s, long after the step, 1,500 requests", 1500, 0.0, 0.05, failing(0.2, 70, 90)),
    Cell("a 5 s outage that hits 100", 2400, 0.0, 0.05, outage(), (100, 98, 99, 94)),
    Cell("a 5 s outage that hits 4", 96, 0.0, 0.05, outage_of(4), (48, 43, 39, 38)),
    Cell("all latencies doubled, 300 requests of 0.6 s", 300, 0.0, 0.6, doubled(), (95, 85, 49, 23)),
    Cell("all latencies doubled, 300 requests of 0.02 s", 300, 0.0, 0.02, doubled()),
    Cell("all latencies doubled, 2,000 requests of 0.01 s", 2000, 0.0, 0.01, doubled()),
    Cell("only the slowest 5% doubled, 300 requests", 300, 0.0, 0.6, doubled(0.05), (28, 26, 10, 2)),
    Cell("the same, with Stage's own waves", 300, 0.0, 0.6, doubled(0.05, own=False), (28, 26, 10, 2)),
    Cell("only the slowest 10% doubled, 300 requests", 300, 0.0, 0.6, doubled(0.1), (28, 26, 10, 2)),
    Cell("only the slowest 5% doubled, 2,000 requests", 2000, 0.0, 0.6, doubled(0.05)),
)
ENDPOINTS = [
    Endpoint(f"GET /v1/cells/{number}", cell.requests, cell.rate, cell.median_s) for number, cell in enumerate(CELLS)
]


def rehearse(regime: str, seed: int) -> dict[str, Any]:
    """Which cells were found in one rehearsal."""
    rng = np.random.default_rng([seed, ord(regime), 1])
    plan = scheduled(rng, "production", "production", mixed(rng, ENDPOINTS))
    pairs = [pair(rng, plan, REGIMES[regime], first=number == 1) for number in (1, 2)]
    for one in pairs:
        for arm in (one.control, one.steps):
            alike(arm)
        for endpoint, cell in zip(ENDPOINTS, CELLS, strict=True):
            cell.plant(rng, one.steps, plan.rows[plan.number(endpoint.name)])
    verdict = judge(evidence(*((one, number) for number, one in enumerate(pairs, 1)), step_s=STEP_LASTS_S))
    blocking = {one.endpoint for one in verdict.findings if one.severity == BLOCKING}
    found = [cell.name for endpoint, cell in zip(ENDPOINTS, CELLS, strict=True) if endpoint.name in blocking]
    stopped = pair(rng, plan, REGIMES[regime])
    stop(rng, stopped.steps)
    verdict = judge(evidence((stopped, 1), step_s=STEP_LASTS_S))
    found += [STAGE] if any(one.metric == "stall_s" for one in verdict.findings) else []
    return {"regime": regime, "seed": seed, "found": found}


def alike(arm: Arm) -> None:
    """Let the cells' endpoints answer as captured: where lists differ anyway, no endpoint is clean."""
    plan = arm.plan
    rows = np.concatenate([plan.rows[plan.number(endpoint.name)] for endpoint in ENDPOINTS])
    arm.items[rows], arm.second[rows] = plan.items[rows], plan.second[rows]


def stop(rng: np.random.Generator, arm: Arm, length_s: float = 5.0) -> None:
    """Hold up everything for some seconds from the step's start on."""
    met = (arm.done_s > STEP_S) & (arm.sent_s < STEP_S + length_s)
    arm.done_s[met] = STEP_S + length_s + rng.uniform(0.0, 0.2, int(met.sum()))


def _rehearse(task: tuple[str, int]) -> dict[str, Any]:
    return rehearse(*task)


def table(results: list[dict[str, Any]]) -> None:
    """Print the share of rehearsals in which each cell was found, in %, beside the study's."""
    regimes = [regime for regime in REGIMES if any(one["regime"] == regime for one in results)]
    runs = Counter(one["regime"] for one in results)
    found = Counter((one["regime"], name) for one in results for name in one["found"])
    bars = {cell.name: cell.bar for cell in CELLS} | {STAGE: (100, 100, 100, 92)}
    rows = []
    for name, bar in bars.items():
        shares = [f"{100 * found[regime, name] / runs[regime]:.0f}" for regime in regimes]
        rows.append([name, *shares, " / ".join(map(str, bar)) if bar else ""])
    print_table(["%", *(f"{regime} ({runs[regime]})" for regime in regimes), "the study's I / M / S / X"], rows)


def main() -> None:
    """Rehearse, keep the results, and print what all of them say."""
    asked = asking(__doc__, KEEP).parse_args()
    known = known_of(asked.keep)
    with (
        asked.keep.open("a", encoding="utf-8") as kept,
        multiprocessing.get_context("spawn").Pool(asked.processes) as pool,
    ):
        for result in pool.imap_unordered(_rehearse, left_of(asked, known), chunksize=4):
            print(json.dumps(result), file=kept, flush=True)
            known.append(result)
    table(known)


if __name__ == "__main__":
    main()
