import gzip
import json
from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.capture.clients import client_of
from replay.capture.inputs import Head, Input
from replay.capture.pseudonyms import fresh_key
from replay.capture.sources import har_entry, json_stream
from replay.capture.sources.har import Har
from replay.capture.sources.http_message import TUNNEL, UNDECODABLE, WEBSOCKET
from replay.capture.sources.json_stream import TOO_DEEP, TOO_LARGE
from replay.capture.sources.source import ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Skipped

FIXTURES = Path(__file__).parent / "fixtures"
AT = datetime(2026, 3, 1, 8, 0, 1, 234000, UTC)


def read(data: bytes, options: ReadOptions = ReadOptions()) -> list[Record | Skipped]:  # noqa: B008 - frozen
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        return list(Har().read(Input("a.har", Path(file.name)), options))


def fixture(name: str) -> list[Record | Skipped]:
    return read((FIXTURES / f"{name}.har").read_bytes())


def document(*entries: object, **log: object) -> bytes:
    return json.dumps({"log": {"version": "1.2", **log, "entries": entries}}).encode()


def entry(**changes: object) -> dict[str, object]:
    """An entry; ``request__url`` changes what is within."""
    whole = {
        "startedDateTime": "2026-03-01T08:00:01.234Z",
        "time": 20,
        "request": {"method": "GET", "url": "https://api.example.com/", "headers": []},
        "response": {"status": 200, "headers": [], "content": {"size": 2, "text": "{}"}},
    }
    for path, value in changes.items():
        inside, *names = whole, *path.split("__")
        for name in names[:-1]:
            inside = inside.setdefault(name, {})
        inside[names[-1]] = value
    return whole


def one(**changes: object) -> Record:
    (item,) = read(document(entry(**changes)))
    assert isinstance(item, Record), item.reason
    return item


def why_not(**changes: object) -> str:
    (item,) = read(document(entry(**changes)))
    assert isinstance(item, Skipped)
    assert item.where == "entry 1"
    return item.reason


def named(**values: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]


def outline(items: list[Record | Skipped]) -> list[object]:
    """For each entry its request line and status, or why it was skipped."""
    return [
        (
            f"{item.exchange.request.method} {item.exchange.request.path}",
            item.exchange.response.status if item.exchange.response else item.exchange.error,
        )
        if isinstance(item, Record)
        else item.reason
        for item in items
    ]


def test_chrome() -> None:
    items = fixture("chrome")
    assert outline(items) == [
        ("POST /orders", 201),
        har_entry.FROM_CACHE,
        har_entry.FROM_WORKER,
        ("GET /slow", "net::ERR_ABORTED"),
        har_entry.BLOCKED,
        ("GET /", "net::ERR_NAME_NOT_RESOLVED"),
        WEBSOCKET,
        ("GET /app.js", 304),
        ("GET /large", 200),
        *[har_entry.NOT_FOR_SERVERS] * 3,
    ]
    exchange = items[0].exchange
    assert (exchange.at, exchange.duration_s, exchange.connection, exchange.client) == (AT, 0.0305, "4711", "")
    request = exchange.request
    assert (request.host, request.query) == ("shop.example.com", "dry=1&q=a%20b")
    assert request.body == '{"item": "é"}'.encode()
    assert [name for name, _ in request.headers] == ["content-type", "content-length", "user-agent", "cookie"]
    assert exchange.response.body == '{"id": "é"}'.encode()
    assert [value for name, value in exchange.response.headers if name == "set-cookie"] == [
        "a=1; Path=/",
        "b=2; Path=/",
    ]
    assert items[7].exchange.response.body == b""  # of a 304 a browser shows what its cache has
    large = items[8]
    assert (large.exchange.response.body, large.exchange.response.size_bytes) == (None, 70_000)
    assert large.bodies_not_kept == (har_entry.NOT_IN_HAR,)


