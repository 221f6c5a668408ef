"""`replay import` of Combined logs, scrubbed, beside GoAccess over the smallest of them: whole processes, in turn.

    python bench/import_combined.py [--millions 1 5 10] [--runs N]

GoAccess (Debian's package) only counts; the import reads twice, replaces secrets, and writes Parquet in order of time.
How long GoAccess takes depends on how many clients there are, so both also read a log of a million of them. The larger
logs show that the memory of the import stays the same.
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
_CLIENTS = (40_000, 1_000_000)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 5, 10])
    parser.add_argument("--runs", type=int, default=3, help="how often both read the smallest")
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    ratios: list[str] = []
    logs = [(int(options.millions[0] * 1_000_000), clients) for clients in _CLIENTS]
    logs += [(int(millions * 1_000_000), _CLIENTS[0]) for millions in options.millions[1:]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (lines, clients) in enumerate(logs):
            log = folder / "access.log"
            subprocess.run([sys.executable, str(_WRITER), str(lines), str(log), str(clients)], check=True)
            is_compared = number < len(_CLIENTS)
            pairs = [_pair(log, folder, with_peer=is_compared) for _ in range(options.runs if is_compared else 1)]
            ours = [pair[0] for pair in pairs]
            theirs = [pair[1] for pair in pairs if pair[1]]
            rows.append(_row("replay import", ours, lines, clients, log))
            if theirs:
                rows.append(_row("GoAccess", theirs, lines, clients, log))
                told = ", ".join(f"{peer.wall_s / run.wall_s:.1f}" for run, peer in zip(ours, theirs, strict=True))
                ratios.append(f"Times as fast as GoAccess with {clients:,} clients, pair by pair: {told}")
    print_table(("program", "lines", "clients", "seconds", "lines/s", "MiB/s", "peak MiB"), rows)
    print("\n" + ("\n\n".join(ratios) or "GoAccess is not installed."))


def _pair(log: Path, folder: Path, *, with_peer: bool) -> tuple[Measured, Measured | None]:
    out = folder / "capture"
    shutil.rmtree(out, ignore_errors=True)
    ours = measure([sys.executable, "-m", "replay", "import", str(log), "--out", str(out)])
    if not with_peer or not shutil.which("goaccess"):
        return ours, None
    return ours, measure(["goaccess", str(log), "--log-format=COMBINED", "-o", str(folder / "report.json")])


def _row(program: str, runs: list[Measured], lines: int, clients: int, log: Path) -> tuple[str, ...]:
    wall_s = statistics.median(run.wall_s for run in runs)
    return (
        program if len(runs) == 1 else f"{program}, median of {len(runs)}",
        f"{lines:,}",
        f"{clients:,}",
        f"{wall_s:.2f}",
        f"{lines / wall_s:,.0f}",
        f"{log.stat().st_size / _MIB / wall_s:,.0f}",
        f"{max(run.peak_mib for run in runs):,.0f}",
    )


if __name__ == "__main__":
    main()
