"""What `replay inspect` shows on a terminal: tables, and sparklines of what changes over time."""

from typing import Any

from rich.console import Console
from rich.table import Table

from replay.capture.manifest import COMPLETE
from replay.cli.text import plain
from replay.report.formats import milliseconds, number, share

_SHOWN = 40
_SHOWN_OF_OTHERS = 10
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_WIDE = 60


def show_inspection(console: Console, document: dict[str, Any]) -> None:
    """Show the document of an inspection."""
    workload = document["workload"]
    console.print(_facts(document))
    _show_rows(
        console,
        ("source", "format", "read", "kept", "skipped", "left out"),
        [
            (
                *(source["name"], source.get("format", ""), source["read"], source["kept"]),
                *(sum(source["skipped"].values()), sum(source.get("left_out", {}).values())),
            )
            for source in document["sources"]
        ],
    )
    _show_rows(
        console,
        ("endpoint", "count", "share", "statuses", "empty", "median", "99%", "at once"),
        [
            (
                endpoint["endpoint"],
                endpoint["count"],
                f"{endpoint['share']:.1%}",
                " ".join(f"{status}:{count:,}" for status, count in endpoint["statuses"].items()),
                f"{endpoint['empty_share']:.1%}",
                milliseconds(endpoint["duration_s"]["p50"]),
                milliseconds(endpoint["duration_s"]["p99"]),
                number(endpoint["most_running"]),
            )
            for endpoint in workload["endpoints"]
        ],
    )
    _show_rows(
        console,
        ("client", "known by", "exchanges", "share"),
        [(one["client"], one["kind"], one["count"], f"{one['share']:.1%}") for one in workload["clients"]["busiest"]],
        _SHOWN_OF_OTHERS,
        workload["clients"]["count"],
    )
    _show_rows(
        console,
        ("program", "exchanges", "share"),
        [(one["agent"] or "not named", one["count"], f"{one['share']:.1%}") for one in workload["agents"]],
        _SHOWN_OF_OTHERS,
    )
    _show_rows(
        console,
        ("after", "comes", "count", "pause"),
        [
            (one["before"], one["endpoint"], one["count"], milliseconds(one["think_s"]))
            for one in workload["successions"]
        ],
        _SHOWN_OF_OTHERS,
    )
    _show_rows(
        console,
        ("key", "of", "requests", "values", "hottest", "ten hottest", "Zipf"),
        [_key(one) for one in workload["parameters"] if one["values"] > 1],
        _SHOWN_OF_OTHERS,
    )
    varied = {one["endpoint"] for one in workload["variants"] if one["variant"]}
    _show_rows(
        console,
        ("sent to", "as", "count", "clients"),
        [
            (one["endpoint"], one["variant"] or "nothing", one["count"], one["clients"])
            for one in workload["variants"]
            if one["endpoint"] in varied
        ],
        _SHOWN_OF_OTHERS,
    )
    _show_rows(
        console,
        ("handed out by", "at", "sent to", "as", "kind", "count"),
        [
            (link["from"], link["handed"], link["to"], link["sent"], link["kind"], link["count"])
            for link in workload["correlations"]
        ],
    )
    if workload["correlations"] and workload["followed"] < document["exchanges"]:
        console.print(f"found in the first {workload['followed']:,} exchanges")


def _facts(document: dict[str, Any]) -> Table:
    workload = document["workload"]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("capture", plain(f"{document['name']} ({document['path']})"))
    facts.add_row("environment", plain(document["environment"]))
    state = document["state"] if document["state"] == COMPLETE else "not complete: this is what can be saved"
    facts.add_row("state", state)
    facts.add_row("hosts", plain(", ".join(document["hosts"])) or "none")
    facts.add_row("window", _window(document))
    facts.add_row("exchanges", f"{document['exchanges']:,}{_counts(document['status_classes'])}")
    facts.add_row("skipped", f"{sum(document['skipped'].values()):,}{plain(_counts(document['skipped']))}")
    if document["bodies_not_kept"]:
        facts.add_row("bodies not kept", plain(_counts(document["bodies_not_kept"])).strip(" ()"))
    if document.get("lacking"):
        facts.add_row("LACKING", plain(_counts(document["lacking"])).strip(" ()"))
    facts.add_row("scrubbing", plain(_scrubbing(document["scrubbing"])))
    facts.add_row("clients", f"{workload['clients']['count']:,}{_tail(workload['clients']['tail'])}")
    facts.add_row("visits", _visits(workload["visits"]))
    for label, text in _arrivals(workload["arrivals"]):
        facts.add_row(label, text)
    for note in (*document.get("notes", ()), *workload["notes"]):
        facts.add_row("note", plain(note))
    return facts


