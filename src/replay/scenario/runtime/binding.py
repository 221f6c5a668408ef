"""Putting Stage's own values of a pool in the place of production's, before anything is sent. Pure."""

import dataclasses
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

from replay.scenario.pools import Binding, Field, fields_of
from replay.scenario.runtime.places import NoPlaceError, inject
from replay.scenario.schedule import Inject, PlannedRequest, Schedule

_IN_A_SEGMENT = "!$&'()*+,;=:@"  # beside what is unreserved (RFC 3986)


def bind(schedule: Schedule, bindings: Sequence[Binding]) -> Schedule:
    """The schedule with each captured value of a pool's parameters replaced by Stage's own, alike at every place.

    A value that cannot be put at its place stays as it was captured; so does one whose new value another one, carried
    into the same place, was known by in the capture.
    """
    by_name = {name: binding.matched for binding in bindings for name in binding.pool.parameters}
    if not by_name:
        return schedule
    return dataclasses.replace(schedule, requests=tuple(_bound(planned, by_name) for planned in schedule))


def _bound(planned: PlannedRequest, by_name: Mapping[str, Mapping[str, str]]) -> PlannedRequest:
    found = fields_of(planned, by_name)
    in_path = [field for field in found if field.place == "path"]
    changed = _in_path(planned, in_path, by_name) if in_path else planned
    values: dict[Inject, str] = {}
    carried = {(one.place, one.captured) for one in planned.injects}
    for field in found:
        value = by_name[field.name].get(field.text)
        if field.place != "path" and value is not None and (field.place, value) not in carried:
            values[Inject(field.place, field.text)] = value
    try:
        return inject(changed, values) if values else changed
    except NoPlaceError:
        return _one_by_one(changed, values)


def _one_by_one(planned: PlannedRequest, values: Mapping[Inject, str]) -> PlannedRequest:
    for injection, value in values.items():
        try:
            planned = inject(planned, {injection: value})
        except NoPlaceError:
            continue
    return planned


def _in_path(
    planned: PlannedRequest, fields: Sequence[Field], by_name: Mapping[str, Mapping[str, str]]
) -> PlannedRequest:
    segments = planned.path.split("/")
    carried = [one.captured for one in planned.injects if one.place.partition(":")[0] == "path"]
    for field in reversed(fields):  # the last first: what stands before keeps its place in the segment
        value = by_name[field.name].get(field.text)
        if value is None:
            continue
        start, end = field.span
        old = segments[field.segment]
        new = f"{old[:start]}{quote(value, safe=_IN_A_SEGMENT)}{old[end:]}"
        # It would be taken for the carried one, which goes to the last segment that equals its captured value.
        if not (unquote(new) in carried and _last_equal(segments, unquote(new)) < field.segment):
            segments[field.segment] = new
    return dataclasses.replace(planned, path="/".join(segments))


def _last_equal(segments: Sequence[str], text: str) -> int:
    return max((number for number, segment in enumerate(segments) if unquote(segment) == text), default=-1)
