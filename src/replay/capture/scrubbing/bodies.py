"""Bodies: told apart by their content type and their first bytes, decoded, scrubbed; dropped where that is not safe."""

import json
import re
from dataclasses import dataclass

from replay.capture.encodings import TooLarge, Undecodable, decoded
from replay.capture.scrubbing.charsets import text_in
from replay.capture.scrubbing.json_text import looks_like_json, scrub_json
from replay.capture.scrubbing.markup import looks_like_markup, scrub_markup
from replay.capture.scrubbing.pieces import around
from replay.capture.scrubbing.tables import scrub_table
from replay.capture.scrubbing.texts import Texts
from replay.traffic import Headers, first_header

DECODED_LIMIT_BYTES = 16_000_000
ENCODED = "in an encoding that cannot be decoded"
TOO_LARGE = "too large to be scrubbed when decoded"
BINARY = "binary, in which secrets cannot be looked for"

_MEDIA = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....(?:WEBP|WAVE|AVI )|BM|\x00\x00[\x01\x02]\x00|II\*\x00|MM\x00\*|"
    rb"....ftyp|\x1aE\xdf\xa3|OggS|ID3|\xff[\xe3\xf2\xf3\xfa\xfb]|fLaC|FORM....AIFF|\x00\x00\x01[\xb0-\xbf]|FLV\x01|\x47.{187}\x47|"
    rb"wOF[F2]|\x00\x01\x00\x00|OTTO|true|ttcf|\xff\x0a|\x00\x00\x00\x0cJXL ",
    re.DOTALL,
)
_MEDIA_TYPE = re.compile(r"(?:image|audio|video|font)/(?!svg)|application/(?:x-)?font|application/vnd\.ms-fontobject")
_BINARY_TYPE = re.compile(r"protobuf|grpc|msgpack|cbor|avro|thrift|bson|application/(?:zip|pdf|wasm|x-tar|x-7z)")
_TEXTUAL = ("text/", "json", "xml", "x-www-form-urlencoded", "javascript", "graphql", "yaml", "csv")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PACKED = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]{1,200})\"|([^\s;,\"]{1,200}))", re.IGNORECASE)
_PART_NAME = re.compile(r"[; ]name=[\"']?([^\"';\r\n]{0,300})", re.IGNORECASE)
_FILE_NAME = re.compile(r"(filename\*?=\"?)([^\"\r\n;]{1,1000})", re.IGNORECASE)
_PART_TYPE = re.compile(r"^content-type:[ \t]*([^\r\n]{0,300})", re.IGNORECASE | re.MULTILINE)
_FIRST_BOUNDARY = re.compile(rb"\s*+--([^\r\n]{1,200})\r?\n")
_DATA = re.compile(r"(?:^data:[^\r\n]*(?:\r?\n|\r|\Z))+", re.MULTILINE)
# What stands before JSON so that no browser runs it as a script, and a call with it.
_GUARD = re.compile(r"\ufeff?\s*+(?:\)\]\}',?|while\s{0,9}\(1\);|for\s{0,9}\(;;\);)\s*+(?=[{\[])")
_CALL = re.compile(r"\s*+(?:/\*\*/\s*+)?[\w.$]{1,200}+\s*+\((\s*+[{\[].*[}\]])\s*+\)\s*+;?\s*+", re.DOTALL)
_DEEPEST_MULTIPART = 4


@dataclass(frozen=True, slots=True)
class Body:
    """A body without its secrets, or None where it was ``dropped`` for a reason. ``unpacked``: it had an encoding."""

    data: bytes | None
    dropped: str = ""
    unpacked: bool = False


def scrub_body(texts: Texts, headers: Headers, body: bytes) -> Body:
    """``body`` without its secrets, decoded where it still is in an encoding."""
    encoding = (first_header(headers, "content-encoding") or "").strip().lower()
    media_type = (first_header(headers, "content-type") or "").lower()
    try:
        plain = _unpacked(body, "" if encoding == "identity" else encoding)
    except TooLarge:
        return Body(None, TOO_LARGE)
    except Undecodable:
        return Body(None, ENCODED)
    scrubbed = scrub_content(texts, media_type, plain)
    if scrubbed is None:
        return Body(None, BINARY)
    return Body(scrubbed, unpacked=plain is not body)