def test_firefox() -> None:
    items = fixture("firefox")
    assert outline(items) == [
        ("GET /caf%C3%A9", 200),
        har_entry.FROM_CACHE,
        ("POST /login", 302),
        har_entry.FROM_CACHE,
        ("GET /", "no response"),
    ]
    assert items[0].exchange.at == AT
    assert items[0].exchange.response.body == "café".encode("latin-1")
    assert items[0].exchange.response.size_bytes == 204
    login = items[2].exchange
    assert login.request.body == b"user=ann+lee&note=a%26b%3D%C3%A9"
    assert login.request.header("content-length") is None  # it was that of another spelling
    assert login.response.header("location") == "/home"
    assert login.response.header("set-cookie") == "session=c00kie2; Path=/; HttpOnly; Secure"
    assert login.response.body == b""


def test_safari() -> None:
    items = fixture("safari")
    assert outline(items) == [
        ("GET /v1/items", 200),
        har_entry.FROM_CACHE,
        har_entry.FROM_CACHE,
        har_entry.FROM_WORKER,
        har_entry.FROM_TEST,
    ]
    assert items[0].exchange.request.host == "api.example.com:8443"
    assert items[0].exchange.response.size_bytes == 6


def test_charles() -> None:
    items = fixture("charles")
    assert outline(items) == [
        ("GET /blob", 200),
        ("POST /upload", 200),
        ("POST /upload", 200),
        TUNNEL,
        ("GET /down", "Failed to connect to remote host"),
    ]
    assert items[0].exchange.at == AT.replace(second=3, microsecond=500_000)
    assert items[0].exchange.request.header("cookie") == "sid=c00kie3; theme=dark"
    assert items[0].exchange.response.body == b"\x00\xff\x00\x80\x7f\x7f"
    assert items[1].exchange.request.host == "api.example.com"
    assert items[1].exchange.request.body == (
        b'--bXy7\r\nContent-Disposition: form-data; name="title"\r\n\r\nReport\r\n'
        b'--bXy7\r\nContent-Disposition: form-data; name="file"; filename="r.csv"\r\nContent-Type: text/csv\r\n\r\n'
        b"a,b\n1,2\n\r\n--bXy7--\r\n"
    )
    assert items[2].bodies_not_kept == (har_entry.FILE_MISSING,)


def test_fiddler() -> None:
    """In UTF-16, with the creator behind the entries, null for what is not there, and fractions of seven digits."""
    items = fixture("fiddler")
    assert outline(items) == [("GET /ping", 200), ("GET /none", ""), har_entry.NO_TIME]
    exchange = items[0].exchange
    assert exchange.at == AT.replace(second=4, microsecond=123456)
    assert exchange.duration_s == pytest.approx(0.018)  # of its timings, as its time is 0
    assert exchange.connection == "ClientPort:52011;EgressPort:52012"
    assert items[1].exchange.response is None


def test_insomnia() -> None:
    (item,) = fixture("insomnia")
    request = item.exchange.request
    assert (request.host, request.path, request.query) == ("localhost:3000", "/items/7", "force=yes+please")
    assert request.headers == (("Authorization", "Basic YW5uOnMzY3JldA=="),)
    assert (item.exchange.response.status, item.exchange.response.body) == (204, b"")
    assert client_of(request, item.address, fresh_key()).startswith("user-")


def test_browsertime() -> None:
    assert outline(fixture("browsertime")) == [("GET /", 200), har_entry.FROM_CACHE, har_entry.PUSHED]


def test_playwright() -> None:
    answered = one(request__postData={"mimeType": "text/plain", "text": "", "_file": "a.txt"})
    assert answered.bodies_not_kept == (har_entry.IN_A_FILE,)
    kept_beside = one(response__content={"size": 12, "mimeType": "text/plain", "_file": "b.txt"})
    assert kept_beside.bodies_not_kept == (har_entry.IN_A_FILE,)
    assert why_not(_wasFulfilled=True) == har_entry.FROM_TEST
    assert why_not(_wasAborted=True, response__status=-1) == har_entry.FROM_TEST


