"""Ways in which APIs ship secrets: each is taken apart, and what it carries is found nowhere afterwards."""

import base64
import gzip
import html
import json
import zlib
from urllib.parse import quote

import brotli
import planted
import planted_places
import pytest
import zstandard

from replay.capture.pseudonyms import Key
from replay.capture.scrub import Scrubber
from replay.traffic import Exchange, Headers, Request, Response

# A secret that nothing but its place gives away, and what else of a person travels.
S = "Kx7mQ2pL9wRt"
MAIL = "ada.lovelace+shop@firma-7.example.org"
CARD = "4111111111111111"
IBAN = "DE89370400440532013000"


# Always the same, since three digits (a card's code) may stand in any longer pseudonym by chance.
KEY = Key(b"shipped " * 4)


def sent(
    media_type: str = "",
    body: bytes | str | None = None,
    *,
    path: str = "/v2/things",
    query: str = "",
    headers: Headers = (),
    received: Headers = (),
) -> Exchange:
    typed = (("Content-Type", media_type),) if media_type else ()
    data = body.encode() if isinstance(body, str) else body
    request = Request("POST", "api.test", path, query, (*typed, *headers), data)
    return Exchange(planted_places.AT, 0.1, "c", "1", request, Response(200, received, None, 0))


def packed(encoding: str, body: bytes) -> Exchange:
    return sent("application/json", body, headers=(("Content-Encoding", encoding),))


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _multipart(heading: str, content: str = S) -> str:
    return f"--b\r\n{heading}\r\n\r\n{content}\r\n--b--\r\n"


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
XML = "application/xml"
HTML = "text/html"
PARTS = "multipart/form-data; boundary=b"
OBJECT = json.dumps({"user": "ada", "password": S})
SIGNED = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260301/eu-central-1/s3/aws4_request, SignedHeaders=host, "
WSSE = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Header><wsse:Security>'
    "<wsse:UsernameToken><wsse:Username>ada</wsse:Username>"
    f'<wsse:Password Type="http://docs.example.org/wss#PasswordText">{S}</wsse:Password>'
    "</wsse:UsernameToken></wsse:Security></soap:Header></soap:Envelope>"
)

