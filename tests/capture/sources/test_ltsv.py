from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.capture.inputs import Head, Input
from replay.capture.sources.entries import BAD_TIME, NO_PATH
from replay.capture.sources.ltsv import NOT_LTSV, SOURCES
from replay.capture.sources.source import ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Request, Response, Skipped

(LTSV,) = SOURCES
FIXTURE = Path(__file__).parent / "fixtures" / "apache_2_4_ltsv.log"
LINE = b"time:2026-03-01T08:00:02Z\tmethod:GET\turi:/a\tstatus:200"


def read(data: bytes, options: ReadOptions | None = None) -> list[Record | Skipped]:
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        return list(LTSV.read(Input("a.log", Path(file.name)), options or ReadOptions()))


def one(line: bytes, options: ReadOptions | None = None) -> Record:
    (item,) = read(line, options)
    assert isinstance(item, Record)
    return item


def test_a_log_of_apache() -> None:
    """With the labels of ltsv.org; ``host`` is the client there."""
    file = Input(FIXTURE.name, FIXTURE)
    assert LTSV.likeness(file.head) == 0.95
    first, second, *skipped = LTSV.read(file, ReadOptions())
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    exchange = first.exchange
    assert (exchange.at.isoformat(), exchange.duration_s) == ("2026-03-01T08:00:02+00:00", 0.25)
    headers = (
        ("X-Forwarded-For", "203.0.113.9"),
        ("Referer", "https://shop.example.com/"),
        ("User-Agent", "curl/8.5.0"),
    )
    assert exchange.request == Request("POST", "shop.example.com", "/orders", "dry=1", headers)
    assert exchange.response == Response(201, (), None, 48)
    assert (first.address, first.user) == ("192.0.2.7", "ann")
    exchange = second.exchange
    assert (exchange.at.isoformat(), exchange.duration_s) == ("2026-03-01T08:00:02.988000+00:00", 0.012)
    assert exchange.request == Request("GET", "shop.example.com:8080", "/a%20b")
    assert (exchange.response, second.address) == (Response(404), "2001:db8::7")
    assert [f"{item.where}: {item.reason}" for item in skipped if isinstance(item, Skipped)] == [
        f"line 3: {NO_PATH}",
        f"line 4: {NOT_LTSV}",
    ]


@pytest.mark.parametrize(
    ("more", "path", "query"),
    [
        (b"", "/a", ""),
        (b"\tquery:?b=c:d", "/a", "b=c:d"),
        (b"\turi:/x?y", "/x", "y"),
        (b"\treq:POST /z HTTP/1.1", "/a", ""),
        (b"\tno label\t:none\t\tlab el:x", "/a", ""),
        (b"\r", "/a", ""),
    ],
)
def test_targets(more, path, query) -> None:
    request = one(LINE + more).exchange.request
    assert (request.method, request.path, request.query) == ("GET", path, query)


def test_bytes_that_are_no_utf8() -> None:
    record = one(LINE + b"\tua:caf\xe9\tuser:\xc3\xa4\turi:/\xff")
    assert record.exchange.request.headers == (("User-Agent", "café"),)
    assert (record.user, record.exchange.request.path) == ("ä", "/%FF")


def test_labels_that_are_mapped() -> None:
    options = ReadOptions(columns={"at": "when", "path": "what", "method": '"GET"', "duration:ms": "taken"})
    record = one(b"when:1772352002\twhat:/b\ttaken:250\turi:/not/this", options)
    assert (record.exchange.at.timestamp(), record.exchange.duration_s) == (1772352002.0, 0.25)
    assert record.exchange.request.path == "/b"


def test_a_log_without_requests_says_which_labels_it_has() -> None:
    with pytest.raises(InputError, match=BAD_TIME) as refused:
        read(b"time:never\tmethod:GET\turi:/a")
    assert refused.value.hint.startswith("Its fields are time, method, uri.")
    with pytest.raises(InputError, match=NOT_LTSV):
        read(b"no labels\n")


@pytest.mark.parametrize(
    ("data", "likeness"),
    [
        (LINE, 0.95),
        (b"a:1\tb:2\tc:3\n" * 3, 0.6),
        (b"a:1\tb:2\n", 0.0),
        (b"", 0.0),
        (b'{"time":1,"b":2,"c":3}\n', 0.0),
        (b"plain\n" * 3 + LINE, 0.0),
        (b'192.0.2.1 - - [06/Feb/2026:12:14:14 +0000] "GET / HTTP/1.1" 200 5\n', 0.0),
    ],
)
def test_how_much_it_is_ltsv(data, likeness) -> None:
    assert LTSV.likeness(Head("a.log", data)) == likeness


LABELS = st.sampled_from("time method uri req status size ua user host vhost reqtime query a-b _".split())
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"), max_size=12)


@given(st.lists(st.dictionaries(LABELS, VALUES, min_size=1, max_size=9), max_size=5))
def test_any_values(rows) -> None:
    lines = ["\t".join(f"{label}:{value}" for label, value in row.items()) for row in rows]
    check("\n".join(lines).encode())


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 9), st.binary(max_size=4)), max_size=12))
def test_a_log_with_other_bytes(changes) -> None:
    data = bytearray(FIXTURE.read_bytes())
    for at, length, new in changes:
        start = at % len(data)
        data[start : start + length] = new
    check(bytes(data))
    assert 0 <= LTSV.likeness(Head("a.log", bytes(data))) <= 1


@given(st.binary(max_size=200))
def test_any_bytes(data) -> None:
    check(data)


def check(data: bytes) -> None:
    items = read(LINE + b"\n" + data)
    assert isinstance(items[0], Record)
    assert len(items) == 1 + len([line for line in data.split(b"\n") if line.strip()])
