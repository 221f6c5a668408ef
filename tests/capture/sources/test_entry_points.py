"""An importer that another package adds, in a `replay import` of its own; one that is broken breaks nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from replay.capture.store import open_capture

MODULE = '''
from datetime import UTC, datetime
from replay.capture.sources.source import Record
from replay.traffic import Exchange, Request, Response, Skipped


class Acme:
    """Lines such as ``acme 1772352000 GET /v2 200``."""

    name = "acme"
    title = "Acme's log"

    def likeness(self, head):
        return float(any(line.startswith("acme ") for line in head.lines))

    def read(self, file, options):
        with file.open() as stream:
            for number, line in enumerate(stream, 1):
                try:
                    _, at, method, path, status = line.decode().split()
                    headers = (("Authorization", "Bearer tok-Zq81hRk30sPx"),)
                    request = Request(method, options.host, path, headers=headers)
                    moment = datetime.fromtimestamp(float(at), UTC)
                    yield Record(Exchange(moment, 0.0, "", "", request, Response(int(status))))
                except ValueError as error:
                    yield Skipped(file.name, f"line {number}", str(error))


ACME = Acme()


class Odd(Acme):
    name = "odd"

    def likeness(self, head):
        raise RuntimeError("it does not know how")


ODD, NONE = Odd(), None
'''


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder as `pip install --target` leaves it."""
    folder = tmp_path / "packages"
    (folder / "acme_replay-1.0.dist-info").mkdir(parents=True)
    (folder / "acme_replay.py").write_text(MODULE)
    (folder / "acme_replay-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-replay\nVersion: 1.0\n"
    )
    return folder


def add(packages: Path, *entries: str) -> None:
    text = "\n".join(["[replay.sources]", *entries, ""])
    (packages / "acme_replay-1.0.dist-info" / "entry_points.txt").write_text(text)


def replay(packages: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "replay", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(packages)},
    )


@pytest.fixture
def acme_log(tmp_path: Path) -> Path:
    file = tmp_path / "gateway"
    file.write_text("acme 1772352001 GET /v2/b 200\nacme 1772352000 GET /v2/a 404\nacme never GET /v2 200\n")
    return file


@pytest.fixture
def access_log(tmp_path: Path) -> Path:
    file = tmp_path / "access"
    file.write_text('192.0.2.7 - - [01/Mar/2026:08:00:01 +0000] "GET / HTTP/1.1" 200 12\n')
    return file


def test_an_importer_of_another_package(packages, acme_log, access_log, tmp_path):
    add(packages, "acme = acme_replay:ACME")
    done = replay(packages, "import", acme_log, access_log, "--host", "api.example.com", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    capture = open_capture(tmp_path / "out")
    exchanges = list(capture.exchanges())
    assert [one.request.path for one in exchanges] == ["/v2/a", "/v2/b", "/"]
    assert exchanges[0].client == exchanges[1].client
    assert exchanges[0].client.startswith("token-")
    assert "tok-Zq81hRk30sPx" not in repr(exchanges)
    source = next(one for one in capture.manifest.sources if one.name == str(acme_log))
    assert (source.format, source.read, source.kept) == ("Acme's log", 3, 2)
    named = replay(packages, "import", acme_log, "--format", "acme", "--dry-run")
    assert (named.returncode, "2 would be kept" in named.stdout) == (0, True)


BROKEN = {
    "broken = acme_replay:MISSING": "AttributeError",
    "broken = no_such_module:ACME": "ModuleNotFoundError: No module named 'no_such_module'",
    "broken = acme_replay:ODD": "RuntimeError: it does not know how",
    "broken = acme_replay:NONE": "AttributeError",
    "broken = acme_replay:Acme": "TypeError",  # a class, where an instance is wanted
}


@pytest.mark.parametrize("entry", BROKEN)
def test_one_that_is_broken_breaks_nothing_else(entry, packages, acme_log, access_log, tmp_path):
    add(packages, entry, "acme = acme_replay:ACME")
    done = replay(packages, "import", access_log, acme_log, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert open_capture(tmp_path / "out").manifest.exchanges == 3


@pytest.mark.parametrize("entry", BROKEN)
def test_one_that_is_broken_is_said_where_it_is_wanted(entry, packages, tmp_path):
    add(packages, entry)
    log = tmp_path / "gateway"
    log.write_text("broken 1772352001 GET /v2/b 200\n")
    for options, code in (([], 2), (["--format", "broken"], 2)):
        done = replay(packages, "import", log, "--out", tmp_path / "out", *options)
        assert done.returncode == code
        assert "The format 'broken' cannot be loaded: " in done.stderr
        assert BROKEN[entry] in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()
    unknown = replay(packages, "import", log, "--out", tmp_path / "out", "--format", "none")
    assert "Error: There is no format 'none'." in unknown.stderr