def test_proxyman_names_the_client() -> None:
    assert one(_clientAddress="192.0.2.44").address == "192.0.2.44"
    assert one(_clientAddress="a name").address == ""
    assert one().address == ""


@pytest.mark.parametrize(
    ("started", "at"),
    [
        ("2026-03-01T08:00:01.234Z", AT),
        ("2026-03-01T09:00:01.234+0100", AT),
        ("2026-03-01T08:00:01.2340000Z", AT),
        ("2026-03-01T08:00:01.2340009+00:00", AT),
        ("2026-03-01T08:00:01", AT.replace(microsecond=0)),
        ("2026-03-01 08:00:01.234", AT),
        (1772352001234, AT),
    ],
)
def test_times_of_every_shape(started, at) -> None:
    assert one(startedDateTime=started).exchange.at == at


@pytest.mark.parametrize(
    "started", [None, "", "soon", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", {}, [], True, 1e300]
)
def test_what_is_no_time_is_skipped(started) -> None:
    assert why_not(startedDateTime=started) == har_entry.NO_TIME


def test_a_time_without_a_zone_is_in_the_zone_given() -> None:
    options = ReadOptions(timezone=timezone(timedelta(hours=2)))
    (item,) = read(document(entry(startedDateTime="2026-03-01T10:00:01.234")), options)
    assert item.exchange.at == AT


@pytest.mark.parametrize(
    ("time", "timings", "duration_s"),
    [
        (20, None, 0.02),
        ("20.5", None, 0.0205),
        (None, {"blocked": -1, "dns": 1, "connect": 2, "ssl": 2, "send": 0.5, "wait": 10, "receive": None}, 0.0135),
        (-1, {"wait": 3}, 0.003),
        (None, None, 0.0),
        (1e300, {}, 0.0),
        (True, "x", 0.0),
    ],
)
def test_durations(time, timings, duration_s) -> None:
    assert one(time=time, timings=timings).exchange.duration_s == pytest.approx(duration_s)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://Example.com:80/a?b=c#d", ("example.com", "/a", "b=c")),
        ("https://example.com:8443", ("example.com:8443", "/", "")),
        ("https://[2001:db8::1]:443/x", ("[2001:db8::1]", "/x", "")),
        ("https://example.com/é ü?q=ä b", ("example.com", "/%C3%A9%20%C3%BC", "q=%C3%A4%20b")),
        ("https://example.com/%zz%20", ("example.com", "/%zz%20", "")),
        ("/relative/path?x=1", ("", "/relative/path", "x=1")),
    ],
)
def test_urls(url, found) -> None:
    request = one(request__url=url).exchange.request
    assert (request.host, request.path, request.query) == found


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, har_entry.NOT_AN_ENTRY),
        ("", har_entry.NO_URL),
        ("example", har_entry.NO_URL),
        ("http://[::1/", har_entry.NO_URL),
        ("http://${host}/", har_entry.NO_URL),
        ("http://a b/", har_entry.NO_URL),
        ("http:///path", har_entry.NO_URL),
        ("ws://example.com/", WEBSOCKET),
        ("wss://example.com/", WEBSOCKET),
        ("about:blank", har_entry.NOT_FOR_SERVERS),
        ("moz-extension://x/y", har_entry.NOT_FOR_SERVERS),
        ("DATA:,x", har_entry.NOT_FOR_SERVERS),
    ],
)
def test_urls_that_no_request_goes_to(url, reason) -> None:
    assert why_not(request__url=url) == reason


