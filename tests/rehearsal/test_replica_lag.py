"""A standby that is held back on purpose: how well the probe's lag agrees with an independent client's."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from replay.rehearsal.probes.lag import LagHistory

from .probing import Probed, wait_for

_HELD_BACK_S = 20.0


@contextlib.contextmanager
def beating(server: Any) -> Iterator[None]:
    """A row that says when it was written, fifty times a second."""
    done = threading.Event()

    def write() -> None:
        with server.connect("the writer") as connection:
            while not done.wait(0.02):
                connection.execute("UPDATE beat SET at = clock_timestamp()")

    with server.connect() as connection:
        connection.execute("CREATE TABLE beat AS SELECT clock_timestamp() AS at")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join(20)
        with server.connect() as connection:
            connection.execute("DROP TABLE beat")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["replica_lag_s", "replica_replay_lag_s"])
def test_a_standby_held_back_for_twenty_seconds(tmp_path, server, metric: str) -> None:
    probed = Probed(tmp_path, server, interval_s=0.2)
    at_s, age_s = [], []
    with beating(server), psycopg.connect(server.replica, autocommit=True) as standby, probed.running():
        # Both servers and this test go by the same clock.
        read = "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM beat"
        wait_for(lambda: standby.execute("SELECT to_regclass('beat')").fetchone()[0])
        time.sleep(1.0)
        standby.execute("SELECT pg_wal_replay_pause()")
        try:
            until = time.monotonic() + _HELD_BACK_S
            while time.monotonic() < until:
                before_s = probed.clock.now_s()
                age_s.append(standby.execute(read).fetchone()[0])
                at_s.append((before_s + probed.clock.now_s()) / 2)
                time.sleep(0.05)
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")
        wait_for(lambda: probed.readings(metric)["value"].iloc[-1] < 1.0)
    lag = probed.readings(metric)
    highest, truth = lag["value"].max(), max(age_s)
    assert truth >= _HELD_BACK_S - 1
    assert abs(highest - truth) <= min(1.0, 0.05 * truth), (highest, truth)
    meanwhile = lag[lag["at_s"].between(at_s[0], at_s[-1])]
    apart = np.abs(meanwhile["value"] - np.interp(meanwhile["at_s"], at_s, age_s))
    assert len(meanwhile) > 20
    assert apart.max() <= 1.0, apart.max()


def test_how_old_a_replica_is() -> None:
    history = LagHistory()
    assert history.replay_lag(0.0, 7.0) == 7.0, "nothing is known but the age of what it replayed last"
    history.lag(1.0, 100, 100)
    assert history.replay_lag(1.0, 600.0) == 0, "it has all there is, however long ago that was"
    history.lag(2.0, 300, 100)
    assert history.replay_lag(2.0, 600.0) == 1.0, "no older than since it had all"
    history.lag(9.0, 400, 350)
    assert history.replay_lag(9.0, 3.0) == 3.0, "it got on meanwhile"
    history.lag(9.5, 400, 350)
    assert history.replay_lag(9.5, -0.1) == 0
