import gzip
import io
import re
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.inputs import Input, find_inputs
from replay.capture.logs.reader import Block, blocks, read_block
from replay.capture.sources.combined import COMBINED
from replay.capture.sources.source import LINE_LIMIT_BYTES, Lines, ReadOptions
from replay.capture.spool import Spool
from replay.traffic import Skipped

OPTIONS = ReadOptions(host="api.example")
NOT_HTTP, OTHER = "the request is not HTTP", "the line is not of this format"
# What the files hold: lines that are kept, those that are not and why. The others are refused.
HELD = {
    "airis_wordpress_part1.log.gz": (90895, {}),
    "beats_apache_access_darwin-2.4.23.log": (5, {NOT_HTTP: 1}),
    "beats_apache_access_ssl-request.log": (2, {}),
    "beats_apache_access_test-vhost.log": (1, {}),
    "beats_apache_access_test.log": (5, {NOT_HTTP: 2}),
    "beats_apache_access_ubuntu-2.2.22.log": (9, {}),
    "beats_nginx_access_test-with-host.log": (8, {NOT_HTTP: 2}),
    "beats_nginx_ingress_controller_test.log": (24, {}),
    "crowdsec_apache-cve-2021-41773.log": (2, {OTHER: 1}),
    "crowdsec_apache-http-probing.log": (75, {NOT_HTTP: 2}),
    "crowdsec_apache2-http-sensitive-files.log": (13, {}),
    "crowdsec_apache2-logs.log": (7, {OTHER: 2}),
    "crowdsec_apache2-malformed.log": (0, {NOT_HTTP: 11}),
    "crowdsec_apache_log4j2_cve-2021-44228.log": (3, {}),
    "crowdsec_bunkerweb-http-malformed.log": (0, {NOT_HTTP: 12}),
    "crowdsec_http-dos-bypass-cache.log": (356, {}),
    "crowdsec_http-dos-random-uri.log": (66, {}),
    "crowdsec_http-generic-test.log": (1, {}),
    "crowdsec_http-wordpress-scan.log": (8, {}),
    "crowdsec_http-wordpress_user-enum.log": (12, {}),
    "crowdsec_litespeed-http-sensitive-files.log": (6, {}),
    "crowdsec_nginx-http-malformed.log": (0, {NOT_HTTP: 12}),
    "crowdsec_nginx-http-path-traversal.log": (9, {}),
    "crowdsec_nginx-http-sqli-probing.log": (16, {}),
    "crowdsec_nginx-http-xss-probing.log": (26, {}),
    "crowdsec_nginx-proxy-manager-malformed.log": (0, {NOT_HTTP: 12}),
    "crowdsec_nginx_http-logs.log": (8, {OTHER: 1}),
    "crowdsec_npmplus-logs.log": (7, {OTHER: 2, NOT_HTTP: 1}),
    "crowdsec_zoraxy-http-logs.log": (13, {}),
    "drill_example1.httpd": (1, {}),
    "drill_hackers-access-small.httpd": (10, {}),
    "drill_multiformat.access_log": (3, {}),
    "drill_typeremap.httpd": (3, {}),
    "lnav_logfile_access_log.0": (3, {}),
    "lnav_logfile_bad_access_log.0": (3, {}),
    "lnav_logfile_regexp_access_log.0": (2, {}),
    "lnav_logfile_shop_access_log.0": (1000, {}),
    "lnav_playground_access_log.gz": (2492, {}),
    "mtail_apache-combined.log": (5, {}),
    "mtail_apache-common.log": (3, {}),
    "mtail_lighttpd_access.log": (19, {}),
}
# Logs of errors, of events and of other things; of the third, two lines of three.
REFUSED = {
    "crowdsec_base-upsun-httplog-logs.log",
    "crowdsec_http-magento-bf.log",
    "crowdsec_litespeed-logs.log",
    "lnav_logfile_bro_http.log.0",
    "lnav_logfile_crlf.0",
    "lnav_logfile_invalid_utf8.0",
}


def read(data: bytes, options: ReadOptions = OPTIONS) -> tuple[list[dict], list[Skipped]]:
    return read_input(Input("a.log", Spool(io.BytesIO(data))), options)


def read_input(file: Input, options: ReadOptions = OPTIONS) -> tuple[list[dict], list[Skipped]]:
    rows: list[dict] = []
    skipped: list[Skipped] = []
    for item in COMBINED.read(file, options):
        if isinstance(item, Lines):
            rows += item.table.to_pylist()
            skipped += item.skipped
        else:
            skipped.append(item)
    return rows, skipped


def test_every_access_log_of_other_programs_is_read_or_refused(shared_data: Path):
    seen = set()
    for path in sorted((shared_data / "access").iterdir()):
        seen.add(path.name)
        (file,) = find_inputs([str(path)])
        likeness = COMBINED.likeness(file.head)
        if path.name in REFUSED:
            assert likeness < 0.5, path.name
            continue
        assert likeness >= 0.5, path.name
        rows, skipped = read_input(file)
        assert (len(rows), Counter(each.reason for each in skipped)) == HELD[path.name], path.name
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert len(rows) + len(skipped) == sum(bool(line.strip()) for line in data.split(b"\n")), path.name
    assert seen == HELD.keys() | REFUSED


