import base64
import json
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.pseudonyms import Pseudonyms, fresh_key, load_key
from replay.capture.scrubbing.forms import is_card, is_iban
from replay.errors import InputError

TOKENS = st.builds(
    lambda prefix, body: f"{prefix}{body}a7",
    st.sampled_from(["", "tok_", "sk_live_", "rt_"]),
    st.text(string.ascii_letters + string.digits + "_-", min_size=14, max_size=60),
)
HEX = st.text("0123456789abcdef", min_size=16, max_size=64).filter(lambda text: re.search("[a-f]", text))
PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=6, max_size=30).filter(
    lambda text: text.strip("*") and any(c.isalnum() for c in text) and "@" not in text
)


@given(st.one_of(TOKENS, HEX, PASSWORDS))
@settings(deadline=None)
def test_a_pseudonym_is_as_long_and_of_the_same_alphabet(secret):
    pseudonym = Pseudonyms(fresh_key()).of(secret)
    assert pseudonym != secret
    assert len(pseudonym) == len(secret)
    if re.fullmatch("[0-9a-f]+", secret) and re.search("[a-f]", secret):
        assert re.fullmatch("[0-9a-f]+", pseudonym)
    elif secret.isascii():
        for was, became in zip(secret, pseudonym, strict=True):
            assert was == became or (was.isalnum() and became.isalnum())
    for prefix in ("tok_", "sk_live_"):
        if secret.startswith(prefix):
            assert pseudonym.startswith(prefix)


@given(st.lists(TOKENS, min_size=30, max_size=60, unique=True))
@settings(max_examples=20, deadline=None)
def test_two_tokens_do_not_share_a_pseudonym(tokens):
    pseudonyms = Pseudonyms(fresh_key())
    assert len({pseudonyms.of(token) for token in tokens}) == len(tokens)


@given(st.text(min_size=1, max_size=40))
@settings(deadline=None)
def test_a_pseudonym_depends_on_the_key_and_the_secret_alone(secret):
    key = fresh_key()
    busy = Pseudonyms(key)
    for other in ("a", "b", secret + "x", secret):
        busy.of(other)
    assert busy.of(secret) == Pseudonyms(key).of(secret) != secret


def test_a_key_decides_the_pseudonyms(tmp_path):
    key = load_key(tmp_path / "scrub.key")
    assert (tmp_path / "scrub.key").stat().st_mode & 0o777 == 0o600
    again = load_key(tmp_path / "scrub.key")
    assert again == key
    assert again.id == key.id != fresh_key().id
    assert Pseudonyms(key).of("tok_abcdefgh12") == Pseudonyms(again).of("tok_abcdefgh12")
    assert Pseudonyms(key).of("tok_abcdefgh12") != Pseudonyms(fresh_key()).of("tok_abcdefgh12")
    assert key.value.hex() not in repr(key)


@pytest.mark.parametrize("content", ["", "abc", "00" * 31, "zz" * 32, "00" * 40])
def test_a_file_that_is_no_key_is_refused(content, tmp_path):
    (tmp_path / "key").write_text(content)
    with pytest.raises(InputError, match="scrub key"):
        load_key(tmp_path / "key")


def test_what_is_checked_by_its_form_stays_valid():
    pseudonyms = Pseudonyms(fresh_key())
    for card in ("4111 1111 1111 1111", "378282246310005", "5500-0000-0000-0004"):
        made = pseudonyms.of(card)
        assert is_card(made)
        assert made[:4] == card[:4]
        assert re.sub(r"\d", "0", made) == re.sub(r"\d", "0", card)
    for iban in ("DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"):
        made = pseudonyms.of(iban)
        assert is_iban(made)
        assert made[:2] == iban[:2]
    assert re.fullmatch(r"\+49 \(0\d\d\) \d{3}-\d{4}|\+49 \(\d{3}\) \d{3}-\d{4}", pseudonyms.of("+49 (170) 123-4567"))
    assert pseudonyms.of("Ada.L@firma.de").lower() == pseudonyms.of("ada.l@FIRMA.de").lower()
    assert pseudonyms.of("Ada.L@firma.de").endswith("@example.com")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-9[0-9a-f]{3}-[0-9a-f]{12}", pseudonyms.of(UUID))
    assert pseudonyms.address("203.0.113.9").startswith("10.")
    assert pseudonyms.address("2001:db8::7").startswith("fd")
    assert pseudonyms.address("nobody") == "nobody"


UUID = "3f0c2a52-91f4-4a51-9d4b-0a4f5a9f1c11"


def test_a_jwt_stays_one():
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": "ada@firma.de", "exp": 1893456000, "roles": ["admin", "ü"], "n": 4711, "ok": True, "none": None}
    token = f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJlX29mX3RoZV9zZXJ2ZXI"
    pseudonyms = Pseudonyms(fresh_key())
    header, payload, signature = pseudonyms.of(token).split(".")
    made = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert header == token.partition(".")[0]
    assert signature != token.rpartition(".")[2]
    assert made.keys() == claims.keys()
    assert (made["exp"], made["ok"], made["none"]) == (1893456000, True, None)
    assert made["sub"] == pseudonyms.of("ada@firma.de")
    assert made["roles"][0] != "admin"
    assert made["n"] != 4711
