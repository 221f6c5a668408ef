"""Keyed stand-ins for secrets: the same secret gets the same stand-in, of the same length and alphabet.

A pseudonym is a function of the key and the secret alone, one-way, and nothing is remembered (but in caches of bounded
size). Two secrets share one by chance alone, as often as there are few texts of their form: never among tokens, often
among codes of four digits.
"""

import base64
import binascii
import hashlib
import ipaddress
import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from replay.capture.scrubbing.forms import (
    EMAIL,
    JWT,
    MAKERS_PREFIX,
    PHONE,
    iban_remainder,
    is_card,
    is_iban,
    passes_luhn,
)
from replay.errors import InputError

_KEY_BYTES = 32
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?=.*[a-f])[0-9a-f]+(?:-[0-9a-f]+)*")
_UPPER_HEX = re.compile(r"(?=.*[A-F])[0-9A-F]+(?:-[0-9A-F]+)*")
_LOWER, _UPPER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_ALPHABETS = {character: letters for letters in (_LOWER, _UPPER, _DIGITS) for character in letters}
_NUMBER = re.compile(r"[0-9]{0,10}")
_CACHED = 32768
_ATTEMPTS = 50
_BLOCK = 64
_SHORTEST_BEHIND_A_PREFIX = 8
_PHONE = re.compile(PHONE)
_CACHED_LENGTH = 512
# The country codes of one and of two digits (ITU-T E.164); all others have three.
_COUNTRY_CODE = re.compile(r"\+(?:[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3})")
# Times in a JWT, by which clients decide whether to ask for another.
_JWT_TIMES = frozenset({"exp", "iat", "nbf", "auth_time"})
_JSON_LEAF = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?|-?\d+(?:\.\d+)?')


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a capture's pseudonyms. It is never written into the capture; ``id`` is, and does not reveal it."""

    value: bytes

    def __repr__(self) -> str:
        return f"Key({self.id})"

    @property
    def id(self) -> str:
        """16 hex digits that are the same for the same key."""
        return self.digest("key id", "", 8).hex()

    def digest(self, purpose: str, text: str, size: int) -> bytes:
        """``size`` (up to 64) bytes of keyed BLAKE2b over ``text``, unrelated for each ``purpose`` (up to 16 bytes)."""
        data = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self.value, digest_size=size, person=purpose.encode()).digest()

    def hex_digests(self, purpose: str, texts: Iterable[str], size: int) -> list[str]:
        """``digest(...).hex()`` of each text, in less time."""
        begun = hashlib.blake2b(key=self.value, digest_size=size, person=purpose.encode())
        digests = []
        for text in texts:
            digest = begun.copy()
            digest.update(text.encode("utf-8", "surrogatepass"))
            digests.append(digest.hexdigest())
        return digests


def fresh_key() -> Key:
    """A random key, for one capture whose pseudonyms need not match another's."""
    return Key(secrets.token_bytes(_KEY_BYTES))


