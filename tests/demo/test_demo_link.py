import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.demo import link
from replay.demo.guard import Guarded
from replay.demo.link import Bucket
from replay.demo.postgres import free_port


@given(
    st.lists(st.tuples(st.integers(1, 32_768), st.floats(0, 3)), min_size=1, max_size=60),
    st.floats(1_000, 1e7),
    st.floats(0, 1e6),
)
def test_never_more_passes_than_the_burst_and_the_rate_allow(
    chunks: list[tuple[int, float]], rate: float, burst: float
) -> None:
    bucket = Bucket(rate, burst, 0.0)
    now_s = 0.0
    passed = 0
    for size, idle_s in chunks:
        now_s += idle_s
        now_s += bucket.take(size, now_s)
        passed += size
        assert passed <= burst + rate * now_s + 1


def test_a_quiet_link_passes_a_burst_at_once() -> None:
    bucket = Bucket(1_000, 5_000, 0.0)
    assert bucket.take(5_000, 10.0) == 0.0
    assert bucket.take(1_000, 10.0) == pytest.approx(1.0)


def test_the_relay_is_slow_one_way_and_free_the_other(tmp_path: Path) -> None:
    """What the primary sends is limited; what it is told is not."""
    listen, sent = free_port(), 600_000
    with socket.create_server(("127.0.0.1", 0)) as primary:
        threading.Thread(target=answer, args=(primary, sent), daemon=True).start()
        command = [sys.executable, "-I", "-S", link.__file__, "--listen", str(listen)]
        command += ["--to", str(primary.getsockname()[1]), "--rate", "300000", "--burst", "100000"]
        relay = Guarded(command, log=tmp_path / "log")
        try:
            with connect(listen) as replica:
                started = time.monotonic()
                replica.sendall(b"x" * sent)
                replica.shutdown(socket.SHUT_WR)
                told_s = float(replica.recv(20).decode())
                received = 20
                while chunk := replica.recv(65_536):
                    received += len(chunk)
                took_s = time.monotonic() - started
        finally:
            relay.stop()
    assert received == sent
    assert took_s > 1.5
    assert told_s < took_s / 2


def answer(primary: socket.socket, size: int) -> None:
    """Read all, then say how long that took, in twenty characters, and as many bytes more as make ``size``."""
    connection, _ = primary.accept()
    with connection:
        started = time.monotonic()
        while connection.recv(65_536):
            pass
        connection.sendall(f"{time.monotonic() - started:020.6f}".encode() + b"y" * (size - 20))


def connect(port: int) -> socket.socket:
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
