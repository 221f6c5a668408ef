import io
from datetime import UTC, datetime

import pytest

from replay.capture.inputs import Input
from replay.capture.sources.log_format import SOURCES, parse_log_format
from replay.capture.sources.source import Lines, ReadOptions
from replay.capture.spool import Spool
from replay.errors import InputError

AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
(SOURCE,) = SOURCES


def read(log_format: str, *lines: str) -> list[dict]:
    file = Input("app.log", Spool(io.BytesIO("\n".join(lines).encode())))
    found = [
        item for item in SOURCE.read(file, ReadOptions(log_format, host="stage.example")) if isinstance(item, Lines)
    ]
    assert [skipped for item in found for skipped in item.skipped] == []
    return [row for item in found for row in item.table.to_pylist()]


@pytest.mark.parametrize(
    ("log_format", "line", "expected"),
    [
        (
            '$remote_addr - $remote_user [$time_local] "$request" $status $request_time $upstream_addr $http_x_id',
            '192.0.2.1 - ann [01/Mar/2026:12:00:01 +0000] "GET /a?b=c HTTP/2.0" 200 1.000 192.0.2.8:80, - : unix: r1',
            {"user": "ann", "duration_s": 1.0, "request_header:X-Id": "r1", "path": "/a", "query": "b=c"},
        ),
        (
            """log_format timed escape=json '{"at":"$time_iso8601","uri":"$request_uri",'
                '"method":"$request_method","code":$status,"agent":"$http_user_agent"}';""",
            r'{"at":"2026-03-01T12:00:00+00:00","uri":"/a","method":"PUT","code":204,"agent":"a \"b\" \\"}',
            {"method": "PUT", "status": 204, "request_header:User-Agent": 'a "b" \\'},
        ),
        ("$msec $request_method $scheme://$host$request_uri $status", "1772366400.000 GET https://a.example/x?y 200",
         {"host": "a.example", "path": "/x", "query": "y"}),
        ("$msec $request_method $host$request_uri $status", "1772366400.000 GET a.example:8443/x 200",
         {"host": "a.example:8443", "path": "/x"}),
        ("$time_iso8601|$remote_addr:$remote_port|$uri$is_args$args|$cookie_sid",
         "2026-03-01T12:00:00Z|192.0.2.1:9|/a?b|s1",
         {"address": "192.0.2.1", "path": "/a", "query": "b", "request_header:Cookie": "sid=s1", "method": "GET",
          "status": None, "error": ""}),
        ("[$time_local] ${remote_addr} \"$request\"", '[01/Mar/2026:12:00:00 +0000] 2001:db8::1 "GET / HTTP/1.1"',
         {"address": "2001:db8::1"}),
        ("combined", '192.0.2.1 - - [01/Mar/2026:13:00:00 +0100] "GET / HTTP/1.1" 304 - "-" "x"',
         {"status": 304, "response_bytes": 0}),
        (r'LogFormat "%v:%p %h %l %u %t \"%r\" %>s %O %D \"%{Referer}i\" %{X-Trace}o %{sid}C" timed',
         'a.example:443 192.0.2.1 - - [01/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 9 250000 "-" t1 s1',
         {"host": "a.example", "duration_s": 0.25, "response_header:X-Trace": "t1", "request_header:Cookie": "sid=s1"}),
        (r"%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}t %m %U%q %>s %{ms}T %{Host}i",
         "2026-03-01T12:00:00.000 GET /a?b 200 12 a.example",
         {"query": "b", "duration_s": 0.012, "host": "a.example"}),
        (r"%{msec}t %D %T %m %U", "1772366400000 1500 0 GET /a", {"duration_s": 0.0015}),
        (r"%{end:usec}t %{us}T %m %U", "1772366401500000 1500000 GET /a", {"duration_s": 1.5}),
    ],
)  # fmt: skip
def test_formats_of_nginx_and_apache(log_format, line, expected):
    (row,) = read(log_format, line)
    assert row["at"] == AT
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    "log_format", ["", "nothing", "$remote_addr $status", "$time_local$request", "%h %u %r", "%t %s", "{$time_local}"]
)
def test_formats_that_say_too_little_are_refused(log_format):
    with pytest.raises(InputError):
        parse_log_format(log_format)
