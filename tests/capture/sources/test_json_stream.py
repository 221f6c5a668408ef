import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.capture.sources import json_stream
from replay.capture.sources.json_stream import (
    CANNOT_BE_READ,
    NO_JSON,
    TOO_DEEP,
    TOO_LARGE,
    Damaged,
    JsonStream,
    Unreadable,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
LAYOUTS = st.sampled_from([{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])


class Dripping:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes = sizes
        self._at = 0

    def read(self, _: int) -> bytes:
        self._at += 1
        return self._data.read(self._sizes[self._at % len(self._sizes)])


class Repeating:
    """A stream of a beginning, something many times over, and an end, without its whole ever being in memory."""

    def __init__(self, start: bytes, middle: bytes, times: int, end: bytes) -> None:
        self._start, self._middle, self._times, self._end = start, middle, times, end

    def read(self, size: int) -> bytes:
        if self._start:
            piece, self._start = self._start, b""
        elif self._times > 0:
            count = min(self._times, max(1, size // len(self._middle)))
            self._times -= count
            piece = self._middle * count
        else:
            piece, self._end = self._end, b""
        return piece


@pytest.fixture
def small_windows():
    """Windows that cut nearly everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_PIECE_BYTES", 3)
        yield


def stream(data: bytes | str) -> JsonStream:
    return JsonStream(io.BytesIO(data.encode() if isinstance(data, str) else data))


@given(JSON, LAYOUTS)
def test_a_value_is_what_the_standard_library_reads(value, layout):
    text = json.dumps(value, **layout)
    assert stream(text).value() == json.loads(text)


@pytest.mark.usefixtures("small_windows")
@given(JSON, LAYOUTS, st.lists(st.integers(1, 7), min_size=1))
def test_any_chunking_reads_the_same(value, layout, sizes):
    data = json.dumps({"before": value, "all": [value, value], "after": 1}, **layout).encode("utf-8", "surrogatepass")
    read = []
    pieces = JsonStream(Dripping(data, sizes))
    for key in pieces.members():
        if key == "all":
            read = [pieces.value() for _ in pieces.elements()]
    assert read == [json.loads(data.decode("utf-8", "replace"))["all"][0]] * 2
    assert pieces.peek() == ""


@pytest.mark.usefixtures("small_windows")
@given(JSON, LAYOUTS, st.lists(st.integers(1, 7), min_size=1))
def test_what_is_not_read_is_passed_over(value, layout, sizes):
    data = json.dumps([value, [value], {"a": value}, "end"], **layout).encode("utf-8", "surrogatepass")
    pieces = JsonStream(Dripping(data, sizes))
    assert sum(1 for _ in pieces.elements()) == 4
    assert pieces.peek() == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_encoding_is_found(encoding):
    assert stream('{"é": "😀"}'.encode(encoding)).value() == {"é": "😀"}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(data):
    for act in (JsonStream.value, JsonStream.skip, lambda s: list(s.members()), lambda s: list(s.elements())):
        try:
            act(stream(data))
        except (Damaged, Unreadable):
            continue


@pytest.mark.usefixtures("small_windows")
@given(JSON, st.data())
def test_what_breaks_off_says_so(value, data):
    text = json.dumps([value, 1])
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(Damaged):
        stream(cut).value()
    with pytest.raises(Damaged):
        stream(cut).skip()


@pytest.mark.parametrize(
    "text", ["[1 2]", '{"a" 1}', "{1: 2}", "[1,]", '{"a": 1,}', "]", '{"a": nul}', "[" + "xy" * 50]
)
def test_what_is_no_json_is_refused(text):
    pieces = stream(text)
    values = (pieces.value() for _ in (pieces.members() if text.startswith("{") else pieces.elements()))
    with pytest.raises(Damaged, match=NO_JSON):
        list(values)


@pytest.mark.usefixtures("small_windows")
def test_numbers_that_a_window_cuts_are_whole():
    for size in range(1, 8):
        pieces = JsonStream(Dripping(b"[12345.678e2, -0.5, true, 7]", [size]))
        assert [pieces.value() for _ in pieces.elements()] == [1234567.8, -0.5, True, 7]


def test_deep_nesting_is_passed_over():
    for depth in (100_000, 3_000_000):
        pieces = JsonStream(io.BytesIO(b'[{"deep": ' + b"[" * depth + b"]" * depth + b'}, "next"]'))
        found = []
        for _ in pieces.elements():
            try:
                found.append(pieces.value())
            except Unreadable as error:
                found.append(str(error))
        assert found == [TOO_DEEP, "next"]


def test_a_number_of_many_digits_is_passed_over():
    pieces = stream('[{"n": ' + "9" * 100_000 + '}, "next"]')
    found = []
    for _ in pieces.elements():
        try:
            found.append(pieces.value())
        except Unreadable as error:
            found.append(str(error))
    assert found == [TOO_DEEP, "next"]


def test_a_long_string_is_left_out_of_a_value():
    pieces = JsonStream(Repeating(b'[{"url": "/", "text": "', b'ab\\"' * 25_000, 500, b'", "n": 1}, 2]'))
    found = [(pieces.value(), pieces.is_shortened) for _ in pieces.elements()]
    assert found == [({"url": "/", "text": None, "n": 1}, True), (2, False)]


@pytest.mark.parametrize("middle", [b"{},", b'"",', b'"a\\n",', b"[[1],2],", b"1,", b"   "])
def test_a_value_of_many_small_things_is_too_large(middle, monkeypatch):
    monkeypatch.setattr(json_stream, "VALUE_LIMIT_CHARS", 500_000)
    pieces = JsonStream(Repeating(b'["next", [', middle, 1_500_000 // len(middle), b'1], "last"]'))
    found = []
    for _ in pieces.elements():
        try:
            found.append(pieces.value())
        except Unreadable as error:
            found.append(str(error))
    assert found == ["next", TOO_LARGE, "last"]


@given(st.integers(980, 1020), st.integers(1, 2200), st.lists(st.integers(1, 900), min_size=1, max_size=3))
def test_limits_do_not_depend_on_the_chunking(count, limit, sizes):
    data = json.dumps([["x" * count, count], {"b": ["y" * 5]}, ["\\" * count]]).encode()

    def read(source) -> list[object]:
        pieces, found = JsonStream(source), []
        for _ in pieces.elements():
            try:
                found.append(pieces.value())
            except Unreadable as error:
                found.append(str(error))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_PIECE_BYTES", 3)
        patch.setattr(json_stream, "VALUE_LIMIT_CHARS", limit)
        patch.setattr(json_stream, "LONG_STRING_CHARS", 1000)
        assert read(Dripping(data, sizes)) == read(io.BytesIO(data))


def test_broken_compression_is_damage():
    data = gzip.compress(json.dumps(["x" * 50, 1]).encode())
    with gzip.open(io.BytesIO(data[:-12])) as broken, pytest.raises(Damaged, match=CANNOT_BE_READ):
        JsonStream(broken).skip()


def test_a_key_that_is_too_long_is_a_key_without_a_name():
    pieces = JsonStream(Repeating(b'{"', b"k" * 100_000, 100, b'": 1, "b": 2}'))
    assert {key: pieces.value() for key in pieces.members()} == {"": 1, "b": 2}


def test_line_breaks_in_strings_are_for_the_lenient():
    assert stream('["a\nb"]').value() == ["a\nb"]
    with pytest.raises(Damaged, match=NO_JSON):
        JsonStream(io.BytesIO(b'["a\nb", "and more than a token behind it"]'), strict=True).value()
