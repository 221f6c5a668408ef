"""Profiles and comparisons as plain JSON values, of bounded size: for programs, and for pictures."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from replay.workload.comparison.blind_spots import BlindSpot
from replay.workload.comparison.compare import Comparison
from replay.workload.comparison.coverage import Coverage
from replay.workload.profile.arrivals import Arrivals
from replay.workload.profile.profile import Profile, Sittings, Timing

_MOST_ENDPOINTS = 500
_MOST_SUCCESSIONS = 200
_MOST_VARIANTS = 500
_MOST_PARAMETERS = 200
_MOST_VALUES = 20
_MOST_CLIENTS = 20
_MOST_SPOTS = 500
_LONGEST_TEXT, _LONGEST_SENTENCE = 300, 900
_QUANTILES = (10, 50, 90, 99)


def comparison_document(found: Comparison) -> dict[str, Any]:
    """A comparison: ``coverage``, ``endpoints``, ``blind_spots``, ``too_small_to_tell``, and both profiles.

    ``covered`` is the share that passed every step of ``coverage`` that is known, ``lost_at`` the step that lost most.

    Lists are the first of what there is, and ``left_out`` says how many more there are.
    """
    spots = {"blind_spots": found.blind_spots, "too_small_to_tell": found.too_small_to_tell}
    return {
        "coverage": _coverage(found.coverage),
        "covered": _rounded(found.coverage.covered),
        "endpoints": [
            {
                "endpoint": _text(one.endpoint),
                "share": _rounded(one.share),
                "other_share": _rounded(one.other_share),
                "coverage": _coverage(one.coverage),
                "covered": _rounded(one.coverage.covered),
                "lost_at": one.coverage.lost_at,
            }
            for one in found.endpoints[:_MOST_ENDPOINTS]
        ],
        **{name: [_spot(spot) for spot in own[:_MOST_SPOTS]] for name, own in spots.items()},
        "left_out": {
            "endpoints": max(0, len(found.endpoints) - _MOST_ENDPOINTS),
            **{name: max(0, len(own) - _MOST_SPOTS) for name, own in spots.items()},
        },
        "production": {"profile": profile_document(found.production)},
        "other": {"profile": profile_document(found.other)},
    }


def profile_document(found: Profile) -> dict[str, Any]:
    """A profile. Shares are of all exchanges, unless they say of what.

    Lists are the first of what there is, the most frequent first, and ``left_out`` says how many more there are.
    """
    return {
        "exchanges": found.exchanges,
        "duration_s": _rounded(found.duration_s),
        "notes": list(_notes(found.timing)),
        "clients": _clients(found),
        "agents": [
            {"agent": _text(row["agent"]), "count": int(row["count"]), "share": _share(row["count"], found)}
            for row in found.agents.to_dict("records")
        ],
        "endpoints": _endpoints(found),
        "successions": [
            {
                "before": _text(row["before"]),
                "endpoint": _text(row["endpoint"]),
                "count": int(row["count"]),
                "share": _share(row["count"], found),
                "think_s": _number(row["think_s"]),
            }
            for row in found.successions.head(_MOST_SUCCESSIONS).to_dict("records")
        ],
        "variants": [
            {
                "endpoint": _text(row["endpoint"]),
                "variant": _text(row["variant"]),
                "count": int(row["count"]),
                "clients": int(row["clients"]),
            }
            for row in found.variants.head(_MOST_VARIANTS).to_dict("records")
        ],
        "parameters": [
            {
                "endpoint": _text(one.endpoint),
                "parameter": _text(one.parameter),
                "requests": one.requests,
                "values": one.values,
                "once": one.once,
                "top": [{"value": _text(value), "count": count} for value, count in one.top[:_MOST_VALUES]],
                "top_share": _rounded(one.top_share),
                "exponent": _number(one.exponent),
            }
            for one in found.parameters[:_MOST_PARAMETERS]
        ],
        "arrivals": _arrivals(found.arrivals),
        "visits": _visits(found.sittings, found.timing),
        "left_out": {
            "endpoints": max(0, len(found.endpoints) - _MOST_ENDPOINTS),
            "successions": max(0, len(found.successions) - _MOST_SUCCESSIONS),
            "variants": max(0, len(found.variants) - _MOST_VARIANTS),
            "parameters": max(0, len(found.parameters) - _MOST_PARAMETERS),
        },
    }


def class_name(number: int) -> str:
    """A class of doubling size in words: ``1``, ``2-3``, ``4-7``."""
    low, high = 2**number, 2 ** (number + 1) - 1
    return str(low) if low == high else f"{low}-{high}"


def _notes(found: Timing) -> Iterator[str]:
    """What the reader of a profile must know."""
    unknown = "what ran side by side is not known"
    if not found.has_durations:
        yield f"the capture has no durations: {unknown}"
    elif found.whole_seconds:
        yield f"the capture tells whole seconds only: {unknown}"


def _clients(found: Profile) -> dict[str, Any]:
    ranked = sorted(zip(found.clients, found.client_counts, strict=True), key=lambda own: (-own[1], own[0].name))
    return {
        "count": len(found.clients),
        "tail": _number(found.tail),
        "busiest": [
            {"client": _text(client.name), "kind": client.kind, "count": count, "share": _share(count, found)}
            for client, count in ranked[:_MOST_CLIENTS]
        ],
    }


def _endpoints(found: Profile) -> list[dict[str, Any]]:
    companies: dict[str, dict[int, int]] = {}
    most: dict[str, int] = {}
    shared: dict[str, int] = {}
    told = found.timing.tells_company
    for row in found.classes.to_dict("records"):
        endpoint, running, count = row["endpoint"], int(row["running"]), int(row["count"])
        company = companies.setdefault(endpoint, {})
        company[running] = company.get(running, 0) + count
        most[endpoint] = max(most.get(endpoint, 0), int(row["most_running"]))
        shared[endpoint] = shared.get(endpoint, 0) + (count if row["same_key"] else 0)
    return [
        {
            "endpoint": _text(row["endpoint"]),
            "count": int(row["count"]),
            "share": _share(row["count"], found),
            "clients": int(row["clients"]),
            "statuses": dict(row["statuses"]),
            "empty_share": _rounded(row["empty"] / row["count"]),
            "duration_s": {f"p{q}": _number(row[f"duration_p{q}_s"]) for q in _QUANTILES},
            "size_bytes": {f"p{q}": _number(row[f"size_p{q}_bytes"]) for q in _QUANTILES}
            | {"most": _number(row["size_most_bytes"])},
            "running": _by_class(companies.get(row["endpoint"], {}) if told else {}),
            "most_running": most.get(row["endpoint"], 0) if told else None,
            "same_key_share": _rounded(shared.get(row["endpoint"], 0) / row["count"]) if told else None,
        }
        for row in found.endpoints.head(_MOST_ENDPOINTS).to_dict("records")
    ]


def _arrivals(found: Arrivals) -> dict[str, Any]:
    return {
        "mean_per_s": _rounded(found.mean_per_s),
        "highest_per_s": found.highest_per_s,
        "dispersion": {str(window_s): _rounded(index) for window_s, index in found.dispersion.items()},
        "peaks": [
            {"clock": peak.clock, "phase_s": peak.phase_s, "ratio": _rounded(peak.ratio)} for peak in found.peaks
        ],
        "series": [_rounded(rate) for rate in found.series],
        "step_s": _rounded(found.step_s),
    }


def _visits(found: Sittings, timing: Timing) -> dict[str, Any]:
    lengths: dict[int, int] = {}
    for length, count in found.lengths.items():
        number = length.bit_length() - 1
        lengths[number] = lengths.get(number, 0) + count
    return {
        "count": found.count,
        "gap_s": _rounded(found.gap.gap_s),
        "gap_reason": found.gap.reason,
        "lengths": _by_class(lengths),
        "longest": max(found.lengths, default=0),
        "duration_s": _quantiles(found.duration_s),
        "think_s": _quantiles(found.think_s),
        "side_by_side_share": _rounded(found.side_by_side) if timing.tells_company else None,
    }


def _spot(spot: BlindSpot) -> dict[str, Any]:
    return {
        "kind": str(spot.kind),
        "what": _text(spot.what),
        "production": _number(spot.production),
        "other": _number(spot.other),
        "unit": spot.unit,
        "share": _rounded(spot.share),
        "sentence": _text(spot.sentence, _LONGEST_SENTENCE),
    }


def _coverage(found: Coverage) -> dict[str, float | None]:
    return {
        "endpoint": _rounded(found.endpoint),
        "variant": _rounded(found.variant),
        "predecessor": _rounded(found.predecessor),
        "concurrency": None if found.concurrency is None else _rounded(found.concurrency),
    }


def _by_class(counts: Mapping[int, int]) -> dict[str, int]:
    """Counts by the name of their class, without a gap, from the first class on."""
    return {class_name(number): counts.get(number, 0) for number in range(max(counts, default=-1) + 1)}


def _quantiles(found: Mapping[float, float]) -> dict[str, float]:
    return {f"p{round(100 * q)}": _rounded(value) for q, value in found.items()}


def _share(count: Any, found: Profile) -> float:
    return _rounded(int(count) / max(1, found.exchanges))


def _number(value: Any) -> float | int | None:
    """A number, rounded; None where there is none."""
    if value is None or pd.isna(value) or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else _rounded(value)


def _rounded(value: Any) -> float:
    """Six significant digits, which is more than any capture tells."""
    return float(f"{float(value):.6g}")


def _text(text: str, longest: int = _LONGEST_TEXT) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
