"""The pages of a workload: one capture (``replay inspect --html``), or two side by side (``replay compare --html``).

They are made from the JSON documents of these commands, and open offline.
"""

from pathlib import Path
from typing import Any

from altair.utils.schemapi import debug_mode

from replay.report import workload_charts as charts
from replay.report.page import render_page
from replay.report.panels import Panel
from replay.report.workload_charts import COLOURS, Captures
from replay.report.write import write_text

_ENDPOINTS_DRAWN = 30
_PARAMETERS_DRAWN = 9
_FEWEST_VALUES = 2
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
    # Altair's check of every single call costs seconds, and what is called does not depend on the capture.
    with debug_mode(False):
        crowds, classes = charts.crowds_chart(captures, [row["endpoint"] for row in endpoints[:_ENDPOINTS_DRAWN]])
        page = render_page(
            "workload.html.jinja",
            _STYLES,
            names=names,
            sides=sides,
            captures=captures,
            colours=COLOURS,
            comparison=document if "coverage" in document else None,
            endpoints=endpoints[:_ENDPOINTS_DRAWN],
            endpoints_left_out=len(endpoints) - len(endpoints[:_ENDPOINTS_DRAWN]),
            most=max((share for row in endpoints for share in row["shares"]), default=1.0) or 1.0,
            rate=Panel("rate", "Requests per second", "in equal parts of each capture", charts.rate_chart(captures)),
            visits=_visits(captures),
            keys=_keys(captures),
            crowds=Panel("crowds", "Requests of one endpoint at once", "as shares of its own", crowds),
            classes=classes,
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
