"""What an entry is: lines of text with what belongs to them, and JSON as loggers and containers write it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.rehearsal.probes.entries import EntryReader
from replay.rehearsal.probes.tail import WholeLines

TRACEBACK = """2026-01-02 03:04:05 ERROR request failed
Traceback (most recent call last):
  File "/srv/app/main.py", line 10, in call
    charge()
ValueError: no such card
java.lang.IllegalStateException: no
\tat app.Main.run(Main.java:7)
Caused by: java.io.IOException: closed
\t... 12 more"""


def test_what_belongs_to_a_line_is_counted_and_makes_no_entry() -> None:
    entries = EntryReader().read(TRACEBACK)
    assert entries.lines == 9
    assert entries.texts == [
        "2026-01-02 03:04:05 ERROR request failed",
        "ValueError: no such card",
        "java.lang.IllegalStateException: no",
    ]


def test_only_levels_asked_for_count_with_what_belongs_to_them() -> None:
    reader = EntryReader(levels=["error", "fatal"])
    text = "10:00 INFO no error here\n  of note\n10:01 [error] 71#71: bad\n  at x\n10:02 E17\nfatal: gone\nWARN: ERROR"
    entries = reader.read(text)
    assert entries.texts == ["10:01 [error] 71#71: bad", "fatal: gone"]
    assert entries.lines == 3
    assert reader.read("  still of a warning").lines == 0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"level": "error", "message": "pool timeout"}, "ERROR pool timeout"),
        ({"severity": "ERR", "msg": "pool timeout"}, "ERROR pool timeout"),
        ({"lvl": "crit", "event": "pool timeout"}, "CRITICAL pool timeout"),
        ({"level": 50, "msg": "pool timeout"}, "ERROR pool timeout"),
        ({"PRIORITY": "3", "MESSAGE": "pool timeout"}, "ERROR pool timeout"),
        ({"error": {"message": "pool timeout"}}, "pool timeout"),
        ({"log": {"level": "error"}, "message": "pool timeout"}, "ERROR pool timeout"),
        ({"level": "error", "msg": "pool timeout\nTraceback\n  more"}, "ERROR pool timeout"),
        ({"log": "10:00 ERROR pool timeout\n", "stream": "stderr"}, "10:00 ERROR pool timeout"),
        ({"log": '{"level": "error", "msg": "pool timeout"}\n', "stream": "stderr"}, "ERROR pool timeout"),
    ],
)
def test_the_message_of_json_with_its_level(values: dict[str, object], text: str) -> None:
    line = json.dumps(values)
    entries = EntryReader().read(line)
    assert entries.texts == [text]
    assert entries.examples == [line]
    assert EntryReader("text").read(line).texts == [line]


def test_what_a_container_wrapped_belongs_to_the_entry_before() -> None:
    wrapped = [json.dumps({"log": f"{line}\n", "stream": "stderr"}) for line in TRACEBACK.split("\n")[:5]]
    entries = EntryReader().read("\n".join(wrapped))
    assert entries.lines == 5
    assert [text.split()[-1] for text in entries.texts] == ["failed", "card"]


@pytest.mark.parametrize("line", ["{", "{} x", '{"msg"', "[1]", '{"msg": 1}', "{" * 50_000, '{"a":' * 50_000])
def test_what_is_no_message_is_taken_as_it_stands(line: str) -> None:
    assert EntryReader().read(line).texts == [line[:1000]]


def test_json_behind_a_prefix_is_found_where_it_is_said() -> None:
    line = 'api-1  | {"level": "error", "msg": "pool timeout"}'
    assert EntryReader("json").read(line).texts == ["ERROR pool timeout"]
    assert EntryReader().read(line).texts == [line]


@given(
    st.lists(
        st.sampled_from(["ERROR a", "  b", "", "Caused by: c", '{"msg": "d", "level": "error"}', "INFO e", "{f\r"])
    ),
    st.lists(st.integers(1, 30), min_size=1),
    st.sampled_from([(), ("error",)]),
)
def test_it_does_not_matter_where_a_log_is_cut(texts: list[str], sizes: list[int], levels: tuple[str, ...]) -> None:
    whole = "".join(f"{text}\n" for text in texts).encode()
    at_once, piecewise = EntryReader(levels=levels), EntryReader(levels=levels)
    expected = at_once.read(whole[:-1].decode()) if whole else None
    cutter, lines, found, place, number = WholeLines(), 0, [], 0, 0
    while place < len(whole):
        size = sizes[number % len(sizes)]
        if piece := cutter.cut(whole[place : place + size]):
            entries = piecewise.read(piece[:-1].decode())
            lines, found = lines + entries.lines, found + entries.texts
        place, number = place + size, number + 1
    assert (lines, found) == ((expected.lines, expected.texts) if expected else (0, []))
    assert levels or lines == len(texts)
