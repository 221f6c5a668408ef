"""Exchanges as numbers: which endpoint, client, visit, predecessor and neighbours each had. Expressions, for an engine.

An event starts at ``t`` and ends at ``te``, microseconds since 1970. What ended when another started was over, unless
it took no time: then the two overlap.
"""

from typing import Any

import ibis

_PER_CHUNK_US = 60_000_000
_CHUNKS = 2_000
# The order of what happens at one moment.
_ENDED, _STARTED, _TOOK_NO_TIME = 0, 1, 2


def with_visits(events: ibis.Table, gap_us: int, usual_gaps: float = 3.0, gaps_to_judge: int = 5) -> ibis.Table:
    """``events`` with ``visit``, counted from 1 for each client, and ``visit_t``, when that began.

    A visit ends where its client is idle for longer than ``gap_us``, and for more than ``usual_gaps`` of the client's
    own median gap where it has at least ``gaps_to_judge``: a job that comes by every hour stays one visit.
    """
    found = with_idle(events)
    usual = found.group_by("client").aggregate(
        usual_us=ibis.cases((found.idle_us.count() >= gaps_to_judge, found.idle_us.median()), else_=0.0) * usual_gaps
    )
    found = found.join(usual, "client")
    bound = ibis.greatest(ibis.literal(float(gap_us)), found.usual_us)
    found = found.mutate(begins=found.idle_us.isnull() | (found.idle_us > bound))
    window = _up_to(["client"], ["t"])
    found = found.mutate(
        visit=found.begins.cast("int64").sum().over(window),
        visit_t=found.begins.ifelse(found.t, ibis.null("int64")).max().over(window),
    )
    return found.drop("idle_us", "usual_us", "begins")


def with_idle(events: ibis.Table) -> ibis.Table:
    """``events`` with ``idle_us``: how long their client had been idle. NULL for its first, 0 at least."""
    return events.mutate(idle_us=(events.t - _until(events, ["client"])).clip(lower=0))


def _until(events: ibis.Table, group_by: list[str]) -> ibis.Value:
    """When all that started before an event, in its group, was over; NULL for the first."""
    before = ibis.rows_window(preceding=(None, 1), group_by=group_by, order_by=["t", "te"])
    return events.te.max().over(before)


def _up_to(group_by: list[str], order_by: list[str]) -> Any:
    """All before a row in its group, itself, and what ties with it: an engine has these in any order."""
    return ibis.range_window(preceding=None, following=0, group_by=group_by, order_by=order_by)


def with_predecessors(
    events: ibis.Table, payload: str, bits: int, origin_us: int, coarse: int = 0, *, line: tuple[str, ...] = ("client",)
) -> ibis.Table:
    """``events`` with ``after`` and ``after_te``, and with ``beside``.

    The predecessor is the last exchange of the visit that was over when this one started: ``after`` is its ``payload``
    (an integer column of at most so many ``bits``, NULL where there is none), ``after_te`` when it ended. ``beside``
    counts what was under way, the event itself not counted. Both look only at what is alike in the columns ``line``,
    the client among them.

    ``origin_us`` is the first event's start. Ends are told apart to ``2 ** coarse`` microseconds.
    """
    size = ibis.literal(2**bits, "int64")
    carried = [name for name in events.columns if name not in {*line, "t"}]
    starts = events.select(*line, "t", *carried, moment=events.t, kind=_STARTED, over=ibis.null("int64"))
    starts = starts.mutate(kind=starts.kind.cast("int64"))
    packed = (events.te - origin_us) // 2**coarse * size + events[payload]
    ends = events.select(
        *line,
        t=ibis.null("int64"),
        **{name: ibis.null(events[name].type()) for name in carried},
        moment=events.te,
        kind=(events.te > events.t).ifelse(_ENDED, _TOOK_NO_TIME).cast("int64"),
        over=packed,
    )
    ends = ends.select(starts.columns)
    both = ibis.union(starts, ends, distinct=False)
    window = _up_to([*line], ["moment", "kind"])
    step = (both.kind == _STARTED).ifelse(1, -1)
    both = both.mutate(last=both.over.max().over(window), running=step.sum().over(window))
    found = both.filter(both.kind == _STARTED)
    over_te = origin_us + found["last"] // size * 2**coarse
    within = found["last"].notnull() & (over_te + 2**coarse > found.visit_t)
    return found.mutate(
        after=within.ifelse(found["last"] % size, ibis.null("int64")),
        after_te=within.ifelse(over_te, ibis.null("int64")),
        beside=ibis.greatest(found.running - 1, 0),
    ).drop("moment", "kind", "over", "last", "running")


def with_concurrency(events: ibis.Table, first_us: int, last_us: int) -> ibis.Table:
    """``events`` with ``running``, how many of its endpoint were under way, and ``same_key``, whether any for its key.

    An event counts itself in ``running``. Time is cut into chunks, each with what its endpoint has running from before,
    so that no endpoint is a single long window.
    """
    chunk_us = max(_PER_CHUNK_US, (last_us - first_us) // _CHUNKS)
    carried = [name for name in events.columns if name not in {"endpoint", "t"}]
    starts = events.select("endpoint", "t", *carried, moment=events.t, kind=ibis.literal(_STARTED, "int64"))
    ends = events.select(
        "endpoint",
        t=ibis.null("int64"),
        **{name: ibis.null(events[name].type()) for name in carried},
        moment=events.te,
        kind=(events.te > events.t).ifelse(_ENDED, _TOOK_NO_TIME).cast("int64"),
    )
    both = ibis.union(starts, ends.select(starts.columns), distinct=False)
    step = (both.kind == _STARTED).ifelse(1, -1)
    both = both.mutate(chunk=(both.moment - first_us) // chunk_us, step=step)
    counts = both.group_by(["endpoint", "chunk"]).aggregate(net=both.step.sum())
    so_far = counts.net.sum().over(ibis.cumulative_window(group_by="endpoint", order_by="chunk"))
    counts = counts.mutate(brought=so_far - counts.net).drop("net")
    both = both.mutate(within=both.step.sum().over(_up_to(["endpoint", "chunk"], ["moment", "kind"])))
    found = both.filter(both.kind == _STARTED).join(counts, ["endpoint", "chunk"])
    found = found.mutate(running=ibis.greatest(found.brought + found.within, 1))
    by_start = ibis.window(group_by=["endpoint", "key"], order_by=["t", "te"])
    at_once = (found.t.lag().over(by_start) == found.t) | (found.t.lead().over(by_start) == found.t)
    overlaps = (_until(found, ["endpoint", "key"]) > found.t).fill_null(False) | at_once.fill_null(False)
    found = found.mutate(same_key=found.key.notnull() & overlaps)
    return found.select(*events.columns, "running", "same_key")
