"""The report's charts, as Vega-Lite specifications made with Altair. All of one run share their axis of arm seconds.

A chart says nothing by colour alone: its tooltip, the legend and the tables beside it have the words.
"""

from typing import Any

import altair as alt
import pandas as pd

from replay.report.frames import AS_EXPECTED, OUTCOMES, StepSpan

# Told apart by lightness too, so that they survive a grey print and most colour blindness.
COLOURS = {
    AS_EXPECTED: "#dbe1e7",
    "refused": "#c9a227",
    "unsent": "#7d8894",
    "server error": "#6d3fa0",
    "no connection": "#1b2430",
    "timeout": "#e07b00",
    "empty": "#b3201f",
}
INK = "#1c2127"
QUIET = "#5b6570"
LINE = "#d9dee3"
LANE = 24  # the height of one step's lane above a timeline, in pixels
_STEP = 8  # of it, its bar's and the room below
_LETTER = 6.4  # the width of a letter of a step's label, on the average
STRIP = 40  # the height of one endpoint's strip with its name, in pixels
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_LEFT = 46  # the room for the axis, the same in every chart so that their seconds stand below each other


def timeline_chart(
    bars: pd.DataFrame, steps: list[StepSpan], length_s: float, most: float, description: str
) -> dict[str, Any]:
    """Requests per second stacked by outcome, the steps in lanes above. ``most`` is the top of the axis."""
    lanes = _lanes(steps, length_s)
    drawn: list[alt.Chart] = []
    if not lanes.empty:
        drawn += [_shade(lanes), *_lane_marks(lanes)]
    drawn.append(
        alt.Chart(bars)
        .mark_rect(stroke="white", strokeWidth=0.4, clip=True)
        .encode(
            x=_seconds("from_s:Q", length_s),
            x2="to_s:Q",
            y=alt.Y("low:Q", title=None, scale=alt.Scale(domain=[0, most], nice=True), axis=_left_axis(4)),
            y2="high:Q",
            color=_outcome_colour(),
            tooltip=[
                alt.Tooltip("from_s:Q", title="from second", format=".3~f"),
                alt.Tooltip("outcome:N", title="outcome"),
                alt.Tooltip("requests:Q", title="requests"),
                alt.Tooltip("rate:Q", title="per second", format=".1f"),
            ],
        )
    )
    return finish(alt.layer(*drawn).properties(height=120), description)


def signal_chart(
    lines: pd.DataFrame, steps: list[StepSpan], length_s: float, unit: str, description: str
) -> dict[str, Any]:
    """One probe's metric over the arm; ``lines`` has ``at_s``, ``value`` and ``workload`` (drawn in its own dash)."""
    names = list(dict.fromkeys(lines["workload"]))
    most = float(lines["value"].max())
    top = max(most * 1.12, 0.1) if most > 0 else 1.0
    shade = _shade(_lanes(steps, length_s))
    curve = (
        alt.Chart(lines)
        .mark_line(interpolate="step-after", strokeWidth=1.6, clip=True)
        .encode(
            x=_seconds("at_s:Q", length_s),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, top], nice=False), axis=_left_axis(3)),
            color=alt.Color("workload:N", scale=alt.Scale(domain=names, range=[INK, "#7d8894"]), legend=None),
            strokeDash=alt.StrokeDash("workload:N", scale=alt.Scale(domain=names, range=[[1, 0], [4, 3]]), legend=None),
            tooltip=[
                alt.Tooltip("workload:N", title="workload"),
                alt.Tooltip("at_s:Q", title="second", format=".1f"),
                alt.Tooltip("value:Q", title=unit, format=",.3~f"),
            ],
        )
    )
    layers = [curve] if not steps else [shade, curve]
    return finish(alt.layer(*layers).properties(height=84), description)


def strip_chart(
    cells: pd.DataFrame, labels: list[tuple[str, str]], length_s: float, description: str
) -> dict[str, Any]:
    """One strip for each endpoint in ``labels`` (its name, and the line written above its strip)."""
    place = {name: number for number, (name, _) in enumerate(labels)}
    rows = [float(place[name]) for name in cells["endpoint"]]
    cells = cells.assign(top=[row + 0.5 for row in rows], bottom=[row + 0.92 for row in rows])
    texts = pd.DataFrame([{"x": 0, "y": number + 0.28, "label": label} for number, (_, label) in enumerate(labels)])
    scale = alt.Scale(domain=[0, len(labels)], reverse=True, nice=False)
    strip = (
        alt.Chart(cells)
        .mark_rect(stroke="white", strokeWidth=0.5, clip=True)
        .encode(
            x=_seconds("from_s:Q", length_s),
            x2="to_s:Q",
            y=alt.Y("top:Q", scale=scale, axis=None),
            y2="bottom:Q",
            color=_outcome_colour(),
            opacity=alt.condition(f"datum.outcome === '{AS_EXPECTED}'", alt.value(0.8), _share_opacity()),
            tooltip=[
                alt.Tooltip("endpoint:N"),
                alt.Tooltip("from_s:Q", title="from second", format=".3~f"),
                alt.Tooltip("outcome:N", title="mostly"),
                alt.Tooltip("bad:Q", title="not as expected"),
                alt.Tooltip("requests:Q", title="of requests"),
            ],
        )
    )
    text = (
        alt.Chart(texts)
        .mark_text(align="left", baseline="middle", fontSize=12, color=INK, limit=alt.ExprRef("width"))
        .encode(x=_seconds("x:Q", length_s), y=alt.Y("y:Q", scale=scale), text="label:N")
    )
    chart = alt.layer(strip, text).properties(height=STRIP * len(labels))
    return finish(chart, description, left=_LEFT)


