"""Stage before an arm: its replicas have all, its caches are warm."""

import sys

import psycopg
import pytest

from replay.errors import StageError
from replay.rehearsal.plan import read_plan
from replay.rehearsal.stage import wait_for_replicas, warm_stage


def probes(setting):
    return read_plan(setting.write(), setting.environment).probes


@pytest.mark.usefixtures("table")
def test_an_arm_does_not_begin_while_a_replica_is_behind(playable, server) -> None:
    wait_for_replicas(probes(playable), 30)
    with psycopg.connect(server.replica, autocommit=True) as replica:
        replica.execute("SELECT pg_wal_replay_pause()")
        try:
            with server.connect() as connection:
                connection.execute("UPDATE token SET scope = repeat('x', 200)")
            with pytest.raises(StageError, match=r"the replica 127\.0\.0\.1:\d+ is [\d,]+ bytes behind, 0\.5 s after"):
                wait_for_replicas(probes(playable), 0.5)
        finally:
            replica.execute("SELECT pg_wal_replay_resume()")
    wait_for_replicas(probes(playable), 30)


def test_a_replica_that_does_not_answer_is_named(playable) -> None:
    playable.environment["STAGE_REPLICA_DSN"] = "host=127.0.0.1 port=1 user=tester dbname=postgres"
    with pytest.raises(StageError, match=r"127\.0\.0\.1:1 cannot be read"):
        wait_for_replicas(probes(playable), 0.1)


def test_a_primary_is_no_replica(playable) -> None:
    playable.environment["STAGE_REPLICA_DSN"] = playable.environment["STAGE_DSN"]
    with pytest.raises(StageError, match="is not a replica"):
        wait_for_replicas(probes(playable), 0.1)


def test_a_warming_that_fails_is_named_with_its_log(setting) -> None:
    setting.values["target"]["warm"] = f"{sys.executable} -c 'print(41 + 1); raise SystemExit(3)'"
    target = read_plan(setting.write(), setting.environment).target
    log, held = setting.folder / "warm.log", []
    with pytest.raises(StageError, match="Stage's warm failed: exit code 3"):
        warm_stage(target, setting.folder, log, str, held.append)
    assert len(held) == 1
    assert "42" in log.read_text()
