"""The parts of a URL in which a value may stand.

A part is ``path/N`` (the segments counted from the last, which is 1), ``query/NAME`` or ``fragment/NAME``: a relative
URL and an absolute one have them in common.
"""

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_MOST_PAIRS = 200
_LONGEST = 16_384
_FIELDS = re.compile(r"[^&=]+=[^&]*(?:&[^&=]+=[^&]*)*")


def url_parts(url: str) -> Iterator[tuple[str, str]]:
    """The parts of a URL and their texts, decoded."""
    split = _split(url)
    if split is None:
        return
    for number, segment in enumerate(reversed(_segments(split)), start=1):
        yield f"path/{number}", unquote(segment)
    for name, text in _pairs(split.query):
        yield f"query/{name}", text
    if _FIELDS.fullmatch(split.fragment):
        for name, text in _pairs(split.fragment):
            yield f"fragment/{name}", text


def url_part(url: str, part: str) -> str | None:
    """The text of one part of a URL, or None where it has none."""
    return next((text for found, text in url_parts(url) if found == part and text), None)


def path_before(url: str, part: str) -> str:
    """The path in front of the segment that ``part`` (``path/N``) names."""
    split = _split(url)
    return "/" + "/".join(_segments(split)[: -int(part.removeprefix("path/"))]) if split else "/"


def url_pattern(url: str) -> str:
    """A URL's path with what looks like an id left out: ``/orders/991/lines`` is ``/orders/*/lines``."""
    split = _split(url)
    segments = _segments(split) if split else []
    return "/" + "/".join("*" if _may_be_id(segment) else segment for segment in segments)


def looks_like_url(text: str) -> bool:
    """Whether a text can be nothing but a URL, or a path with a query."""
    return text.startswith(("http://", "https://", "/", "?")) and not any(character.isspace() for character in text)


def link_header(text: str) -> Iterator[tuple[str, str]]:
    """The relations and URLs of a Link header (RFC 8288)."""
    for match in _LINK.finditer(text[:_LONGEST]):
        relation = _REL.search(match[2])
        for word in (relation[1] or relation[2]).lower().split() if relation else ():
            yield word, match[1]


_LINK = re.compile(r'<([^<>]*+)>((?:\s*+;\s*+[\w*-]++(?:\s*+=\s*+(?:"[^"]*+"|[^\s",;]++))?+)*+)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))', re.IGNORECASE)


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url[:_LONGEST].strip())
    except ValueError:
        return None


def _segments(split: SplitResult) -> list[str]:
    return [segment for segment in split.path.split("/") if segment]


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, max_num_fields=_MOST_PAIRS)
    except ValueError:
        return []


def _may_be_id(segment: str) -> bool:
    return "%" in segment or len(segment) > 24 or any(character.isdigit() for character in segment[1:] or segment)
