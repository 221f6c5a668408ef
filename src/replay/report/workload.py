"""The pages of a workload: one capture (``replay inspect --html``), or two side by side (``replay compare --html``).

They are made from the JSON documents of these commands, and open offline.
"""

from pathlib import Path
from typing import Any

from altair.utils.schemapi import debug_mode

from replay.report import formats
from replay.report import workload_charts as charts
from replay.report.page import render_page
from replay.report.panels import Panel
from replay.report.workload_charts import COLOURS, Captures, in_words
from replay.report.write import write_text

_ENDPOINTS_DRAWN = 30
_PARAMETERS_DRAWN = 9
_ROWS_SHOWN = 12
_LONGER = 4  # times as long, and two captures share no axis of time
_FEWEST_VALUES = 2
# One alone is pale, a crowd is dark.
_CROWDS = ("#dfe7ee", "#b3c9dc", "#7fa5c6", "#4a7eab", "#24507a", "#12304d", "#081a2b")
_STYLES = ("style.css", "workload.css")


def write_inspection(document: dict[str, Any], file: Path) -> None:
    """Write the page of one capture. ``document`` has its ``profile``, and its ``name``, ``path`` and ``environment``.

    Raises ToolError where the file cannot be written.
    """
    _write(document, [_name(document, "capture")], [document], file)


def write_comparison(document: dict[str, Any], file: Path) -> None:
    """Write the page of two captures, from what ``workload.document.comparison_document`` gives.

    ``production`` and ``other`` may have a ``name``, a ``path`` and an ``environment`` too. Raises ToolError where the
    file cannot be written.
    """
    sides = [document["production"], document["other"]]
    names = [_name(side, default) for side, default in zip(sides, ("production", "other"), strict=True)]
    if names[0] == names[1]:
        names[1] = "the other"
    _write(document, names, sides, file)


def _write(document: dict[str, Any], names: list[str], sides: list[dict[str, Any]], file: Path) -> None:
    captures = [(name, side["profile"]) for name, side in zip(names, sides, strict=True)]
    endpoints = _endpoints(captures)
    drawn = endpoints[:_ENDPOINTS_DRAWN]
    first = sides[0]["profile"]
    followed = first.get("followed", first["exchanges"])
    # Altair's check of every single call costs seconds, and what is called does not depend on the capture.
    with debug_mode(False):
        page = render_page(
            "workload.html.jinja",
            _STYLES,
            names=names,
            sides=sides,
            captures=captures,
            colours=COLOURS,
            percent=formats.percent,
            milliseconds=formats.milliseconds,
            too_small=formats.too_small,
            lost_to=formats.LOST_TO,
            comparison=document if "coverage" in document else None,
            endpoints=drawn,
            endpoints_left_out=len(endpoints) - len(drawn),
            most=_most(endpoints),
            rates=_rates(captures),
            visits=_visits(captures),
            shown=_ROWS_SHOWN,
            agents=_beside(captures, "agents", "agent"),
            order=_beside(captures, "successions", "before", "endpoint"),
            variants=_beside(_varied(captures), "variants", "endpoint", "variant"),
            correlations=first.get("correlations"),
            followed=followed if followed < first["exchanges"] else None,
            keys=_keys(captures),
            crowds=_crowds(captures, [row["endpoint"] for row in drawn]),
        )
    write_text(file, page)


def _name(side: dict[str, Any], default: str) -> str:
    return str(side.get("name") or side.get("path") or default)


def _endpoints(captures: Captures) -> list[dict[str, Any]]:
    """The endpoints of all captures, those first that the first calls most, each with its share and row in each."""
    known = [{row["endpoint"]: row for row in own["endpoints"]} for _, own in captures]
    names = list(dict.fromkeys(endpoint for own in known for endpoint in own))
    return [
        {
            "endpoint": name,
            "rows": [own.get(name) for own in known],
            "shares": [own[name]["share"] if name in own else 0.0 for own in known],
        }
        for name in names
    ]


