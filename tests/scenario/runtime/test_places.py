import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.scenario.runtime.places import NoPlaceError, extract, inject
from replay.scenario.schedule import Extract, Inject, PlannedRequest
from replay.traffic import Response

Plan = Callable[..., PlannedRequest]
anything = st.text(st.characters(codec="utf-8"), min_size=1)
in_a_line = st.text(st.characters(codec="utf-8", min_codepoint=0x20, exclude_characters="\x7f"), min_size=1)
name = st.text("abcdefghij_-", min_size=1)


def put(planned: PlannedRequest, place: str, captured: str, value: str) -> PlannedRequest:
    return inject(planned, {Inject(place, captured, 0): value})


@given(anything, st.lists(anything, max_size=3))
def test_a_path_segment_is_replaced_and_nothing_else(planned: Plan, value: str, others: list[str]) -> None:
    kept = [quote(other, safe="") for other in others if other != "old/1"]
    path = "/".join(["", *kept, "old%2F1", "tail"])
    result = put(planned(0, path), "path", "old/1", value).path.split("/")
    assert [unquote(segment) for segment in result[-2:]] == [value, "tail"]
    assert result[1:-2] == kept


def test_the_last_of_equal_segments_is_replaced(planned: Plan) -> None:
    assert put(planned(0, "/7/a/7/b"), "path", "7", "8").path == "/7/a/8/b"


def test_values_of_one_path_are_replaced_at_once(planned: Plan) -> None:
    swapped = inject(planned(0, "/1/x/2"), {Inject("path", "1", 0): "2", Inject("path", "2", 1): "3"})
    assert swapped.path == "/2/x/3"


@pytest.mark.parametrize("kind", ["query", "form"])
@given(data=st.data())
def test_a_field_is_replaced_and_the_others_stay_as_written(planned: Plan, kind: str, data: Any) -> None:
    field, captured, value = data.draw(name), data.draw(anything), data.draw(anything)
    text = f"A=%7e+x&{field}={quote_plus(captured)}&B"
    request = planned(0, query=text) if kind == "query" else planned(0, body=text.encode())
    result = put(request, f"{kind}:{field}", captured, value)
    written = result.query if kind == "query" else (result.body or b"").decode()
    first, _, last = written.split("&")
    assert (first, last) == ("A=%7e+x", "B")
    assert dict(parse_qsl(written, keep_blank_values=True))[field] == value


def test_one_of_several_equal_names_is_replaced(planned: Plan) -> None:
    assert put(planned(0, query="id=1&id=2"), "query:id", "2", "9").query == "id=1&id=9"


@given(st.recursive(st.none() | st.booleans() | st.integers() | anything, st.lists), anything)
def test_a_json_value_is_replaced_at_its_pointer(planned: Plan, other: Any, value: str) -> None:
    body = {"other": other, "a/b": [{"~x": "old"}]}
    result = put(planned(0, body=json.dumps(body).encode()), "json:/a~1b/0/~0x", "old", value)
    assert json.loads(result.body or b"") == {"other": other, "a/b": [{"~x": value}]}


@pytest.mark.parametrize(("before", "value", "after"), [(41, "57", 57), ("41", "57", "57"), (41, "abc", "abc")])
def test_a_number_stays_a_number(planned: Plan, before: Any, value: str, after: Any) -> None:
    result = put(planned(0, body=json.dumps({"id": before}).encode()), "json:/id", "41", value)
    assert json.loads(result.body or b"") == {"id": after}


@given(st.text(min_size=1).filter(lambda text: ":" not in text), st.text())
def test_basic_credentials_are_replaced_one_by_one(planned: Plan, username: str, password: str) -> None:
    encoded = base64.b64encode(b"old:secret:with colon").decode()
    request = planned(0, headers=(("Authorization", f"Basic {encoded}"),))
    values = {Inject("basic:username", "old", 0): username, Inject("basic:password", "secret:with colon", 0): password}
    try:
        result = inject(request, values)
    except (NoPlaceError, UnicodeEncodeError):
        return
    assert base64.b64decode(result.headers[0][1].split(" ")[1]).decode() == f"{username}:{password}"


