"""Models captures of growing size, each as a process of its own: time, and the most memory.

python bench/model.py [EXCHANGES ...]

1,000,000 and 10,000,000 where none are given. Ends with 1 where a bar is missed.
"""

import sys
import tempfile
from pathlib import Path

import large_capture
from measure import measure, print_table

from replay.workload.engine import Engine
from replay.workload.profile.profile import read_profile

_SIZES = (1_000_000, 10_000_000)
_BAR_EXCHANGES, _BAR_S, _BAR_MIB = 10_000_000, 60.0, 3 * 1024


def main(sizes: tuple[int, ...]) -> int:
    """Measure each size; how many bars were missed."""
    rows, missed = [], 0
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="replay-bench-") as folder:
            capture = Path(folder) / "capture"
            large_capture.write(size, capture)
            on_disk = sum(file.stat().st_size for file in capture.rglob("*.parquet"))
            taken = measure([sys.executable, __file__, "--once", str(capture)])
        rows.append(
            (
                f"{size:,}",
                f"{on_disk / 2**20:,.0f}",
                f"{taken.wall_s:.1f}",
                f"{size / taken.wall_s:,.0f}",
                f"{taken.peak_mib:,.0f}",
            )
        )
        missed += size == _BAR_EXCHANGES and (taken.wall_s > _BAR_S or taken.peak_mib > _BAR_MIB)
    print_table(("exchanges", "capture in MiB", "seconds", "exchanges/s", "MiB of memory"), rows)
    return missed


def model(capture: Path) -> None:
    """Model one capture, in this process."""
    with Engine() as engine:
        found = read_profile(capture, engine)
    print(f"{found.exchanges:,} exchanges, {len(found.clients):,} clients, {found.sittings.count:,} visits")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        model(Path(sys.argv[2]))
    else:
        sys.exit(main(tuple(int(argument) for argument in sys.argv[1:]) or _SIZES) and 1)
