"""A soak's evidence, read file by file, so that its length takes no memory, and whether it carries a verdict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from replay.evidence.files import OBSERVATION_SCHEMA, READING_SCHEMA
from replay.evidence.heartbeat import last_sign
from replay.evidence.rollup import read_segments, steadily
from replay.evidence.run import check_segment, read_info, read_rehearsal
from replay.evidence.values import ArmInfo
from replay.judge.findings import Check, evidence_check, percent, seconds
from replay.judge.soak.criteria import FEWEST_ANSWERS, SoakCriteria
from replay.judge.soak.digest import COLUMNS, Digest
from replay.judge.soak.drift import Layout, layout, series_of
from replay.judge.soak.levels import Levels
from replay.judge.soak.trend import FEWEST

DRIFT_ENDPOINTS = "drift_endpoints"
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Soak:
    """A soak's evidence, counted. ``last`` is what its last heartbeat says; ``damaged`` what could not be read."""

    rehearsal: dict[str, Any]
    info: ArmInfo
    layout: Layout
    digest: Digest
    levels: Levels
    last: dict[str, Any] | None = None
    damaged: tuple[str, ...] = field(default=())


def read_soak(path: Path) -> Soak:
    """Count the evidence of the soak in folder ``path``. Raises InputError where it is none."""
    rehearsal = read_rehearsal(path)
    order = rehearsal.get("order")
    name = order[0] if isinstance(order, list) and order else ""
    arm = path / "arms" / str(name)
    info = read_info(arm)
    cycle_s = rehearsal.get("cycle_s")
    lay = layout(info.duration_s, float(cycle_s) if isinstance(cycle_s, int | float) else None)

    def observed() -> tuple[Digest, list[str]]:
        digest, damaged = Digest(info.planned, lay.block_s), list[str]()
        for file, table in read_segments(arm / "observations", OBSERVATION_SCHEMA, COLUMNS):
            if (sound := _sound(file, table, damaged)) is not None:
                digest.add(sound.to_pandas())
        return digest, damaged

    def read() -> tuple[Levels, list[str]]:
        levels, damaged = Levels(lay.block_s), list[str]()
        for file, table in read_segments(arm / "readings", READING_SCHEMA):
            if (sound := _sound(file, table, damaged)) is not None:
                levels.add(sound.to_pandas())
        return levels, damaged

    digest, damaged = steadily(observed)
    levels, more = steadily(read)
    damaged += [*more, *(f"observations have the outcome {name!r}" for name in sorted(digest.unknown))]
    return Soak(rehearsal, info, lay, digest, levels, last_sign(path), tuple(damaged))


def _sound(file: Path, table: pa.Table | Exception, damaged: list[str]) -> pa.Table | None:
    """A segment that can be counted; None where it cannot, which ``damaged`` then says."""
    try:
        if isinstance(table, Exception):
            raise table
        check_segment(table)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        damaged.append(f"{file.parent.name}/{file.name}: {(str(error).splitlines() or ['unreadable'])[0]}")
        return None
    return table


def check_evidence(soak: Soak, criteria: SoakCriteria, endpoints: dict[str, pd.DataFrame]) -> Iterator[Check]:
    """Whether the evidence carries a verdict; ``endpoints`` are its blocks, see ``Digest.blocks``."""
    info, digest = soak.info, soak.digest
    state, reason = str(soak.rehearsal.get("state", "unknown")), str(soak.rehearsal.get("reason") or "")
    said = f"it is {state}{f' ({reason})' if reason else ''}"
    if state == "running" and soak.last:
        said = f"its last sign of life is of {soak.last.get('time')}, {soak.last.get('elapsed_s')} s after its start"
    yield _check(
        soak,
        "run_complete",
        limits=("complete", state),
        passed=state == "complete",
        well="The run is complete.",
        wrong=f"The run did not come to its end: {said}.",
        hint="Run it again, and let it come to its end.",
    )
    wrong = [
        *([f"{digest.observed:,} of {info.planned:,} planned requests"] if digest.observed != info.planned else []),
        *([f"{digest.twice:,} requests twice"] if digest.twice else []),
        *([f"damaged: {', '.join(soak.damaged[:5])}"] if soak.damaged else []),
    ]
    yield _check(
        soak,
        "arm_complete",
        limits=(float(info.planned), float(digest.observed)),
        passed=not wrong and info.planned > 0,
        well=f"All {info.planned:,} planned requests were observed.",
        wrong=f"What was observed is not whole: {'; '.join(wrong) or 'no request was planned'}.",
        hint="Run it again; what is damaged or missing cannot be judged.",
    )
    late_s = digest.lateness.quantile(0.99)
    yield _check(
        soak,
        "engine_lateness",
        limits=(criteria.lateness_s, late_s),
        passed=late_s is not None and late_s <= criteria.lateness_s,
        well=f"The load generator was on time (p99 {seconds(late_s or 0.0)} late).",
        wrong="The load generator sent nothing."
        if late_s is None
        else f"The load generator itself was late (p99 {seconds(late_s)}, limit {seconds(criteria.lateness_s)}).",
        hint="Give it more of the machine, or lower speed or scale.",
        voids="requests",
        unit="s",
    )
    sent = digest.sent()
    yield _check(
        soak,
        "min_requests",
        limits=(criteria.min_requests, float(sent)),
        passed=sent >= criteria.min_requests,
        well=f"{sent:,} requests were sent.",
        wrong=f"Only {sent:,} requests were sent ({criteria.min_requests:,.0f} are needed).",
        hint="Play longer, or more.",
        voids="requests",
    )
    unsent = digest.observed - sent
    share = unsent / max(1, digest.observed)
    yield _check(
        soak,
        "unsent_share",
        limits=(criteria.unsent_share, share),
        passed=share <= criteria.unsent_share,
        well=f"{unsent:,} of {digest.observed:,} requests were not sent.",
        wrong=f"{unsent:,} of {digest.observed:,} requests were not sent ({percent(share)}): nothing is known of them.",
        hint="See the observations for why; most often credentials are lacking.",
        unit="share",
    )
    yield from _probes_read(soak)
    yield from _endpoints_asked(soak, criteria)
    if criteria.drift_p_value:
        yield from _drift_seen(soak, criteria, endpoints)


