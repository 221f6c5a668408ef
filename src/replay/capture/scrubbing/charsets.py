"""The characters that bodies are written in: by their mark, by what is said, by where their zeros are; else UTF-8."""

import codecs
import re
import string

_CHARSET = re.compile(r"charset=[\"']?([\w.:-]{2,30})")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# By which of the first four bytes are zero.
_ZEROS = {"x000": "utf-32-le", "000x": "utf-32-be", "x0x0": "utf-16-le", "0x0x": "utf-16-be"}


def text_in(media_type: str, body: bytes) -> tuple[str, str] | None:
    """The text that ``body``, of a type of texts, is, and the charset to write it in again; None where it is none."""
    marked = next((charset for mark, charset in _MARKS if body.startswith(mark)), "")
    zeros = _ZEROS.get("".join("x" if byte else "0" for byte in body[:4]), "")
    said = _CHARSET.search(media_type)
    charset = marked or zeros or (_python_name(said[1]) if said else "")
    if not charset or _holds_ascii(charset):
        try:  # many say iso-8859-1 of what is UTF-8
            return body.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            charset = charset if charset not in {"", "utf-8", "ascii"} else "latin-1"
    if charset in {"utf-16", "utf-32"}:
        charset += "-le"
    try:
        return body.decode(charset), charset
    except (UnicodeDecodeError, LookupError):
        return (body.decode("latin-1"), "latin-1") if not marked and not zeros else None


def _python_name(charset: str) -> str:
    try:
        found = codecs.lookup(charset)
        found.encode("a")
    except (LookupError, TypeError, ValueError):
        return ""
    return found.name


def _holds_ascii(charset: str) -> bool:
    plain = string.ascii_letters + string.digits + string.punctuation
    try:
        return plain.encode(charset) == plain.encode("ascii")
    except (UnicodeEncodeError, LookupError):
        return False
