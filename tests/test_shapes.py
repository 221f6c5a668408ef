import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.shapes import EMPTY, Form, form_of, is_empty, shape_of

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


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ([], 0),
        ([1, [2, 3, 4]], 2),
        ({"items": list(range(100)), "next": None}, 100),
        ({"tags": [1], "rows": [1, 2], "count": 2}, 2),
        ({"data": [1, 2, 3], "errors": []}, 3),
        ({"data": {"users": [1, 2, 3], "id": 7}, "links": [1]}, 3),
        ({"items": {"all": []}}, 0),
        ({"results": {"page": {"rows": [1]}}}, None),
        ({"payload": {"rows": [1]}}, None),
        ({"id": 7, "name": "x"}, None),
        ({}, None),
        (None, None),
        (7, None),
        ("[1, 2]", None),
    ],
)
def test_the_items_of_a_body_are_those_of_its_main_list(value: object, items: int | None) -> None:
    assert form_of(JSON, json.dumps(value).encode()).items == items


def test_what_is_no_json_has_no_items() -> None:
    assert form_of("text/csv", b"[1,2]\n") == Form("text/csv")
    assert form_of("text/html", b"[1]") == Form("text/html")
    assert form_of(JSON, b"[1, 2") == Form(JSON)
    assert form_of(JSON, b"[" * 100_000) == Form(JSON)
    assert form_of(JSON, None) == Form(EMPTY)


OBJECTS = st.dictionaries(st.sampled_from(["data", "items", "results", "rows", "id"]), VALUES, max_size=4)


@given(VALUES | OBJECTS | st.dictionaries(st.sampled_from(["data", "items", "results"]), OBJECTS, min_size=1))
def test_the_items_are_those_of_the_longest_list_near_the_top(value: object) -> None:
    lists = [value] if isinstance(value, list) else []
    if isinstance(value, dict):
        inside = [value[name] for name in ("data", "items", "results") if name in value]
        fields = [*value.values(), *(one for held in inside if isinstance(held, dict) for one in held.values())]
        lists = [one for one in fields if isinstance(one, list)]
    form = form_of(JSON, json.dumps(value).encode())
    assert form.items == (max(map(len, lists)) if lists else None)
    assert form.shape == shape_of(JSON, json.dumps(value, indent=2).encode())


@given(st.integers(1, 400), st.sampled_from(["[%s]", '{"items": [%s]}', '{"data": {"users": [%s]}}']))
def test_the_number_of_items_does_not_change_a_shape(count: int, form: str) -> None:
    body = form % ", ".join(["{}"] * count)
    assert form_of(JSON, body.encode()) == Form(shape_of(JSON, (form % "{}").encode()), count)
