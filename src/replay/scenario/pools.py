"""Stage's own ids for production's, rank for rank: what is hot in the capture stays hot on Stage. Sends nothing.

A pool is bound to parameters by their names, wherever requests send them: in the path (as the endpoint's template names
its segments), in the query, a form, JSON or a header. ``runtime.binding`` puts the values in.
"""

import csv
import heapq
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import unquote

from replay.errors import InputError
from replay.scenario.schedule import PlannedRequest, Schedule
from replay.traffic import Request
from replay.workload.correlations.places import sent_values
from replay.workload.endpoints.names import snake

MOST_VALUES = 10_000_000
HEADING = "value"  # of the files that we write: a list below it
_USUAL_HEADINGS = frozenset({"id", HEADING})
_KINDS = frozenset({"query", "form", "json", "header"})
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Pool:
    """Stage's values for ``parameters`` (in snake case): the hottest first, each once, at least one."""

    name: str
    parameters: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter's value in a request: at a place, or at ``span`` of one segment of the path (percent-decoded)."""

    name: str
    text: str
    place: str
    segment: int = 0
    span: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Binding:
    """A pool bound to a scenario. ``counts``: how often each captured value is sent, in order of first occurrence."""

    pool: Pool
    counts: Mapping[str, int]

    @cached_property
    def matched(self) -> dict[str, str]:
        """Stage's value for each captured one."""
        return match_ranks(self.counts, self.pool.values)

    @property
    def shared(self) -> int:
        """How many captured values have to share one of Stage's with a hotter one."""
        return max(0, len(self.counts) - len(self.pool.values))

    @property
    def told(self) -> str:
        """A sentence for people."""
        names = ", ".join(self.pool.parameters)
        if not self.counts:
            return f"Pool {self.pool.name}: no request sends {names}, so nothing is bound."
        hottest = max(self.counts, key=self.counts.__getitem__)
        rest = f"; the {self.shared:,} coldest share what others have" if self.shared else ""
        return (
            f"Pool {self.pool.name}: {len(self.counts):,} captured values of {names} "
            f"(sent {sum(self.counts.values()):,} times) get Stage's {len(self.pool.values):,}, rank for rank{rest}. "
            f"The hottest, {hottest}, becomes {self.matched[hottest]}."
        )


def match_ranks(counts: Mapping[str, int], values: Sequence[str]) -> dict[str, str]:
    """Stage's value for each captured one: the k-th most frequent gets the k-th of ``values``, ties as they come.

    Where values run out, each one left joins the value that is least sent so far, so that nothing becomes hotter than
    it has to. ``values`` are different, and at least one.
    """
    ranked = sorted(counts, key=lambda text: -counts[text])
    matched = dict(zip(ranked, values, strict=False))
    loads = [(counts[text], -rank, value) for rank, (text, value) in enumerate(matched.items())]
    heapq.heapify(loads)
    for text in ranked[len(values) :]:
        load, rank, value = loads[0]
        matched[text] = value
        heapq.heapreplace(loads, (load + counts[text], rank, value))
    return matched


def bindings_of(schedule: Schedule, pools: Sequence[Pool]) -> tuple[Binding, ...]:
    """How the pools are bound to a schedule."""
    counts = count_values(schedule, [pool.parameters for pool in pools])
    return tuple(Binding(pool, found) for pool, found in zip(pools, counts, strict=True))


def count_values(schedule: Schedule, parameters: Sequence[Sequence[str]]) -> list[dict[str, int]]:
    """For each group of parameters how often each value is sent, over all endpoints, in order of first occurrence.

    What a response hands out during the replay, or an identity has, is not counted: it is Stage's own already.
    """
    counts: list[dict[str, int]] = [Counter() for _ in parameters]
    groups = {name: counts[number] for number, names in enumerate(parameters) for name in names}
    if groups:
        for planned in schedule:
            for field in fields_of(planned, groups):
                groups[field.name][field.text] += 1
    return counts


def fields_of(planned: PlannedRequest, names: Iterable[str]) -> list[Field]:
    """The values that a request sends of the parameters ``names``, but for those that are injected."""
    wanted = frozenset(names)
    template = _template(planned.endpoint)
    in_path = list(_in_path(template, planned.path))
    for injected in planned.injects:
        if injected.place.partition(":")[0] == "path":  # it takes the last segment that is equal
            last = max((one.segment for one in in_path if one.text == injected.captured), default=None)
            in_path = [one for one in in_path if one.segment != last]
    found = [field for field in in_path if field.name in wanted and field.text]
    if planned.query or planned.body or planned.headers:
        request = Request(planned.method, "", planned.path, planned.query, planned.headers, planned.body)
        unnamed = ("",) * (planned.path.removeprefix("/").count("/") + 1)
        taken = {(injected.place, injected.captured) for injected in planned.injects}
        for value in sent_values(request, template, unnamed):
            kind = value.place.partition(":")[0]
            if value.name in wanted and kind in _KINDS and value.text and (value.place, value.text) not in taken:
                found.append(Field(value.name, value.text, value.place))
    return found