@pytest.mark.parametrize("folder", ["aws", "caddy", "envoy", "haproxy", "iis", "json_access", "har", "gor"])
def test_other_formats_are_left_to_others(shared_data: Path, folder: str):
    for path in (shared_data / folder).iterdir():
        (file,) = find_inputs([str(path)])
        assert COMBINED.likeness(file.head) < 0.5, path.name


def test_traefik_is_only_partly_like_it(shared_data: Path):
    (file,) = find_inputs([str(shared_data / "traefik" / "crowdsec_traefik_clf.log")])
    assert COMBINED.likeness(file.head) == 0.9


def line(
    request: str = "GET / HTTP/1.1",
    *,
    before: str = "192.0.2.1 - -",
    time: str = "01/Mar/2026:12:00:00 +0000",
    after: str = '200 5 "-" "x"',
) -> str:
    return f'{before} [{time}] "{request}" {after}\n'


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (line(), {"at": datetime(2026, 3, 1, 12, tzinfo=UTC), "host": "api.example", "user": "", "query": ""}),
        (line(time="01/Mar/2026:12:00:00 -0330"), {"at": datetime(2026, 3, 1, 15, 30, tzinfo=UTC)}),
        (line(time="29/Feb/2024:23:59:60 +0000"), {"at": datetime(2024, 3, 1, tzinfo=UTC)}),
        (line(after="200 5"), {"status": 200, "response_bytes": 5}),
        (line(after="304 -"), {"status": 304, "response_bytes": 0}),
        (line(after="000 0"), {"status": None, "response_bytes": None, "error": "no response was logged"}),
        (line(after='200 5 "-" "x" "192.0.2.9, 10.0.0.1"'), {"request_header:X-Forwarded-For": "192.0.2.9, 10.0.0.1"}),
        (line(after='200 5 "-" "x" "sid=a1b2"'), {"request_header:X-Forwarded-For": None}),
        (line(after='200 5 "-" "x" 0.250'), {"duration_s": 0.25, "at": datetime(2026, 3, 1, 11, 59, 59, 750000, UTC)}),
        (line(after='200 5 "-" "x" 250000'), {"duration_s": 0.0}),
        (line(before="192.0.2.1 - john doe"), {"user": "john doe", "address": "192.0.2.1"}),
        (line(before="a.example:443 192.0.2.1 - ann"), {"host": "a.example", "user": "ann", "address": "192.0.2.1"}),
        (line(before="a.example:8443 2001:db8::1 - -"), {"host": "a.example:8443", "address": "2001:db8::1"}),
        (line("GET http://b.example:80/p?q HTTP/1.1"), {"host": "b.example", "path": "/p", "query": "q"}),
        (line("GET https://u:p@b.example HTTP/1.1"), {"host": "b.example", "path": "/"}),
        (line("OPTIONS * HTTP/1.1"), {"path": "*", "method": "OPTIONS"}),
        (line("GET /a b?c d HTTP/1.1"), {"path": "/a%20b", "query": "c%20d"}),
        (line("GET /\\xc3\\xa9\\x22 HTTP/1.1"), {"path": '/%C3%A9"'}),
        (line("GET /é HTTP/1.1"), {"path": "/%C3%A9"}),
        (line("GET /a#b?c HTTP/1.1"), {"path": "/a", "query": ""}),
        (line("GET /old"), {"path": "/old"}),
        (line("get /a HTTP/3"), {"method": "get"}),
        (line(after='200 5 "https://x.example/?a=\\"b\\"" "x \\\\"'),
         {"request_header:Referer": 'https://x.example/?a="b"', "request_header:User-Agent": "x \\"}),
    ],
)  # fmt: skip
def test_what_a_line_says(written, expected):
    rows, skipped = read((line() + written).encode())
    assert skipped == []
    assert {name: rows[-1].get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (line("-", after='408 0 "-" "-"'), NOT_HTTP),
        (line("", after='400 0 "-" "-"'), NOT_HTTP),
        (line("\\x16\\x03\\x01", after='400 0 "-" "-"'), NOT_HTTP),
        (line("HELP"), NOT_HTTP),
        (line("{} / HTTP/1.1"), NOT_HTTP),
        (line("CONNECT a.example:443 HTTP/1.1"), "a tunnel is opened, which is no request"),
        (line(time="31/Foo/2026:12:00:00 +0000"), "the time cannot be read"),
        (line(time="30/Feb/2026:12:00:00 +0000"), "the time cannot be read"),
        (line(after='2OO 5 "-" "x"'), "the status is no number"),
        ("192.0.2.1 - - [01/Mar/2026\n", OTHER),
        ("\x00\x01\n", OTHER),
    ],
)
def test_what_is_no_exchange_is_skipped_with_its_line(written, reason):
    rows, skipped = read((line() + "\n" + written + line()).encode())
    assert len(rows) == 2
    assert [(each.where, each.reason) for each in skipped] == [("line 3", reason)]