def test_a_relative_url_is_of_the_host_named() -> None:
    request = one(request__url="/a", request__headers=named(Host="api.example.com")).exchange.request
    assert request.host == "api.example.com"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": None}, har_entry.NOT_AN_ENTRY),
        ({"request": [1]}, har_entry.NOT_AN_ENTRY),
        ({"request__method": ""}, har_entry.NO_METHOD),
        ({"request__method": "GET /"}, har_entry.NO_METHOD),
        ({"request__method": None}, har_entry.NO_METHOD),
        ({"response__status": 1}, har_entry.NO_STATUS),
        ({"response__status": "OK"}, har_entry.NO_STATUS),
        ({"response__status": 101}, WEBSOCKET),
        ({"_resourceType": "websocket"}, WEBSOCKET),
        ({"response": None, "request__headers": named(Upgrade="WebSocket")}, WEBSOCKET),
        ({"_fromCache": "memory"}, har_entry.FROM_CACHE),
        ({"response___transferSize": 0}, har_entry.FROM_CACHE),
    ],
)
def test_what_is_no_exchange(changes, reason) -> None:
    assert why_not(**changes) == reason


@pytest.mark.parametrize("whole", [None, 1, "entry", [], {}])
def test_what_is_no_entry(whole) -> None:
    (item,) = read(document(whole))
    assert item.reason == har_entry.NOT_AN_ENTRY


def test_headers_of_every_shape() -> None:
    headers = [
        {"name": ":method", "value": "GET"},
        {"name": "A", "value": "1"},
        {"name": "a", "value": 2},
        {"name": "B", "value": None},
        {"name": "C", "value": "x\r\nD: y"},
        {"name": "two words", "value": "x"},
        {"name": "", "value": "x"},
        {"value": "x"},
        {"name": "E", "value": "\ud800"},
        "F: x",
        None,
    ]
    assert one(request__headers=headers).exchange.request.headers == (
        ("A", "1"),
        ("a", "2"),
        ("B", ""),
        ("C", "x"),
        ("C", "D: y"),
        ("E", "?"),
    )
    assert one(request__headers={"A": "1"}).exchange.request.headers == (("A", "1"),)
    for none in (None, 7, "A: 1"):
        assert one(request__headers=none, response__headers=none).exchange.request.headers == ()


def test_cookies_stand_once() -> None:
    cookies = named(a="1", b="2")
    assert one(request__cookies=cookies).exchange.request.headers == (("Cookie", "a=1; b=2"),)
    both = one(request__cookies=cookies, request__headers=named(cookie="a=1; b=2"))
    assert both.exchange.request.headers == (("cookie", "a=1; b=2"),)


@pytest.mark.parametrize(
    ("posted", "body", "kind"),
    [
        ({"mimeType": "text/plain", "text": "é"}, "é".encode(), "text/plain"),
        ({"mimeType": "text/plain; charset=iso-8859-1", "text": "é"}, b"\xe9", "text/plain; charset=iso-8859-1"),
        ({"mimeType": "a/b", "text": "AP8=", "encoding": "base64"}, b"\x00\xff", "a/b"),
        ({"mimeType": "a/b", "text": "\ud800x"}, b"?x", "a/b"),
        (
            {"mimeType": "application/x-www-form-urlencoded", "params": named(a="1 2", b="ü&")},
            b"a=1+2&b=%C3%BC%26",
            None,
        ),
        ({"mimeType": "application/x-www-form-urlencoded", "params": named(a="1%202")}, b"a=1%202", None),
        ({"params": named(a="100%")}, b"a=100%25", None),
        ({"text": "", "params": []}, None, None),
        ({"mimeType": "", "text": ""}, None, None),
    ],
)
def test_bodies_of_requests(posted, body, kind) -> None:
    request = one(request__method="POST", request__postData=posted).exchange.request
    assert request.body == body
    assert kind is None or request.header("content-type") == kind


def test_a_multipart_form_without_a_boundary_gets_one() -> None:
    request = one(
        request__method="POST", request__postData={"mimeType": "multipart/form-data", "params": named(a="1")}
    ).exchange.request
    boundary = request.header("content-type").removeprefix("multipart/form-data; boundary=")
    assert (
        request.body
        == f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--{boundary}--\r\n'.encode()
    )


