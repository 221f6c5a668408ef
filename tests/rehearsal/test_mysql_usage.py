"""Who uses a MySQL or MariaDB database while an arm is played, with each way in which a server counts that."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replay.evidence.files import ArmFolder
from replay.evidence.values import Mark
from replay.judge.trust.bystanders import follows_traffic
from replay.judge.trust.databases import outside
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.databases.arm import ArmDatabases
from replay.rehearsal.plan import Plan, read_plan
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.secrets import Scrubber

from .mariadb import MariaDB, send, servers
from .probing import wait_for

PLAN = """
[target]
url = "http://127.0.0.1:1"
allow = ["127.0.0.1"]
[workloads.production]
capture = "x"
[[steps]]
name = "tool"
kind = "migrate"
at = "1s"
run = "true"
"""
PROBE = '[probes.{name}]\nkind = "mysql"\ndsn = "{dsn}"\n'
WAYS = {
    "nothing counts": (),
    "userstat": ("--userstat=ON",),
    "performance schema": ("--performance-schema=ON",),
}


@pytest.fixture(scope="module", params=WAYS)
def maria(request) -> Iterator[MariaDB]:
    with servers(WAYS[request.param]) as (server,):
        server.counts = bool(WAYS[request.param])
        server.run(
            "CREATE DATABASE other",
            "CREATE TABLE other.token SELECT * FROM shop.token",
            "GRANT SELECT ON other.* TO watcher@'%'",
        )
        yield server


def plan(folder: Path, *dsns: str) -> Plan:
    file = folder / "plan.toml"
    file.write_text(PLAN + "".join(PROBE.format(name=f"base{number}", dsn=dsn) for number, dsn in enumerate(dsns)))
    return read_plan(file, {})


def there(server: MariaDB, base: str = "shop", user: str = "watcher") -> str:
    return server.dsn(user).replace("/shop", f"/{base}")


class Watched:
    """An arm under way, its probes too: steps are marked, sessions come and go, and then it ends."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.databases = ArmDatabases(plan, (), quick=False)
        self.databases.begin()
        self.clock = ArmClock(time.time())
        arm = ArmFolder(folder / "arm")
        arm.create()
        setting = Setting(self.clock, readings=arm.readings, log=arm.log, scrub=Scrubber({}, []))
        self.probes = [probe.open(setting) for probe in plan.probes]
        for probe in self.probes:
            probe.start()
        self.databases.start(self.clock)

    def looks(self, more: int = 1) -> None:
        """Wait until each database was looked at again."""
        usages = [one.usage for one in self.databases._databases]
        had = [len(usage.to_json()["looks"]) for usage in usages]
        wait_for(lambda: all(len(usage.to_json()["looks"]) >= n + more for usage, n in zip(usages, had, strict=True)))

    def command(self, name: str) -> dict[str, Any]:
        """What is known of a step's command until now."""
        (database,) = self.databases._databases
        return database.usage.to_json()["commands"].get(name, {})

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.databases.mark(Mark(self.clock.now_s(), name, "migrate", "started"))
        wait_for(lambda: self.command(name))
        yield
        self.databases.mark(Mark(self.clock.now_s(), name, "migrate", "ended"))
        wait_for(lambda: all(one.usage._command is None for one in self.databases._databases))

    def end(self) -> dict[str, dict[str, Any]]:
        for probe in self.probes:
            probe.stop()
        return {one["name"]: one for one in self.databases.end(str)}


@contextlib.contextmanager
def using(
    server: MariaDB, base: str, sql: str = "SELECT scope FROM token WHERE id = 7", kept: int = 2
) -> Iterator[None]:
    """An application with some connections that it keeps, or else one that connects for each of its queries."""
    stopping = threading.Event()

    def play() -> None:
        with contextlib.ExitStack() as stack:
            pool = [stack.enter_context(contextlib.closing(server.connect("the api", base))) for _ in range(kept)]
            while not stopping.wait(0.05):
                if pool:
                    for connection in pool:
                        send(connection, sql)
                else:
                    with contextlib.closing(server.connect("the api", base)) as connection:
                        send(connection, sql)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(20)