@given(in_a_line)
def test_headers_and_cookies(planned: Plan, value: str) -> None:
    request = planned(0, headers=(("X-Key", "old"), ("COOKIE", "a=old; sid=old;b=1"), ("authorization", "bearer old")))
    result = inject(
        request,
        {
            Inject("header:x-key", "old", 0): value,
            Inject("cookie:sid", "old", 0): value,
            Inject("bearer", "old", 0): value,
        },
    )
    assert result.headers == (
        ("X-Key", value),
        ("COOKIE", f"a=old; sid={value};b=1"),
        ("authorization", f"bearer {value}"),
    )


@pytest.mark.parametrize(
    "place", ["header:x-key", "cookie:sid", "bearer", "basic:username", "query:q", "form:f", "path"]
)
def test_a_place_that_is_not_there_is_an_error(planned: Plan, place: str) -> None:
    with pytest.raises(NoPlaceError) as caught:
        put(planned(0), place, "old", "secret-value")
    assert "secret-value" not in str(caught.value)


@pytest.mark.parametrize("place", ["header:x-key", "cookie:sid", "bearer"])
def test_a_value_cannot_break_out_of_its_header(planned: Plan, place: str) -> None:
    request = planned(0, headers=(("x-key", "old"), ("cookie", "sid=old"), ("authorization", "Bearer old")))
    with pytest.raises(NoPlaceError):
        put(request, place, "old", "a\r\nx: y")


@given(st.dictionaries(anything, anything | st.integers(), min_size=1))
def test_extracting_finds_what_stands_at_a_pointer(values: dict[str, Any]) -> None:
    body = json.dumps({"list": [0, values]}).encode()
    for key, value in values.items():
        pointer = key.replace("~", "~0").replace("/", "~1")
        assert extract(Extract(f"json:/list/1/{pointer}", "x"), Response(200, (), body)) == str(value)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_extracting_never_raises(body: bytes, pointer: str) -> None:
    extract(Extract(f"json:{pointer}", "x"), Response(200, (("location", pointer),), body))
    extract(Extract("location", "x"), Response(200, (("location", pointer),), body))


def test_extracting_from_headers() -> None:
    response = Response(
        201,
        (("Location", "https://x.test/v2/events/5%2F7/?a=b"), ("Set-Cookie", 'sid="ab c"; Path=/'), ("ETag", '"e"')),
    )
    assert extract(Extract("location", "4"), response) == "5/7"
    assert extract(Extract("cookie:sid", "4"), response) == "ab c"
    assert extract(Extract("header:etag", "4"), response) == '"e"'
    assert extract(Extract("header:absent", "4"), response) is None
    assert extract(Extract("cookie:absent", "4"), response) is None


PAGE = b"""<form action="/search"><input name="t" type="hidden" value="no"></form>
<form action="/orders/7/pay"><input name='t' type=hidden value='a&amp;b'></form>
<meta name="csrf-token" content="guard">
<a href="/list?status=open&amp;cursor=c9">more</a><a href='/list?cursor=d1'>x</a>"""


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("html:hidden/t", "no"),
        ("html:hidden/t@/orders/*/pay", "a&b"),
        ("html:hidden/t@/orders/*/pay#2", "a&b"),
        ("html:meta/csrf-token", "guard"),
        ("html:href/query/cursor@/list", "c9"),
        ("html:href/query/cursor@/list#2", "d1"),
        ("html:hidden/absent", None),
        ("html:href/query/cursor@/list#3", None),
    ],
)
def test_extracting_from_a_page(place: str, value: str | None) -> None:
    assert extract(Extract(place, "x"), Response(200, (("content-type", "text/html"),), PAGE)) == value


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("xml:/a/b[2]/c", "two"),
        ("xml:/a/b[1]/c", "<one>"),
        ("xml:/a/@id", "7"),
        ("xml:/a/d[1]", "only"),
        ("xml:/a/absent", None),
    ],
)
def test_extracting_from_xml(place: str, value: str | None) -> None:
    body = (
        b"<?xml version='1.0'?><x:a xmlns:x='u' id='7'>"
        b"<b><c>&lt;one&gt;</c></b><b><c><![CDATA[two]]></c></b><d>only</d></x:a>"
    )
    assert extract(Extract(place, "x"), Response(200, (), body)) == value