def _beside(captures: Captures, what: str, *key: str) -> dict[str, Any]:
    """The ``rows`` of one list of the profiles, those first that the first has most of: ``key``, ``shares``, ``rows``.

    A share is None where the list ends before what may be in it. ``most`` is the largest share, ``left_out`` says how
    many rows there are besides.
    """
    known = [{tuple(row[name] for name in key): row for row in own[what]} for _, own in captures]
    ends = [bool(own["left_out"].get(what)) for _, own in captures]
    rows = [
        {
            "key": one,
            "rows": [own.get(one) for own in known],
            "shares": [
                own[one]["count"] / max(1, whole["exchanges"]) if one in own else None if ended else 0.0
                for own, ended, (_, whole) in zip(known, ends, captures, strict=True)
            ],
        }
        for one in dict.fromkeys(one for own in known for one in own)
    ]
    shown = rows[:_ROWS_SHOWN]
    left_out = len(rows) - len(shown) + max(own["left_out"].get(what, 0) for _, own in captures)
    return {"rows": shown, "most": _most(shown), "left_out": left_out}


def _varied(captures: Captures) -> Captures:
    """The captures with the variants of those endpoints only that are sent a query or a body anywhere."""
    varied = {one["endpoint"] for _, own in captures for one in own["variants"] if one["variant"]}
    return [
        (name, own | {"variants": [one for one in own["variants"] if one["endpoint"] in varied]})
        for name, own in captures
    ]


def _most(rows: list[dict[str, Any]]) -> float:
    return max((share for row in rows for share in row["shares"] if share), default=1.0)


def _rates(captures: Captures) -> list[Panel]:
    """One panel for all captures, or one for each where a short one would be a sliver beside a long one."""
    lengths = [own["duration_s"] for _, own in captures if own["arrivals"]["series"]]
    apart = len(lengths) > 1 and max(lengths) > _LONGER * min(lengths)
    parts = [[one] for one in captures] if apart else [captures]
    return [
        Panel(
            f"rate-{place}" if apart else "rate",
            "Requests per second" + (f": {own[0][0]}" if apart else ""),
            "in equal parts of " + ("the capture" if len(own) == 1 else "each capture"),
            charts.rate_chart(own, captures),
        )
        for place, own in enumerate(parts)
    ]


def _visits(captures: Captures) -> list[Panel]:
    of_times = "bar: 10% to 90%, dot: median, tick: 99%"
    return [
        Panel("lengths", "Exchanges in a visit", "as shares of the visits", charts.lengths_chart(captures)),
        Panel(
            "lasting", "How long visits last", of_times, charts.times_chart(captures, "duration_s", "Visit durations")
        ),
        Panel("think", "Pauses before a request", of_times, charts.times_chart(captures, "think_s", "Think times")),
    ]


def _keys(captures: Captures) -> list[Panel]:
    """A panel for each of the most used parameters that take several values somewhere."""
    known = [(name, {(one["endpoint"], one["parameter"]): one for one in own["parameters"]}) for name, own in captures]
    panels: list[Panel] = []
    for key in dict.fromkeys(key for _, own in known for key in own):
        found = [(name, own[key]) for name, own in known if key in own]
        if max(one["values"] for _, one in found) < _FEWEST_VALUES:
            continue
        endpoint, parameter = key
        values = ", ".join(f"{one['values']:,} in {name}" for name, one in found) if len(captures) > 1 else ""
        note = f"{endpoint}; values: {values}" if values else f"{endpoint}; {found[0][1]['values']:,} values"
        spec = charts.ranks_chart(found, captures, f"{parameter} of {endpoint}")
        panels.append(Panel(f"keys-{len(panels)}", parameter, note, spec))
        if len(panels) == _PARAMETERS_DRAWN:
            break
    return panels


def _crowds(captures: Captures, endpoints: list[str]) -> dict[str, Any]:
    """How many requests of an endpoint ran at once, as shares of its own: ``rows``, and the colours of ``classes``."""
    by_name = [(name, {row["endpoint"]: row for row in own["endpoints"]}) for name, own in captures]
    found = [own[endpoint]["running"] for endpoint in endpoints for _, own in by_name if endpoint in own]
    classes: dict[str, int] = max(found, key=len, default={})  # from 1 on without a gap, so the longest has all
    colours = {name: _CROWDS[min(place, len(_CROWDS) - 1)] for place, name in enumerate(classes)}

    def side(name: str, row: dict[str, Any] | None) -> dict[str, Any]:
        if row is None:
            return {"name": name, "parts": [], "without": "not called"}
        parts = [
            {"running": in_words(one), "share": count / row["count"], "colour": colours[one]}
            for one, count in row["running"].items()
        ]
        return {"name": name, "parts": parts, "without": "not known"}

    return {
        "classes": [(in_words(name), colour) for name, colour in colours.items()],
        "rows": [
            {"endpoint": endpoint, "sides": [side(name, own.get(endpoint)) for name, own in by_name]}
            for endpoint in endpoints
        ],
    }
