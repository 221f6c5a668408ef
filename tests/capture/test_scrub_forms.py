"""What is a secret by its form, and what is none however random it looks."""

import base64
import json
import re
import string
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from replay.capture.pseudonyms import fresh_key
from replay.capture.scrub import SUSPICIOUS, Scrubber
from replay.capture.scrubbing.forms import is_card, is_iban, is_recognisable, looks_random
from replay.traffic import Exchange, Request, Response
from replay.traffic import Headers as HeaderPairs

HARMLESS = """
    42 1772352000 1772352000123 4711081520260301 9007199254740993 1234567890123456789 0x1F -17.5 1.5e-7 12.50 1,299.00
    2026-03-01 2026-03-01T08:00:00Z 2026-03-01T08:00:00.000+02:00 20260301T080000Z 08:00:00 2026-W09 P1DT12H
    3f0c2a52-91f4-4a51-9d4b-0a4f5a9f1c11 3F0C2A52-91F4-4A51-9D4B-0A4F5A9F1C11 01ARZ3NDEKTSV4RRFFQ69G5FAV
    507f1f77bcf86cd799439011 cjld2cjxh0000qzrmn831i7rn evt_000123 ORD-2026-000123 INV-2026-03-01-0007
    open-day-2026 freiwillige-feuerwehr-uebung-2026 Freiwillige-Feuerwehr-Heilbronn Jahreshauptversammlung_2026_Entwurf
    v1.2.3 1.2.3.4-rc 1.0.0-beta.4+build.5678 nginx/1.25.3 Mozilla/5.0 getUserAccountByEmailAddress
    application/vnd.api+json text/html;charset=utf-8 en-US de_DE Europe/Berlin 48.137154,11.576124 +02:00 EUR
    app.5d41402abc4b2a76b9719d911017c592.js main-QX7R2VKM.css logo@2x.png report-2026-03.pdf
    sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= RXZlbnQ6MTIz eyJpZCI6MTIzLCJ2IjoiYSJ9
    EVENT_FULL_BECAUSE_OF_RAIN IntersectionObserverEntry donaudampfschifffahrtsgesellschaft @ada #2026 4:3 12/2026
    https://www.example.com/a/b?page=2&sort=-starts_at#top /v2/events/41/tickets/7 a=1&b=2 true null
    00:1A:2B:3C:4D:5E rgb(17,34,51) #1a2b3c 100% q=0.9 +1 hunter password
""".split()
IDS_BY_NAME = {
    "etag": "0123456789abcdef0123456789abcdef",
    "commit": "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3",
    "content_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    "event_id": "V1StGXR8_Z5jdHi6B-myT",
    "customerId": "cus_NffrFeUfNV2HibAbCd",
    "next_page_token": "b2Zmc2V0OjEwMDAwMDAwMDAab12CD",
    "cursor": "WyJhIiwgMTIzNF0x7gHk29LmQ",
    "id": "9f86d081884c7d659a2feaa0c55ad015",
    "order_id": "4111111111111111",
    "after": "k3j9x2m4q8w7z1v5t6r0p9n2aa",
}


def exchange(
    path: str = "/", query: str = "", sent: HeaderPairs = (), sent_body: bytes | None = None, body: bytes | None = None
) -> Exchange:
    request = Request("POST", "api.test", path, query, sent, sent_body)
    return Exchange(AT, 0.1, "c", "1", request, Response(200, (), body, 0))


AT = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("value", HARMLESS)
def test_the_harmless_stay_everywhere(value):
    scrubber = Scrubber(fresh_key())
    before = exchange(
        path=f"/v2/things/{quote(value, safe='')}",
        query=urlencode({"page": "2", "v": value}),
        sent=(("X-Thing", value),),
        sent_body=urlencode({"v": value}).encode(),
        body=json.dumps({"v": [value, {"w": value}], "s": json.dumps({"v": value})}).encode(),
    )
    for one in (before, before):
        scrubber.learn(one)
    assert scrubber.exchange(before) == before
    assert scrubber.text(f"It said {value} twice.") == f"It said {value} twice."
    assert not scrubber.counts


@pytest.mark.parametrize("name", IDS_BY_NAME)
def test_what_a_name_says_to_be_an_id_stays_everywhere(name):
    value = IDS_BY_NAME[name]
    scrubber = Scrubber(fresh_key())
    elsewhere = exchange(path=f"/v2/things/{value}", sent=(("Referer", f"https://a.test/x/{value}?y={value}"),))
    named = exchange(query=f"{name}={value}", body=json.dumps({"a": [{name: value}]}).encode())
    for one in (elsewhere, named):
        scrubber.learn(one)
    assert [scrubber.exchange(one) for one in (elsewhere, named)] == [elsewhere, named]
    assert not scrubber.counts