def load_key(file: Path) -> Key:
    """The key in ``file``, which is made, readable by its owner alone, where it is missing.

    Raises InputError where the file cannot be made or read, or holds no key.
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise InputError(f"The scrub key {file} cannot be made: {error.strerror}.") from error
    else:
        with os.fdopen(handle, "w", encoding="ascii") as made:
            made.write(secrets.token_hex(_KEY_BYTES) + "\n")
    try:
        value = bytes.fromhex(file.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The scrub key {file} cannot be read as a key.",
            "It holds 64 hex digits; name a new file to have one made.",
        ) from error
    if len(value) != _KEY_BYTES:
        raise InputError(f"The scrub key {file} is not 64 hex digits.", "Name a new file to have one made.")
    return Key(value)


class Pseudonyms:
    """The pseudonyms under one key."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._cached = lru_cache(maxsize=_CACHED)(self._made)

    def of(self, secret: str) -> str:
        """The pseudonym of a secret: as long as it and with letters, digits and signs in the same places.

        What it is, its form says, wherever it stands. Hexadecimal stays hexadecimal; a maker's prefix such as ``ghp_``
        stays as it is, and so do a JWT's header and the times in it, of which the rest is JSON still; a card's number,
        an IBAN and an international phone number stay valid and keep network, country and spaces. An e-mail address is
        at example.com, so that no mail sent by a rehearsal can arrive, and alike however its letters are written.
        """
        return self._cached(secret) if len(secret) <= _CACHED_LENGTH else self._made(secret)

    def address(self, address: str) -> str:
        """The pseudonym of an IP address, in a private range. What is not an IP address is returned as it is."""
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            return address
        made = self._key.digest("address", address, 16)
        if version == 4:
            return str(ipaddress.IPv4Address(b"\x0a" + made[:3]))
        return str(ipaddress.IPv6Address(b"\xfd" + made[:15]))

    def connection(self, name: str) -> str:
        """Another name for a connection, which may be an address and a port; what is a number already stays."""
        return name if _NUMBER.fullmatch(name) else self._key.digest("connection", name, 8).hex()

    def _made(self, secret: str) -> str:
        for attempt in range(_ATTEMPTS):
            made = self._attempted(secret, attempt)
            if made != secret:
                return made
        return secret + "0"

    def _attempted(self, secret: str, attempt: int) -> str:
        if "@" in secret and EMAIL.fullmatch(secret):
            return f"{self._mapped(secret.partition('@')[0], secret.lower(), attempt)}@example.com"
        if secret.startswith("eyJ") and JWT.fullmatch(secret):
            return self._jwt(secret, attempt)
        if _UUID.fullmatch(secret):
            return self._uuid(secret, attempt)
        if secret[0] == "+" and _PHONE.fullmatch(secret):
            return self._phone(secret, attempt)
        if is_card(secret):
            return self._card(secret, attempt)
        if is_iban(secret):
            return self._iban(secret, attempt)
        prefix = MAKERS_PREFIX.match(secret)
        start = prefix.end() if prefix and len(secret) - prefix.end() >= _SHORTEST_BEHIND_A_PREFIX else 0
        return secret[:start] + self._mapped(secret[start:], secret, attempt)

    def _uuid(self, secret: str, attempt: int) -> str:
        """A UUID keeps its version and its variant."""
        made = self._mapped(secret, secret, attempt)
        return made[:14] + secret[14] + made[15:19] + secret[19] + made[20:]

    def _phone(self, number: str, attempt: int) -> str:
        code = _COUNTRY_CODE.match(number)
        start = code.end() if code else 1
        digits = re.sub(r"\D", "", number)
        mapped = iter(self._mapped(digits, digits, attempt)[start - 1 :])
        return number[:start] + "".join(next(mapped) if c.isdigit() else c for c in number[start:])

    def _card(self, number: str, attempt: int) -> str:
        digits = re.sub(r"\D", "", number)
        mapped = digits[:4] + self._mapped(digits, digits, attempt)[4:-1]
        right = next(mapped + last for last in _DIGITS if passes_luhn(mapped + last))
        return _in_the_form_of(number, right)

    def _iban(self, number: str, attempt: int) -> str:
        bare = number.replace(" ", "")
        account = self._mapped(bare[4:], bare.upper(), attempt)
        check = 98 - iban_remainder(f"{bare[:2]}00{account}".upper())
        return _in_the_form_of(number, f"{bare[:2]}{check:02d}{account}")

    def _jwt(self, token: str, attempt: int) -> str:
        header, payload, *rest = token.split(".")
        mapped = [self._mapped(part, token, attempt) for part in rest]
        return ".".join([header, self._claims(payload) or self._mapped(payload, token, attempt), *mapped])

    def _claims(self, payload: str) -> str | None:
        """A JWT's payload with other claims of the same names, or None where it is no JSON object."""
        try:
            text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode("utf-8")
            if not isinstance(json.loads(text), dict):
                return None
        except (binascii.Error, ValueError, RecursionError):
            return None
        name = ""

        def replaced(leaf: re.Match[str]) -> str:
            nonlocal name
            if leaf[2] is not None:
                name = leaf[1]
                return leaf[0]
            if leaf[1] is None:
                return leaf[0] if name in _JWT_TIMES or len(leaf[0]) < 2 else self._mapped(leaf[0], leaf[0], 0)
            value = json.loads(leaf[0], strict=False)
            return json.dumps(self.of(value), ensure_ascii=leaf[0].isascii()) if value else leaf[0]

        scrubbed = _JSON_LEAF.sub(replaced, text).encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(scrubbed).rstrip(b"=").decode()

    def _mapped(self, text: str, secret: str, attempt: int) -> str:
        stream = self._stream(secret, attempt, len(text))
        if _HEX.fullmatch(text) or _UPPER_HEX.fullmatch(text):
            digits = "0123456789abcdef" if _HEX.fullmatch(text) else "0123456789ABCDEF"
            return "".join([c if c == "-" else digits[byte & 15] for c, byte in zip(text, stream, strict=True)])
        if not any(map(str.isalnum, text)):
            return "".join([_LOWER[byte % 26] for byte in stream])
        mapped = "".join([_another(c, byte) for c, byte in zip(text, stream, strict=True)])
        if text[0] != "0" and text.isdigit():  # a number keeps its count of digits
            return _DIGITS[1 + stream[0] % 9] + mapped[1:]
        return mapped

    def _stream(self, secret: str, attempt: int, size: int) -> bytes:
        if size <= _BLOCK:
            return self._key.digest("pseudonym", f"{attempt}:{secret}", _BLOCK)[:size]
        seed = self._key.digest("long pseudonym", f"{attempt}:{secret}", _BLOCK)
        return hashlib.shake_256(seed).digest(size)


def _another(character: str, byte: int) -> str:
    letters = _ALPHABETS.get(character)
    if letters:
        return letters[byte % len(letters)]
    # A letter of any other script becomes a plain one.
    return _LOWER[byte % 26] if character.isalnum() else character


def _in_the_form_of(written: str, bare: str) -> str:
    characters = iter(bare)
    return "".join(next(characters) if c.isalnum() else c for c in written)