def test_entities_that_a_document_declares_are_not_expanded() -> None:
    body = b'<!DOCTYPE a [<!ENTITY x "yyyy"><!ENTITY z "&x;&x;">]><a><b>&z;</b></a>'
    assert extract(Extract("xml:/a/b", "x"), Response(200, (), body)) is None


def test_extracting_parts_of_urls() -> None:
    headers = (
        ("Location", "https://x.test/baskets/64/checkout?code=c%2F1&state=s"),
        ("Link", '</list?page=1>; rel="first", <https://x.test/list?q=a,b&cursor=c9>; rel="next"'),
        ("Set-Cookie", "guard=a%2Fb; Path=/"),
        ("ETag", 'W/"e1"'),
    )
    response = Response(200, headers, b'{"links": [{"next": "/list?cursor=c9#x"}]}')
    found = {
        "location": "checkout",
        "location:path/2": "64",
        "location:query/code": "c/1",
        "link:next/query/cursor": "c9",
        "link:prev/query/cursor": None,
        "json:/links/0/next~query/cursor": "c9",
        "json:/links/0/next~query/absent": None,
        "cookie:guard": "a%2Fb",
        "cookie:guard~decoded": "a/b",
        "header:etag": '"e1"',
    }
    for place, value in found.items():
        assert extract(Extract(place, "x"), response) == value, place


def test_a_list_of_etags_keeps_its_form(planned: Plan) -> None:
    request = planned(0, headers=(("If-None-Match", 'W/"a", "b"'),))
    values = {Inject("header:if-none-match", '"a"', 0): '"b"', Inject("header:if-none-match", '"b"', 1): '"c"'}
    assert inject(request, values).headers == (("If-None-Match", 'W/"b", "c"'),)


def test_a_file_keeps_its_ending(planned: Plan) -> None:
    assert put(planned(0, "/exports/77.csv"), "path", "77", "8 1").path == "/exports/8%201.csv"


@given(in_a_line.filter(lambda text: "\x7f" not in text and text.strip() == text))
def test_xml_is_replaced_in_place(planned: Plan, value: str) -> None:
    body = b"<!-- c --><t:a xmlns:t='u'><t:b k='1'>old</t:b>\n <c/></t:a>"
    text = put(planned(0, body=body), "xml:/a/b", "old", value).body or b""
    assert text.startswith(b"<!-- c --><t:a xmlns:t='u'><t:b k='1'>")
    assert text.endswith(b"</t:b>\n <c/></t:a>")
    assert extract(Extract("xml:/a/b", "x"), Response(200, (), text)) == value.strip()


@given(anything)
def test_a_part_of_a_form_is_replaced(planned: Plan, value: str) -> None:
    body = (
        b'--e7\r\nContent-Disposition: form-data; name="id"\r\n\r\nold\r\n'
        b'--e7\r\nContent-Disposition: form-data; name="f"; filename="old"\r\n\r\nold\r\n--e7--\r\n'
    )
    request = planned(0, body=body, headers=(("Content-Type", "multipart/form-data; boundary=e7"),))
    changed = put(request, "form:id", "old", value).body
    assert changed == body.replace(b'"id"\r\n\r\nold', b'"id"\r\n\r\n' + value.encode(), 1)


@given(
    st.binary(max_size=300), st.sampled_from(["html:hidden/a", "html:href/path/1@/a", "xml:/a/b", "json:/a~query/b"])
)
def test_extracting_from_rubbish_never_raises(body: bytes, place: str) -> None:
    extract(Extract(place, "x"), Response(200, (("link", body.decode("latin-1")),), body))
    extract(Extract("link:next/query/a", "x"), Response(200, (("link", body.decode("latin-1")),), body))
