"""Secrets of every kind in files of every format: nothing of them is left in a capture, nor in what is said.

Each file has secrets of its own, so that none is known only because another file gave it away.
"""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random, SystemRandom

import planted_files
import planted_logs
import pytest
import zstandard
from planted import Planted
from planted_damage import broken, nameless, spoilt
from planted_files import Format, Sent
from planted_search import held_in, left

from replay.capture.store import open_capture, read_manifest, read_skipped
from replay.cli.main import run

MESSAGES, LOGS = planted_files.FORMATS, planted_logs.FORMATS
FORMATS = {**MESSAGES, **LOGS}
OWN_FORMAT = "log-format"
TOGETHER = {"messages": list(MESSAGES), "logs": [name for name in LOGS if name != OWN_FORMAT], "own": [OWN_FORMAT]}
SOME_PLACES = 5
FRESH = 20261125 if os.environ.get("CI") else SystemRandom().randrange(10**9)
PACKED: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("", bytes),
    (".gz", gzip.compress),
    (".zst", zstandard.compress),
)


class Planting:
    """Files with secrets in them, and what was planted in each."""

    def __init__(self, folder: Path, seed: int, most: int | None = None) -> None:
        self.folder = folder
        self.seed = seed
        self.most = most
        self.secrets: dict[str, list[Planted]] = {}

    def random(self, name: str) -> Random:
        return Random(f"{self.seed} {name}")  # noqa: S311 - made-up secrets, which a seed has to give again

    def sent(self, name: str, format_of: Format) -> list[Sent]:
        found, self.secrets[name] = planted_files.sent(format_of.places, self.random(name), self.most)
        return found

    def write(self, name: str, data: bytes, pack: tuple[str, Callable[[bytes], bytes]] = PACKED[0]) -> Path:
        path = self.folder / f"{name.replace(' ', '-')}.file{pack[0]}"
        path.write_bytes(pack[1](data))
        return path

    def check(self, *values: str | bytes, of: Sequence[Path] = ()) -> None:
        """Fail where one of the secrets is among ``values`` or in what stands at ``of``."""
        found = left([*values, *(value for path in of for value in held_in(path))], self.secrets)
        assert not found, f"seed {self.seed}: {len(found)} found, such as:\n" + "\n".join(found[:8])

    def assert_planted(self, name: str, data: bytes, path: Path) -> None:
        """The search finds them where they were planted: else it would find nothing anywhere."""
        values = list(held_in(path)) if name.startswith("parquet") else data.split(b"\n")
        there = {line.split(":")[0] for line in left(values, {name: self.secrets[name]})}
        lacking = {f"{name}, {one.kind.name}" for one in self.secrets[name]} - there
        assert lacking <= {f"{name}, {planted_files.USER.name}"}  # not every format says who was logged in


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "replay", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def check_import(planting: Planting, paths: Sequence[Path], options: Sequence[str], exchanges: int) -> None:
    options = [*options, "--host", "api.example.com"]
    out = planting.folder / "captures" / f"{planting.seed}"
    done = replay("import", *paths, *options, "--out", out)
    assert done.returncode == 0, done.stderr
    planting.check(done.stdout, done.stderr, of=[out])
    assert read_manifest(out).exchanges >= exchanges
    assert sum(1 for _ in open_capture(out).exchanges()) >= exchanges
    done = replay("import", *paths, *options, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    planting.check(done.stdout, done.stderr)


def plant(planting: Planting, names: Sequence[str]) -> tuple[list[Path], int]:
    paths, count = [], 0
    for number, name in enumerate(names):
        found = planting.sent(name, FORMATS[name])
        data = FORMATS[name].write(found)
        pack = PACKED[(number + planting.seed) % 3] if not name.startswith("parquet") else PACKED[0]
        paths.append(planting.write(name, data, pack))
        planting.assert_planted(name, data, paths[-1])
        count += len(found)
    return paths, count


@pytest.mark.slow
@pytest.mark.parametrize("names", TOGETHER.values(), ids=list(TOGETHER))
def test_nothing_is_left_of_any_format(names, tmp_path):
    planting = Planting(tmp_path, FRESH, SOME_PLACES)
    paths, count = plant(planting, names)
    check_import(planting, paths, FORMATS[names[0]].options, count)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, FRESH], ids=["1", "fresh"])
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_left_in_all_places(name, seed, tmp_path):
    planting = Planting(tmp_path, seed)
    paths, count = plant(planting, [name])
    check_import(planting, paths, FORMATS[name].options, count)


