"""Stage's credentials: by name, or rank for rank."""

from pathlib import Path
from typing import Any

import pytest

from replay.errors import InputError
from replay.scenario.identities import needed_credentials, rank_clients, read_identities, tell_lack
from replay.scenario.schedule import Inject, PlannedRequest, Schedule

SECRET = (Inject("form:client_secret", "x", credential="client_secret"),)


def request(number: int, client: str, **more: Any) -> PlannedRequest:
    return PlannedRequest(number, 0, client, "GET /x", number / 10, None, "GET", "/x", "", (), None, 200, None, **more)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "clients.csv"
    file.touch(mode=0o600)
    return file


def test_the_busiest_client_gets_the_first_row(table: Path) -> None:
    senders = ["quiet", "busy", "open", "open", "open", "busy", "middle", "busy", "middle"]
    requests = [request(n, client, injects=SECRET if client != "open" else ()) for n, client in enumerate(senders)]
    schedule = Schedule(tuple(requests), 1.0)
    ranked = rank_clients(schedule)
    assert ranked == ("busy", "middle", "quiet")
    table.write_text("client_secret,plan\ns1,gold\ns2,\ns3,tin\ns4,spare\n")
    assert read_identities(table, ranked) == {
        "busy": {"client_secret": "s1", "plan": "gold"},
        "middle": {"client_secret": "s2"},
        "quiet": {"client_secret": "s3", "plan": "tin"},
        "row 4": {"client_secret": "s4", "plan": "spare"},
    }
    needed = needed_credentials(schedule)
    assert needed == (("busy", "client_secret"), ("middle", "client_secret"), ("quiet", "client_secret"))
    assert tell_lack(needed, read_identities(table, ranked), "clients.csv") == ""


def test_what_is_lacking_is_told(table: Path) -> None:
    needed = [("a", "key"), ("b", "key"), ("c", "key")]
    table.write_text("key\nk1\nk2\n")
    given = read_identities(table, ("a", "b", "c"))
    assert tell_lack(needed, given, table.name) == (
        "1 of 3 clients (clients.csv has no key for c, first of all and 2 rows where 3 are needed)"
    )
    table.write_text("client,key\na,k\nb,\nc,k\n")
    assert tell_lack(needed, read_identities(table), table.name) == (
        "1 of 3 clients (clients.csv has no key for b, first of all)"
    )
    assert tell_lack(needed, {}, "") == "3 of 3 clients (the plan names no identities)"
    assert tell_lack([], {}, "") == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_table_that_others_could_use_is_made_private(table: Path, mode: int, caplog) -> None:
    table.write_text("client,key\na,k\n")
    table.chmod(mode)
    assert read_identities(table) == {"a": {"key": "k"}}
    assert table.stat().st_mode & 0o777 == mode & 0o700
    assert f"others than its owner could use it (mode {mode:o}): it has mode {mode & 0o700:o} now" in caplog.text
    caplog.clear()
    for private in (0o600, 0o400):
        table.chmod(private)
        assert read_identities(table) == {"a": {"key": "k"}}
    assert not caplog.text


def test_a_table_that_cannot_be_made_private_is_refused(table: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    table.write_text("client,key\na,k\n")
    table.chmod(0o644)
    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(InputError, match=r"others than its owner could use it \(mode 644\)\.") as refused:
        read_identities(table)
    assert refused.value.hint.startswith(f"chmod 600 {table}")


def test_spaces_around_a_cell_are_no_part_of_it(table: Path) -> None:
    table.write_text('\ufeffclient , key\n a ,  k 1 \nb, "k,2"\n')
    assert read_identities(table, needed={"key"}) == {"a": {"key": "k 1"}, "b": {"key": "k,2"}}


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("foo,bar\n1,2\n", "no column that is needed: it has foo, bar", "there should be bearer, secret"),
        ("client,foo\na,2\n", "no column that is needed: it has client, foo", "there should be bearer, secret"),
        ("client;bearer\na;b\n", "not separated by commas but by ';'", "with commas"),
        ("client\tbearer\na\tb\n", "not separated by commas but by", "with commas"),
        ("client,bearer,bearer\na,b,c\n", "column bearer twice", ""),
        ("client,bearer\na,b\x00c\n", "Row 1 of the identities file", "quotation mark"),
        ('client,bearer\na,b\nc,"d\r\ne"\n', "Row 2 of the identities file", "quotation mark"),
    ],
)
def test_a_table_of_others_is_refused(table: Path, text: str, said: str, hint: str) -> None:
    table.write_bytes(text.encode())
    with pytest.raises(InputError) as refusal:
        read_identities(table, ("a",), {"bearer", "secret"})
    assert said in refusal.value.message
    assert hint in refusal.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("client,key\n", "no rows"),
        ("key\nk\n", "no column client"),
        ("client,k\na,1\na,2\n", "two rows"),
    ],
)
def test_a_table_that_is_none(table: Path, text: str, said: str) -> None:
    table.write_text(text)
    with pytest.raises(InputError, match=said):
        read_identities(table)
    with pytest.raises(InputError, match="cannot be read"):
        read_identities(table.with_name("nowhere.csv"))
