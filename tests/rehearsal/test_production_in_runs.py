"""`replay run --criteria` sends nothing while one of its probes goes to production, or where nobody knows."""

import hashlib
import json
from pathlib import Path

import pytest

from replay.cli.main import run
from replay.scenario.schedule import PlannedRequest, Schedule, write_schedule
from replay.target import NOT_PRODUCTION

SCENARIO = "from replay.scenario.runtime import Replay\n\n\nclass Night(Replay):\n    scenario = 'night.data'\n"


class Soak:
    """A scenario of one request, from a capture of production, and a file of criteria with a probe."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.out = folder / "run"
        (folder / "night.data").mkdir()
        (folder / "night.py").write_text(SCENARIO)
        request = PlannedRequest(0, 0, "c", "GET /tokens/1", 0.0, None, "GET", "/tokens/1", "", (), None, 200, None)
        file = folder / "night.data" / "schedule.parquet"
        write_schedule(Schedule((request,), 1.0), file)
        digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
        capture = {"environment": "production", "hosts": ["api.example.test:443"]}
        about = {"format": 1, "capture": capture, "schedule": digest}
        (folder / "night.data" / "scenario.json").write_text(json.dumps(about))

    def run(self, dsn: str, *more: str) -> int:
        criteria = self.folder / "soak.toml"
        criteria.write_text(f'[probes.database]\nkind = "postgres"\ndsn = {json.dumps(dsn)}\n')
        words = ["run", str(self.folder / "night.py"), "--target", self.url, "--allow", "127.0.0.1"]
        words += [
            "--allow",
            "api.example.test",
            "--criteria",
            str(criteria),
            "--duration",
            "1s",
            "--out",
            str(self.out),
        ]
        return run([*words, *more])


@pytest.fixture
def soak(tmp_path: Path, api) -> Soak:
    return Soak(tmp_path, api.url)


@pytest.fixture
def marked(server):
    with server.connect() as connection:
        connection.execute("CREATE TABLE replay_production ()")
        yield
        connection.execute("DROP TABLE replay_production")


@pytest.mark.usefixtures("marked")
def test_a_probe_of_a_database_with_the_marker(soak: Soak, server, api, capsys) -> None:
    assert soak.run(server.primary) == 2
    said = capsys.readouterr().err
    assert "The probe 'database' goes to a database that holds the table replay_production" in said
    assert f'--not-production "{NOT_PRODUCTION}"' in said
    assert not api.asked
    assert not soak.out.exists()


def test_a_probe_of_a_database_that_cannot_be_asked(soak: Soak, api, capsys) -> None:
    assert soak.run("host=127.0.0.1 port=1") == 4
    assert "goes to a database of which nobody knows whether it is production's" in capsys.readouterr().err
    assert not api.asked
    assert not soak.out.exists()


def test_a_probe_at_a_host_of_the_capture(soak: Soak, api, capsys) -> None:
    assert soak.run("host=api.example.test", "--not-production", NOT_PRODUCTION) == 2
    assert (
        "The probe 'database' goes to the host api.example.test, which is one of a production"
        in capsys.readouterr().err
    )
    assert not api.asked


def test_names_that_the_environment_fills_in(soak: Soak, api, capsys, monkeypatch) -> None:
    monkeypatch.setenv("PGDATABASE", "shop_production")
    assert soak.run("host=127.0.0.1 port=1") == 2
    assert "The probe 'database' goes to the database shop_production, which looks" in capsys.readouterr().err
    assert not api.asked


@pytest.mark.usefixtures("marked")
def test_the_sentence_overrides_the_mark(soak: Soak, server, api, capsys) -> None:
    assert soak.run(server.primary, "--not-production", NOT_PRODUCTION) in {0, 3}, capsys.readouterr().err
    assert api.asked["tokens"] >= 1
