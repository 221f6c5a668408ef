"""The charts of a workload, and of two side by side, as Vega-Lite specifications made with Altair.

Texts of a capture stand in data and in domains only: Vega makes an expression of the values that it is to
sort or place by, and some texts break that.
"""

import math
from typing import Any

import altair as alt
import pandas as pd

from replay.report.charts import INK, finish

COLOURS = ("#24507a", "#e0933a")  # the captures': told apart by lightness too
_LEAST_S = 1e-3  # what is shorter stands at the edge of a logarithmic axis

Captures = list[tuple[str, dict[str, Any]]]


def rate_chart(captures: Captures, coloured: Captures) -> dict[str, Any] | None:
    """Requests per second over the time since each capture's beginning, in its colour among ``coloured``."""
    longest_s = max((own["duration_s"] for _, own in captures), default=0.0)
    unit, size_s = ("h", 3600) if longest_s > 7200 else ("min", 60) if longest_s > 600 else ("s", 1)
    rows = []
    for name, own in captures:
        series = own["arrivals"]["series"]
        rows += [
            {"at": place * own["arrivals"]["step_s"] / size_s, "rate": rate, "capture": name}
            for place, rate in enumerate([*series, *series[-1:]])
        ]
    if not rows:
        return None
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(interpolate="step-after", strokeWidth=1.8)
        .encode(
            x=alt.X("at:Q", title=None, scale=alt.Scale(nice=False), axis=_axis(f"datum.label + ' {unit}'", 9)),
            y=alt.Y("rate:Q", title=None, scale=alt.Scale(domainMin=0), axis=_left(4)),
            color=_colour(coloured),
            tooltip=[
                alt.Tooltip("capture:N"),
                alt.Tooltip("at:Q", title=f"after {unit}", format=".3~f"),
                alt.Tooltip("rate:Q", title="per second", format=".3~f"),
            ],
        )
        .properties(height=180)
    )
    return finish(chart, "Requests per second over time")


def lengths_chart(captures: Captures) -> dict[str, Any] | None:
    """How many exchanges visits have, as shares of the visits."""
    rows = []
    for place, (name, own) in enumerate(captures):
        lengths, count = own["visits"]["lengths"], max(1, own["visits"]["count"])
        rows += [
            {"exchanges": in_words(key), "share": value / count, "capture": name, "place": place}
            for key, value in lengths.items()
        ]
    if not rows:
        return None
    order = max(([in_words(key) for key in own["visits"]["lengths"]] for _, own in captures), key=len)
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X("exchanges:O", title=None, sort=order, axis=_bins()),
            xOffset=alt.XOffset("place:O"),
            y=alt.Y("share:Q", title=None, scale=alt.Scale(domainMin=0), axis=_percents(4)),
            color=alt.Color("place:O", scale=alt.Scale(domain=[0, 1], range=list(COLOURS)), legend=None),
            tooltip=[
                alt.Tooltip("capture:N"),
                alt.Tooltip("exchanges:O"),
                alt.Tooltip("share:Q", title="of visits", format=".1%"),
            ],
        )
        .properties(height=150)
    )
    return finish(chart, "Exchanges in a visit")


def times_chart(captures: Captures, what: str, description: str) -> dict[str, Any] | None:
    """Quantiles of times: a bar from the 10th to the 90th percentile, a dot at the median, a tick at the 99th."""
    rows = [
        {"capture": name, **{key: max(_LEAST_S, value) for key, value in own["visits"][what].items()}}
        for name, own in captures
        if len(own["visits"][what]) == 4
    ]
    if not rows:
        return None
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("capture:N", title=None, sort=None, axis=_names()),
        color=_colour(captures),
        tooltip=[
            alt.Tooltip("capture:N"),
            *(alt.Tooltip(f"{key}:Q", title=f"{key}, s", format=".3~g") for key in ("p10", "p50", "p90", "p99")),
        ],
    )
    decades = _decades([row[key] for row in rows for key in ("p10", "p99")])
    scale = alt.Scale(type="log", domain=[decades[0], decades[-1]], nice=False)
    axis = alt.Axis(values=decades, grid=True, domain=False, labelExpr="format(datum.value, ',~g') + ' s'")
    chart = alt.layer(
        base.mark_bar(height=9, opacity=0.45).encode(x=alt.X("p10:Q", title=None, scale=scale, axis=axis), x2="p90:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(x=alt.X("p50:Q", scale=scale)),
        base.mark_tick(thickness=2, size=15).encode(x=alt.X("p99:Q", scale=scale)),
    ).properties(height=34 * len(rows))
    return finish(chart, description)


def ranks_chart(found: list[tuple[str, dict[str, Any]]], captures: Captures, description: str) -> dict[str, Any]:
    """The shares of a parameter's hottest values, by their rank. ``found`` has it of each capture, by its name."""
    rows = [
        {"rank": rank, "share": one["count"] / own["requests"], "value": one["value"], "capture": name}
        for name, own in found
        for rank, one in enumerate(own["top"], start=1)
    ]
    most = max(row["rank"] for row in rows)
    scale = alt.Scale(type="log", domain=[1, max(2, most)], nice=False)
    ticks = [tick for tick in (1, 2, 5, 10, 20) if tick <= max(2, most)]
    decades = _decades([row["share"] for row in rows])
    down = alt.Scale(type="log", domain=[decades[0], decades[-1]], nice=False)
    percents = alt.Axis(values=decades, domain=False, ticks=False, labelExpr="format(100 * datum.value, '~g') + '%'")
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=alt.OverlayMarkDef(size=30), strokeWidth=1.5)
        .encode(
            x=alt.X("rank:Q", title=None, scale=scale, axis=alt.Axis(values=ticks, format="d", grid=False)),
            y=alt.Y("share:Q", title=None, scale=down, axis=percents),
            color=_colour(captures),
            tooltip=[
                alt.Tooltip("capture:N"),
                alt.Tooltip("rank:Q"),
                alt.Tooltip("value:N"),
                alt.Tooltip("share:Q", format=".2%"),
            ],
        )
        .properties(height=110)
    )
    return finish(chart, description)


def in_words(name: str) -> str:
    """A class of doubling size, as people write it."""
    return name.replace("-", "\N{EN DASH}")


def _colour(captures: Captures) -> alt.Color:
    names = [name for name, _ in captures]
    return alt.Color("capture:N", scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])), legend=None)


def _axis(label: str, ticks: int) -> alt.Axis:
    return alt.Axis(labelExpr=label, tickCount=ticks, grid=False, labelFlush=True, labelOverlap=True, labelSeparation=8)


def _bins() -> alt.Axis:
    return alt.Axis(labelAngle=0, domain=False, ticks=False, labelOverlap=True)


def _left(ticks: int) -> alt.Axis:
    return alt.Axis(
        tickCount=ticks, domain=False, ticks=False, labelExpr="format(datum.value, datum.value < 1 ? '~g' : '~s')"
    )


def _names() -> alt.Axis:
    return alt.Axis(domain=False, ticks=False, labelLimit=110, labelColor=INK)


def _percents(ticks: int) -> alt.Axis:
    return alt.Axis(tickCount=ticks, domain=False, ticks=False, labelExpr="format(datum.value, '.0%')")


def _decades(values: list[float]) -> list[float]:
    """The powers of ten around some values, two at least."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]
