"""The shape of a body: what it is made of, without its values. Imports nothing of ours.

Two responses have the same shape when a client that parses one can parse the other. A list is described by the
shapes that occur in it, so that its length does not matter, except that an empty list is a shape of its own.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

EMPTY = "empty"
CUT = "~"  # what a shape that was too long ends with, before a digest
_LONGEST = 240
_ITEMS_READ = 50
_FLAT_OBJECT = re.compile(r"\{(?:[^:,{}\[\]]+:(?:\[\]|\{\}|null|bool|number|str)(?:,|(?=\})))+\}")
_WRAPPERS = ("data", "items", "results")
_PAGING = frozenset(
    "count total total_count size page pages per_page page_size limit offset next next_page next_cursor cursor "
    "prev previous previous_cursor has_more more links meta took".split()
)


@dataclass(frozen=True, slots=True)
class Form:
    """What is known of a body without its values: its ``shape``, and how many ``items`` its main list has.

    The main list of a JSON body is the body itself, or the longest list that is a field of it, or of the object that is
    its ``data``, ``items`` or ``results``. ``items`` is None where there is no such list.
    """

    shape: str
    items: int | None = None


def shape_of(content_type: str | None, body: bytes | None) -> str:
    """The shape of ``body``, see ``form_of``."""
    return form_of(content_type, body).shape


def form_of(content_type: str | None, body: bytes | None) -> Form:
    """The form of ``body``, from a single look at it.

    The shape is ``"empty"`` where there is none, else for JSON a signature such as ``{id:number,items:[{name:str}]}``
    (keys sorted, a list's distinct item shapes joined by ``|``, cut with a digest where it is longer than 240
    characters), else the media type. A JSON body is found by its content, whatever its media type says.
    """
    if not body or not body.strip():
        return Form(EMPTY)
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if body.lstrip()[:1] in b'{["tfn-0123456789' and "html" not in media_type and "csv" not in media_type:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return Form(media_type or "unknown")
        signature = _signature(value)
        if len(signature) > _LONGEST:
            digest = hashlib.blake2b(signature.encode(), digest_size=6).hexdigest()
            signature = f"{signature[:_LONGEST]}{CUT}{digest}"
        return Form(signature, _items(value))
    return Form(media_type or "unknown")


def is_empty(shape: str) -> bool:
    """Whether a body of this shape holds nothing: no bytes, ``null``, ``{}``, ``[]``, or a page of empty lists.

    ``{items:[],next:null}`` is an empty page; ``{id:number,tags:[]}`` is a thing that happens to have no tags.
    """
    if shape in {EMPTY, "null", "{}", "[]"}:
        return True
    if not _FLAT_OBJECT.fullmatch(shape):
        return False
    fields = [field.rpartition(":") for field in shape[1:-1].split(",")]
    lists = [key for key, _, value in fields if value == "[]"]
    others = {key.lower() for key, _, value in fields if value != "[]"}
    return bool(lists) and others <= _PAGING


def _items(value: Any) -> int | None:
    if isinstance(value, list):
        return len(value)
    if not isinstance(value, dict):
        return None
    inside = [value, *(value[name] for name in _WRAPPERS if isinstance(value.get(name), dict))]
    return max((len(one) for fields in inside for one in fields.values() if isinstance(one, list)), default=None)


def _signature(value: Any, depth: int = 0) -> str:
    if depth > 40:
        return "..."
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_signature(value[key], depth + 1)}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + "|".join(sorted({_signature(item, depth + 1) for item in value[:_ITEMS_READ]})) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "str"
