"""`replay import` of a large ``.gor`` and a large HAR, scrubbed, each beside a peer that reads the same file.

    python bench/import_files.py [--mb N] [--gor PATH_OF_GOREPLAY]

GoReplay reads its file with ``--input-file-dry-run``, which neither waits nor sends (``go install
github.com/buger/goreplay@v1.3.2``; left out where it is not there). mitmproxy reads the HAR and writes it as a dump.
Neither looks for secrets.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gor_file import write_gor
from har_file import write_har
from measure import measure, print_table

# GoReplay does not end by itself, nor does the process that it starts: its report is its end.
_GOREPLAY = """
import subprocess
import sys

import psutil

command = [sys.argv[1], "--input-file", sys.argv[2], "--input-file-dry-run", "--output-null"]
process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
try:
    assert any("It will take" in line for line in process.stdout)
finally:
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
"""


def main() -> None:
    """Write, read, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--gor", default=shutil.which("goreplay") or shutil.which("gor"))
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        gor = Path(folder) / "large_0.gor"
        count = write_gor(gor, options.mb * 10**6)
        rows.append(_row(f"replay import, .gor, {count:,} exchanges", gor, _import(gor, out)))
        if options.gor:
            rows.append(_row("GoReplay, dry run", gor, [sys.executable, "-c", _GOREPLAY, options.gor, str(gor)]))
        gor.unlink()
        shutil.rmtree(out)
        har = Path(folder) / "large.har"
        count = write_har(har, options.mb * 10**6)
        rows.append(_row(f"replay import, HAR, {count:,} entries", har, _import(har, out)))
        mitmdump = str(Path(sys.executable).with_name("mitmdump"))
        dump = str(Path(folder) / "dump.mitm")
        rows.append(_row("mitmdump, HAR to its dump", har, [mitmdump, "-q", "-n", "-r", str(har), "-w", dump]))
    print_table(("program", "MB", "seconds", "MB/s", "peak MiB"), rows)


def _import(file: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "replay", "import", str(file), "--out", str(out)]


def _row(name: str, file: Path, command: Sequence[str]) -> tuple[str, ...]:
    run = measure(command)
    size_mb = file.stat().st_size / 10**6
    return name, f"{size_mb:.0f}", f"{run.wall_s:.1f}", f"{size_mb / run.wall_s:.1f}", f"{run.peak_mib:.0f}"


if __name__ == "__main__":
    main()