def test_compressed_bodies_of_requests() -> None:
    packed = b64encode(gzip.compress(b"plain")).decode()
    sent = {"request__method": "POST", "request__headers": named(Content_Encoding="gzip", Content_Length="25")}
    item = one(**sent, request__postData={"mimeType": "a/b", "text": packed, "encoding": "base64"})
    assert item.exchange.request.body == b"plain"
    assert item.exchange.request.headers == (("Content-Type", "a/b"),)
    plain = one(**sent, request__postData={"mimeType": "a/b", "text": "plain"})
    assert plain.exchange.request.body == b"plain"
    mangled = one(**sent, request__postData={"mimeType": "a/b", "text": "\x1f\ufffd\x08"})
    assert (mangled.exchange.request.body, mangled.bodies_not_kept) == (None, (UNDECODABLE,))


def test_a_body_that_the_har_leaves_out_is_counted() -> None:
    item = one(request__headers=named(Content_Length="20"), response__content={"size": 7})
    assert item.bodies_not_kept == (har_entry.NOT_IN_HAR, har_entry.NOT_IN_HAR)


@pytest.mark.parametrize(
    ("changes", "body", "lack"),
    [
        ({"content": {"size": 3, "text": "abc"}}, b"abc", ()),
        ({"content": {"size": 0}}, b"", ()),
        ({"content": {"size": -1}, "bodySize": 0}, b"", ()),
        ({"content": {"size": 0, "text": ""}}, b"", ()),
        ({"content": {"size": 3, "text": ""}}, None, (har_entry.NOT_IN_HAR,)),
        ({"content": None}, None, (har_entry.NOT_IN_HAR,)),
        ({"content": {"text": "AP8=", "encoding": "base64"}}, b"\x00\xff", ()),
        ({"content": {"text": "AP8", "encoding": "base64"}}, None, (UNDECODABLE,)),
        ({"content": {"text": "é", "encoding": "base64"}}, None, (UNDECODABLE,)),
        ({"content": {"text": "é", "encoding": "utf-8"}}, "é".encode(), ()),
        ({"status": 204, "content": {"text": "x"}}, b"", ()),
    ],
)
def test_bodies_of_responses(changes, body, lack) -> None:
    item = one(**{f"response__{name}": value for name, value in changes.items()})
    assert (item.exchange.response.body, item.bodies_not_kept) == (body, lack)


def test_a_response_still_compressed() -> None:
    packed = gzip.compress(b"plain")
    content = {"text": b64encode(packed).decode(), "encoding": "base64"}
    headers = named(Content_Encoding="gzip")
    assert one(response__headers=headers, response__content=content).exchange.response.body == b"plain"
    broken = one(response__headers=headers, response__content={**content, "text": b64encode(packed[:-6]).decode()})
    assert broken.bodies_not_kept == (UNDECODABLE,)


@pytest.mark.parametrize(
    ("received", "size_bytes"),
    [
        ({"bodySize": 120}, 120),
        ({"bodySize": -1, "_transferSize": 300, "headersSize": 100}, 200),
        ({"bodySize": -1, "headers": named(Content_Length="50")}, 50),
        ({"bodySize": None, "content": {"size": 90, "compression": 30, "text": "x"}}, 60),
        ({"content": {"text": "four"}}, 4),
        ({"bodySize": float("nan"), "content": {"text": "four"}}, 4),
    ],
)
def test_sizes(received, size_bytes) -> None:
    item = one(**{f"response__{name}": value for name, value in received.items()})
    assert item.exchange.response.size_bytes == size_bytes


def test_what_came_of_a_request_without_a_response() -> None:
    assert one(response=None).exchange.error == ""
    assert one(response={"status": 0}).exchange.error == "no response"
    assert one(response={"status": 0, "statusText": "Abort\ned"}).exchange.error == "Abort ed"
    assert one(response={"status": -1, "_failureText": "net::ERR_FAILED"}).exchange.response is None


