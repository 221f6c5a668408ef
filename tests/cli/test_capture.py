import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from replay.cli.main import run


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of something that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def capture(port: int, out: Path, *more: str, listen: str = "127.0.0.1:0") -> int:
    return run(["capture", "--upstream", f"http://127.0.0.1:{port}", "--listen", listen, "--out", str(out), *more])


def test_a_port_in_use_is_named(upstream, tmp_path, capsys):
    assert capture(upstream, tmp_path / "c", listen=f"127.0.0.1:{upstream}") == 4
    assert f"cannot listen on 127.0.0.1:{upstream}: Address already in use." in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_an_upstream_that_does_not_answer_is_named(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert capture(port, tmp_path / "c") == 4
    assert f"http://127.0.0.1:{port} does not answer: Connection refused." in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_folder_that_exists_is_not_touched(upstream, tmp_path, capsys):
    (tmp_path / "c").mkdir()
    assert capture(upstream, tmp_path / "c") == 2
    assert "exists already" in capsys.readouterr().err
    assert list((tmp_path / "c").iterdir()) == []


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://127.0.0.1", "http://127.0.0.1:99999", "http://a:1/api"])
def test_a_bad_upstream_is_wrong_usage(url, tmp_path):
    assert run(["capture", "--upstream", url, "--listen", "127.0.0.1:0", "--out", str(tmp_path / "c")]) == 2
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "listen", ["", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:99999", "a:1/b"]
)
def test_a_bad_address_to_listen_on_is_wrong_usage(listen, upstream, tmp_path, capsys):
    assert capture(upstream, tmp_path / "c", listen=listen) == 2
    assert "is not an address to listen on" in capsys.readouterr().err


def test_a_bad_key_file_is_named(upstream, tmp_path, capsys):
    key = tmp_path / "key"
    key.write_text("not a key")
    assert capture(upstream, tmp_path / "c", "--scrub-key", str(key)) == 2
    assert f"The scrub key {key}" in capsys.readouterr().err
    assert capture(upstream, tmp_path / "c", "--scrub-key", str(key), "--scrub", "off") == 2
    assert key.read_text() == "not a key"


def test_nothing_recorded_is_a_capture_too(upstream, tmp_path, capsys):
    assert capture(upstream, tmp_path / "c", "--duration", "0.2", "--environment", "stage") == 0
    assert ", for 0.2 s, or until Ctrl-C\n" in capsys.readouterr().err
    assert run(["inspect", str(tmp_path / "c"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["state"], document["exchanges"], document["environment"]) == ("complete", 0, "stage")
    assert run(["inspect", str(tmp_path / "c")]) == 0