def scrub_content(texts: Texts, media_type: str, body: bytes, depth: int = 0) -> bytes | None:
    """A decoded body, or a part of one, without its secrets; None where they cannot be looked for."""
    if not body:
        return body
    if _MEDIA_TYPE.match(media_type) and _MEDIA.match(body):
        return body
    if "multipart/" in media_type and depth < _DEEPEST_MULTIPART and (boundary := _boundary(media_type, body)):
        return _multipart(texts, boundary, body, depth)
    found = _text_of(media_type, body)
    if found is None:
        return None
    text, charset = found
    scrubbed = _document(texts, media_type, text)
    if scrubbed == text:
        return body
    if charset == "utf-8":
        return scrubbed.encode("utf-8", "surrogatepass")
    return scrubbed.encode(charset, "backslashreplace")


def _document(texts: Texts, media_type: str, text: str) -> str:
    if "x-www-form-urlencoded" in media_type and not looks_like_json(text):
        return texts.pairs(text, "form")
    if "json" in media_type or "graphql" in media_type or looks_like_json(text):
        return scrub_json(texts, text)
    if "html" in media_type or "xml" in media_type or looks_like_markup(text):
        return scrub_markup(texts, text)
    if "event-stream" in media_type:
        return around(_DATA, text, lambda block: _event(texts, block[0]), texts.text)
    if ("csv" in media_type or "tab-separated" in media_type) and (table := scrub_table(texts, text)) is not None:
        return table
    if guard := _GUARD.match(text):
        return guard[0] + scrub_json(texts, text[guard.end() :])
    if (call := _CALL.fullmatch(text)) and _is_json(call[1]):
        return text[: call.start(1)] + scrub_json(texts, call[1]) + text[call.end(1) :]
    if "javascript" in media_type or "text/css" in media_type:
        return texts.code(text)
    return texts.text(text)


def _event(texts: Texts, block: str) -> str:
    """The lines of data of one event, which are one text."""
    lines = re.split(r"(\r?\n|\r)", block)
    data = [line[5:].removeprefix(" ") for line in lines[::2]]
    scrubbed = texts.text("\n".join(data)).split("\n")
    if scrubbed == data:
        return block
    if len(scrubbed) != len(data):
        return "".join(f"data: {line}\n" for line in scrubbed)
    for number, line in enumerate(scrubbed):
        before = lines[number * 2]
        lines[number * 2] = before[: len(before) - len(data[number])] + line
    return "".join(lines)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unpacked(body: bytes, encoding: str) -> bytes:
    """A body without its encodings. Many sources decode bodies and keep the header, so the bytes decide."""
    for _ in range(3):
        magic = next((name for mark, name in _PACKED if body.startswith(mark)), "")
        if not magic:
            break
        body = decoded(body, magic, DECODED_LIMIT_BYTES)
        encoding = ""
    if encoding and not _is_text(body):
        return decoded(body, encoding, DECODED_LIMIT_BYTES)
    return body


def _is_text(body: bytes) -> bool:
    try:
        return not _CONTROL.search(body.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _text_of(media_type: str, body: bytes) -> tuple[str, str] | None:
    if _BINARY_TYPE.search(media_type):
        return None
    if any(word in media_type for word in _TEXTUAL):
        return text_in(media_type, body)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else (text, "utf-8")


def _boundary(media_type: str, body: bytes) -> bytes:
    if said := _BOUNDARY.search(media_type):
        return (said[1] or said[2]).encode()
    first = _FIRST_BOUNDARY.match(body)
    return first[1].strip() if first else b""


def _multipart(texts: Texts, boundary: bytes, body: bytes, depth: int) -> bytes | None:
    parts = re.split(rb"(?i)((?:^|\r?\n)--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?:\r?\n|$))", body)
    for number in range(0, len(parts), 2):
        head, blank, content = _halves(parts[number])
        if not blank:
            continue
        heading = head.decode("utf-8", "surrogateescape")
        named, typed = _PART_NAME.search(heading), _PART_TYPE.search(heading)
        heading = _FILE_NAME.sub(lambda m: m[1] + texts.text(m[2], guessing=False), heading)
        scrubbed = _part(texts, named[1] if named else "", typed[1].lower() if typed else "", content, depth)
        if scrubbed is None:
            return None
        parts[number] = heading.encode("utf-8", "surrogateescape") + blank + scrubbed
    return b"".join(parts)


def _halves(part: bytes) -> tuple[bytes, bytes, bytes]:
    blank = b"\r\n\r\n" if b"\r\n\r\n" in part else b"\n\n"
    return part.partition(blank)


def _part(texts: Texts, name: str, media_type: str, content: bytes, depth: int) -> bytes | None:
    if name and (not media_type or media_type.startswith("text/plain")):
        try:
            value = content.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return texts.field(name, value, "form").encode("utf-8", "surrogatepass")
    return scrub_content(texts, media_type, content, depth + 1)
