import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.logs.cutting import Text, amend, column_text, cut, search
from replay.capture.logs.pattern import LinePattern

BYTES = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b'"', b"\\", b" ", b"a", b"\xff", b"\x00"]), max_size=60).map(
    b"".join
)
WORDS = st.from_regex(r"[a-z0-9/.%-]{1,12}", fullmatch=True)
QUOTED = st.text(st.sampled_from('ab "\\[]-'), max_size=12)


@given(BYTES)
def test_lines_are_what_stands_between_newlines(data: bytes):
    starts, ends = Text(data).lines()
    expected = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    if not expected[-1] and not data.endswith(b"\r"):
        expected.pop()
    assert [data[start:end] for start, end in zip(starts, ends, strict=True)] == expected
    assert Text(data).take(starts, ends).to_pylist() == expected


@given(BYTES)
def test_quotes_close_where_no_backslash_escapes_them(data: bytes):
    expected = [match.end() - 1 for match in re.finditer(rb'(?s)(?<!\\)(?:\\\\)*"', data)]
    assert Text(data).closing_quotes.tolist() == expected


@given(st.lists(st.integers(0, 50), unique=True).map(sorted), st.lists(st.integers(0, 60), max_size=20))
def test_the_next_and_the_last_position(found: list[int], asked: list[int]):
    text, positions = Text(bytes(51)), np.array(found, np.int64)
    after = text.after(positions, np.array(asked, np.int64)).tolist()
    before = text.before(positions, np.array(asked, np.int64)).tolist()
    for at, following, last in zip(asked, after, before, strict=True):
        assert following == next((each for each in found if each >= at), following)
        assert following >= 51 or following in found
        assert last == max((each for each in found if each < at), default=-1)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=6)), max_size=20), st.integers(0, 5))
def test_values_are_changed_each_by_itself(values: list[bytes | None], skipped: int):
    column = pa.array(values, pa.binary())
    mask = pc.match_substring(column, b"a")
    assert amend(column, mask, bytes.upper).to_pylist() == [
        value.upper() if value and b"a" in value else value for value in values
    ]
    text, offsets = column_text(column.slice(skipped))
    assert [bytes(text.data[start:end]) for start, end in pairwise(offsets)] == [
        value or b"" for value in values[skipped:]
    ]


def both_ways(pattern: LinePattern, *lines: bytes) -> tuple[list, list]:
    """The values of each line that is cut, and of each that is searched; None where it does not fit."""
    text = Text(b"\n".join(lines))
    starts, ends = text.lines()
    return tuple(
        [next(rows) if fitting else None for fitting in fits]
        for fits, values in (cut(pattern, text, starts, ends), search(pattern, text.take(starts, ends)))
        for rows in [iter(list(zip(*[value.to_pylist() for value in values if value is not None], strict=True)))]
    )


@given(st.lists(st.tuples(WORDS, WORDS, QUOTED, WORDS), min_size=1, max_size=8))
@settings(deadline=None)
def test_both_ways_find_the_values_that_a_line_was_made_of(rows: list[tuple[str, ...]]):
    pattern = LinePattern('{address} [{at:any}] "{request_header:X}" {status}')
    lines = [
        '{} [{}] "{}" {}'.format(first, time, re.sub(r'(["\\])', r"\\\1", quoted), last).encode()
        for first, time, quoted, last in rows
    ]
    expected = [
        tuple(value.encode() for value in (first, time, re.sub(r'(["\\])', r"\\\1", quoted), last))
        for first, time, quoted, last in rows
    ]
    assert both_ways(pattern, *lines) == (expected, expected)


FIELD = st.one_of(
    WORDS, st.text(st.sampled_from('ab "\t-'), max_size=8).map(lambda text: f'"{text.replace(chr(34), chr(34) * 2)}"')
)


@pytest.mark.parametrize("between", [" ", "\t"])
@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=8))
@settings(deadline=None)
def test_words_may_stand_in_quotes(between: str, rows: list[tuple[str, ...]]):
    pattern = LinePattern(between.join(["{path}", "{request_header:X}", "{error}"]), escaped=False, words=True)
    at_first, at_second = both_ways(pattern, *[between.join(row).encode() for row in rows])
    expected = [tuple(value.encode() for value in row) for row in rows]
    assert at_second == expected
    assert all(found in (None, row) for found, row in zip(at_first, expected, strict=True))


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{address} {user} x", "192.0.2.1 a b x"),
        ('"{request_header:X}" {status}', '"a" b" 200'),
        ("{status} {-}", "200 a b"),
        ("{status} a", "200 ab"),
        ("a {status}", "ba 200"),
        ("{seconds} {status}", "0.25 200"),
        ("{client} {status}", "- 200"),
    ],
)
def test_what_does_not_fit_at_first_sight(template: str, line: str):
    assert both_ways(LinePattern(template), line.encode())[0] == [None]


def test_what_fits_at_second_sight():
    assert both_ways(LinePattern("{address} {user} x"), b"192.0.2.1 a b x")[1] == [(b"192.0.2.1", b"a b")]
    assert both_ways(LinePattern('"{request_header:X}" {status}'), b'"a" b" 200')[1] == [(b'a" b', b"200")]
    assert both_ways(LinePattern('{status} "{request_header:X}" {size}'), b'200 "a "b" c" 5')[1] == [
        (b"200", b'a "b" c', b"5")
    ]
