import contextlib
import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from replay.capture.sources.http_message import (
    BROKE_OFF,
    HEAD_LIMIT_BYTES,
    UNDECODABLE,
    Malformed,
    parse_request,
    parse_response,
)

BODY = b'{"items": [' + b"1, " * 500 + b"1]}"


def chunked(body: bytes, size: int = 100) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_a_request() -> None:
    parsed = parse_request(
        b"POST /a/b%20c?x=1&y= HTTP/1.1\r\nHost: api.example.com:80\r\n"
        b"Content-Length: 4\r\nX-Name: J\xc3\xbcrgen\r\n\r\nbody"
    )
    request = parsed.request
    assert (request.method, request.host, request.path, request.query) == (
        *("POST", "api.example.com", "/a/b%20c"),
        "x=1&y=",
    )
    assert request.body == b"body"
    assert request.header("x-name") == "Jürgen"
    assert request.header("content-length") == "4"
    assert not parsed.body_not_kept


def test_a_request_without_a_body_has_none() -> None:
    assert parse_request(b"GET / HTTP/1.0\r\n\r\n").request.body is None


def test_a_host_that_the_request_does_not_name() -> None:
    assert parse_request(b"GET / HTTP/1.0\r\n\r\n", "api.example.com").request.host == "api.example.com"
    assert (
        parse_request(b"GET / HTTP/1.0\r\nHost: a.example.com\r\n\r\n", "b.example.com").request.host == "a.example.com"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET http://api.example.com/v1?q=1 HTTP/1.1", ("api.example.com", "/v1", "q=1")),
        (b"GET https://user@api.example.com:8443 HTTP/1.1", ("api.example.com:8443", "/", "")),
        (b"GET /?next=http://elsewhere.example.com/ HTTP/1.1", ("other.example.com", "/", "next=http://elsewhere.example.com/")),
        (b"OPTIONS * HTTP/1.1", ("other.example.com", "*", "")),
        (b"GET /with space HTTP/1.1", ("other.example.com", "/with%20space", "")),
        (b"GET /caf\xe9 HTTP/1.1", ("other.example.com", "/caf%E9", "")),
        (b"GET  /twice  HTTP/1.1", ("other.example.com", "/twice", "")),
    ],
)  # fmt: skip
def test_targets(line: bytes, expected: tuple[str, str, str]) -> None:
    request = parse_request(line + b"\r\nHost: other.example.com\r\n\r\n").request
    assert (request.host, request.path, request.query) == expected


def test_line_feeds_alone_and_folded_headers() -> None:
    request = parse_request(b"GET / HTTP/1.1\nHost: api.example.com\nX-Long: one\n two\n\tthree\n\n").request
    assert request.header("x-long") == "one two three"


def test_header_lines_that_are_none_are_left_out() -> None:
    assert parse_request(b"GET / HTTP/1.1\r\nnonsense\r\n: empty\r\nA: 1\r\n\r\n").request.headers == (("A", "1"),)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: api.exa",
        b"nonsense\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * HEAD_LIMIT_BYTES + b"\r\n\r\n",
    ],
)
def test_what_is_no_request(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(raw)


def test_a_request_sent_in_chunks_is_kept_in_one_piece() -> None:
    parsed = parse_request(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n" + chunked(BODY))
    assert parsed.request.body == BODY
    assert parsed.request.headers == (("A", "1"),)


def test_a_compressed_request_is_kept_decoded() -> None:
    body = gzip.compress(BODY, mtime=0)
    head = b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\nA: 1\r\n\r\n" % len(body)
    parsed = parse_request(head + body)
    assert parsed.request.body == BODY
    assert parsed.request.headers == (("A", "1"),)


def test_a_request_whose_body_broke_off_is_kept_without_it() -> None:
    parsed = parse_request(b"POST / HTTP/1.1\r\nContent-Length: 40\r\n\r\nonly this")
    assert parsed.request.body is None
    assert parsed.body_not_kept == BROKE_OFF


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("gzip", gzip.compress(BODY[:100], mtime=0) + gzip.compress(BODY[100:], mtime=0)),
        ("x-gzip", gzip.compress(BODY, mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", zlib.compress(BODY)[2:-4]),
        ("br", brotli.compress(BODY)),
        ("zstd", zstandard.compress(BODY)),
        ("gzip, br", brotli.compress(gzip.compress(BODY, mtime=0))),
        ("identity", BODY),
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
def test_a_response_is_kept_decoded(encoding: str, body: bytes, framing: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n".encode()
    if framing == "chunks":
        raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body)
    elif framing == "length":
        raw = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    else:
        raw = head + b"\r\n" + body
    parsed = parse_response(raw)
    assert parsed.response.body == BODY
    assert parsed.response.size_bytes == len(body)
    assert not parsed.body_not_kept


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "compress"])
@pytest.mark.parametrize("body", [b"nonsense", gzip.compress(BODY, mtime=0)[:-20], brotli.compress(BODY)[:-3]])
def test_a_body_that_cannot_be_decoded_is_not_kept(encoding: str, body: bytes) -> None:
    parsed = parse_response(f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode() + body)
    assert parsed.response.status == 200
    assert parsed.response.body is None
    assert parsed.body_not_kept == UNDECODABLE


@pytest.mark.parametrize("raw", [b"5\r\nab", b"5\r\nabcde\r\n", b"a\r\n0123456789\r\nzz", b""])
def test_chunks_that_break_off(raw: bytes) -> None:
    parsed = parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    assert parsed.response.body is None
    assert parsed.body_not_kept == BROKE_OFF


def test_chunks_that_the_recorder_put_together() -> None:
    assert parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY).response.body == BODY


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_that_have_no_body_whatever_their_length_says(method: str, status: int) -> None:
    parsed = parse_response(b"HTTP/1.1 %d Some\r\nContent-Length: 100\r\n\r\n" % status, method)
    assert parsed.response.body == b""
    assert not parsed.body_not_kept


def test_interim_responses_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert parse_response(interim + b"HTTP/1.1 201 Created\r\nA: 1\r\n\r\n").response.status == 201


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 20", b"HTTP/1.1 020 Odd\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_response(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_response(raw)


SOME_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(
    gzip.compress(BODY, mtime=0), 30
)


@given(st.binary(max_size=300), st.integers(0, len(SOME_RESPONSE)), st.integers(0, 40))
@example(b"ffffffffffffff\r\n", SOME_RESPONSE.index(b"\r\n\r\n") + 4, 0)
def test_any_bytes_are_a_message_or_malformed(noise: bytes, at: int, over: int) -> None:
    for raw in (noise, SOME_RESPONSE[:at] + noise + SOME_RESPONSE[at + over :], SOME_RESPONSE[:at]):
        for parse in (parse_request, parse_response):
            with contextlib.suppress(Malformed):
                assert parse(raw)
