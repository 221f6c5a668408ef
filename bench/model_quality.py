"""How well a model of a capture's first half predicts its second, beside its own first half and resampled visits.

For each of three captures and each aspect it prints the distance to the second half of: the first half, whole visits of
the first half resampled (begun at random), and traffic synthesised from a model of the first half (means over seeds).
What is drawn scatters even when it is drawn from the second half itself; that distance is printed as `floor`, and a
distance between the halves below it is luck. The bars: the model's distance is at most 1.5 times that of the halves,
and it is smaller than that of resampled visits on at least half of the aspects. Exits with 1 where one is missed.

    python bench/model_quality.py --log airis_wordpress_part1.log.gz
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pandas as pd
from measure import print_table

from replay.workload.endpoints.templates import learn_endpoints
from replay.workload.model import read_workload
from replay.workload.synthesis import fit, synthesise
from replay.workload.synthesis.distances import ASPECTS, Portrait, draw_portrait, measure_distances
from replay.workload.synthesis.sequences import in_order

_TIMES = 1.5
_BLOCKS = 20
_TRAFFIC = Path(__file__).parents[1] / "tests" / "workload" / "synthesis" / "traffic.py"


def main() -> None:
    """Print the table of each capture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--log", type=Path, help="a real access log; without it only what is written for this is judged"
    )
    parser.add_argument("--seeds", type=int, default=10, help="how often is drawn (default: 10)")
    given = parser.parse_args()
    traffic = _load(_TRAFFIC)
    captures = {"shop": traffic.shop(1), "mobile": traffic.mobile(1)}
    if given.log:
        captures = {given.log.name: read_events(given.log)} | captures
    results = [_judge(name, events, given.seeds) for name, events in captures.items()]
    sys.exit(0 if all(results) else 1)


def read_events(log: Path) -> pd.DataFrame:
    """The events of a log, which is imported first."""
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "capture"
        subprocess.run([sys.executable, "-m", "replay", "import", str(log), "--out", str(capture)], check=True)
        workload = read_workload(capture)
    learned = learn_endpoints(workload.exchanges)
    visits = {number: visit.number for visit in workload.visits for number in visit.exchanges}
    rows = []
    for number, exchange in enumerate(workload.exchanges):
        path = exchange.request.path
        segments = path.removeprefix("/").split("/")
        named = [part for part, name in zip(segments, learned.parameters(path), strict=True) if name]
        rows.append(
            (
                workload.starts_s[number],
                max(0.0, exchange.duration_s),
                workload.clients[number].name,
                visits[number],
                str(workload.endpoints[number]),
                "/".join(named),
                0,
            )
        )
    events = pd.DataFrame(rows, columns="at_s duration_s client visit endpoint key variant".split())
    return events.assign(client=pd.factorize(events["client"])[0])


def _judge(name: str, events: pd.DataFrame, seeds: int) -> bool:
    half_s = float(events["at_s"].max()) / 2 * (1 + 1e-9)
    first = events[events["at_s"] < half_s].reset_index(drop=True)
    second = events[events["at_s"] >= half_s].reset_index(drop=True)
    second["at_s"] -= half_s
    portraits = draw_portrait(first, half_s), draw_portrait(second, half_s)
    model = fit(first, half_s)
    drawn = [synthesise(model, duration_s=half_s, start_s=half_s, seed=seed) for seed in range(seeds)]
    dice = [np.random.default_rng(seed) for seed in range(seeds)]
    halves = measure_distances(*portraits)
    modelled = _distances([draw_portrait(own, half_s) for own in drawn], portraits[1])
    resampled = _distances([draw_portrait(_resample(first, half_s, one), half_s) for one in dice], portraits[1])
    floor = _distances([_again(second, half_s, one) for one in dice], portraits[1]).mean()
    rows, kept, closer = [], 0, 0
    for aspect in ASPECTS:
        mean, spread, other = modelled[aspect].mean(), modelled[aspect].std(), resampled[aspect].mean()
        bar = mean <= _TIMES * halves[aspect]
        kept, closer = kept + bool(bar), closer + bool(mean < other)
        figures = [f"{figure:.3f}" for figure in (halves[aspect], floor[aspect], other, mean, spread)]
        rows.append((aspect, *figures, f"{mean / halves[aspect]:.2f}", *map(_word, (bar, mean < other))))
    print(f"\n{name}: {len(first):,} and {len(second):,} exchanges, {half_s:,.0f} s each; {seeds} seeds\n")
    print_table("aspect halves floor resampled model spread ratio bar closer".split(), rows)
    print(f"\nwithin the bar: {kept} of {len(ASPECTS)}; closer than resampled visits: {closer} of {len(ASPECTS)}")
    return kept == len(ASPECTS) and 2 * closer >= len(ASPECTS)


def _distances(portraits: list[Portrait], real: Portrait) -> pd.DataFrame:
    return pd.DataFrame([measure_distances(portrait, real) for portrait in portraits])


def _resample(events: pd.DataFrame, duration_s: float, dice: np.random.Generator) -> pd.DataFrame:
    """As many visits, drawn with replacement as they are and begun at random; what is due later is cut."""
    ordered = in_order(events)
    sizes = ordered.groupby("visit").size().to_numpy()
    firsts = np.cumsum(sizes) - sizes
    picked = dice.integers(0, sizes.size, sizes.size)
    rows, visit = _rows(firsts[picked], sizes[picked])
    at_s = ordered["at_s"].to_numpy()
    due = at_s[rows] - at_s[firsts[picked]][visit] + dice.uniform(0, duration_s, picked.size)[visit]
    drawn = ordered.iloc[rows].assign(at_s=due, visit=visit)
    return drawn[due < duration_s]


def _again(events: pd.DataFrame, duration_s: float, dice: np.random.Generator) -> Portrait:
    """What the same traffic might have been another time: its visits drawn anew, and for bursts, blocks of its time."""
    ordered = in_order(events)
    sizes = ordered.groupby("visit").size().to_numpy()
    picked = dice.integers(0, sizes.size, sizes.size)
    rows, visit = _rows((np.cumsum(sizes) - sizes)[picked], sizes[picked])
    portrait = draw_portrait(ordered.iloc[rows].assign(visit=visit), duration_s)
    moments = np.sort(events["at_s"].to_numpy())
    block_s = duration_s / _BLOCKS
    parts = []
    for number, begin_s in enumerate(dice.uniform(0, duration_s, _BLOCKS)):
        since = (moments - begin_s) % duration_s
        parts.append(since[since < block_s] + number * block_s)
    blocks = pd.DataFrame({"at_s": np.concatenate(parts)}).assign(duration_s=0.0, visit=0, endpoint="", key="")
    bursts = draw_portrait(blocks, duration_s).dispersion
    return Portrait(portrait.mix, portrait.pairs, portrait.lengths, portrait.think, portrait.keys, bursts)


def _rows(firsts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
    """The rows of runs that begin at ``firsts``, and the number of each one's run."""
    run = np.repeat(np.arange(sizes.size), sizes)
    return firsts[run] + np.arange(run.size) - (np.cumsum(sizes) - sizes)[run], run


def _word(holds: bool) -> str:
    return "yes" if holds else "no"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be loaded.")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
