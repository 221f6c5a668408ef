import contextlib
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.io import tnetstring as mitmproxys

from replay.capture.sources import tnetstring
from replay.capture.sources.tnetstring import BrokenOff, parse_netstring, read_netstring

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.binary(max_size=20)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9) | st.binary(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=3))
def test_it_reads_what_mitmproxy_writes(values: list[object]) -> None:
    stream = io.BytesIO(b"".join(mitmproxys.dumps(value) for value in values))
    found = []
    while raw := read_netstring(stream):
        found.append(parse_netstring(raw))
    assert found == values


@given(st.binary(max_size=200))
def test_any_bytes_have_a_value_or_none(data: bytes) -> None:
    try:
        raw = read_netstring(io.BytesIO(data))
    except BrokenOff:
        return
    if raw:
        with contextlib.suppress(ValueError):
            parse_netstring(raw)


@pytest.mark.parametrize("data", [b":", b"5", b"x", b"5:abc", b"5:hello", b"9999999999999:", b"-1:,", b"5 :hello,"])
def test_where_nothing_begins_or_nothing_ends(data: bytes) -> None:
    with pytest.raises(BrokenOff):
        read_netstring(io.BytesIO(data))


def test_a_length_that_is_not_there_takes_no_memory() -> None:
    tracemalloc.start()
    for claim in (b"63999990:", b"999999999999:"):
        with pytest.raises(BrokenOff):
            read_netstring(io.BytesIO(claim + b"x" * 1000))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5_000_000


def test_one_beyond_the_limit_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tnetstring, "RECORD_LIMIT_BYTES", 10)
    stream = io.BytesIO(b"20:" + b"x" * 20 + b",5:hello,")
    assert read_netstring(stream) is None
    assert read_netstring(stream) == b"hello,"
    assert read_netstring(stream) == b""


def test_nesting_and_counts_are_bounded() -> None:
    nested = b"0:]"
    for _ in range(200):
        nested = b"%d:%s]" % (len(nested), nested)
    many = b"0:}" * 600_000
    for raw in (nested.partition(b":")[2], many + b"]"):
        with pytest.raises(ValueError, match="too deep, or too many"):
            parse_netstring(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"x?", b"1x#", b"maybe!", b"x~", b"1:a,]x", b"3:abc]", b"0:]0:~}", b"1:a,}", b"-1:a,]", b"\xff;"]
)
def test_what_is_no_value(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what Python says of a wrong number has its own words
        parse_netstring(raw)