def path_parameters(planned: PlannedRequest) -> dict[str, str]:
    """What a request's path says for each parameter of its endpoint's template."""
    return {field.name: field.text for field in _in_path(_template(planned.endpoint), planned.path)}


def template_parameters(endpoint: str) -> tuple[str, ...]:
    """The names in an endpoint's template: ``event_id`` of ``GET /events/{event_id}``."""
    return tuple(_FIELD.findall(_template(endpoint)))


def parse_pool(text: str) -> Pool:
    """The pool that ``PARAMETER=FILE`` names, with several parameters as ``ONE,OTHER=FILE``. Raises InputError."""
    names, equals, file = text.partition("=")
    parameters = tuple(dict.fromkeys(snake(name.strip()) for name in names.split(",") if name.strip()))
    if not equals or not parameters or not file:
        raise InputError(f"{text!r} does not name a pool.", "Write PARAMETER=FILE, like event_id=ids.csv.")
    return Pool(parameters[0], parameters, read_values(Path(file), parameters[0], parameters))


def parse_pools(texts: Iterable[str]) -> tuple[Pool, ...]:
    """The pools that such texts name. Raises InputError, also where two are for one parameter."""
    pools = tuple(parse_pool(text) for text in texts)
    check_parameters([(pool.name, pool.parameters) for pool in pools])
    return pools


def check_parameters(pools: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Raise InputError where two pools, by their names, are for one parameter."""
    owners: dict[str, str] = {}
    for pool, parameters in pools:
        for parameter in parameters:
            if parameter in owners:
                raise InputError(f"Two pools are for {parameter}: {owners[parameter]} and {pool}.", "Leave out one.")
            owners[parameter] = pool


def read_values(file: Path, pool: str, parameters: Sequence[str], column: str = "") -> tuple[str, ...]:
    """The values of a pool in a CSV file, the hottest first, each once.

    They stand in ``column``, else in the one that is called like the pool, a parameter or ``id``; a file of one column
    needs no heading. Raises InputError where there is no such column or no value, or where the file cannot be read.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, strict=True)
            first = next(rows, [])
            number, heads = _column(first, file, pool, parameters, column)
            below = rows if heads else itertools.chain([first], rows)
            values = first_values((row[number].strip() for row in below if len(row) > number), MOST_VALUES)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The pool {pool} cannot be read from {file}: {error}.") from error
    return not_empty(values, pool, str(file))


def first_values(values: Iterable[str], most: int) -> tuple[str, ...]:
    """The first ``most`` different values that are not empty, in order."""
    found: dict[str, None] = {}
    for value in itertools.islice(values, MOST_VALUES):
        if len(found) >= most:
            break
        if value:
            found[value] = None
    return tuple(found)


def not_empty(values: tuple[str, ...], pool: str, where: str) -> tuple[str, ...]:
    """The values. Raises InputError where there are none."""
    if not values:
        raise InputError(f"The pool {pool} is empty: {where} gives no value.", "It needs one of Stage's at least.")
    return values


def write_values(values: Iterable[str], file: Path) -> None:
    """Write a pool's values, as ``read_values`` reads them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as lines:
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow([HEADING])
        rows.writerows([value] for value in values)


def _column(first: Sequence[str], file: Path, pool: str, parameters: Sequence[str], column: str) -> tuple[int, bool]:
    """Which column has the values, and whether the first row is its heading."""
    names = [name.strip() for name in first]
    if column:
        if column not in names:
            has = ", ".join(names) or "none"
            raise InputError(f"The pool {pool}: {file} has no column {column}.", f"It has {has}.")
        return names.index(column), True
    if names == [HEADING]:
        return 0, True
    called = [snake(name) for name in names]
    for wanted in (*parameters, snake(pool), *sorted(_USUAL_HEADINGS)):
        if wanted in called:
            return called.index(wanted), True
    if len(names) > 1:
        raise InputError(
            f"The pool {pool}: {file} has several columns, and none is called {parameters[0]}.",
            f"It has {', '.join(names)}. Call one {parameters[0]}.",
        )
    return 0, False


def _template(endpoint: str) -> str:
    return endpoint.partition(" ")[2].partition("#")[0]  # `POST /graphql#GetUser`: the operation is no path


def _in_path(template: str, path: str) -> Iterator[Field]:
    segments, patterns = path.split("/"), _patterns(template)
    if len(segments) != len(patterns):
        return
    for number, (segment, pattern) in enumerate(zip(segments, patterns, strict=True)):
        match = pattern and pattern[0].fullmatch(segment)
        if pattern and match:
            for group, name in enumerate(pattern[1], 1):
                yield Field(name, unquote(match[group]), "path", number, match.span(group))


@lru_cache(maxsize=4096)
def _patterns(template: str) -> tuple[tuple[re.Pattern[str], tuple[str, ...]] | None, ...]:
    """For each segment of a template what matches its parameters, and their names; None where it has none."""
    found: list[tuple[re.Pattern[str], tuple[str, ...]] | None] = []
    for segment in template.split("/"):
        names = tuple(_FIELD.findall(segment))
        literals = _FIELD.split(segment)[::2]
        found.append((re.compile("(.+?)".join(map(re.escape, literals))), names) if names else None)
    return tuple(found)
