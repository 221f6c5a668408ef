"""Taking texts apart and putting them together again."""

import base64
import binascii
import re
from collections.abc import Callable

from replay.capture.encodings import TooLarge, Undecodable, decoded
from replay.capture.scrubbing import forms

_UNPACKED_LIMIT_BYTES = 1_000_000
_TEXT = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*")


def around(
    pattern: re.Pattern[str], text: str, inside: Callable[[re.Match[str]], str], outside: Callable[[str], str]
) -> str:
    """``text`` with what matches ``pattern`` put through ``inside``, and all between through ``outside``."""
    match = pattern.search(text)
    if match is None:
        return outside(text)
    pieces, end = [], 0
    while match:
        if match.start() > end:
            pieces.append(outside(text[end : match.start()]))
        pieces.append(inside(match))
        end = match.end() if match.end() > match.start() else match.end() + 1
        match = pattern.search(text, end)
    return "".join([*pieces, outside(text[end:]) if end < len(text) else ""])


def text_in_base64(word: str) -> str | None:
    """The text whose base64 ``word`` is, or None where it is none's."""
    bare = word.rstrip("=")
    if len(bare) % 4 == 1 or len(bare) < 8:
        return None
    try:
        if "-" in bare or "_" in bare:
            data = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
        else:
            data = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        text = data.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return text if _TEXT.fullmatch(text) else None


def text_in_gzip(word: str) -> str | None:
    """The text that gzip packed and ``word`` is in base64, or None where it is none."""
    bare = word.rstrip("=")
    try:
        packed = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        return decoded(packed, "gzip", _UNPACKED_LIMIT_BYTES).decode("utf-8")
    except (binascii.Error, ValueError, TooLarge, Undecodable):
        return None


def in_base64_like(word: str, text: str) -> str:
    """``text`` in base64 as ``word`` is: with its alphabet, and padded or not."""
    data = text.encode("utf-8", "surrogatepass")
    url_safe = "-" in word or "_" in word
    encoded = (base64.urlsafe_b64encode(data) if url_safe else base64.b64encode(data)).decode()
    return encoded if word.endswith("=") or len(word) % 4 == 0 else encoded.rstrip("=")


def is_one_token(word: str) -> bool:
    """Whether a word with slashes or pluses is one token in base64, rather than a path."""
    if word.startswith("/"):
        return False
    parts = re.split("[/+]", word)
    rest = [part for part in parts if not _is_like_a_word(part)]
    # Pluses hardly stand in paths, and a token may have a few letters by chance that look like a word.
    return (len(rest) == len(parts) or "+" in word) and forms.looks_random("".join(rest))


def _is_like_a_word(part: str) -> bool:
    return len(part) >= 4 and (part.isdigit() or (part.isalpha() and (part.islower() or part.istitle())))
