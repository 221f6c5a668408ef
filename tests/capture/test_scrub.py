import base64
import json
import re
import string
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.pseudonyms import Pseudonyms, fresh_key
from replay.capture.scrub import Scrubber
from replay.capture.store import CaptureWriter
from replay.traffic import Exchange, Headers, Request, Response

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
TOKENS = st.builds(
    lambda prefix, body: f"{prefix}{body}a7",
    st.sampled_from(["", "tok_", "sk_live_", "rt_"]),
    st.text(string.ascii_letters + string.digits + "_-", min_size=14, max_size=60),
)
HEX = st.text("0123456789abcdef", min_size=16, max_size=64).filter(lambda text: re.search("[a-f]", text))
PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=6, max_size=30).filter(
    lambda text: text.strip("*") and any(c.isalnum() for c in text)
)


def exchange(
    *,
    path: str = "/",
    query: str = "",
    sent: Headers = (),
    sent_body: bytes | None = None,
    received: Headers = (),
    received_body: bytes | None = None,
) -> Exchange:
    request = Request("POST", "api.test", path, query, sent, sent_body)
    return Exchange(AT, 0.1, "c", "1", request, Response(200, received, received_body, 0))


def scrub_json(value: object, scrubber: Scrubber | None = None) -> object:
    scrubber = scrubber or Scrubber(fresh_key())
    scrubbed = scrubber.exchange(exchange(received_body=json.dumps(value).encode()))
    return json.loads(scrubbed.response.body)


FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


