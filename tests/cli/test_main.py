"""Exit codes: nothing but a verdict gives 1."""

import os
import subprocess
import sys

import click
import pytest

from replay.cli import main
from replay.cli.main import plain
from replay.errors import ExitCode, Interrupted, PlanError, Refused, StageError


def run_replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "replay.cli.main", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], *([name, "--help"] for name in main.COMMANDS)]
)
def test_help_is_no_failure(arguments: list[str]) -> None:
    done = run_replay(*arguments)
    assert done.returncode == ExitCode.GO, done.stderr
    assert done.stdout


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_of_every_command_shows_an_example(name: str) -> None:
    assert f"replay {name}" in run_replay(name, "--help").stdout.partition("\n\n")[2]


@pytest.mark.parametrize("arguments", [["nonsense"], ["judge"], ["judge", "--nonsense"], ["judge", "/no/such/run"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    done = run_replay(*arguments)
    assert done.returncode == ExitCode.INPUT
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (PlanError("wrong plan", "mend it"), 2),
        (Refused("not there"), 2),
        (StageError("no answer"), 4),
        (Interrupted("stopped"), 130),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (RuntimeError("broken"), 4),
        (OSError(28, "No space left on device"), 4),
        (SystemError("broken"), 4),
    ],
)
def test_every_way_out_has_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int
) -> None:
    @click.command()
    def broken() -> None:
        raise raised

    monkeypatch.setattr(main.Commands, "get_command", lambda *_: broken)
    assert main.run(["anything"]) == code
    assert capsys.readouterr().err


def test_a_verdict_is_what_gives_1(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def no_go() -> int:
        return ExitCode.NO_GO

    monkeypatch.setattr(main.Commands, "get_command", lambda *_: no_go)
    assert main.run(["anything"]) == 1


def test_a_reader_that_leaves_is_no_verdict() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "replay.cli.main", "--help"], stdout=writing, timeout=60, check=False)
    os.close(writing)
    assert done.returncode != ExitCode.NO_GO


def test_what_an_error_quotes_cannot_steer_the_terminal() -> None:
    said = plain("C:\\x, \x1b]0;owned\x07\x9b31m\nvé\t\u202e")
    assert said == "C:\\x, \\x1b]0;owned\\x07\\x9b31m\nvé\t\\u202e"