def test_an_id_that_opens_something_is_a_secret_all_the_same():
    scrubber = Scrubber(fresh_key())
    value = IDS_BY_NAME["id"]
    handed = exchange(body=json.dumps({"id": value}).encode())
    used = exchange(sent=(("Authorization", f"Bearer {value}"),))
    for one in (handed, used):
        scrubber.learn(one)
    pseudonym = scrubber.exchange(used).request.header("authorization").removeprefix("Bearer ")
    assert json.loads(scrubber.exchange(handed).response.body) == {"id": pseudonym}
    assert pseudonym != value


@given(st.binary(min_size=16, max_size=48))
@settings(max_examples=300, deadline=None)
def test_random_bytes_look_random(data):
    assume(len(set(data)) > 12)
    for token in (base64.urlsafe_b64encode(data).rstrip(b"=").decode(), base64.b64encode(data).decode()):
        if not all(32 <= byte < 127 for byte in data):
            bare = token.replace("/", "").replace("+", "").rstrip("=")
            assume(len(bare) >= 20 and bare.lower() != bare and bare.upper() != bare)
            assert looks_random(bare) or re.search("[A-Za-z]{9}|[a-z]{6}|[A-Z]{6}", bare)
    if len(data) >= 16 and not data.hex().isdigit():
        assert looks_random(data.hex())


WORDS = st.lists(
    st.sampled_from(
        "event user account order ticket group berlin heilbronn sommer fest open day feuerwehr kita report".split()
    ),
    min_size=1,
    max_size=6,
)


@given(WORDS, st.integers(0, 99999), st.sampled_from(["-", "_", ""]), st.booleans())
@settings(deadline=None)
def test_words_and_numbers_do_not(words, number, sign, capitals):
    name = sign.join([*(word.title() if capitals or not sign else word for word in words), str(number)])
    assert not looks_random(name)


@given(st.integers(10**12, 10**19))
@settings(deadline=None)
def test_numbers_are_cards_only_with_luhn_and_network(number):
    text = str(number)
    scrubbed = Scrubber(fresh_key()).exchange(exchange(body=json.dumps({"n": number, "s": text}).encode()))
    assert (json.loads(scrubbed.response.body) == {"n": number, "s": text}) == (not is_card(text))


@given(st.sampled_from(["DE89370400440532013000", "GB82WEST12345698765432", "FR1420041010050500013M02606"]), st.data())
def test_one_wrong_digit_is_no_iban(iban, data):
    assert is_iban(iban)
    at = data.draw(st.integers(4, len(iban) - 1).filter(lambda at: iban[at].isdigit()))
    other = data.draw(st.sampled_from(sorted(set(string.digits) - {iban[at]})))
    assert not is_iban(iban[:at] + other + iban[at + 1 :])


@pytest.mark.parametrize(
    "value", ["password", "2026-03-01T08:00", "Mozilla/5.0", "abc-1234"[:7], "1234567890", "a b c d 1"]
)
def test_what_is_too_plain_is_not_replaced_elsewhere(value):
    assert not is_recognisable(value)


@pytest.mark.parametrize("blank", ["", "+", "-", "%20", "%C2%A0", "\u00a0"])
@pytest.mark.parametrize("groups", ["5517 0372 0105 0827", "4111 1111 1111 1111", "DE89 0704 0044 0532 0130 00"])
def test_a_number_in_groups_is_suspicious_however_its_blanks_are_written(groups, blank):
    query = f"page=2&data={groups.replace(' ', blank)}&q=1"
    if Scrubber(fresh_key()).query(query) != query:
        assert any(re.search(pattern, query) for pattern in SUSPICIOUS)


@given(
    st.text(string.ascii_letters + string.digits + "/-_.=&%@+:$~", max_size=60),
    st.sampled_from(["path", "query", "header"]),
)
@settings(max_examples=600, deadline=None)
def test_what_is_not_suspicious_is_not_changed(value, kind):
    scrubber = Scrubber(fresh_key())
    if not any(re.search(pattern, value) for pattern in SUSPICIOUS):
        scrubbed = scrubber.header("x-thing", value) if kind == "header" else getattr(scrubber, kind)(value)
        assert scrubbed == value
        assert not scrubber.counts