@given(st.one_of(TOKENS, HEX))
@settings(max_examples=60, deadline=None)
def test_one_secret_has_one_pseudonym_everywhere(secret):
    scrubber = Scrubber(fresh_key())
    first = scrubber.exchange(
        exchange(
            query=f"page=2&access_token={secret}",
            sent=(
                ("Authorization", f"Bearer {secret}"),
                ("X-API-Key", secret),
                ("Cookie", f"a=; session={secret}"),
                *FORM,
            ),
            sent_body=urlencode({"grant_type": "refresh_token", "refresh_token": secret}).encode(),
            received=(
                ("Set-Cookie", f"session={secret}; Path=/; HttpOnly"),
                ("Location", f"/in?token={secret}&page=2"),
            ),
            received_body=json.dumps({"data": [{"accessToken": secret, "expires_in": 3600}]}).encode(),
        )
    )
    pseudonym = first.request.header("x-api-key")
    assert pseudonym != secret
    assert first.request.query == f"page=2&access_token={pseudonym}"
    assert first.request.header("authorization") == f"Bearer {pseudonym}"
    assert first.request.header("cookie") == f"a=; session={pseudonym}"
    assert first.request.body == f"grant_type=refresh_token&refresh_token={pseudonym}".encode()
    assert first.response.header("set-cookie") == f"session={pseudonym}; Path=/; HttpOnly"
    assert first.response.header("location") == f"/in?token={pseudonym}&page=2"
    assert json.loads(first.response.body) == {"data": [{"accessToken": pseudonym, "expires_in": 3600}]}
    # and where nothing but its having been seen says that it is one
    later = scrubber.exchange(exchange(path=f"/links/{secret}", received_body=json.dumps({"t": [secret]}).encode()))
    assert later.request.path == f"/links/{pseudonym}"
    assert json.loads(later.response.body) == {"t": [pseudonym]}


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_planted_secrets_are_in_no_byte_of_the_folder(data):
    token, refresh, key = (data.draw(TOKENS) for _ in range(3))
    password = data.draw(PASSWORDS) + "Zq7!xK"
    email = data.draw(st.from_regex(r"[a-z]{5,9}\.[a-z]{5,9}[0-9]{3}@[a-z]{6,12}\.(de|com|co\.uk)", fullmatch=True))
    jwt = ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (b'{"alg":"HS256"}', json.dumps({"sub": data.draw(st.text(min_size=4))}).encode(), token.encode())
    )
    cookie = data.draw(HEX)
    address = data.draw(st.ip_addresses().map(str))
    basic = base64.b64encode(f"ada:{password}".encode()).decode()
    exchanges = [
        exchange(
            path=f"/people/{quote(email)}",
            query=urlencode({"email": email, "api_key": key, "q": "open day"}),
            sent=(
                ("Authorization", f"Basic {basic}"),
                ("Cookie", f"sid={cookie}; theme=dark"),
                ("X-Forwarded-For", address),
            ),
            sent_body=json.dumps({"user": {"password": password, "new_password": password, "e": email}}).encode(),
        ),
        exchange(
            sent=FORM,
            sent_body=f"username=ada&password={quote_plus(password)}&note={quote_plus('ask ' + email)}".encode(),
            received=(("Content-Type", "application/json"), ("Set-Cookie", f"sid={cookie}; Secure"), ("X-Note", jwt)),
            received_body=json.dumps(
                {"deep": [[{"refresh-token": refresh}], {"url": f"https://a.test/?x=1&token={key}"}]}
            ).encode(),
        ),
        exchange(
            sent=(("Authorization", f"Bearer {token}"), ("Referer", f"https://a.test/?access_token={token}")),
            received=(("Content-Type", "text/html"),),
            received_body=f"<p>{refresh} for <a href='mailto:{email}'>{token}</a> {jwt}</p>".encode(),
        ),
        exchange(
            sent=(("Content-Type", "multipart/form-data; boundary=x"),),
            sent_body=f'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n{password}\r\n--x--\r\n'.encode(),
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        with CaptureWriter(Path(folder, "c"), environment="production", scrubber=Scrubber(fresh_key())) as writer:
            for one in exchanges:
                writer.add(one, "test")
        # uncompressed, so that a secret could be found
        held = "\n".join(repr(one) for one in _read(Path(folder, "c")))
        held += Path(folder, "c", "capture.json").read_text() + Path(folder, "c", "skipped.jsonl").read_text()
        raw = b"".join(file.read_bytes() for file in Path(folder, "c").rglob("*.parquet"))
    for secret in (token, refresh, key, jwt.rpartition(".")[2], email, quote(email), cookie, basic):
        assert secret not in held
        assert secret.encode() not in raw
    assert repr(password)[1:-1] not in held
    assert f"'{address}'" not in held


def _read(path: Path) -> list[Exchange]:
    from replay.capture.store import read_exchanges  # noqa: PLC0415

    return list(read_exchanges(path))


PLAIN = [
    {"id": 41, "uuid": "3f0c2a52-91f4-4a51-9d4b-0a4f5a9f1c11", "slug": "open-day-2026", "price": 12.50, "big": 10**18},
    {
        "starts_at": "2026-03-01T08:00:00Z",
        "date": "2026-03-01",
        "code": "EVENT_FULL",
        "session": "keynote-opening-2026",
    },
    {"code": 404, "session": 17, "key": "title", "state": "open", "session_id": 12, "count": 3, "currency_code": "EUR"},
    {"token_type": "Bearer", "expires_in": 3600, "next_page_token": "eyAicCI6IDIgfQ12345", "page_token": "2"},
    {"max_tokens": 100000, "password_changed_at": "2026-01-01", "has_password": True, "token": None, "secret": ""},
    {"keyword": "a1b2c3d4e5f6g7h8i9", "monkey": "a1b2c3d4e5f6g7h8i9", "password": "********", "author": "Ada L."},
    {"image": "/static/logo@2x.png", "handle": "@ada", "ratio": "4:3", "time": "12:30:45", "version": "1.2.3.4-rc"},
    {
        "etag": 'W/"0123456789abcdef0123456789abcdef"',
        "cursor": "b2Zmc2V0OjEwMDAwMDAwMDA",
        "nothing": [[], {}, None, -1.5e-7],
    },
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: next(iter(value)))
def test_what_is_no_secret_stays(value):
    scrubber = Scrubber(fresh_key())
    assert scrub_json(value, scrubber) == value
    assert scrub_json([{"items": [value]}], scrubber) == [{"items": [value]}]
    fields = {name: field for name, field in value.items() if isinstance(field, str)}
    query = urlencode(fields)
    before = exchange(
        path="/v2/events/3f0c2a52-91f4-4a51-9d4b-0a4f5a9f1c11/open-day-2026",
        query=query,
        sent=(
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("If-None-Match", '"ab12"'),
            ("Idempotency-Key", "k-17"),
        ),
        sent_body=query.encode(),
    )
    assert scrubber.exchange(before) == before
    assert not scrubber.counts


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=12).filter(lambda t: "@" not in t),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text('abcdefg 日"\\', max_size=6), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from([None, 2]),
    st.booleans(),
)
@settings(deadline=None)
def test_bytes_beside_a_secret_stay_as_they_were(value, indent, ascii_only):
    scrubber = Scrubber(fresh_key())
    text = json.dumps(
        {"before": value, "list": [value, value], "token": "tok_Abcdef1234567890"},
        indent=indent,
        ensure_ascii=ascii_only,
    )
    body = scrubber.exchange(exchange(received_body=text.encode("utf-8", "surrogatepass"))).response.body
    pseudonym = Pseudonyms(scrubber.key).of("tok_Abcdef1234567890")
    assert body == text.replace("tok_Abcdef1234567890", pseudonym).encode("utf-8", "surrogatepass")
    assert scrubber.counts == {"json": 1}