def check_capture(planting: Planting) -> None:
    """A capture that was not scrubbed when it was written, as a source."""
    source, out = planting.folder / "plain", planting.folder / "scrubbed"
    planted_files.capture(planting.sent("capture", MESSAGES["json"]), source)
    (source / "skipped.jsonl").write_text(
        "".join(
            json.dumps({"source": "a.log", "where": f"line 3, {one.value}", "reason": f"no time in {one.value}"}) + "\n"
            for one in planting.secrets["capture"]
        )
    )
    planting.secrets["capture"] = [one for one in planting.secrets["capture"] if one.kind is not planted_files.USER]
    done = replay("import", source, "--out", out)
    assert done.returncode == 0, done.stderr
    planting.check(done.stdout, done.stderr, of=[out])
    done = replay("import", source, "--dry-run", "--json")
    planting.check(done.stdout, done.stderr)


def test_nothing_is_left_of_a_capture_that_was_not_scrubbed(tmp_path):
    check_capture(Planting(tmp_path, FRESH, SOME_PLACES))


# What is broken


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.startswith(("parquet", "mitmproxy"))])
def test_what_is_in_disorder_gives_nothing_away(name, tmp_path, capfd):
    """An address or a user's name says only by its place what it is; a host stays, for load must not go there."""
    planting = Planting(tmp_path, FRESH, 2)
    found = planting.sent(name, FORMATS[name])
    planting.secrets[name] = [one for one in planting.secrets[name] if one.kind not in planted_files.PEOPLE]
    path = planting.write(name, spoilt(name, FORMATS[name].write(found), planting.random(f"{name} spoilt")))
    source = ["--format", name.partition(" ")[0], *FORMATS[name].options]
    run(["import", str(path), *source, "--out", str(tmp_path / "capture")])
    if (tmp_path / "capture").exists():
        hosts = read_manifest(tmp_path / "capture").hosts
        planting.secrets[name] = [one for one in planting.secrets[name] if one.value not in hosts]
    planting.check(*capfd.readouterr(), of=[one for one in [tmp_path / "capture"] if one.exists()])


@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_read_gives_nothing_away(name, tmp_path, capfd):
    planting = Planting(tmp_path, FRESH, 2)
    found = planting.sent(name, FORMATS[name])
    data = FORMATS[name].write(found)
    path = planting.write(name, broken(name, data, found, planting.random(f"{name} broken")))
    source = ["--format", name.partition(" ")[0], *FORMATS[name].options]
    for options in (["--dry-run"], ["--dry-run", "--json"], ["--out", str(tmp_path / "capture")]):
        run(["import", str(path), *source, *options])
        planting.check(*capfd.readouterr(), of=[one for one in [tmp_path / "capture"] if one.exists()])


def test_values_in_the_place_of_names_are_not_told(tmp_path, capfd):
    planting = Planting(tmp_path, FRESH)
    lines, table = nameless(planting.sent("nameless", Format(bytes, frozenset({"header", "query"}))))  # type: ignore[arg-type]
    for name, data in {"json": lines, "csv": table}.items():
        path = planting.write(name, data)
        assert run(["import", str(path), "--format", name, "--dry-run"]) == 2
        said = capfd.readouterr()
        planting.check(*said)


def test_what_was_skipped_is_told_where_it_stood(tmp_path):
    planting = Planting(tmp_path, 1, 3)
    found = planting.sent("combined", LOGS["combined"])
    data = LOGS["combined"].write(found) + b"".join(
        f'password={one.value} [no time] "GET /{one.value}"\n'.encode() for one in planting.secrets["combined"]
    )
    out = tmp_path / "capture"
    done = replay("import", planting.write("combined", data), "--out", out)
    assert done.returncode == 0, done.stderr
    assert len(read_skipped(out)) >= len(planting.secrets["combined"])
    planting.check(done.stdout, done.stderr, of=[out])