def test_the_page_stands_for_a_connection_that_is_not_named() -> None:
    assert one(connection="7", pageref="page_1").exchange.connection == "7"
    assert one(pageref="page_1").exchange.connection == "page_1"


def test_a_log_in_any_order() -> None:
    whole = {"pages": [{"x": [{}] * 50}], "entries": [entry()], "creator": {"name": "x"}, "comment": "entries"}
    for keys in (list(whole), list(whole)[::-1]):
        data = {"_meta": {"log": 1}, "log": {key: whole[key] for key in keys}, "after": [1]}
        assert len(read(json.dumps(data).encode())) == 1


def test_keys_that_stand_twice_are_both_read() -> None:
    one_entry = json.dumps(entry())
    data = f'{{"log": {{"entries": [{one_entry}], "entries": [{one_entry}]}}, "log": {{"entries": [{one_entry}]}}}}'
    assert len(read(data.encode())) == 3


def test_documents_that_follow_one_another() -> None:
    assert len(read(document(entry()) + b"\n" + document(entry(), entry()))) == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "no JSON object"),
        (b"<html>", "no JSON object"),
        (b"{}", "no log"),
        (b'{"log": []}', "no log"),
        (b'{"log": {"pages": [{"id": "g"}]}}', "no entries"),
        (b'{"log": {"entries": {}}}', "no entries"),
        (b'{"log": {"entries": [{"request": ', "breaks off"),
        (b'{"log": {"creator": {"name": "x"} xxx}}', "no valid JSON"),
        (b'{"log":\n[2,1,3]\n"request:"}', "no valid JSON"),
    ],
)
def test_what_is_no_har_is_refused(data, reason) -> None:
    with pytest.raises(InputError, match=reason):
        read(data)


def test_an_empty_har_has_nothing() -> None:
    assert read(document()) == []


def test_damage_ends_the_reading_and_is_told() -> None:
    data = document(entry(), entry())
    for broken in (data[:-60], data[:-3], data[:-3] + b"x" * 50, data + b"]"):
        items = read(broken)
        assert isinstance(items[0], Record)
        assert isinstance(items[-1], Skipped)
        assert "cannot be read beyond here" in items[-1].reason
    packed = gzip.compress(document(*[entry(comment=str(n)) for n in range(2000)]))
    items = read(packed[: len(packed) // 2])
    assert isinstance(items[-1], Skipped)
    assert "damaged" in items[-1].reason


def test_an_entry_that_cannot_be_kept_is_skipped_alone() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    data = b'{"log": {"entries": [' + b'{"x": ' + deep + b"}, " + json.dumps(entry()).encode() + b"]}}"
    items = read(data)
    assert items[0] == Skipped("a.har", "entry 1", f"an entry {TOO_DEEP}")
    assert isinstance(items[1], Record)


def test_an_entry_beyond_the_limit_loses_its_long_body(monkeypatch) -> None:
    monkeypatch.setattr(json_stream, "VALUE_LIMIT_CHARS", 5_000)
    monkeypatch.setattr(json_stream, "LONG_STRING_CHARS", 1_000)
    large = entry(response__content={"size": 9_000, "text": "x" * 9_000})
    many = entry(request__headers=named(**{f"h{n}": "x" * 90 for n in range(100)}))
    items = read(document(large, many, entry()))
    assert items[0].exchange.response.size_bytes == 9_000
    assert items[0].bodies_not_kept == (TOO_LARGE,)
    assert items[1] == Skipped("a.har", "entry 2", f"an entry {TOO_LARGE}")
    assert isinstance(items[2], Record)


@pytest.mark.parametrize(
    ("text", "is_har"),
    [
        ('{"log": {"version": "1.2", "creator"', True),
        ('{"log":{"entries":[', True),
        ('\ufeff{\n  "log" : {\n "pages": []', True),
        ('{"comment": 1, "log": {"entries": []', True),
        ('{"log": "127.0.0.1 - - [x] GET /", "stream": "stdout"}', False),
        ('{"log": {"level": "info"}, "message": "GET /"}', False),
        ('{"time": 1, "status": 200}', False),
        ('127.0.0.1 - - "GET /x?{"log": {"entries":" 200', False),
        ("", False),
    ],
)
def test_a_har_is_known_by_its_contents(text, is_har) -> None:
    for encoding in ("utf-8", "utf-16", "utf-16-le"):
        data = text.removeprefix("\ufeff").encode(encoding) if encoding != "utf-8" else text.encode()
        assert (Har().likeness(Head("x", data)) >= 0.5) == is_har


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(
        ["GET", "2026-03-01T08:00:01Z", "https://example.com/a", "base64", "multipart/form-data", 200, 0, -1]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("name value text params size encoding mimeType x".split()), inner, max_size=4)
    ),
    max_leaves=6,
)
PLACES = st.sampled_from(
    "startedDateTime time timings request response connection pageref cache _fromCache _fetchType _was_pushed "
    "_resourceType _clientAddress request__method request__url request__headers request__cookies request__queryString "
    "request__postData request__postData__params request__postData__text request__postData__mimeType "
    "request__bodySize response__status response__headers response__cookies response__content response__content__text "
    "response__content__encoding response__content__size response__bodySize response__redirectURL "
    "response___transferSize response___error response__headersSize cache__beforeRequest".split()
)