@pytest.mark.parametrize(
    "name",
    "token access_token refreshToken id-token clientSecret client_secret password user[password] passwordConfirmation "
    "api_key apiKey APIKey apikey X-Api-Key x-auth-token csrf_token secret sessionToken otp client_assertion".split(),
)
def test_names_of_secrets(name):
    assert scrub_json({name: "abc-1234"}) != {name: "abc-1234"}
    query = f"{quote(name)}=abc-1234"
    assert Scrubber(fresh_key()).exchange(exchange(query=query)).request.query != query


@pytest.mark.parametrize(
    "field",
    [("code", "SplxlOBeZQQYbYS6WxSbIA"), ("session", "3f0c2a52-91f4-4a51-9d4b-0a4f5a9f1c11"), ("sid", "a1" * 12)],
)
def test_a_name_that_may_be_a_secret_is_decided_by_its_value(field):
    assert scrub_json(dict([field])) != dict([field])


def test_an_authorization_code_is_known_by_what_stands_beside_it():
    scrubbed = Scrubber(fresh_key()).exchange(
        exchange(sent=FORM, sent_body=b"grant_type=authorization_code&code=abcdef")
    )
    form = parse_qs(scrubbed.request.body.decode())
    assert form["grant_type"] == ["authorization_code"]
    assert form["code"] != ["abcdef"]


def test_a_plain_word_used_as_a_password_does_not_change_the_word_elsewhere():
    scrubber = Scrubber(fresh_key())
    body = b"grant_type=password&username=ada&password=password"
    scrubbed = [scrubber.exchange(exchange(sent=FORM, sent_body=body)).request.body for _ in range(2)]
    assert scrubbed[0] == scrubbed[1]
    assert scrubbed[0].startswith(b"grant_type=password&username=ada&password=")
    assert scrubbed[0] != body


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n\xff\xfe token=abcdef1234567890 a@b.com"),
        ("image/jpeg", b"\xff\xd8\xff \x00 eyJhbGciOi.eyJhbGciOi.x"),
        ("font/woff2", b"wOF2\x00\x01\xff"),
        ("video/mp4", b"\x00\x00\x00\x18ftypisom\xff\xfe"),
    ],
)
def test_pictures_and_their_like_stay(media_type, body):
    before = exchange(received=(("Content-Type", media_type),), received_body=body)
    scrubber = Scrubber(fresh_key())
    assert scrubber.exchange(before) == before
    assert not scrubber.dropped


