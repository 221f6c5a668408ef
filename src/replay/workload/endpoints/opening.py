"""Which words of a tree of paths are values: names and slugs that stand where others could.

A word is one where what is below it is what is below its neighbours too (``/users/ada/badges``, ``/users/bea/badges``),
where many look like names of things (``a-talk-on-tea``), or where new ones keep coming. How much of that it takes
depends on what stands before: after a collection (``/users``) a value is likely, at the beginning of a path it is not.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from replay.workload.endpoints.names import is_plural
from replay.workload.endpoints.segments import DATE, ID, extension, form_of, slug_weight, verb
from replay.workload.endpoints.tree import DELETED, POSTED, READ, WRITTEN, Node, fold, is_version, maybe_version

# Words that stand for themselves wherever values stand.
_RESERVED = frozenset(
    "all archive autocomplete batch bulk check count create current download export featured feed filter health "
    "history import latest list login logout lookup me metrics mine new ping popular preview query recent recommended "
    "register reset search self signup stats status suggest summary sync test trending unread upcoming upload validate "
    "verify _all _bulk _count _search".split()
)
_PREFIXES = frozenset("api apis rest rpc ws app web admin internal public private services service v version".split())
_NO_COLLECTIONS = frozenset(
    "settings options preferences analytics statistics stats metrics docs news credentials graphics".split()
)
_LOCALES = frozenset(
    "ar bg bn bs ca cs da de el en es et fa fi fr ga gl he hi hr hu hy id is it ja ka ko lt lv mk ms nb nl nn no pl pt "
    "ro ru sk sl sq sr sv sw ta th tr uk ur vi zh".split()
)

_CROWD = 100
_FOLDERS = 5
_ALIKE, _CODES, _DELETED = 5, 3, 4
_STANDS_OUT = 3  # times the mean
_ROBUST = 10  # times the mean, amid a crowd
_MOST, _FEW = 0.9, 0.1
_SHARED = 2 / 3
_PATHS_READ, _ENDS_READ, _DEEPEST = 2_000, 50, 30


@dataclass(frozen=True, slots=True)
class _Bar:
    """What it takes: so many words alike, slugs, names of which some are new (as a share of requests), or any names."""

    alike: int
    slugs: float
    names: int
    new: float
    any_names: int


_COLLECTION = _Bar(alike=3, slugs=1.5, names=5, new=0.04, any_names=12)
_WORD = _Bar(alike=3, slugs=3, names=8, new=0.05, any_names=25)
_VALUE = _Bar(alike=5, slugs=4, names=15, new=0.05, any_names=60)
_BEGINNING = _Bar(alike=8, slugs=8, names=_CROWD, new=0.05, any_names=1_000)


def open_values(root: Node) -> None:
    """Make one child of the words that are values, from the root downwards."""
    waiting = [(root, "")]
    while waiting:
        node, above = waiting.pop()
        _fold_numbers(node, above)
        _fold_few(node)
        if above and not _has_values(above) and _holds_a_file_tree(node):
            node.rest, node.children = True, {}
            continue
        if node.count >= _MOST * root.count and not is_plural(above) and not _has_values(above):
            above = ""  # what nearly all requests have before them says nothing
        values = _values(node, above)
        if len(values) >= _CROWD and _bar(above) is _BEGINNING and _is_a_wilderness(node, values):
            _clear(node)
        elif values:
            node.open = True
            _fold_values(node, values)
        elif sum(key.startswith(f"{ID}.") for key in node.children) > (2 if ID in node.children else 1):
            _fold_files(node)
        waiting.extend((child, key) for key, child in node.children.items())


def may_be_value(word: str, above: str) -> bool:
    """Whether ``word`` after ``above`` is one that could be a value at all."""
    if not word or word.lower() in _RESERVED or word.startswith(("$", "by-", "by_")):
        return False
    return not is_version(word) or (is_plural(above) and above not in _PREFIXES)


def value_key(node: Node, word: str) -> str:
    """The form of a word that is a value of an open ``node``."""
    if ID not in node.children and DATE in node.children:
        return DATE
    ending = verb(word)
    if ending and ID + ending in node.children:
        return ID + ending
    ending = "" if node.files else extension(word)
    return ID + ending if ending and ID + ending in node.children else ID


def _fold_numbers(node: Node, above: str) -> None:
    numbers = [key for key in node.children if maybe_version(key)]
    if numbers and not _are_versions(node, numbers, above):
        fold(node, {number: form_of(number) for number in numbers})


def _fold_few(node: Node) -> None:
    """Few dates among ids are ids that look like dates, and the other way round."""
    ids, dates = node.children.get(ID), node.children.get(DATE)
    if ids and dates and max(ids.count, dates.count) >= _MOST * (ids.count + dates.count):
        fold(node, {DATE: ID} if ids.count > dates.count else {ID: DATE})


def _are_versions(node: Node, numbers: list[str], above: str) -> bool:
    """Whether numbers are the versions of an API: few, at its beginning, and words that stand below them."""
    plain = any(number.isdigit() for number in numbers)
    if len(numbers) > 3 or ID in node.children or is_plural(above) or (plain and above and above not in _PREFIXES):
        return False
    below = [sum(map(_is_word, node.children[number].children)) for number in numbers]
    enough = 3 if plain and not above else 1
    return max(below) >= enough and all(below)


def _values(node: Node, above: str) -> list[str]:
    words = {key: child for key, child in node.children.items() if _is_word(key) and may_be_value(key, above)}
    bar = _bar(above)
    locales = {word for word in words if _is_locale(word)} if bar is _BEGINNING else set()
    if 3 * len(locales) >= len(words):
        words = {word: child for word, child in words.items() if word not in locales}
    weights = {word: slug_weight(word) for word in words}
    actions = {word for word, child in words.items() if weights[word] < 1 and _is_action(child)}
    if len(actions) < len(words) / 2:
        words = {word: child for word, child in words.items() if word not in actions}
    if not words:
        return []
    alike = _alike(node, words)
    slugs = sum(weights[word] for word in words)
    slugs = slugs if 2 * sum(weights[word] > 0 for word in words) >= len(words) else 0
    if not (slugs >= bar.slugs or _kept(words, alike, bar) or _keep_coming(words, bar) or _are_kept(words, bar)):
        return [word for word in alike if ID in node.children and bar is not _BEGINNING]  # they are as ids are
    by_form = [child for key, child in node.children.items() if _has_values(key)]
    usual = _usual(by_form, words)
    plain = sum(weights[word] == 0 for word in words)
    requests, others = _requests(words), max(1, len(words) - 1)
    methods = _usual_methods(words)
    most = max((child.count for child in by_form), default=0)
    rest = requests - max(child.count for child in words.values())
    contrast = (slugs >= bar.slugs and plain <= _FEW * len(words)) or most > rest / _FEW
    least = 1.0 if bar is _BEGINNING else 0.5 if contrast else 0.0  # what looks less like a value may stand out
    return [
        word
        for word, child in words.items()
        if word in alike
        or not (
            _stands_out(child, usual, (requests - child.count) / others, by_looks=weights[word] < least)
            or (weights[word] < 1 and _is_asked_otherwise(child, methods, requests / len(words)))
        )
    ]


def _bar(above: str) -> _Bar:
    if not above or above in _PREFIXES or is_version(above) or maybe_version(above):
        return _BEGINNING
    if _has_values(above):
        return _VALUE
    collects = is_plural(above) and above.lower() not in _NO_COLLECTIONS
    return _COLLECTION if collects or len(above) == 1 else _WORD


def _has_values(key: str) -> bool:
    return ID in key or DATE in key


def _is_word(key: str) -> bool:
    return bool(key) and not _has_values(key) and not maybe_version(key)


def _is_locale(word: str) -> bool:
    return word[:2] in _LOCALES and (len(word) == 2 or (len(word) == 5 and word[2] in "-_"))


def _is_action(child: Node) -> bool:
    """Whether nothing but POST goes there: something is done, and not shown."""
    return child.methods == POSTED and not child.children


def _kept(words: dict[str, Node], alike: set[str], bar: _Bar) -> bool:
    if bar is _BEGINNING and 2 * sum(map(is_plural, alike)) > len(alike):
        return False
    return len(alike) >= bar.alike and 3 * len(alike) >= sum(bool(child.children) for child in words.values())


def _keep_coming(words: dict[str, Node], bar: _Bar) -> bool:
    requests = _requests(words)
    once = sum(child.count == 1 for child in words.values())
    return len(words) >= bar.any_names or (len(words) >= bar.names and once >= bar.new * requests)


def _are_kept(words: dict[str, Node], bar: _Bar) -> bool:
    """Whether several things are codes or deleted, or, in a collection, shown and changed, or have the same below."""
    if bar is _BEGINNING:
        return False
    if len(words) >= _CODES and all(len(word) == 2 and not child.children for word, child in words.items()):
        return True
    if sum(bool(child.methods & DELETED) for child in words.values()) >= _DELETED:
        return True
    if bar is not _COLLECTION:
        return False
    changed = sum(bool(child.methods & READ and child.methods & WRITTEN) for child in words.values())
    below = Counter(
        below
        for word, child in words.items()
        if (below := tuple(sorted(child.children.keys() - _RESERVED))) and all(map(_has_values, below))
        if not is_plural(word)
    )
    return changed > 1 or max(below.values(), default=0) >= _ALIKE


def _alike(node: Node, words: dict[str, Node]) -> set[str]:
    """The words below which the same words stand as below their neighbours."""
    below = {word: _words_below(child) for word, child in words.items()}
    beyond = {word: _words_beyond(child) for word, child in words.items()}
    others = [child for key, child in node.children.items() if _has_values(key)]
    near = _common(below.values(), [word for child in others for word in _words_below(child)])
    far = _common(beyond.values(), [word for child in others for word in _words_beyond(child)])
    return {word for word in words if _share(below[word], near) >= _SHARED or _share(beyond[word], far) >= _SHARED}


def _usual(by_form: list[Node], words: dict[str, Node]) -> set[str]:
    """The words and forms that stand below several of the words, or below what is a value by its form."""
    counts = Counter(key for child in words.values() for key in _structure(child))
    return {key for key, count in counts.items() if count > 2}.union(*(child.children for child in by_form))


def _requests(words: dict[str, Node]) -> int:
    return sum(child.count for child in words.values())


def _words_below(node: Node) -> Counter[str]:
    """The words that stand below, each with its requests."""
    return Counter({key: child.count for key, child in node.children.items() if _is_telling(key)})


def _words_beyond(node: Node) -> Counter[str]:
    words: Counter[str] = Counter()
    for key, child in node.children.items():
        if _is_word(key):
            words.update(_words_below(child))
    return words


def _is_telling(key: str) -> bool:
    return _is_word(key) and key not in _RESERVED and key not in _PREFIXES and not is_version(key)


def _common(groups: Iterable[Counter[str]], surely: list[str]) -> set[str]:
    some = [group for group in groups if group]
    counts = Counter(word for group in some for word in group)
    return {word for word, count in counts.items() if count >= (2 if len(some) < 10 else 3)} | set(surely)


def _share(words: Counter[str], common: set[str]) -> float:
    return sum(count for word, count in words.items() if word in common) / words.total() if words else 0


def _structure(node: Node) -> list[str]:
    """What stands below, but for what looks like values."""
    return [key for key in node.children if _has_values(key) or slug_weight(key) < 1]


def _stands_out(child: Node, usual: set[str], mean: float, *, by_looks: bool) -> bool:
    """Whether a word has a life of its own: a structure that no neighbour has, or far more requests than they."""
    structure = _structure(child)
    if structure and usual.isdisjoint(structure) and child.count > mean:
        return True
    return by_looks and child.count > _STANDS_OUT * mean


def _is_asked_otherwise(child: Node, methods: int, mean: float) -> bool:
    """Whether what is often asked for is so by methods that its neighbours are not."""
    return not child.children and child.count > mean and bool(methods) and not child.methods & methods


def _usual_methods(words: dict[str, Node]) -> int:
    """The methods of at least a third of the words."""
    bits = (READ, WRITTEN, POSTED, DELETED)
    return sum(bit for bit in bits if 3 * sum(bool(child.methods & bit) for child in words.values()) >= len(words))


def _fold_values(node: Node, values: list[str]) -> None:
    verbs = Counter(map(verb, values))
    known = {ending for ending, count in verbs.items() if ending and (count > 1 or ID + ending in node.children)}
    endings = {word: extension(word) for word in values}
    different = {ending for ending in endings.values() if ending}
    different |= {key[1:] for key in node.children if key.startswith(f"{ID}.")}
    files = len(different) > 1
    if len(different) == 1:  # a format that may be asked for, or a part of every name
        ending = next(iter(different))
        stems = {word.removesuffix(ending) for word in values if endings[word]}
        bare = not all(endings.values()) or (ID in node.children and ID + ending not in node.children)
        files = bare and 2 * len(stems.intersection(values)) <= len(stems) > 0
    keys = {}
    for word in values:
        acted = verb(word)
        keys[word] = ID + (acted if acted in known else "" if files else endings[word])
    fold(node, keys)
    if files:
        _fold_files(node)


def _fold_files(node: Node) -> None:
    node.files = True
    fold(node, {key: ID for key in node.children if key.startswith(f"{ID}.")})


def _holds_a_file_tree(node: Node) -> bool:
    """Whether the paths below are those of files in folders: names of several kinds, at several depths."""
    folders = [child for child in node.children.values() if child.children]
    inside = {key for child in folders for key in child.children if _is_word(key) and not extension(key)}
    if not folders or (len(folders) >= _FOLDERS and 0 < len(inside) <= len(folders) / 3):
        return False  # or the same stands in all of them
    ends = _ends(node)
    files = [keys for keys in ends if extension(keys[-1]) and not any(map(_has_values, keys[:-1]))]
    depths, kinds = set(map(len, files)), {extension(keys[-1]) for keys in files}
    return len(depths) > 1 and len(kinds) >= 3 and len(files) >= max(8, 0.6 * len(ends))


def _is_a_wilderness(node: Node, values: list[str]) -> bool:
    """Whether the values are paths of all depths without anything in common, as a robot makes them up."""
    chosen = {word: node.children[word] for word in values}
    if len({len(keys) for child in chosen.values() for keys in _ends(child, _ENDS_READ)}) < 2:
        return False
    inner = {word: structure for word, child in chosen.items() if (structure := _structure(child))}
    counts = Counter(key for structure in inner.values() for key in structure)
    alike = _alike(node, chosen) | {
        word for word, structure in inner.items() if any(counts[key] > _FEW * len(inner) for key in structure)
    }
    return 2 * len(alike) < len(inner)


def _depths(node: Node) -> int:
    return len(set(map(len, _ends(node, _ENDS_READ))))


def _clear(node: Node) -> None:
    """Make one value of whatever stands below, but for the words that far more requests went to than to the others."""
    words = {key: child for key, child in node.children.items() if _is_word(key) and not is_version(key)}
    most = max(_ROBUST, _ROBUST * _requests(words) / max(1, len(words)))
    for key, child in list(node.children.items()):
        if (key in words and child.count <= most) or (_has_values(key) and _depths(child) > 2):
            del node.children[key]
    node.rest = True


def _ends(node: Node, most: int = _PATHS_READ) -> list[tuple[str, ...]]:
    """The paths that end below ``node``, some of them."""
    found: list[tuple[str, ...]] = []
    waiting: list[tuple[tuple[str, ...], Node]] = [((), node)]
    while waiting and len(found) < most:
        keys, inner = waiting.pop()
        if inner.ended and keys:
            found.append(keys)
        if len(keys) < _DEEPEST:
            waiting.extend(((*keys, key), child) for key, child in inner.children.items())
    return found
