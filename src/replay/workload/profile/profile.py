"""What a capture is like, at any size: small tables, computed by an engine over its Parquet."""

from dataclasses import dataclass
from pathlib import Path

import ibis
import numpy as np
import pandas as pd

from replay.capture.store import verified_capture
from replay.traffic import Client
from replay.workload.endpoints.paths import MOST_KEYS, Paths, find_paths
from replay.workload.endpoints.routes import Rules
from replay.workload.engine import Engine
from replay.workload.profile.arrivals import Arrivals, describe_arrivals, each_second, tail_exponent
from replay.workload.profile.events import with_concurrency, with_idle, with_predecessors, with_visits
from replay.workload.profile.facts import facts
from replay.workload.profile.popularity import Popularity, find_popularity
from replay.workload.profile.senders import Senders, find_senders, sender_of
from replay.workload.profile.variants import Variants, find_variants
from replay.workload.profile.visits import Gap, find_gap

START = "(start)"
_SECOND_US = 1_000_000
_BITS = 62  # of a whole number in which an end and an endpoint are packed
_MOST_SUCCESSIONS = 5_000
_MOST_AGENTS = 50
_QUANTILES = (0.1, 0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Timing:
    """How finely a capture tells time.

    ``has_durations`` is False where no exchange took any, as in a log that has none; ``whole_seconds`` is True where
    all of them began, or all ended, at a whole second.
    """

    has_durations: bool
    whole_seconds: bool

    @property
    def tells_company(self) -> bool:
        """Whether it is known what was under way at the same time."""
        return self.has_durations and not self.whole_seconds


@dataclass(frozen=True, slots=True)
class Sittings:
    """The visits of a capture: how many, the gap that ends one, and how long they are.

    ``lengths`` maps how many exchanges a visit has to how many visits have as many; ``duration_s`` and ``think_s`` map
    quantiles to seconds; ``side_by_side`` is the share of exchanges sent while another of their client was under way.
    """

    count: int
    gap: Gap
    lengths: dict[int, int]
    duration_s: dict[float, float]
    think_s: dict[float, float]
    side_by_side: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A capture as small tables.

    - ``endpoints``: ``endpoint``, ``count``, ``clients``, ``statuses`` (a dictionary), ``empty`` (how many), quantiles
      of time (NaN where the capture has no durations) and size.
    - ``successions``: ``before`` (the endpoint of the last exchange of the visit that was over, or ``(start)`` where
      none was), ``endpoint``, ``count``, ``think_s`` (the median).
    - ``variants``: ``endpoint``, ``variant``, ``count``, ``clients``.
    - ``classes``: ``endpoint``, ``variant``, ``before``, ``running`` (0 for alone, 1 for two or three at once, 2 for
      four to seven, and so on), ``same_key`` (whether another for the same key was under way), ``count``,
      ``most_running``.
    - ``agents``: ``agent``, ``count``.

    ``client_counts`` has how much each client sent, in the order of ``clients``. What was under way at the same time
    (``running``, ``same_key``, ``most_running``, ``side_by_side``) means nothing where ``timing`` does not tell it.
    """

    exchanges: int
    duration_s: float
    timing: Timing
    clients: tuple[Client, ...]
    client_counts: tuple[int, ...]
    endpoints: pd.DataFrame
    successions: pd.DataFrame
    variants: pd.DataFrame
    classes: pd.DataFrame
    agents: pd.DataFrame
    arrivals: Arrivals
    sittings: Sittings
    parameters: tuple[Popularity, ...]

    @property
    def tail(self) -> float | None:
        """The tail exponent of how much each client sends."""
        return tail_exponent(self.client_counts)


def read_profile(capture: Path, engine: Engine, rules: Rules | None = None) -> Profile:
    """The profile of the capture in a folder. Raises InputError where it is missing, damaged or not complete."""
    return profile(engine.read(verified_capture(capture).files), engine, rules)


def profile(exchanges: ibis.Table, engine: Engine, rules: Rules | None = None) -> Profile:
    """The profile of some exchanges, a table of ``segments.SCHEMA``. ``rules`` name endpoints before any is learned."""
    read = engine.keep(facts(exchanges, engine))
    return profile_of(read, find_paths(read, engine, rules), engine)


def profile_of(read: ibis.Table, paths: Paths, engine: Engine) -> Profile:
    """The profile of exchanges whose ``facts`` are kept, and whose endpoints are known."""
    senders = find_senders(read, engine)
    variants = find_variants(read, engine)
    events = engine.keep(_events(read, engine, paths, senders, variants))
    whole = engine.frame(events.aggregate(count=events.count(), first=events.t.min(), last=events.te.max())).iloc[0]
    if not whole["count"]:
        return _nothing()
    timing = _timing(events, engine)
    first_us, last_us = int(whole["first"]), int(whole["last"])
    gap = find_gap(_idle_histogram(events, engine))
    visited = with_visits(events.drop("status", "size_bytes", "empty"), round(gap.gap_s * 1e6))
    bits = len(paths.endpoints).bit_length()
    coarse = max(0, bits + (last_us - first_us).bit_length() - _BITS)
    found = with_predecessors(visited, "endpoint", bits, first_us, coarse)
    found = engine.keep(
        found.select(
            *("t", "te", "client", "endpoint", "variant", "key"),
            visit=found.visit.cast("int32"),
            after=found.after.fill_null(-1).cast("int32"),
            think_us=(found.t - found.after_te).clip(lower=0),
            beside=found.beside.cast("int32"),
        )
    )
    crowded = with_concurrency(found.select("t", "te", "endpoint", "variant", "key", "after"))
    names = [str(endpoint) for endpoint in paths.endpoints]
    by_client = engine.frame(found.group_by("client").aggregate(count=found.count()).order_by("client"))
    counts = np.zeros(len(senders.clients), dtype=np.int64)
    counts[by_client["client"].to_numpy(dtype=np.int64)] = by_client["count"]
    return Profile(
        exchanges=int(whole["count"]),
        duration_s=(last_us - first_us) / 1e6,
        timing=timing,
        clients=senders.clients,
        client_counts=tuple(counts.tolist()),
        endpoints=_endpoints(events, engine, names, timing),
        successions=_successions(found, engine, names),
        variants=_variants(found, engine, names, variants.texts),
        classes=_classes(crowded, engine, names, variants.texts),
        agents=_agents(read, engine),
        arrivals=_arrivals(found, engine),
        sittings=_sittings(found, engine, gap),
        parameters=find_popularity(read, engine, paths),
    )


def _events(read: ibis.Table, engine: Engine, paths: Paths, senders: Senders, variants: Variants) -> ibis.Table:
    """The facts of each exchange as numbers: endpoint, client, variant, key."""
    read = read.mutate(
        sender=sender_of(read, engine),
        made=engine.fingerprint(read.variant),
        answered=engine.fingerprint(read.small.fill_null("{0}")),
    )
    joined = read.join(engine.given(paths.forms), ["method", "form", "asked"])
    joined = joined.join(engine.given(senders.numbers), "sender")
    joined = joined.left_join(engine.given(variants.numbers), "made")
    joined = joined.left_join(engine.given(variants.empties), "answered")
    key = key_of(joined, engine)
    promised = (joined.status >= 200) & (joined.status < 300) & ~joined.status.isin([204, 205])
    narrow = {name: joined[name].cast("int32") for name in ("client", "endpoint", "status")}
    return joined.select(
        "t",
        "te",
        "size_bytes",
        **narrow,
        variant=joined.variant_right.fill_null(0).cast("int32"),
        key=key,
        empty=promised & joined.small.notnull() & joined.empty.fill_null(False),
    )


def key_of(joined: ibis.Table, engine: Engine) -> ibis.Value:
    """What stands for the values of a path's parameters; NULL where it has none."""
    segments = joined.path.split("/")
    values = [segments[joined[f"place_{place}"]].fill_null("") for place in range(MOST_KEYS)]
    text = values[0]
    for value in values[1:]:
        text = text + "/" + value
    return joined.place_0.notnull().ifelse(engine.fingerprint(text), ibis.null(engine.fingerprint(text).type()))


def _idle_histogram(events: ibis.Table, engine: Engine) -> pd.DataFrame:
    idle = with_idle(events).filter(ibis._.idle_us.notnull())
    octave = (ibis.greatest(idle.idle_us / 1e6, 1.0).log2() * 2).round().cast("int64")
    return engine.frame(idle.select(octave=octave).group_by("octave").aggregate(count=ibis._.count()))


def _timing(events: ibis.Table, engine: Engine) -> Timing:
    off = engine.frame(
        events.aggregate(
            took=(events.te > events.t).any(),
            began=(events.t % _SECOND_US != 0).any(),
            ended=(events.te % _SECOND_US != 0).any(),
        )
    ).iloc[0]
    return Timing(bool(off["took"]), not (off["began"] and off["ended"]))


def _endpoints(events: ibis.Table, engine: Engine, names: list[str], timing: Timing) -> pd.DataFrame:
    took_s = (events.te - events.t) / 1e6
    rows = engine.frame(
        events.group_by("endpoint").aggregate(
            count=events.count(),
            clients=events.client.nunique(),
            empty=events.empty.sum(),
            # An engine holds all values to find a quantile of them: once for all of those asked for at once.
            durations=took_s.quantile(_QUANTILES),
            sizes=events.size_bytes.quantile(_QUANTILES),
            size_most_bytes=events.size_bytes.max(),
        )
    )
    statuses = engine.frame(events.group_by(["endpoint", "status"]).aggregate(count=events.count()))
    by_endpoint = {
        endpoint: {_status(status): int(count) for status, count in zip(own["status"], own["count"], strict=True)}
        for endpoint, own in statuses.sort_values("status").groupby("endpoint")
    }
    rows["statuses"] = rows["endpoint"].map(by_endpoint)
    for place, q in enumerate(_QUANTILES):
        rows[f"duration_p{round(100 * q)}_s"] = rows["durations"].str[place].astype(float)
        rows[f"size_p{round(100 * q)}_bytes"] = rows["sizes"].str[place].astype(float)
    rows = rows.drop(columns=["durations", "sizes"])
    if not timing.has_durations:
        rows[[f"duration_p{round(100 * q)}_s" for q in _QUANTILES]] = np.nan
    return _ranked(_named(rows, names, "endpoint"))


def _successions(found: ibis.Table, engine: Engine, names: list[str]) -> pd.DataFrame:
    grouped = found.group_by(before=found.after, endpoint=found.endpoint)
    rows = grouped.aggregate(count=found.count(), think_s=found.think_us.median() / 1e6)
    rows = engine.frame(rows.order_by(ibis.desc("count"), "before", "endpoint").limit(_MOST_SUCCESSIONS))
    return _ranked(_named(rows, names, "before", "endpoint"))


def _variants(found: ibis.Table, engine: Engine, names: list[str], texts: tuple[str, ...]) -> pd.DataFrame:
    rows = found.group_by(["endpoint", "variant"]).aggregate(count=found.count(), clients=found.client.nunique())
    return _ranked(_named(engine.frame(rows), names, "endpoint").assign(variant=lambda own: _texts(own, texts)))


def _classes(found: ibis.Table, engine: Engine, names: list[str], texts: tuple[str, ...]) -> pd.DataFrame:
    found = found.mutate(class_of_running=found.running.log2().floor().cast("int64"), before=found.after)
    rows = found.group_by(["endpoint", "variant", "before", "class_of_running", "same_key"]).aggregate(
        count=found.count(), most_running=found.running.max()
    )
    frame = engine.frame(rows).rename(columns={"class_of_running": "running"})
    return _ranked(_named(frame, names, "before", "endpoint").assign(variant=lambda own: _texts(own, texts)))


def _agents(read: ibis.Table, engine: Engine) -> pd.DataFrame:
    product = read.agent.re_extract(r"^([^\s(;,]*)", 1)
    rows = read.group_by(agent=product).aggregate(count=read.count())
    return engine.frame(rows.order_by(ibis.desc("count"), "agent").limit(_MOST_AGENTS))


def _arrivals(found: ibis.Table, engine: Engine) -> Arrivals:
    rows = engine.frame(found.group_by(second=found.t // _SECOND_US).aggregate(count=found.count()).order_by("second"))
    return describe_arrivals(*each_second(rows["second"].to_numpy(dtype=np.int64), rows["count"].to_numpy(np.int64)))


def _sittings(found: ibis.Table, engine: Engine, gap: Gap) -> Sittings:
    visits = found.group_by(["client", "visit"]).aggregate(
        exchanges=found.count(), duration_s=(found.te.max() - found.t.min()) / 1e6
    )
    lengths = engine.frame(visits.group_by("exchanges").aggregate(count=visits.count()).order_by("exchanges"))
    return Sittings(
        count=int(lengths["count"].sum()),
        gap=gap,
        lengths={int(size): int(count) for size, count in lengths.itertuples(index=False, name=None)},
        duration_s=_quantiles(visits, visits.duration_s, engine),
        think_s=_quantiles(found, found.think_us / 1e6, engine),
        side_by_side=float(engine.frame(found.aggregate(share=(found.beside > 0).mean()))["share"].iloc[0]),
    )


def _quantiles(table: ibis.Table, value: ibis.Value, engine: Engine) -> dict[float, float]:
    found = engine.frame(table.aggregate(found=value.quantile(_QUANTILES)))["found"].iloc[0]
    return {} if found is None else {q: float(one) for q, one in zip(_QUANTILES, found, strict=True)}


def _named(rows: pd.DataFrame, names: list[str], *columns: str) -> pd.DataFrame:
    texts = np.array([*names, START], dtype=object)  # -1 is the last
    return rows.assign(**{column: texts[rows[column].to_numpy(dtype=np.int64)] for column in columns})


def _texts(rows: pd.DataFrame, texts: tuple[str, ...]) -> list[str]:
    return [texts[number] for number in rows["variant"].astype("int64")]


def _ranked(rows: pd.DataFrame) -> pd.DataFrame:
    keys = [name for name in ("endpoint", "variant", "before", "running", "same_key") if name in rows.columns]
    return rows.sort_values(["count", *keys], ascending=[False, *(True for _ in keys)]).reset_index(drop=True)


def _status(status: int) -> str:
    return str(int(status)) if status else "none"


def _nothing() -> Profile:
    return Profile(
        exchanges=0,
        duration_s=0.0,
        timing=Timing(has_durations=True, whole_seconds=False),
        clients=(),
        client_counts=(),
        endpoints=pd.DataFrame({"endpoint": [], "count": []}),
        successions=pd.DataFrame({"before": [], "endpoint": [], "count": [], "think_s": []}),
        variants=pd.DataFrame({"endpoint": [], "variant": [], "count": [], "clients": []}),
        classes=pd.DataFrame({"endpoint": [], "variant": [], "before": [], "running": [], "same_key": [], "count": []}),
        agents=pd.DataFrame({"agent": [], "count": []}),
        arrivals=describe_arrivals(0, ()),
        sittings=Sittings(0, find_gap(pd.DataFrame({"octave": [], "count": []})), {}, {}, {}, 0.0),
        parameters=(),
    )
