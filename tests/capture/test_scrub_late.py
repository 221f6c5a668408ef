"""Secrets that show themselves late: one pseudonym in every place, also in what came before."""

import base64
import json

import planted
import pytest
from planted_places import AT, PLACES

from replay.capture.pseudonyms import Pseudonyms, fresh_key
from replay.capture.scrub import Scrubber
from replay.traffic import Exchange, Headers, Request, Response

S = "Kx7mQ2pL9wRt"  # nothing but its place says that it is one
_PACKED = {"gzip in base64"}  # has a pseudonym as a whole


def sent(
    *headers: tuple[str, str], body: bytes | None = None, received: bytes | None = None, query: str = ""
) -> Exchange:
    request = Request("POST", "api.test", "/v2/things", query, headers, body)
    return Exchange(AT, 0.1, "c", "1", request, Response(200, (), received, 0))


FORM: Headers = (("Content-Type", "application/x-www-form-urlencoded"),)
SHOWN: dict[str, Exchange] = {
    "bearer": sent(("Authorization", f"Bearer {S}")),
    "basic": sent(("Authorization", f"Basic {base64.b64encode(f'ada:{S}'.encode()).decode()}")),
    "header": sent(("X-Api-Key", S)),
    "cookie": sent(("Cookie", f"theme=dark; session={S}")),
    "query": sent(query=f"page=2&access_token={S}"),
    "form": sent(*FORM, body=f"grant_type=password&password={S}".encode()),
    "JSON": sent(received=json.dumps({"data": [{"accessToken": S}]}).encode()),
    "JSON in JSON": sent(received=json.dumps({"data": json.dumps({"password": S})}).encode()),
    "labelled": sent(received=json.dumps([{"value": S, "name": "api_key"}]).encode()),
    "XML": sent(("Content-Type", "text/xml"), body=f"<a><password>{S}</password></a>".encode()),
    "GraphQL": sent(body=json.dumps({"query": f'mutation {{ in(password: "{S}") {{ id }} }}'}).encode()),
    "URL": sent(("Referer", f"https://ada:{S}@www.example.com/")),
    "text": sent(("Content-Type", "text/plain"), body=f"password: {S}".encode()),
}


def learned(*exchanges: Exchange) -> tuple[list[Exchange], str]:
    scrubber = Scrubber(fresh_key())
    for one in exchanges:
        scrubber.learn(one)
    return [scrubber.exchange(one) for one in exchanges], Pseudonyms(scrubber.key).of(S)


def held(exchange: Exchange) -> str:
    return "\n".join(planted.decoded(planted.bytes_of([exchange])))


@pytest.mark.parametrize("way", SHOWN)
def test_in_whatever_way_it_shows_itself(way):
    scrubbed, pseudonym = learned(sent(received=json.dumps({"t": S}).encode()), SHOWN[way])
    assert json.loads(scrubbed[0].response.body) == {"t": pseudonym}
    assert pseudonym in held(scrubbed[1])
    assert not any(S in held(one) for one in scrubbed)


@pytest.mark.parametrize("place", PLACES)
def test_in_whatever_place_it_stood_before(place):
    (early, _), pseudonym = learned(PLACES[place](1, "t", S), SHOWN["bearer"])
    assert S not in held(early)
    assert pseudonym in held(early) or place in _PACKED


def test_what_headers_show_is_replaced_in_the_body_beside_them_in_one_pass():
    both = sent(("Authorization", f"Bearer {S}"), body=json.dumps({"t": S}).encode(), received=f"<p>{S}</p>".encode())
    scrubber = Scrubber(fresh_key())
    pseudonym = Pseudonyms(scrubber.key).of(S)
    scrubbed = scrubber.exchange(both)
    assert json.loads(scrubbed.request.body) == {"t": pseudonym}
    assert scrubbed.response.body == f"<p>{pseudonym}</p>".encode()


def test_a_body_met_before_is_looked_at_again_when_more_is_known():
    scrubber = Scrubber(fresh_key())
    plain = sent(received=json.dumps({"t": S, "mail": "ada@firma.example.org"}).encode())
    first, again = scrubber.exchange(plain), scrubber.exchange(plain)
    assert first == again
    assert json.loads(first.response.body)["t"] == S
    assert scrubber.counts["email"] + scrubber.counts["repeated"] == 2
    scrubber.exchange(SHOWN["bearer"])
    assert json.loads(scrubber.exchange(plain).response.body)["t"] == Pseudonyms(scrubber.key).of(S)


def test_the_same_bytes_are_another_body_under_another_type():
    scrubber = Scrubber(fresh_key())
    body = f"password={S}".encode()
    types = ("application/x-www-form-urlencoded", "application/octet-stream", "application/x-protobuf")
    bodies = [scrubber.exchange(sent(("Content-Type", each), body=body)).request.body for each in types]
    assert bodies[0] == bodies[1] == f"password={Pseudonyms(scrubber.key).of(S)}".encode()
    assert bodies[2] is None
    assert sum(scrubber.dropped.values()) == 1