SHIPPED: dict[str, Exchange] = {
    # names
    **{
        f"named {name}": sent(JSON, json.dumps({name: S}, ensure_ascii=False))
        for name in (
            "contraseña contrasena motDePasse mot_de_passe senha wachtwoord heslo hasło salasana lösenord adgangskode "
            "passord Paßwort пароль 密码 パスワード şifre "
            "geheimnis pw pswd dbPass smtp_pass mypwd password2 newPassword1 "
            "secretString client-secret-value token_value apiKeyValue privKey x-auth X-Hub-Signature-256 hmac_key "
            "SECRET_HASH secret_key_base authenticity_token csrfmiddlewaretoken"
        ).split()
    },
    "name with an escape": sent(JSON, f'{{"\\u0070assword": "{S}"}}'),
    "value with escapes": sent(JSON, '{"password": "' + "".join(f"\\u{ord(c):04x}" for c in S) + '"}'),
    "three digits": sent(JSON, '{"cvv": 917, "n": 4}'),
    # pairs of names and values
    "name, value": sent(JSON, json.dumps({"fields": [{"name": "password", "value": S}]})),
    "value, name": sent(JSON, json.dumps({"fields": [{"value": S, "name": "password"}]})),
    "key, value": sent(JSON, json.dumps([{"key": "DB_PASSWORD", "kind": "x", "value": S}])),
    "Name, Value": sent(JSON, json.dumps([{"Name": "custom:secret", "Value": S}])),
    "headers as pairs": sent(JSON, json.dumps({"headers": [["Accept", "*/*"], ["X-Api-Key", S]]})),
    "JSON Patch": sent(JSON, json.dumps([{"op": "replace", "path": "/user/password", "value": S}])),
    "old and new": sent(JSON, json.dumps({"password": {"old": S, "new": S}})),
    "a list of them": sent(JSON, json.dumps({"recoveryCodes": [S, S]})),
    "an object's names": sent(JSON, json.dumps({"sessions": {"ghp_" + S * 3: {"n": 1}}})),
    "an object's names: e-mail": sent(JSON, json.dumps({MAIL: {"n": 1}})),
    "a query's names": sent(query=f"{quote(MAIL)}=1&ghp_{S * 3}=2"),
    "cookies in JSON": sent(JSON, json.dumps({"headers": {"Cookie": f"a=1; sid={S}", "Set-Cookie": f"b={S}; Path=/"}})),
    # headers
    "folded": sent(headers=(("Authorization", f"Bearer\r\n {S}"),)),
    "cookies in one": sent(
        received=(("Set-Cookie", f"theme=dark; Path=/; Expires=Mon, 02 Mar 2026 00:00:00 GMT, sid={S}"),)
    ),
    "cookies in lines": sent(received=(("Set-Cookie", f"theme=dark; Path=/\nsid={S}; HttpOnly"),)),
    "cookie of JSON": sent(headers=(("Cookie", f"p={quote(OBJECT)}; q=j:{OBJECT}"),)),
    "SigV4": sent(headers=(("Authorization", f"{SIGNED}Signature={S}"),)),
    "SigV4 in a query": sent(
        query=f"X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F2026&X-Amz-Signature={S}&X-Amz-Security-Token={S}"
    ),
    "OAuth 1": sent(headers=(("Authorization", f'OAuth realm="a", oauth_token="{S}", oauth_signature="{S}"'),)),
    "Digest": sent(headers=(("Authorization", f'Digest username="ada", realm="a", response="{S}", cnonce={S}'),)),
    "Basic without a colon": sent(headers=(("Authorization", f"Basic {base64.b64encode(S.encode()).decode()}"),)),
    "Basic": sent(headers=(("authorization", f"basic {base64.b64encode(f'ada:{S}'.encode()).decode()}"),)),
    "no scheme": sent(headers=(("Authorization", S),)),
    "fragment": sent(received=(("Location", f"https://app.test/cb#access_token={S}&token_type=Bearer"),)),
    "referer": sent(headers=(("Referer", f"https://app.test/in?a=1&token={S}"),)),
    "refresh": sent(received=(("Refresh", f"0; url=/in?token={S}"),)),
    "link": sent(received=(("Link", f"</in?token={S}&page=2>; rel=next"),)),
    "user info": sent(received=(("Location", f"https://ada:{S}@app.test/"),)),
    "forwarded": sent(
        headers=(
            ("X-Forwarded-For", "203.0.113.9:4711, [2001:db8::77:9]:443, ::ffff:203.0.113.9"),
            ("Forwarded", 'for="[2001:db8::77:9]:4711";by=203.0.113.9'),
            ("X-Real-IP", "203.0.113.9"),
        )
    ),
    "address in JSON": sent(
        JSON, json.dumps({"ip": "203.0.113.9", "remote_addr": "2001:db8::77:9", "ips": ["203.0.113.9"]})
    ),
    # places in a URL
    "matrix": sent(path=f"/a/b;jsessionid={S}/c;v=1"),
    "after reset": sent(path=f"/password/reset/{S}{S}"),
    "twice encoded": sent(query="next=" + quote(quote(f"/in?password={S}"))),
    "three times encoded": sent(query="next=" + quote(quote(quote(f"/in?password={S}"), safe=""), safe="")),
    "JSON in a query": sent(query="q=" + quote(OBJECT)),
    "brackets": sent(FORM, f"user[password]={S}&data%5Bu%5D%5Btoken%5D={S}"),
    "form unsaid": sent("", f"a=1&password={S}"),
    "form said to be JSON": sent(JSON, f"a=1&password={S}"),
    "JSON said to be a form": sent(FORM, OBJECT),
    "data URL": sent(
        JSON, json.dumps({"icon": "data:application/json;base64," + base64.b64encode(OBJECT.encode()).decode()})
    ),
    "data URL as it is": sent(JSON, json.dumps({"icon": "data:application/json," + quote(OBJECT)})),
    # packed
    "base64url of JSON": sent(JSON, json.dumps({"state": _b64(OBJECT), "id": _b64(OBJECT)})),
    "gzip in base64": sent(JSON, json.dumps({"blob": base64.b64encode(gzip.compress(OBJECT.encode())).decode()})),
    "gzip in base64 under an id's name": sent(
        JSON, json.dumps({"id": base64.b64encode(gzip.compress(OBJECT.encode())).decode()})
    ),
    "gzip": packed("gzip", gzip.compress(OBJECT.encode())),
    "deflate": packed("deflate", zlib.compress(OBJECT.encode())),
    "deflate without its header": packed("deflate", zlib.compress(OBJECT.encode(), wbits=-15)),
    "brotli": packed("br", brotli.compress(OBJECT.encode())),
    "zstd": packed("zstd", zstandard.compress(OBJECT.encode())),
    "gzip of gzip": packed("gzip, gzip", gzip.compress(gzip.compress(OBJECT.encode()))),
    "UTF-16": sent(JSON, OBJECT.encode("utf-16")),
    "UTF-16 without a mark": sent(JSON, OBJECT.encode("utf-16-le")),
    "UTF-16 as said": sent("application/json; charset=utf-16be", OBJECT.encode("utf-16-be")),
    "UTF-32": sent(JSON, OBJECT.encode("utf-32")),
    "UTF-8 with a mark": sent("", b"\xef\xbb\xbf" + json.dumps({"x": {"motDePasse": S}}).encode()),
    "Latin-1": sent("application/json; charset=iso-8859-1", f'{{"ort": "Köln", "password": "ä{S}"}}'.encode("latin-1")),
    "Latin-1 unsaid": sent(JSON, f'{{"contraseña": "{S}"}}'.encode("latin-1")),
    "Shift JIS": sent("text/plain; charset=shift_jis", f"東京 ソ password: {S} 表".encode("shift_jis")),
    "UTF-7": sent("text/plain; charset=utf-7", "pass+AHc-ord: Kx7mQ2pL9wRt"),
    # other kinds of bodies
    "lines of JSON": sent("application/x-ndjson", f'{{"n": 1}}\n{OBJECT}\n'),
    "JSONP": sent("application/javascript", f"/**/cb({json.dumps({'accessToken': S, 'motDePasse': S})});"),
    "JSON behind a guard": sent(JSON, f")]}}',\n{OBJECT}"),
    "JSON behind a loop": sent("text/plain", f"while(1);{json.dumps({'accessToken': S})}"),
    "events": sent("text/event-stream", f"id: 1\ndata: {OBJECT}\n\ndata:{OBJECT}\r\n\r\n"),
    "events over lines": sent("text/event-stream", f'data: {{"password":\ndata: "{S}"}}\n\n'),
    "script": sent(HTML, f"<script>var c = {{apiKey: '{S}', clientSecret: \"{S}\", accessToken:'{S}'}};</script>"),
    "assignments": sent("application/javascript", f"window.authToken = \"{S}\"; let csrfToken = '{S}'"),
    "JavaScript's object": sent("text/plain", f"{{'user': 'ada', 'password': '{S}'}}"),
    "GraphQL": sent(JSON, json.dumps({"query": f'mutation {{ login(user: "ada", password: "{S}") {{ token }} }}'})),
    "GraphQL as it is": sent(
        "application/graphql", f'mutation {{ login(user: "ada", input: {{password: "{S}"}}) {{ token }} }}'
    ),
    "JavaScript's names": sent("text/plain", f"{{user: 'ada', password: '{S}'}}"),
    "X-WSSE": sent(headers=(("X-WSSE", f'UsernameToken Username="ada", PasswordDigest="{S}", Created="2026"'),)),
    "connection string": sent(
        JSON, json.dumps({"db": f"Server=db;User Id=sa;Password={S};", "e": f"jdbc:x://h/d?password={S}"})
    ),
    "headers as lines": sent(JSON, json.dumps({"h": [f"Authorization: Bearer {S}", f"X-Api-Key: {S}"]})),
    "registry's login": sent(
        JSON, json.dumps({"auths": {"r.test": {"auth": base64.b64encode(f"ada:{S}".encode()).decode()}}})
    ),
    "YAML": sent("application/yaml", f"db:\n  password: {S}\n  api_key: '{S}'\n  userPassword: {S}\n"),
    "settings": sent("text/plain", f"DB_PASSWORD={S}\npassword = {S}\nclientSecret={S}\n"),
    "curl": sent("text/plain", f"curl -H 'Authorization: Token {S}' -H \"X-Api-Key: {S}\" https://api.test"),
    "a message in a text": sent(
        JSON, json.dumps({"m": f"GET / HTTP/1.1\r\nCookie: sid={S}\r\nAuthorization: ApiKey {S}\r\n\r\n"})
    ),
    "CSV": sent("text/csv", f'id,name,password\n1,"Ada, L.",{S}\n2,Bob,"{S}"\n'),
    "CSV with semicolons": sent("text/csv; charset=utf-8", f"id;api_key;note\r\n1;{S};a\r\n"),
    "tabs": sent("text/tab-separated-values", f"id\ttoken\n1\t{S}\n"),
    "URI list": sent("text/uri-list", f"https://a.test/in?token={S}\r\n"),
    # multipart
    "part": sent(PARTS, _multipart('Content-Disposition: form-data; name="password"')),
    "part without quotes": sent(PARTS, _multipart("content-disposition: form-data; name=password")),
    "part in single quotes": sent(PARTS, _multipart("Content-Disposition: form-data; name='password'")),
    "part with a type": sent(
        PARTS, _multipart('Content-Disposition: form-data; name="password"\r\nContent-Type: text/plain')
    ),
    "part of JSON": sent(
        PARTS, _multipart('Content-Disposition: form-data; name="p"\r\nContent-Type: application/json', OBJECT)
    ),
    "part of JSON unsaid": sent(PARTS, _multipart('Content-Disposition: form-data; name="p"', OBJECT)),
    "parts in parts": sent(
        "multipart/mixed; boundary=a",
        "--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        + _multipart("Content-Type: application/http", f"POST /x HTTP/1.1\r\nAuthorization: Bearer {S}\r\n\r\n{OBJECT}")
        + "\r\n--a--",
    ),
    "parts without a boundary": sent(
        "multipart/form-data", _multipart('Content-Disposition: form-data; name="password"')
    ),
    "file's name": sent(PARTS, _multipart(f'Content-Disposition: form-data; name="f"; filename="{MAIL}.txt"', "x")),
    # markup
    "SOAP": sent("text/xml", WSSE),
    "attribute": sent(XML, f"<a:db a:password=\"{S}\" user='ada' apiKey='{S}'/>"),
    "CDATA": sent(XML, f"<a><password><![CDATA[{S}]]></password></a>"),
    "entities": sent(XML, f"<a><password>{''.join(f'&#{ord(c)};' for c in S)}</password></a>"),
    "child of a named element": sent(XML, f"<a><password><value>{S}</value></password></a>"),
    "names as text": sent(XML, f"<member><name>password</name><value><string>{S}</string></value></member>"),
    "property list": sent(
        XML, f"<dict><key>user</key><string>ada</string><key>password</key><string>{S}</string></dict>"
    ),
    "parameter": sent(XML, f'<init><param name="password">{S}</param><property value="{S}" name="secret"/></init>'),
    "entity declared": sent(XML, f'<!DOCTYPE r [<!ENTITY password "{S}">]><r>&password;</r>'),
    "input": sent(
        HTML, f'<form><input type="password" name="p" value="{S}"><input name=authenticity_token value={S}></form>'
    ),
    "meta": sent(HTML, f'<meta content="{S}" name="csrf-token">'),
    "data attribute": sent(HTML, f'<div data-api-key="{S}" data-config="{html.escape(OBJECT)}">'),
    "comment": sent(HTML, f"<p>x</p><!-- password: {S} -->"),
    "script of JSON": sent(HTML, f'<script type="application/json">{json.dumps({"accessToken": S})}</script>'),
    "markup in JSON": sent(JSON, json.dumps({"html": f'Hello <input name="password" value="{S}"> there'})),
    # personal
    "e-mail": sent(
        JSON, json.dumps({"a": f"Ada <{MAIL}>", "b": f"mailto:{MAIL}?subject=x"}), query="to=" + quote(MAIL)
    ),
    "card with blanks": sent("text/plain", "Card 4111 1111 1111 1111, or 4111-1111-1111-1111."),
    "card as a number": sent(JSON, f'{{"n": {CARD}}}'),
    "IBAN": sent("text/plain", "To DE89 3704 0044 0532 0130 00, or DE89370400440532013000."),
    "IBAN in small letters": sent(JSON, json.dumps({"iban": IBAN.lower()}), query=f"iban={IBAN.lower()}"),
    "IBAN in a URL": sent(path=f"/accounts/{IBAN}/x", query="a=DE89+3704+0044+0532+0130+00"),
    "phone": sent(JSON, json.dumps({"a": "+49 (0)170 1234567", "b": "tel:+491701234567", "mobile": "0170/1234567"})),
    "with hard blanks": sent(
        JSON, json.dumps({"a": "+49\u00a0170\u20111234567", "b": "4111\u00a01111\u00a01111\u00a01111"})
    ),
    "e-mail with an umlaut": sent(JSON, json.dumps({"a": "an jürgen@bücher.example.org oder xn@firma.xn--p1ai"})),
    "phone in a link": sent(HTML, '<a href="tel:01701234567">call</a>'),
}
HIDDEN = (
    *(S, MAIL, CARD, IBAN, IBAN.lower(), "4111 1111 1111 1111", "4111-1111-1111-1111", "DE89 3704 0044 0532 0130 00"),
    *(
        "4111\u00a01111\u00a01111\u00a01111",
        "jürgen@bücher.example.org",
        "xn@firma.xn--p1ai",
        "203.0.113.9",
        "2001:db8::77:9",
        "1234567",
        "AKIAIOSFODNN7EXAMPLE",
        "917",
    ),
)


@pytest.mark.parametrize("way", SHIPPED)
def test_what_it_carries_is_found_nowhere(way):
    before = SHIPPED[way]
    scrubber = Scrubber(KEY)
    scrubber.learn(before)
    after = scrubber.exchange(before)
    assert _left(after) == []
    assert after.request.body is not None or before.request.body is None
    assert scrubber.counts


@pytest.mark.parametrize("way", SHIPPED)
def test_nor_where_nothing_was_learned(way):
    scrubber = Scrubber(KEY)
    assert _left(scrubber.exchange(SHIPPED[way])) == []
    assert _left(scrubber.cautious(SHIPPED[way])[0]) == []


def _left(exchange: Exchange) -> list[str]:
    forms = list(planted.decoded(planted.bytes_of([exchange])))
    return [secret for secret in HIDDEN if any(secret in form for form in forms)]
