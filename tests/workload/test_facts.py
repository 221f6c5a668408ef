"""What is read off each exchange: paths made alike, moments, the forms of bodies and of empty answers."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import ibis
import pandas as pd
import pytest
from engines import EITHER, exchange, table_of
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.segments import to_table
from replay.shapes import is_empty, shape_of
from replay.traffic import Exchange
from replay.workload.endpoints.operations import operation_from, operation_of
from replay.workload.engine import Engine
from replay.workload.profile.facts import SEPARATOR, facts
from replay.workload.profile.profile import profile
from replay.workload.profile.variants import find_variants

UUID = "0b8e28ba-2fa1-41d2-883f-0016d3cca4ff"


def facts_of(exchanges: Sequence[Exchange], engine: Engine) -> pd.DataFrame:
    table = facts(engine.given(to_table(exchanges)), engine)
    return engine.frame(table).sort_values("t").reset_index(drop=True)


def variants_of(exchanges: Sequence[Exchange], engine: Engine) -> list[str]:
    """The variant of each exchange, as a profile has it."""
    read = _kept(exchanges, engine)
    found = find_variants(read, engine)
    marked = engine.frame(read.select("t", made=engine.fingerprint(read.variant)).order_by("t"))
    numbers = dict(zip(found.numbers["made"], found.numbers["variant"], strict=True))
    return [found.texts[numbers[made]] for made in marked["made"]]


def empties_of(answers: Sequence[bytes | None], engine: Engine) -> list[bool]:
    read = _kept(list(answered(answers)), engine)
    found = find_variants(read, engine)
    marked = engine.frame(
        read.select("t", "small", answered=engine.fingerprint(read.small.fill_null(""))).order_by("t")
    )
    empty = dict(zip(found.empties["answered"], found.empties["empty"], strict=True))
    return [pd.notna(small) and empty[mark] for small, mark in zip(marked["small"], marked["answered"], strict=True)]


def _kept(exchanges: Sequence[Exchange], engine: Engine) -> ibis.Table:
    return engine.keep(facts(engine.given(to_table(exchanges)), engine).select("t", "variant", "small"))


def answered(answers: Sequence[bytes | None]) -> Iterator[Exchange]:
    for number, answer in enumerate(answers):
        yield exchange(number, "GET /", answer=answer)


@EITHER
def test_long_ids_in_paths_are_alike(either: Engine) -> None:
    paths = {
        "": "",
        "/": "/",
        "*": "*",
        "//": "//",
        "no/slash/12345": "no/slash/100000",
        "/v1/events/12345": "/v1/events/100000",
        "/v1/events/12345/": "/v1/events/100000/",
        "/12345/1234567/123456789": "/100000/100000/1000000000",
        "/1234/12345678": "/1234/12345678",
        "/2026/03/02/20260302": "/2026/03/02/20260302",
        "/2026-03-02": "/2026-03-02",
        f"/{UUID}/{UUID}": "/1b4e28ba-2fa1-41d2-883f-0016d3cca427/1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        f"/{UUID.upper()}": f"/{UUID.upper()}",
        "/a12345/12345.json/12345%2F": "/a12345/12345.json/12345%2F",
        "/%C3%BC/ü/12345": "/%C3%BC/ü/100000",
    }
    rows = facts_of([exchange(number, f"GET {path}") for number, path in enumerate(paths)], either)
    assert dict(zip(rows["path"], rows["form"], strict=True)) == paths


@settings(max_examples=15)
@given(st.lists(st.text("/a1%.", max_size=14), min_size=1, max_size=30))
def test_a_form_has_the_segments_of_its_path(duckdb: Engine, paths: list[str]) -> None:
    rows = facts_of([exchange(number, f"GET {path}") for number, path in enumerate(paths)], duckdb)
    for path, form in zip(rows["path"], rows["form"], strict=True):
        segments = path.split("/")
        assert len(form.split("/")) == len(segments)
        for segment, own in zip(segments, form.split("/"), strict=True):
            assert own == segment or (segment.isdigit() and own.isdigit() and len(segment) >= 5)


@EITHER
def test_moments_and_statuses(either: Engine) -> None:
    made = [
        exchange(0, "get /", took_s=0.0),
        exchange(1, "GET /", took_s=-3.0),
        exchange(2, "GET /", took_s=1.5e-6),
        exchange(3, "GET /", took_s=86_400.123456, status=0),
    ]
    rows = facts_of(made, either)
    assert (rows["te"] - rows["t"]).tolist() == [0, 0, 2, 86_400_123_456]
    assert rows["method"].tolist() == ["GET"] * 4
    assert rows["status"].tolist() == [200, 200, 200, 0]
    assert rows["size_bytes"].tolist() == [0] * 4


VARIANTS: list[tuple[str, bytes | None, str]] = [
    ("", None, ""),
    ("", b"", "empty"),
    ("limit=5&offset=&q", None, "?limit&offset&q"),
    ("q=1&q=2&&a=x=y", b"", "?a&q empty"),
    ("filter[a]=1&%C3%BC=2", None, "?%C3%BC&filter[a]"),
    ("", b"b=1&a=2&a=3&c", "form a&b&c"),
    ("", b"a=b\n", "form a"),
    ("", b"a=b c", "other"),
    ("", b"x" * 200 + b"=", "other"),
    ("", b"<a/>", "xml"),
    ("", b" \n<?xml version='1.0'?><a/>", "xml"),
    ("", b"plain text", "other"),
    ("", b"\xff\xd8\xff", "other"),
    ("", b"a=\xff", "other"),
    ("", b"[]", "[]"),
    ("", b" { } ", "{}"),
    ("", b"null", "null"),
    ("", b"-1.5e+3\n", "number"),
    ("", b'"a=b"', "str"),
    ("", b'{"a": ', "json"),
    ("", b"{a: 1}", "json"),
    ("", b'{"a": ": 1", "b": ", 2", "c": "[3"}', "{a:str,b:str,c:str}"),
    ("", b'{"08:00": 1, "08:30": [1, 20, "x"], "a, 1": null}', "{08:00:number,08:30:[number|str],a, 1:null}"),
    ("", rb'{"a\"b": "\"", "c": "\\", "d": "\\\"\\\\"}', '{a"b:str,c:str,d:str}'),
    ("", rb'{"\u00fc\\": "\u0001"}', "{ü\\:str}"),
    ("", b'{"a" : "x" , "b"\n:\t-0.5}', "{a:str,b:number}"),
    ("", b'{"long": "' + b"x" * 17_000 + b'"}', "json"),
]  # fmt: skip


@EITHER
def test_variants_by_hand(either: Engine) -> None:
    made = [exchange(number, f"POST /?{query}", body=body) for number, (query, body, _) in enumerate(VARIANTS)]
    assert variants_of(made, either) == [variant for _, _, variant in VARIANTS]


NASTY = st.text(st.sampled_from('ab1":,[]{}\\/\n\t ü\u2028\U0001f600\x00\x7f-.eE&=<\x85'), max_size=12)
TEXTS = st.one_of(NASTY, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXTS, inner, max_size=5)),
    max_leaves=12,
)
BODIES = st.builds(
    lambda value, indent, plain: json.dumps(value, indent=indent, ensure_ascii=not plain).encode(),
    JSON,
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(BODIES, min_size=1, max_size=60))
def test_json_has_the_shape_that_python_sees(duckdb: Engine, bodies: list[bytes]) -> None:
    found = variants_of([exchange(number, "POST /", body=body) for number, body in enumerate(bodies)], duckdb)
    assert found == [shape_of("application/json", body) for body in bodies]


@settings(max_examples=15)
@given(st.lists(st.binary(max_size=40) | NASTY.map(str.encode) | BODIES.map(lambda body: body[:-1]), max_size=60))
def test_whatever_is_sent_has_a_variant(duckdb: Engine, bodies: list[bytes]) -> None:
    found = variants_of([exchange(number, "POST /", body=body) for number, body in enumerate(bodies)], duckdb)
    for body, variant in zip(bodies, found, strict=True):
        if variant.startswith(("{", "[")) and variant != "json":
            assert body.lstrip()[:1] in {b"{", b"["}
        assert variant or body is None


def test_half_a_character_in_json_is_no_error(duckdb: Engine) -> None:
    bodies = [json.dumps({"\ud800": 1}).encode(), json.dumps({"\ud800" * 300: 1}).encode()]
    first, second = variants_of([exchange(number, "POST /", body=body) for number, body in enumerate(bodies)], duckdb)
    assert first == "{?:number}"
    assert second == "json"


ENTRIES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "[]", "x", '"']), st.just([])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["items", "next", "total", "id", "tags", "a:b", "[]"]), inner, max_size=3),
    ),
    max_leaves=5,
)
BLANKS = st.sampled_from([b"", b" ", b"\r\n", b"\t "])
ANSWERS = st.one_of(
    st.none(),
    BLANKS,
    st.builds(
        lambda value, indent, blank: blank + json.dumps(value, indent=indent).encode() + blank,
        ENTRIES,
        st.sampled_from([None, 1]),
        BLANKS,
    ),
)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(ANSWERS, min_size=1, max_size=60))
def test_an_answer_is_empty_where_python_says_so(duckdb: Engine, answers: list[bytes | None]) -> None:
    expected = [answer is not None and is_empty(shape_of("application/json", answer)) for answer in answers]
    assert empties_of(answers, duckdb) == expected


def test_what_is_no_text_is_not_empty(duckdb: Engine) -> None:
    assert empties_of([b"\x89PNG\r\n\x1a\n", b"[ ]", b"{\n}", b'{"items": [ ], "next": null}'], duckdb) == [
        False,
        True,
        True,
        True,
    ]


def test_empties_count_only_where_something_was_promised(duckdb: Engine) -> None:
    statuses = [200, 201, 202, 204, 205, 301, 404, 500]
    made = [exchange(number, "GET /list", status=status, answer=b"[]") for number, status in enumerate(statuses)]
    (row,) = profile(table_of(made, duckdb), duckdb).endpoints.to_dict("records")
    assert row["empty"] == 3


@EITHER
def test_long_texts_of_escapes_end(either: Engine) -> None:
    escapes = json.dumps({"text": '"' * 8_000}).encode()
    header = (("Authorization", "Bearer " + '"' * 8_000), ("Cookie", "sid=" + "\u00fc" * 3_000))
    rows = facts_of([exchange(0, "POST /", headers=header, body=escapes, answer=escapes)], either)
    _, authorization, cookie, *_ = rows["who"].iloc[0].split(SEPARATOR)
    assert len(authorization) > 8_000
    assert len(cookie) > 3_000


@EITHER
def test_the_agent_and_who_sent_it(either: Engine) -> None:
    headers: Any = (("user-AGENT", 'a "b" \\'), ("Accept", "user-agent"), ("User-Agent", "second"))
    rows = facts_of([exchange(0, "GET /", headers=headers, client=f"a{SEPARATOR}b")], either)
    assert json.loads(f'"{rows["agent"].iloc[0]}"') == 'a "b" \\'
    assert rows["who"].iloc[0].split(SEPARATOR) == ["a b", "", "", "", "", ""]


def test_facts_are_one_row_an_exchange(duckdb: Engine) -> None:
    table = duckdb.given(to_table([exchange(0, "GET /")] * 5))
    assert duckdb.frame(facts(table, duckdb).aggregate(count=ibis._.count()))["count"].iloc[0] == 5


SOAP = '<?xml version="1.0"?><s:Envelope xmlns:s="x"><s:Body>\n<m:{name} a="1"/></s:Body></s:Envelope>'
OPERATIONS: list[tuple[str, tuple[tuple[str, str], ...], str | None, str]] = [
    ("POST /graphql", (), '{"query": "query GetUser($id: ID!) { user(id: $id) { name } }"}', "GetUser"),
    ("POST /api", (), '{"operationName": "Other", "query": "{ a }"}', "Other"),
    ("POST /api", (), '[{"query": "query A { a }"}, {"query": "mutation B { b }"}]', "A+B"),
    ("GET /graphql?query=query%20Listed%20%7B%20a%20%7D", (), None, "Listed"),
    ("GET /any?query=query%20Listed%20%7B%20a%20%7D", (), None, "Listed"),
    ("GET /graphql?a=b&operationName=Known&extensions=%7B%22sha256Hash%22:%22abc%22%7D", (), None, "Known"),
    ("POST /gql", (), '{"documentId": "d41d8c"}', "d41d8c"),
    ("POST /raw", (("Content-Type", "application/graphql"),), "mutation Made { made }", "Made"),
    ("POST /form", (), "a=b&query=query+Formed+%7B+a+%7D", "Formed"),
    ("POST /api", (), '{"jsonrpc": "2.0", "method": "user.get", "id": 1}', "user.get"),
    ("POST /xmlrpc/rpc", (), '{"method": "user.list"}', "user.list"),
    ("POST /soap", (), SOAP.format(name="GetPrice"), "GetPrice"),
    ("POST /soap", (), SOAP.format(name="GetPrice").replace("Envelope", "ENVELOPE"), "GetPrice"),
    ("POST /soap", (("SOAPAction", '"http://example.org/shop#Order"'),), SOAP.format(name="X"), "Order"),
    ("POST /soap", (("Content-Type", 'application/soap+xml; action="urn:Sell"'),), SOAP.format(name="X"), "Sell"),
    ("POST /", (("X-Amz-Target", "Table_2012.GetItem"),), "{}", "Table_2012.GetItem"),
    ("POST /v1/events", (), '{"method": "card", "name": "a query"}', ""),
    ("GET /search?q=query", (), None, ""),
]


@EITHER
def test_operations_are_those_of_each_request(either: Engine) -> None:
    made = [
        exchange(number, request, headers=headers, body=body)
        for number, (request, headers, body, _) in enumerate(OPERATIONS)
    ]
    rows = facts_of(made, either)
    found = [
        operation_from(path, *asked.split(SEPARATOR)) if asked else ""
        for path, asked in zip(rows["path"], rows["asked"], strict=True)
    ]
    assert found == [operation_of(one.request) for one in made]
    assert found == [name for *_, name in OPERATIONS]