def _visits(visits: dict[str, Any]) -> str:
    if not visits["count"]:
        return "0"
    beside = visits["side_by_side_share"]
    return (
        f"{visits['count']:,}, the longest of {visits['longest']:,} exchanges; "
        f"{'' if beside is None else f'{share(beside)} sent side by side; '}"
        f"a pause of {visits['gap_s'] / 60:,.0f} min ends one: {visits['gap_reason']}"
    )


def _arrivals(arrivals: dict[str, Any]) -> list[tuple[str, str]]:
    if not arrivals["series"]:
        return []
    rate = f"{_sparks(arrivals['series'])}  {arrivals['mean_per_s']:,.1f}/s, at most {arrivals['highest_per_s']:,}"
    rows = [("rate", rate)]
    if arrivals["dispersion"]:
        indexes = ", ".join(f"{index:,.1f} at {window} s" for window, index in arrivals["dispersion"].items())
        rows.append(("bursts", f"index of dispersion {indexes} (1 is even chance)"))
    for peak in arrivals["peaks"]:
        minute, second = divmod(peak["phase_s"], 60)
        at = f":{minute:02}:{second:02}" if peak["clock"] == "each hour" else f":{second:02}"
        rows.append(("by the clock", f"{peak['clock']} at {at}, {peak['ratio']:,.1f} times the usual"))
    return rows


def _sparks(series: list[float]) -> str:
    """A line of bars, as high as the rates are; neighbours share one where there are too many."""
    each = -(-len(series) // _SPARKS_WIDE)
    parts = [series[start : start + each] for start in range(0, len(series), each)]
    rates = [sum(part) / len(part) for part in parts]
    highest = max(rates) or 1.0
    return "".join(_SPARKS[min(len(_SPARKS) - 1, int(rate / highest * len(_SPARKS)))] for rate in rates)


def _key(one: dict[str, Any]) -> tuple[Any, ...]:
    hottest = one["top"][0]
    exponent = "" if one["exponent"] is None else f"{one['exponent']:.1f}"
    share = hottest["count"] / one["requests"]
    return (
        *(one["parameter"], one["endpoint"], one["requests"], one["values"]),
        *(f"{hottest['value']} {share:.1%}", f"{one['top_share']:.1%}", exponent),
    )


def _show_rows(
    console: Console, columns: tuple[str, ...], rows: list[tuple[Any, ...]], most: int = _SHOWN, count: int = 0
) -> None:
    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        is_number = isinstance(rows[0][index], int) or column in _NUMBERS
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows[:most]:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else plain(cell) for cell in row))
    console.print()
    console.print(table)
    left = max(len(rows), count) - len(rows[:most])
    if left:
        console.print(f"and {left:,} more, with --json")


_NUMBERS = {"share", "empty", "median", "99%", "at once", "pause", "ten hottest", "Zipf"}


def _window(document: dict[str, Any]) -> str:
    window = document["window"]
    if not window["start"]:
        return "none"
    return f"{window['start']} to {window['end']}, {document['workload']['duration_s']:,.1f} s"


def _tail(exponent: float | None) -> str:
    if exponent is None:
        return ""
    return f" (tail exponent {exponent:.1f}{': a few send most' if exponent < 2 else '; below 2, a few send most'})"


def _scrubbing(scrubbing: dict[str, Any]) -> str:
    if not scrubbing["on"]:
        return "off: the capture holds its secrets as they were"
    key = f"key {scrubbing['key_id']}" if scrubbing["key_id"] else "several keys"
    return f"on, {key}{_counts(scrubbing['counts'])}"


def _counts(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items()))
    return f" ({listed})" if listed else ""
