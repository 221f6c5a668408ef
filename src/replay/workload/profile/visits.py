"""Visits: one sitting of one client, its exchanges in order, and which answer each of them may have waited for.

A client's exchanges are parted where it was idle for longer than a gap that the data show, or else for half an hour,
the usual bound for user sessions. The rules are those of ``events``.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.traffic import Client
from replay.workload.engine import Engine
from replay.workload.profile.events import with_idle, with_predecessors, with_visits

USUAL_GAP_S = 1800.0
_SHORTEST_GAP_S, _LONGEST_GAP_S = 60.0, 6 * 3600.0
_PER_OCTAVE = 2
_ENOUGH = 200  # gaps on the emptier side of a valley, to believe in it
_DEEP = 0.25  # of the lower of its two sides


@dataclass(frozen=True, slots=True)
class Visit:
    """One sitting of one client: the numbers of its exchanges, in the order they started."""

    number: int
    client: Client
    exchanges: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """The idleness that ends a visit, and why it is this one."""

    gap_s: float
    reason: str


def find_gap(idle: pd.DataFrame) -> Gap:
    """The gap that ends a visit.

    ``idle`` is a histogram of how long clients were idle: ``octave``, half octaves of seconds (``round(2 * log2(s))``),
    and ``count``. Where short pauses (within a visit) and long ones (between two) are hills with a deep valley between
    them, the gap is at the valley's bottom; else half an hour.
    """
    low, high = (round(_PER_OCTAVE * float(np.log2(edge))) for edge in (_SHORTEST_GAP_S, _LONGEST_GAP_S))
    size = max(high, int(idle["octave"].max()) if len(idle) else 0) + 2
    counts = np.zeros(size)
    kept = idle[idle["octave"] >= 0]
    np.add.at(counts, kept["octave"].to_numpy(dtype=np.int64), kept["count"].to_numpy(dtype=float))
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")
    bottom = low + int(np.argmin(smooth[low : high + 1]))
    before, after = smooth[:bottom].max(initial=0.0), smooth[bottom + 1 :].max(initial=0.0)
    hill = min(before, after)
    between = counts[bottom:].sum()
    if hill and between >= _ENOUGH and smooth[bottom] <= _DEEP * hill:
        gap_s = round(2.0 ** (bottom / _PER_OCTAVE))
        return Gap(
            float(gap_s),
            f"pauses of about {_words(gap_s)} are rare here: most are much shorter, or ({between:,.0f} of them) longer",
        )
    return Gap(USUAL_GAP_S, "the usual bound, as no valley parts short pauses from long ones here")


def idle_histogram(events: pd.DataFrame) -> pd.DataFrame:
    """The histogram that ``find_gap`` takes, from a frame with ``idle_us``."""
    idle_s = events["idle_us"].dropna().to_numpy(dtype=float) / 1e6
    octaves = np.round(_PER_OCTAVE * np.log2(np.maximum(idle_s, 1.0))).astype(np.int64)
    values, counts = np.unique(octaves, return_counts=True)
    return pd.DataFrame({"octave": values, "count": counts})


def find_visits(
    starts_s: Sequence[float], ends_s: Sequence[float], clients: Sequence[Client], strands: Sequence[int]
) -> tuple[tuple[Visit, ...], tuple[int | None, ...]]:
    """The visits, and for each exchange its predecessor: the last one of its visit to end before it started.

    Exchanges are given in the order they started. What has not ended overlaps, and is no predecessor, nor is what
    belongs to another strand of the client's work: no answer there was waited for.
    """
    if not clients:
        return (), ()
    numbers = {client: number for number, client in enumerate(dict.fromkeys(clients))}
    starts, ends = _microseconds(starts_s), _microseconds(ends_s)
    events = pd.DataFrame(
        {
            "number": np.arange(len(clients)),
            "t": starts,
            "te": np.maximum(starts, ends),
            "client": np.array([numbers[client] for client in clients], dtype=np.int64),
            "strand": np.array(strands, dtype=np.int64),
        }
    )
    bits = len(clients).bit_length()
    span_bits = int(ends.max() - starts.min()).bit_length()
    with Engine() as engine:
        given = engine.given(events)
        gap = find_gap(idle_histogram(engine.frame(with_idle(given).select("idle_us"))))
        found = with_visits(given, round(gap.gap_s * 1e6))
        coarse = max(0, bits + span_bits - 62)
        found = with_predecessors(found, "number", bits, int(starts.min()), coarse, line=("client", "strand"))
        rows = engine.frame(found.select("number", "client", "visit", "after").order_by("number"))
    return _visits(rows, tuple(numbers)), tuple(None if pd.isna(one) else int(one) for one in rows["after"])


def _visits(rows: pd.DataFrame, clients: Sequence[Client]) -> tuple[Visit, ...]:
    parts: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, client, visit in rows[["number", "client", "visit"]].itertuples(index=False, name=None):
        parts[client, visit].append(number)
    return tuple(
        Visit(number, clients[client], tuple(part)) for number, ((client, _), part) in enumerate(parts.items())
    )


def _microseconds(seconds: Sequence[float]) -> npt.NDArray[np.int64]:
    return np.round(np.array(seconds, dtype=float) * 1e6).astype(np.int64)


def _words(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"