def _probes_read(soak: Soak) -> Iterator[Check]:
    plan = soak.rehearsal.get("plan")
    probes = plan.get("probes") if isinstance(plan, dict) else None
    for probe in sorted(probes) if isinstance(probes, dict) else []:
        read, error = soak.levels.read[probe], soak.levels.failed.get(probe, "")
        blind_s = soak.levels.blind_from(probe)
        when = "" if blind_s is None else f" from {seconds(blind_s)} on"
        yield _check(
            soak,
            "probe_read",
            limits=(None, float(read)),
            passed=read > 0 and blind_s is None,
            well=f"Probe {probe!r} was read {read:,} times.",
            wrong=f"Probe {probe!r} read nothing{when}{f': {error}' if error else ''}.",
            hint="See that the probe reaches what it reads.",
        )


def _endpoints_asked(soak: Soak, criteria: SoakCriteria) -> Iterator[Check]:
    """The endpoints that the criteria name: asked, and answered as often as limits on times need."""
    digest = soak.digest
    rare = []
    for name, _ in criteria.endpoints:
        sent, answers, needed = digest.sent(name), digest.latency(name).total, criteria.needed(name)
        if sent < needed:
            rare.append(f"{name} ({sent:,} of {needed} requests)")
        elif needed > 1 and answers < needed:
            rare.append(f"{name} ({answers:,} of {needed} answers to {sent:,} requests)")
    if rare:
        yield _check(
            soak,
            "criteria_endpoints",
            limits=("", ", ".join(rare)),
            passed=False,
            well="",
            wrong=f"The criteria name endpoints that were not asked, or too rarely: {', '.join(rare)}.",
            hint=f"Play longer, or more; limits on times need {FEWEST_ANSWERS} answers, others one request.",
        )


def _drift_seen(soak: Soak, criteria: SoakCriteria, endpoints: dict[str, pd.DataFrame]) -> Iterator[Check]:
    needed_s, lasts_s = soak.layout.block_s * FEWEST, soak.info.duration_s
    yield _check(
        soak,
        "drift_seen",
        limits=(needed_s, lasts_s),
        passed=soak.layout.enough,
        well=f"It lasted long enough to see drift: {soak.layout.blocks} blocks of {seconds(soak.layout.block_s)}.",
        wrong=f"It is too short to see drift: {seconds(lasts_s)}, of {needed_s:,.0f} s that are needed.",
        hint="Play longer, or set drift_p_value = 0 to leave drift unasked.",
        unit="s",
    )
    if soak.layout.enough and (lost := _lost(soak, criteria)):
        yield _check(
            soak,
            "drift_read",
            limits=("", ", ".join(lost)),
            passed=False,
            well="",
            wrong=f"drift_per_hour has limits, but no probe read {', '.join(lost)}, or too rarely to tell.",
            hint="Name a metric as the readings have it, and see that a probe reads it all through.",
        )
    if soak.layout.enough and (untold := _untold(soak, endpoints)):
        own = [name for name in untold if criteria.of(name).times_drift != criteria.times_drift]
        few = named(untold)
        yield _check(
            soak,
            DRIFT_ENDPOINTS,
            limits=("", few),
            passed=not own,
            well=f"Of some endpoints too few answers came to see whether their times drift: {few}.",
            wrong=f"Limits of drift were given for {named(own)}, of which too few answers came to see it.",
            hint="Play longer, or more: half of the blocks need 5 answers that did not fail.",
        )


def _untold(soak: Soak, endpoints: dict[str, pd.DataFrame]) -> list[str]:
    """The endpoints that were asked often enough to look for a drift, and not answered often enough to see one."""
    told = {one.endpoint for one in series_of(endpoints, {}, soak.layout.blocks) if one.metric == "p50_s"}
    return [name for name in endpoints if name not in told and soak.digest.sent(name) >= FEWEST_ANSWERS]


def _lost(soak: Soak, criteria: SoakCriteria) -> list[str]:
    """The metrics with a limit of drift that nothing can be told of."""
    blocks = soak.layout.blocks
    told = {one.metric for one in series_of({}, soak.levels.series(blocks), blocks)}
    return [metric for metric, limit in criteria.drift_per_hour if limit < float("inf") and metric not in told]


def _check(
    soak: Soak,
    name: str,
    *,
    limits: tuple[float | str | None, float | str | None],
    passed: bool,
    well: str,
    wrong: str,
    hint: str,
    voids: str = "",
    unit: str = "",
) -> Check:
    limit, observed = limits
    return evidence_check(
        name,
        passed=passed,
        workload=soak.info.workload,
        limit=limit,
        observed=observed,
        well=well,
        wrong=wrong,
        hint=hint,
        voids=voids,
        unit=unit,
    )


def named(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
