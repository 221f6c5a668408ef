import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.segments import to_exchanges, to_table
from replay.capture.selection import EVERYTHING, Selection, parse_length
from replay.errors import InputError
from replay.traffic import Exchange, Request, Response

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)


def exchange(
    minute: float = 0, method: str = "GET", path: str = "/v2/events/7", host: str = "api.example.com", client: str = "a"
) -> Exchange:
    request = Request(method, host, path)
    return Exchange(AT + timedelta(minutes=minute), 0.1, client, "", request, Response(200))


EXCHANGES = st.lists(
    st.builds(
        exchange,
        st.integers(0, 60),
        st.sampled_from(["GET", "POST", "get"]),
        st.sampled_from(["/", "/v2/events/7", "/v2/events/7/seats", "/v2/events/", "/v2/a.b", "/v2/axb", "/é\n/x"]),
        st.sampled_from(["api.example.com", "API.example.com:8443", "apixexample.com", "10.0.0.1:80", ""]),
        st.sampled_from(["token-1", "token-2", "address-3", ""]),
    ),
    max_size=30,
)
SELECTIONS = st.builds(
    Selection.parse,
    since=st.none() | st.sampled_from(["2026-03-01T08:10Z", "2026-03-01 09:20:00+01:00"]),
    until=st.none() | st.sampled_from(["2026-03-01T08:40", "2026-03-01T08:50:00.5Z"]),
    hosts=st.lists(st.sampled_from(["api.example.com", "api.example.com:8443", "10.0.0.1"]), max_size=2),
    endpoints=st.lists(
        st.sampled_from(["GET /v2/events/{event_id}", "* /v2/a.b", "/", "post /v2/{a}/{b}/seats", "* /é\n/{x}"]),
        max_size=2,
    ),
    clients=st.lists(st.sampled_from(["token-1", "address-3"]), max_size=2),
    client_share=st.none() | st.sampled_from([0.2, 0.7, 1.0]),
)


@given(EXCHANGES, SELECTIONS)
@settings(deadline=None)
def test_a_table_is_selected_from_as_its_exchanges_are(exchanges, selection):
    reasons = [selection.reason_to_leave_out(one) for one in exchanges]
    kept, left_out = selection.leave_out(to_table(exchanges))
    assert list(to_exchanges(kept)) == [one for one, why in zip(exchanges, reasons, strict=True) if why is None]
    assert left_out == {why: reasons.count(why) for why in reasons if why}


def test_everything_is_kept_where_nothing_is_asked_for():
    table = to_table([exchange()])
    assert EVERYTHING.leave_out(table) == (table, {})
    assert EVERYTHING.reason_to_leave_out(exchange()) is None


@pytest.mark.parametrize(
    ("endpoint", "request_line", "matches"),
    [
        ("GET /v2/events/{event_id}", "GET /v2/events/7", True),
        ("get /v2/events/{event_id}", "GET /v2/events/7", True),
        ("GET /v2/events/{event_id}", "POST /v2/events/7", False),
        ("GET /v2/events/{event_id}", "GET /v2/events/7/seats", False),
        ("GET /v2/events/{event_id}", "GET /v2/events/", False),
        ("* /v2/events/{event_id}", "DELETE /v2/events/7", True),
        ("/v2/events/{event_id}", "DELETE /v2/events/7", True),
        ("GET /files/{name}.json", "GET /files/a.json", True),
        ("GET /files/{name}.json", "GET /files/axjson", False),
        ("GET /a+b(c)", "GET /a+b(c)", True),
    ],
)
def test_an_endpoint_is_a_method_and_a_template(endpoint, request_line, matches):
    method, path = request_line.split(" ")
    selection = Selection.parse(endpoints=[endpoint])
    assert (selection.reason_to_leave_out(exchange(method=method, path=path)) is None) is matches
    assert selection.leave_out(to_table([exchange(method=method, path=path)]))[0].num_rows == matches


@pytest.mark.parametrize(
    ("wanted", "host", "matches"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.example.com:8443", True),
        ("api.example.com:8443", "api.example.com", False),
        ("api.example.com", "apixexample.com", False),
        ("example.com", "api.example.com", False),
        ("[::1]", "[::1]:8080", True),
    ],
)
def test_a_host_without_a_port_is_meant_at_every_port(wanted, host, matches):
    assert (Selection(hosts=(wanted,)).reason_to_leave_out(exchange(host=host)) is None) is matches


def test_moments_count_from_the_start():
    selection = Selection.parse(since="10m", until="1h30m")
    assert selection.is_relative
    cut = selection.from_(AT)
    assert not cut.is_relative
    reasons = [cut.reason_to_leave_out(exchange(minute)) for minute in (9.9, 10, 89.9, 90)]
    assert reasons == ["--since", None, None, "--until"]


@pytest.mark.parametrize(
    ("text", "length_s"), [("10m", 600), ("1h30m", 5400), ("2.5s", 2.5), ("250ms", 0.25), ("2d", 172800), ("m", None)]
)
def test_a_length_of_time(text, length_s):
    length = parse_length(text)
    assert (length and length.total_seconds()) == length_s


def test_a_share_of_the_clients_is_always_the_same_and_whole():
    clients = [f"token-{number}" for number in range(2000)]
    few, many = Selection(client_share=0.1), Selection(client_share=0.5)
    taken = {name for name in clients if few.reason_to_leave_out(exchange(client=name)) is None}
    assert 150 < len(taken) < 250
    assert taken < {name for name in clients if many.reason_to_leave_out(exchange(client=name)) is None}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"since": "yesterday"}, "--since 'yesterday' is not a moment."),
        ({"until": ""}, "--until '' is not a moment."),
        ({"since": "0001-01-01T00:00+14:00"}, "is not a moment."),
        ({"endpoints": ["GET"]}, "'GET' is not an endpoint."),
        ({"endpoints": ["G=T /"]}, "is not an endpoint."),
        ({"client_share": 0.0}, "--client-share is a number above 0"),
    ],
)
def test_what_is_no_selection_is_refused(options, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        Selection.parse(**options)
