"""What the simulations have in common: which rehearsals are asked for, and results that add up, a line each."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from regimes import REGIMES


def asking(about: str | None, keep: Path) -> argparse.ArgumentParser:
    """The options, with the first line of ``about``; results are in ``keep`` where nothing else is given."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--rehearsals", type=int, default=100, help="of each regime")
    parser.add_argument("--regime", default="all", choices=["all", *REGIMES])
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1, help="of the first rehearsal; the others follow")
    parser.add_argument("--keep", type=Path, default=keep, help="the results of all runs, a line each")
    return parser


def known_of(keep: Path) -> list[dict[str, Any]]:
    """The results that are there; the folder is made where it is not."""
    keep.parent.mkdir(parents=True, exist_ok=True)
    lines = keep.read_text(encoding="utf-8").splitlines() if keep.exists() else []
    return [json.loads(line) for line in lines]


def left_of(asked: argparse.Namespace, known: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """The rehearsals (regime, seed) that are asked for and not known."""
    done = {(one["regime"], one["seed"]) for one in known}
    regimes = list(REGIMES) if asked.regime == "all" else [asked.regime]
    tasks = [(regime, asked.seed + number) for number in range(asked.rehearsals) for regime in regimes]
    return [task for task in tasks if task not in done]
