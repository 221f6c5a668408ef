"""`replay import` of Combined logs, scrubbed, beside GoAccess over the smallest of them: whole processes, in turn.

    python bench/import_combined.py [--millions 1 5 10] [--runs N]

GoAccess (Debian's package) only counts; the import reads twice, replaces secrets, and writes Parquet in order of time.
The larger logs show that its memory stays the same.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Measured, measure, print_table

_WRITER = Path(__file__).with_name("combined_log.py")
_MIB = 2**20


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 5, 10])
    parser.add_argument("--runs", type=int, default=3, help="how often both read the smallest")
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, millions in enumerate(options.millions):
            lines = int(millions * 1_000_000)
            log = folder / "access.log"
            subprocess.run([sys.executable, str(_WRITER), str(lines), str(log)], check=True)
            pairs = [_pair(log, folder, with_peer=not number) for _ in range(1 if number else options.runs)]
            ours = [pair[0] for pair in pairs]
            theirs = [pair[1] for pair in pairs if pair[1]]
            rows.append(_row("replay import", ours, lines, log))
            if theirs:
                rows.append(_row("GoAccess", theirs, lines, log))
                ratios = [peer.wall_s / run.wall_s for run, peer in zip(ours, theirs, strict=True)]
    print_table(("program", "lines", "seconds", "lines/s", "MiB/s", "peak MiB"), rows)
    told = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    print(f"\nTimes as fast as GoAccess, pair by pair: {told}" if ratios else "\nGoAccess is not installed.")


def _pair(log: Path, folder: Path, *, with_peer: bool) -> tuple[Measured, Measured | None]:
    out = folder / "capture"
    shutil.rmtree(out, ignore_errors=True)
    ours = measure([sys.executable, "-m", "replay", "import", str(log), "--out", str(out)])
    if not with_peer or not shutil.which("goaccess"):
        return ours, None
    return ours, measure(["goaccess", str(log), "--log-format=COMBINED", "-o", str(folder / "report.json")])


def _row(program: str, runs: list[Measured], lines: int, log: Path) -> tuple[str, ...]:
    wall_s = statistics.median(run.wall_s for run in runs)
    return (
        program if len(runs) == 1 else f"{program}, median of {len(runs)}",
        f"{lines:,}",
        f"{wall_s:.2f}",
        f"{lines / wall_s:,.0f}",
        f"{log.stat().st_size / _MIB / wall_s:,.0f}",
        f"{max(run.peak_mib for run in runs):,.0f}",
    )


if __name__ == "__main__":
    main()
