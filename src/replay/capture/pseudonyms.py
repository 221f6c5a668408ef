"""Keyed stand-ins for secrets: the same secret gets the same stand-in, of the same length and alphabet."""

import hashlib
import ipaddress
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from replay.errors import InputError

_KEY_BYTES = 32
# What a maker puts before a token to say what it is (`tok_`, `sk_live_`) is no secret and helps a reader.
_PREFIX = re.compile(r"(?:[a-z]{2,4}_){1,2}(?=[A-Za-z0-9+/=._~-]{8,}\Z)")
_JWT_HEADER = re.compile(r"eyJ[A-Za-z0-9_-]+\.(?=[A-Za-z0-9_-]+\.)")
_HEX = re.compile(r"(?=.*[a-f])[0-9a-f]+(?:-[0-9a-f]+)*")
_UPPER_HEX = re.compile(r"(?=.*[A-F])[0-9A-F]+(?:-[0-9A-F]+)*")
_LOWER, _UPPER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_TRIES_PER_LENGTH = 20


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
    """Hands out pseudonyms, never one for two secrets. Keeps each secret in memory, for as long as it lives."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._known: dict[str, str] = {}
        self._given: set[str] = set()

    def is_pseudonym(self, text: str) -> bool:
        """Whether ``text`` was handed out here."""
        return text in self._given

    def secret(self, secret: str) -> str:
        """The pseudonym of a secret: as long as it and with letters, digits and signs in the same places.

        Hexadecimal stays hexadecimal, and a prefix such as ``tok_`` or a JWT's header stays as it is. A secret too
        short for a pseudonym of its own (a one-digit code among many) gets a longer one.
        """
        return self._hand_out(secret, lambda attempt: self._alike(secret, attempt))

    def email(self, address: str) -> str:
        """The pseudonym of an e-mail address, at example.com, so that no mail sent by a rehearsal can arrive."""
        name = address.partition("@")[0]
        return self._hand_out(address, lambda attempt: f"{self._mapped(name, address, attempt)}@example.com")

    def address(self, address: str) -> str:
        """The pseudonym of an IP address, in a private range. What is not an IP address is returned as it is."""
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            return address
        if version == 4:
            return self._hand_out(address, lambda a: str(ipaddress.IPv4Address(b"\x0a" + self._bytes(address, a)[:3])))
        return self._hand_out(address, lambda a: str(ipaddress.IPv6Address(b"\xfd" + self._bytes(address, a)[:15])))

    def _hand_out(self, secret: str, make: Callable[[int], str]) -> str:
        if secret in self._known:
            return self._known[secret]
        attempt = 0
        made = make(attempt)
        while made == secret or made in self._given:
            attempt += 1
            made = make(attempt)
        self._known[secret] = made
        self._given.add(made)
        return made

    def _alike(self, secret: str, attempt: int) -> str:
        kept = _JWT_HEADER.match(secret) or _PREFIX.match(secret)
        start = kept.end() if kept else 0
        return secret[:start] + self._mapped(secret[start:], secret, attempt)

    def _mapped(self, text: str, secret: str, attempt: int) -> str:
        text += "0" * (attempt // _TRIES_PER_LENGTH)
        stream = self._stream(secret, attempt, len(text))
        if _HEX.fullmatch(text) or _UPPER_HEX.fullmatch(text):
            digits = "0123456789abcdef" if _HEX.fullmatch(text) else "0123456789ABCDEF"
            return "".join(c if c == "-" else digits[byte % 16] for c, byte in zip(text, stream, strict=True))
        if not any(character.isalnum() for character in text):
            return "".join(_LOWER[byte % 26] for byte in stream)
        mapped = (_another(c, byte) for c, byte in zip(text, stream, strict=True))
        if text.isdigit() and text[0] != "0":  # a number keeps its count of digits
            return _DIGITS[1 + stream[0] % 9] + "".join(mapped)[1:]
        return "".join(mapped)

    def _stream(self, secret: str, attempt: int, size: int) -> bytes:
        blocks = (self._key.digest("pseudonym", f"{attempt}:{block}:{secret}", 64) for block in range(size // 64 + 1))
        return b"".join(blocks)[:size]

    def _bytes(self, secret: str, attempt: int) -> bytes:
        return self._stream(secret, attempt, 16)


def _another(character: str, byte: int) -> str:
    if character in _DIGITS:
        return _DIGITS[byte % 10]
    if character in _UPPER:
        return _UPPER[byte % 26]
    if character.isalnum():  # a letter of any other script becomes a plain one
        return _LOWER[byte % 26]
    return character
