"""Words of a path, and the names that are made of them."""

import re
from functools import lru_cache

VERSION = re.compile(
    r"v\d+(?:[._]\d+)*(?:p\d+)?(?:[._-]?(?:alpha|beta|rc|pre|preview|dev|test|stable|internal|private|public)\d*)?",
    re.IGNORECASE,
)

_IRREGULAR = {"people": "person", "children": "child", "statuses": "status", "series": "series", "news": "news"}
_IDENTIFIERS = {"id", "uuid", "guid", "identifier", "_id"}


@lru_cache(maxsize=4096)
def singular(word: str) -> str:
    """``events`` is ``event``, ``categories`` is ``category``, ``addresses`` is ``address``."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@lru_cache(maxsize=4096)
def snake(word: str) -> str:
    """``checkIns`` and ``check-ins`` are ``check_ins``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word)
    return re.sub(r"[^0-9A-Za-z]+", "_", spaced).strip("_").lower()


@lru_cache(maxsize=4096)
def resource_of(template: str) -> str:
    """What the last word of a template names: ``/v1/events/{event_id}/registrations`` is about a ``registration``."""
    words = [part for part in template.split("/") if part and "{" not in part and not VERSION.fullmatch(part)]
    return last_singular(words[-1]) if words else ""


@lru_cache(maxsize=4096)
def last_singular(word: str) -> str:
    """``ticket-classes`` is ``ticket_class``: the last of its words in the singular."""
    first, separator, last = snake(word).rpartition("_")
    return first + separator + singular(last)


@lru_cache(maxsize=4096)
def is_plural(word: str) -> bool:
    """Whether the last of a word's words is one in the plural, as those of collections are."""
    last = snake(word).rpartition("_")[2]
    return last.isalpha() and singular(last) != last


def is_identifier(name: str) -> bool:
    """Whether a field called ``name`` (in snake case) holds the id of the thing it stands in."""
    return name in _IDENTIFIERS


def unused(name: str, taken: dict[str, int]) -> str:
    """``name``, or with the next number where it is ``taken``, which counts each name and is told of the new one."""
    chosen, number = name, taken.get(name, 0)
    while chosen in taken:
        number += 1
        chosen = f"{name}_{number}"
    taken[name] = max(number, 1)
    taken[chosen] = taken.get(chosen, 1)
    return chosen