@pytest.mark.parametrize(
    ("media_type", "body", "reason"),
    [
        ("application/octet-stream", b"\x89PNG\r\n\x1a\n\xff\xfe token=abcdef1234567890 a@b.com", "binary"),
        ("application/octet-stream", b"\x1f\x8b\x08 password=x", "in an encoding that cannot be decoded"),
        ("application/x-protobuf", b"\x0a\x07hunter2", "binary"),
        ("application/x-protobuf", b"plain as it looks", "binary"),
        ("image/png", b"\xff\xfe no picture", "binary"),
    ],
)
def test_what_cannot_be_searched_is_dropped(media_type, body, reason):
    scrubber = Scrubber(fresh_key())
    scrubbed = scrubber.exchange(exchange(received=(("Content-Type", media_type),), received_body=body))
    assert scrubbed.response.body is None
    assert [(fragment.partition(",")[0], count) for fragment, count in scrubber.dropped.items()] == [(reason, 1)]


@pytest.mark.parametrize(
    "text",
    [
        '{"token": "tok_Abcdef1234567890", "a": [',
        '{"token": "tok_Abcdef1234567890"}\n{"token": "tok_Abcdef1234567890"}',
    ],
)
def test_broken_json_and_many_documents_are_scrubbed(text):
    scrubber = Scrubber(fresh_key())
    before = exchange(received=(("Content-Type", "application/json"),), received_body=text.encode())
    body = scrubber.exchange(before).response.body
    assert body == text.replace("tok_Abcdef1234567890", Pseudonyms(scrubber.key).of("tok_Abcdef1234567890")).encode()


def test_addresses_of_clients_are_replaced_alike():
    scrubber = Scrubber(fresh_key())
    sent = (
        ("X-Forwarded-For", "203.0.113.9, 2001:db8::7"),
        ("Forwarded", 'for=203.0.113.9:4711;proto=https, for="[2001:db8::7]"'),
    )
    request = scrubber.exchange(exchange(sent=sent)).request
    four, six = request.header("x-forwarded-for").split(", ")
    assert request.header("forwarded") == f'for={four}:4711;proto=https, for="[{six}]"'
    assert (four.startswith("10."), six.startswith("fd")) == (True, True)


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "text/html", "text/plain", "text/csv", "text/event-stream", "multipart/form-data"],
)
def test_long_texts_take_no_time_beyond_their_length(media_type):
    scrubber = Scrubber(fresh_key())
    for body in (
        b"a" * 300_000 + b"@",
        b"a=" * 100_000,
        b'"' * 200_000,
        b'"a""' * 50_000,
        b"eyJ" * 100_000,
        b"[" * 100_000,
        b".a-" * 100_000 + b"@a.",
        b"\n" * 200_000,
        b"<a " * 60_000,
        b"token: " * 30_000,
        b"cb([" * 50_000,
        b"+1 " * 60_000,
    ):
        before = exchange(received=(("Content-Type", media_type),), received_body=body)
        assert scrubber.exchange(before).response.body


@pytest.mark.parametrize("value", ["+49+172+5550100", "some words of mine", "Ada.Example-x"])
def test_a_cookie_without_a_name_is_all_value(value):
    sent = (("Cookie", f"theme=dark; {value}; lang=de"),)
    received = (("Set-Cookie", f"{value}; Path=/; HttpOnly"),)
    scrubbed = Scrubber(fresh_key()).exchange(exchange(sent=sent, received=received))
    first, nameless, last = scrubbed.request.header("cookie").split("; ")
    assert (first, last) == ("theme=dark", "lang=de")
    assert value not in nameless
    assert len(nameless) == len(value)
    assert scrubbed.response.header("set-cookie") == f"{nameless}; Path=/; HttpOnly"
