"""Exchanges as numbers: which endpoint, client, visit, predecessor and neighbours each had. Expressions, for an engine.

An event starts at ``t`` and ends at ``te``, microseconds since 1970. What ended when another started was over, unless
it took no time: then the two overlap.
"""

from typing import Any

import ibis

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


def with_concurrency(events: ibis.Table) -> ibis.Table:
    """``events`` with ``running``, how many of its endpoint were under way, and ``same_key``, whether any for its key.

    An event counts itself in ``running``.
    """
    # An endpoint without parameters would be one long window.
    keyed = _with_same_key(events.filter(events.key.notnull()))
    keyless = events.filter(events.key.isnull()).mutate(same_key=False)
    marked = ibis.union(keyed, keyless, distinct=False)
    carried = [name for name in marked.columns if name not in {"endpoint", "t"}]
    starts = marked.select("endpoint", "t", *carried, moment=marked.t, kind=ibis.literal(_STARTED, "int8"))
    ends = events.select(
        "endpoint",
        t=ibis.null("int64"),
        **{name: ibis.null(marked[name].type()) for name in carried},
        moment=events.te,
        kind=(events.te > events.t).ifelse(_ENDED, _TOOK_NO_TIME).cast("int8"),
    )
    both = ibis.union(starts, ends, distinct=False)
    # What starts later also ends later; what else ends later is under way. A rank costs an engine a fifth of a sum.
    backwards = ibis.window(group_by="endpoint", order_by=[ibis.desc("moment"), ibis.desc("kind")])
    found = both.mutate(later=ibis.rank().over(backwards)).filter(both.kind == _STARTED)
    found = found.mutate(later_starts=ibis.rank().over(ibis.window(group_by="endpoint", order_by=ibis.desc("t"))))
    return found.select(*events.columns, "same_key", running=found.later - 2 * found.later_starts)


def _with_same_key(events: ibis.Table) -> ibis.Table:
    by_start = ibis.window(group_by=["endpoint", "key"], order_by=["t", "te"])
    at_once = (events.t.lag().over(by_start) == events.t) | (events.t.lead().over(by_start) == events.t)
    overlaps = _until(events, ["endpoint", "key"]) > events.t
    return events.mutate(same_key=overlaps.fill_null(False) | at_once.fill_null(False))
