import json
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.traffic import Request
from replay.workload.endpoints.operations import EXTRACTS, operation_from, operation_of

ENVELOPE = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://envelope.test"><s:Header/>'
    '<s:Body>\n<!-- who --><m:GetUser xmlns:m="urn:m"><id>5</id></m:GetUser></s:Body></s:Envelope>'
)
HASH = "%7B%22persistedQuery%22%3A%7B%22version%22%3A1%2C%22sha256Hash%22%3A%22ff00%22%7D%7D"


def request(
    body: Any = None, path: str = "/graphql", query: str = "", headers: tuple[tuple[str, str], ...] = ()
) -> Request:
    text = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
    return Request("POST", "api.test", path, query, headers, text.encode() if isinstance(text, str) else text)


SOAP = (("SOAPAction", '"http://service.test/users#ListUsers"'),)
SOAP_12 = (("Content-Type", 'application/soap+xml; charset=utf-8; action="urn:DropUser"'),)
CASES = [
    (request({"operationName": "GetUser", "query": "query GetUser { me { id } }"}), "GetUser"),
    (request({"operationName": None, "query": "query\n  GetUser($id: ID!) { user(id: $id) { id } }"}), "GetUser"),
    (request({"operationName": "Find", "variables": {"query": "tea"}, "query": "query Find { a }"}), "Find"),
    (request({"query": '# "why"\nfragment F on U { id }\nmutation Rename { me { ...F } }'}), "Rename"),
    (request({"query": "query Other { a }"}, path="/api"), "Other"),
    (request([{"query": "query B { b }"}, {"query": "query A { a }"}, {"query": "query B { b }"}]), "A+B"),
    (request([{"operationName": "B"}, {"operationName": "A"}]), "A+B"),
    (request({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "ab12"}}}), "ab12"),
    (request({"documentId": "users/7"}), "users/7"),
    (request(query="query=query%20Who%20%7B%20me%20%7D"), "Who"),
    (request(query="operationName=Who&extensions=" + HASH), "Who"),
    (request(query="extensions=" + HASH), "ff00"),
    (request("query Raw { a }"), "Raw"),
    (request("query=query+Form+%7B+a+%7D"), "Form"),
    (request({"query": "query optimisation"}, path="/search"), ""),
    (request({"operationName": "backup"}, path="/jobs"), ""),
    (request(path="/search", query="query=tea"), ""),
    (request({"jsonrpc": "2.0", "method": "user.get", "params": {"method": "card"}}, path="/api"), "user.get"),
    (request([{"jsonrpc": "2.0", "method": "b"}, {"method": "a"}, {"method": "b"}], path="/api"), "a+b"),
    (request({"method": "getinfo", "params": [], "id": 1}, path="/jsonrpc"), "getinfo"),
    (request({"method": "card"}, path="/payments"), ""),
    (request(ENVELOPE, path="/soap"), "GetUser"),
    (request(ENVELOPE, path="/soap", headers=SOAP), "ListUsers"),
    (request(ENVELOPE, path="/soap", headers=(("soapaction", '""'),)), "GetUser"),
    (request(ENVELOPE, path="/soap", headers=SOAP_12), "DropUser"),
    (request("{}", path="/", headers=(("X-Amz-Target", "Table_2012.GetItem"),)), "Table_2012.GetItem"),
    (request("<html><body><p>text</p></body></html>", path="/page"), ""),
    (request(b"\xff\xfe\x00", path="/upload"), ""),
    (request(), ""),
]


@pytest.mark.parametrize(("sent", "operation"), CASES)
def test_an_operation_is_known_by_what_was_sent(sent: Request, operation: str) -> None:
    assert operation_of(sent) == operation


def test_a_query_without_a_name_has_one_that_blanks_and_values_do_not_change() -> None:
    one, same, other = (
        operation_of(request({"query": text}))
        for text in ('{ user(id: 5, q: "a") { id, name } }', '{user(id:77,q:"b{"){id name}}', "{ user(id: 5) { id } }")
    )
    assert one == same != other
    assert one.startswith("query-")


@pytest.mark.parametrize(("sent", "operation"), CASES)
def test_an_engine_reads_the_same(sent: Request, operation: str) -> None:
    sources = {
        "query": sent.query,
        "headers": json.dumps([list(header) for header in sent.headers]),
        "body": (sent.body or b"").decode("utf-8", "replace"),
    }
    columns = [(extract, group) for extract in EXTRACTS for group in range(1, extract.groups + 1)]
    chosen = ", ".join(["regexp_extract(?::VARCHAR, ?, ?)"] * len(columns))
    given_ = [part for extract, group in columns for part in (sources[extract.source], extract.pattern, group)]
    with duckdb.connect() as engine:
        row = engine.execute(f"SELECT {chosen}", given_).fetchone()
    assert row is not None
    assert operation_from(sent.path, *row) == operation


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="EXTRACTS"):
        operation_from("/graphql", "")


@given(st.binary(max_size=300), st.text(max_size=80), st.sampled_from(["/graphql", "/rpc", "/x"]))
def test_whatever_is_sent_has_a_name_that_fits_into_an_endpoints(body: bytes, query: str, path: str) -> None:
    name = operation_of(request(body, path, query))
    assert "#" not in name
    assert not any(character.isspace() for character in name)


@pytest.mark.parametrize(
    "part",
    ['{"query":"{', '"operationName":"a', "<Envelope ><Body ", "<!-- ", "<!-- -->", "# a\\n", '\\"', '"method":"'],
)
def test_a_body_that_repeats_itself_is_read(part: str) -> None:
    for before in ("", '{"query":"', "<Envelope ><Body>"):
        assert isinstance(operation_of(request(before + part * (40_000 // len(part)))), str)
