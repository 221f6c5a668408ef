import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.shapes import EMPTY, is_empty, shape_of

JSON = "application/json"
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner))


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (None, EMPTY),
        (b"", EMPTY),
        (b"  \n", EMPTY),
        (b"null", "null"),
        (b"{}", "{}"),
        (b"[]", "[]"),
        (b'{"id": 7, "name": "x", "live": true}', "{id:number,live:bool,name:str}"),
        (b'{"b": [1, 2], "a": null}', "{a:null,b:[number]}"),
        (b'[{"id": 1}, {"id": 2, "x": null}]', "[{id:number,x:null}|{id:number}]"),
        (b'"text"', "str"),
    ],
)
def test_shape_of_json(body: bytes | None, shape: str) -> None:
    assert shape_of(JSON, body) == shape


def test_other_bodies_have_their_media_type_as_shape() -> None:
    assert shape_of("text/html; charset=utf-8", b"<p>hello</p>") == "text/html"
    assert shape_of("text/csv", b"1,2\n") == "text/csv"
    assert shape_of(None, b"\x89PNG") == "unknown"
    assert shape_of(JSON, b'{"broken": ') == JSON


def test_a_list_keeps_its_shape_whatever_its_length() -> None:
    assert shape_of(JSON, b"[1]") == shape_of(JSON, b"[1, 2, 3]") != shape_of(JSON, b"[]")


@pytest.mark.parametrize(
    ("value", "empty"),
    [
        (None, True),
        ({}, True),
        ([], True),
        ({"items": [], "next_cursor": None}, True),
        ({"count": 0, "results": []}, True),
        ({"items": [1], "next": None}, False),
        ({"id": 7, "tags": []}, False),
        ({"id": 7}, False),
        (0, False),
        (False, False),
    ],
)
def test_what_counts_as_empty(value: object, empty: bool) -> None:
    assert is_empty(shape_of(JSON, json.dumps(value).encode())) is empty


def test_a_deep_body_does_not_break_it() -> None:
    assert shape_of(JSON, b"[" * 100_000) == JSON
    assert "..." in shape_of(JSON, b"[" * 60 + b"]" * 60)


@given(VALUES)
def test_a_shape_does_not_depend_on_the_order_of_keys(value: object) -> None:
    plain = json.dumps(value).encode()
    ordered = json.dumps(value, sort_keys=True).encode()
    assert shape_of(JSON, plain) == shape_of(JSON, ordered)


@given(st.binary(max_size=200), st.none() | st.text(max_size=20))
def test_any_bytes_have_a_shape(body: bytes, content_type: str | None) -> None:
    assert 0 < len(shape_of(content_type, body)) <= 300
