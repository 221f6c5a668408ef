"""The address of locust's web page, as the command line takes it."""

import contextlib
import io
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from replay.cli.display import Display
from replay.errors import InputError, ToolError
from replay.scenario.process import Web, parse_web


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("written", ["127.0.0.1:{}", ":{}", "{}"])
def test_without_a_host_it_is_this_machine_alone(written: str) -> None:
    port = free_port()
    web = parse_web(written.format(port))
    assert web == Web("127.0.0.1", port)
    assert web.told == f"To be watched at http://127.0.0.1:{port}/?tab=replay"


def test_port_0_takes_a_free_one() -> None:
    web = parse_web("127.0.0.1:0")
    assert web.port > 0
    assert web.is_free()


def test_an_address_for_others_says_so() -> None:
    web = parse_web("0.0.0.0:0")
    assert web.told == f"To be watched at http://0.0.0.0:{web.port}/?tab=replay, by whoever reaches that address"


def test_a_taken_address_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        assert not Web("127.0.0.1", port).is_free()
        with pytest.raises(ToolError, match="No web page can be served at") as refused:
            parse_web(f"127.0.0.1:{port}")
        assert refused.value.exit_code == 4


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ToolError, match=f"{host} is no address of this machine") as refused:
        parse_web(f"{host}:8089")
    assert "127.0.0.1:8089" in refused.value.hint
    assert "another port" not in refused.value.hint


def test_a_rehearsal_says_from_when_on_it_answers() -> None:
    said = io.StringIO()
    target = SimpleNamespace(target=SimpleNamespace(url="http://127.0.0.1:1"))
    outline: Any = SimpleNamespace(
        plan=SimpleNamespace(name="plan", target=target, probes=()),
        arms=(),
        there=frozenset(),
        estimate_s=0.0,
        estimate_bytes=0,
        may_follow=SimpleNamespace(arms=()),
        warnings=(),
    )
    Display(Console(file=said, width=200), Web("127.0.0.1", 8089)).begins(outline)
    assert "To be watched at http://127.0.0.1:8089/?tab=replay, from the first arm on\n" in said.getvalue()


def test_whether_somebody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        web = Web("127.0.0.1", int(server.getsockname()[1]))
        assert web.answers()
    assert not web.answers()


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "http://127.0.0.1:80", "a@127.0.0.1:80"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="is not an address"):
        parse_web(text)


@given(st.text(max_size=12))
@example("70000")
@example("::1:80")
@example("[::1")
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(InputError, ToolError):
        assert parse_web(text).port > 0