@pytest.mark.slow
def test_the_database_that_the_application_uses_is_told_from_another(tmp_path, maria) -> None:
    watched = Watched(plan(tmp_path, there(maria), there(maria, "other")), tmp_path)
    watched.looks(5)
    began_s = watched.clock.now_s()
    with using(maria, "shop"):
        watched.looks(7)
        found = watched.end()
    shop, other = found["shop"], found["other"]
    assert shop["seen"]["counts"] is other["seen"]["counts"] is maria.counts
    moved = 2 if maria.counts else 3
    looks = [(look[0] - began_s, look[1] - began_s, look[moved]) for look in shop["seen"]["looks"]]
    assert follows_traffic(looks) is True
    assert outside(shop["seen"]["touched" if maria.counts else "sessions"], [])
    assert (other["seen"]["touched"], other["seen"]["written"], other["seen"]["sessions"]) == ([], [], [])
    assert shop["seen"]["written"] == []
    # Where nothing is counted, nobody there is no sign that nobody was.
    assert bool(other["seen"]["samples"]) is maria.counts
    assert [one["unread"] for one in found.values()] == [[], []]


@pytest.mark.slow
def test_writes_are_seen_whoever_counts(tmp_path, maria) -> None:
    watched = Watched(plan(tmp_path, there(maria)), tmp_path)
    watched.looks(2)
    with using(maria, "shop", "UPDATE token SET scope = CONCAT('n', RAND()) WHERE id = 7"):
        watched.looks(3)
    (found,) = watched.end().values()
    assert outside(found["seen"]["written"], [])
    (token,) = found["tables"]
    assert (token["table"], token["rows"], token["rows_after"]) == ("token", 1000, 1000)
    assert None not in (token["checksum"], token["checksum_after"])
    assert token["checksum"] != token["checksum_after"]


@pytest.mark.slow
def test_short_sessions_are_seen_by_what_is_counted(tmp_path, maria) -> None:
    watched = Watched(plan(tmp_path, there(maria)), tmp_path)
    with using(maria, "shop", kept=0):
        watched.looks(4)
        (found,) = watched.end().values()
    assert outside(found["seen"]["touched"], []) is maria.counts


@pytest.mark.parametrize("statement", ["SELECT 1", "ALTER TABLE token ADD COLUMN added int", None])
def test_a_command_is_seen_by_its_session_or_by_what_it_changed(tmp_path, maria, statement) -> None:
    watched = Watched(plan(tmp_path, there(maria)), tmp_path)
    watched.looks()
    with (
        watched.step("tool"),
        contextlib.closing(maria.connect("a tool", "shop" if statement else "other")) as connection,
    ):
        send(connection, statement or "ALTER TABLE token ADD COLUMN IF NOT EXISTS added int")
        if statement is not None:
            wait_for(lambda: watched.command("tool")["sessions"])
    (found,) = watched.end().values()
    maria.run("ALTER TABLE shop.token DROP COLUMN IF EXISTS added")
    told = found["seen"]["commands"]["tool"]
    assert bool(told["sessions"]) == (statement is not None)
    assert told["schema"] == ("changed" if statement and "ADD" in statement else "same")
    assert found["changes"] == (["column token.added came"] if told["schema"] == "changed" else [])


def test_two_users_of_one_database_are_one(tmp_path, maria) -> None:
    root = f"mysql://root@127.0.0.1:{maria.port}/shop"
    (found,) = Watched(plan(tmp_path, there(maria), root), tmp_path).end().values()
    assert found["probes"] == ["base0", "base1"]
    assert (found["place"], found["oid"]) == (f"127.0.0.1:{maria.port}", None)
    assert found["system_identifier"]


def test_who_may_not_see_others_says_so_where_nothing_is_counted(tmp_path, maria) -> None:
    maria.run("CREATE OR REPLACE USER blind@'%' IDENTIFIED BY 'hush-42'", "GRANT SELECT ON shop.* TO blind@'%'")
    watched = Watched(plan(tmp_path, there(maria, user="blind")), tmp_path)
    time.sleep(3)
    (found,) = watched.end().values()
    by_userstat = bool(found["seen"]["counts"])
    said = ["during the arm: 'blind'@'%' may not see the sessions of others: GRANT PROCESS ON *.* TO 'blind'@'%'"]
    assert found["unread"] == ([] if by_userstat else said)
    assert bool(found["seen"]["samples"]) is by_userstat
    assert (found["schema"], found["tables"][0]["rows"]) == (found["schema_after"], 1000)


def test_a_server_that_is_away_is_said(tmp_path, maria) -> None:
    assert maria
    databases = ArmDatabases(plan(tmp_path, "mysql://tester:hush-42@127.0.0.1:1/app"), (), quick=False)
    databases.begin()
    databases.start(ArmClock.started_now())
    (gone,) = databases.end(lambda text: text.replace("hush-42", "***"))
    assert (gone["name"], gone["place"], gone["schema"], gone["seen"]) == ("app", "127.0.0.1:1", None, None)
    assert len(gone["unread"]) == 1
    assert gone["unread"][0].startswith("before the arm: ")