@given(st.dictionaries(PLACES, VALUES, max_size=4))
def test_any_value_anywhere_is_an_exchange_or_skipped(changes) -> None:
    try:
        whole = entry(**changes)
    except (AttributeError, TypeError):  # what was replaced cannot be changed within
        return
    creators = {"name": changes.get("time")}
    items = read(document(whole, entry(), creator=creators))
    assert len(items) == 2
    assert isinstance(items[1], Record)
    for item in items:
        if isinstance(item, Record):
            exchange = item.exchange
            assert exchange.at + timedelta(seconds=exchange.duration_s)
            texts = [exchange.request.method, exchange.request.host, exchange.request.path, exchange.request.query]
            headers = (*exchange.request.headers, *(exchange.response.headers if exchange.response else ()))
            texts += [exchange.error, exchange.connection, *(text for header in headers for text in header)]
            "".join(texts).encode()  # can be stored
            assert not any("\n" in text or "\r" in text for text in texts[:5])
            assert not any("\n" in text or "\r" in text for header in headers for text in header)


@given(st.data())
def test_mutated_files_never_crash(data) -> None:
    raw = bytearray((FIXTURES / data.draw(st.sampled_from(["chrome.har", "fiddler.har", "charles.har"]))).read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    try:
        items = read(bytes(raw))
    except InputError:
        return
    assert all(isinstance(item, Record | Skipped) for item in items)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(data) -> None:
    for start in (b"", b'{"log": {"entries": [', b'{"log": {"entries": [' + json.dumps(entry()).encode()):
        try:
            read(start + data)
        except InputError:
            continue


@given(st.integers(0, 3000))
def test_a_file_cut_anywhere_gives_what_stood_before(cut) -> None:
    data = document(*[entry(comment=str(n)) for n in range(8)])
    cut = min(cut, len(data) - 1)
    whole = Counter(outline(read(data)))
    try:
        items = read(data[:cut])
    except InputError:
        return
    assert not Counter(outline(items[:-1])) - whole
    assert isinstance(items[-1], Skipped)


@given(st.sampled_from(["chrome", "fiddler"]), st.integers(1, 3000))
def test_any_chunking_gives_the_same(name, size) -> None:
    whole = fixture(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_PIECE_BYTES", size)
        assert fixture(name) == whole