def test_marks_line_ends_and_blank_lines():
    text = line().strip()
    rows, skipped = read(b"\xef\xbb\xbf" + f"{text}\r\n\r\n  \n\n{text}\r\n{text}".encode())
    assert (len(rows), skipped) == (3, [])
    assert {row["request_header:User-Agent"] for row in rows} == {"x"}


def test_lines_beyond_the_limit_are_passed_over():
    long = b"a" * (LINE_LIMIT_BYTES + 1)
    rows, skipped = read(line().encode() + long * 3 + b"\n" + line().encode() + long + b"\n" + line().encode() + long)
    assert len(rows) == 3
    assert [each.where for each in skipped] == ["line 2", "line 4", "line 6"]
    assert {each.reason for each in skipped} == {"the line is longer than 4 MB"}


def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path):
    whole = gzip.compress(line().encode() * 50_000)
    (tmp_path / "a.log.gz").write_bytes(whole[: len(whole) // 2])
    (file,) = find_inputs([str(tmp_path / "a.log.gz")])
    rows, skipped = read_input(file)
    assert 1000 < len(rows) < 50_000
    assert [each.reason for each in skipped] == ["the file is damaged from here on"]


AGENTS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)
WRITTEN = st.builds(
    lambda address, user, at, method, target, status, size, referer, agent, is_combined: (
        f"{address} - {user} [{at.strftime('%d/%b/%Y:%H:%M:%S %z')}] \"{method} {target} HTTP/1.1\" {status} {size}"
        + (f' "{escaped(referer)}" "{escaped(agent)}"' if is_combined else "")
    ),
    st.ip_addresses().map(str),
    st.from_regex(r"-|[a-z@.]{1,8}", fullmatch=True),
    st.datetimes(
        datetime.min.replace(year=1900),  # noqa: DTZ901 - Hypothesis wants bounds without a zone
        datetime.max.replace(year=2200),  # noqa: DTZ901
        timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
    ),
    st.sampled_from(["GET", "POST", "DELETE", "PROPFIND"]),
    st.from_regex(r"/[!-~]{0,20}", fullmatch=True).filter(lambda text: not set(text) & set('#"\\')),
    st.integers(100, 599),
    st.one_of(st.just("-"), st.integers(0, 10**12)),
    AGENTS,
    AGENTS,
    st.booleans(),
)  # fmt: skip
REFERENCE = re.compile(
    r'(\S+) \S+ (.*?) \[([^\]]+)\] "(\S+) ([^ ?]*)\??([^ ]*) HTTP/[\d.]+" (\d{3}) (\d+|-)'
    r'(?: "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)")?'
)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def parsed(text: str) -> dict:
    """One line, read the slow way."""
    found = REFERENCE.fullmatch(text)
    address, user, at, method, path, query, status, size, *headers = found.groups()
    plain = [None if header in {None, "", "-"} else re.sub(r"\\(.)", r"\1", header) for header in headers]
    return {
        "at": datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC),
        "duration_s": 0.0,
        "address": address,
        "user": "" if user == "-" else user,
        "connection": "",
        "method": method,
        "host": "api.example",
        "path": path,
        "query": query,
        "status": int(status),
        "response_bytes": 0 if size == "-" else int(size),
        "error": "",
        "request_header:Referer": plain[0],
        "request_header:User-Agent": plain[1],
    }


@given(st.lists(WRITTEN, min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_the_fast_way_reads_what_the_slow_way_reads(lines):
    rows, skipped = read("\n".join(lines).encode())
    assert skipped == []
    names = parsed(line().strip()).keys()
    assert [{name: row.get(name) for name in names} for row in rows] == [parsed(text) for text in lines]


PIECES = st.one_of(
    WRITTEN.map(str.encode),
    st.binary(max_size=40),
    st.sampled_from(
        [b"\n", b"\r\n", b'"', b"\\", b" ", b"[", b"] ", b'" 200 5 "', b"\xff", b"GET / HTTP/1.1", b"\x00"]
    ),
)


@given(st.lists(PIECES, max_size=25), st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_any_bytes_in_any_blocks_are_all_accounted_for(pieces, block_bytes):
    data = b"".join(pieces)
    whole = _in_blocks(data, 1 << 20)
    assert _in_blocks(data, block_bytes) == whole
    rows, skipped = whole
    lines = [text for text in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if text.strip()]
    assert len(rows) + len(skipped) == len(lines)


def _in_blocks(data: bytes, block_bytes: int) -> tuple[list[dict], list[Skipped]]:
    tables: list[pa.Table] = []
    skipped: list[Skipped] = []
    for block in blocks(io.BytesIO(data), "a.log", block_bytes):
        assert isinstance(block, Block)
        found = read_block(Block(block.data, block.first, COMBINED.patterns), "a.log", OPTIONS)
        tables.append(found.table)
        skipped += found.skipped
    rows = pa.concat_tables(tables, promote_options="default").to_pylist() if tables else []
    return [{name: value for name, value in row.items() if value is not None} for row in rows], skipped