def _share_opacity() -> Any:
    return alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.45, 1]), legend=None)


def _lanes(steps: list[StepSpan], length_s: float) -> pd.DataFrame:
    """Where each step is drawn: a lane of its own."""
    rows = []
    for number, step in enumerate(steps):
        end = length_s if step.ended_s is None else min(step.ended_s, length_s)
        how = "never ended" if step.ended_s is None else f"{step.ended_s - step.started_s:.2f} s"
        rows.append(
            {
                "from_s": step.started_s,
                "to_s": max(end, step.started_s + length_s / 400),
                "top": -LANE * (len(steps) - number),
                "label": f"{step.kind}: {step.name}, " + ("✗ FAILED after " if step.failed else "") + how,
                "failed": step.failed,
            }
        )
    return pd.DataFrame(rows, columns=["from_s", "to_s", "top", "label", "failed"])


def _shade(lanes: pd.DataFrame) -> alt.Chart:
    shade: alt.Chart = alt.Chart(lanes).mark_rect(color="#e9edf1", clip=True).encode(x=alt.X("from_s:Q"), x2="to_s:Q")
    return shade


def _lane_marks(lanes: pd.DataFrame) -> list[alt.Chart]:
    """A label and the bar below it for each step, at pixels above the plot, which no scale of the data reaches.

    A label begins where its bar does, or so much before that it ends with the plot, however narrow that is.
    """
    made: list[alt.Chart] = []
    for row in lanes.to_dict("records"):
        one = alt.Chart(pd.DataFrame([row]))
        top = float(row["top"])
        colour = COLOURS["empty"] if row["failed"] else "#3d4853"
        width = len(row["label"]) * _LETTER
        bar = one.mark_rect(color=colour, y=top + LANE - _STEP, y2=top + LANE - 2)
        made.append(bar.encode(x=alt.X("from_s:Q"), x2="to_s:Q"))
        made.append(
            one.mark_text(
                align="left",
                baseline="middle",
                x=alt.ExprRef(f"max(0, min(scale('x', {row['from_s']}), width - {width:.0f}))"),
                y=top + (LANE - _STEP) / 2,
                limit=alt.ExprRef("width"),
                fontSize=11.5,
                color=colour,
            ).encode(text="label:N")
        )
    return made


def _seconds(field: str, length_s: float) -> alt.X:
    return alt.X(
        field,
        title=None,
        scale=alt.Scale(domain=[0, length_s], nice=False),
        axis=alt.Axis(
            labelExpr="datum.label + ' s'",
            tickCount=9,
            grid=False,
            labelFlush=True,
            labelOverlap=True,
            labelSeparation=8,
        ),
    )


def _left_axis(ticks: int) -> alt.Axis:
    short = "format(datum.value, datum.value < 1 ? '~g' : '~s')"  # 20k, but 0.5 rather than 500m
    return alt.Axis(tickCount=ticks, minExtent=_LEFT, maxExtent=_LEFT, domain=False, ticks=False, labelExpr=short)


def _outcome_colour() -> alt.Color:
    return alt.Color("outcome:N", scale=alt.Scale(domain=list(OUTCOMES), range=list(COLOURS.values())), legend=None)


def finish(chart: alt.Chart | alt.LayerChart | alt.FacetChart, description: str, left: int = 0) -> dict[str, Any]:
    """The chart as a plain specification that fills its place on the page. Row limits are ours: frames are small."""
    styled = chart.properties(width="container", description=description, padding={"left": left, "right": 8}).configure(
        font=_FONT,
        background="transparent",
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=QUIET, labelFontSize=11, gridColor="#eceff2", domainColor=LINE, tickColor=LINE, labelPadding=5
        ),
    )
    with alt.data_transformers.enable("default", max_rows=None):
        made: dict[str, Any] = styled.to_dict(validate=False)
    return made
