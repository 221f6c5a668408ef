"""What each statement cost during the arm, where the extension pg_stat_statements is installed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from replay.rehearsal.probes.postgres.source import OURS, Source
from replay.rehearsal.secrets import Scrubber

_MOST = 50
_MOST_OURS = 50  # of our own queries, which are left out
_LONGEST_QUERY = 500
_EXTENSION = """
SELECT quote_ident(n.nspname) AS schema, e.extversion AS version
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'
"""
# Without their texts, which lie in a file.
_COSTS = """
SELECT queryid, sum(calls)::float8 AS calls, sum({time})::float8 / 1000 AS seconds, sum(rows)::float8 AS rows,
       {plans}::float8 AS plans
FROM {schema}.pg_stat_statements(false)
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
GROUP BY queryid
"""
_TEXTS = """
SELECT queryid, min(left(query, 4000)) AS query, bool_or(position(%s in query) > 0) AS ours
FROM {schema}.pg_stat_statements(true)
WHERE queryid = ANY (%s) GROUP BY queryid
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What all calls of one statement have cost."""

    calls: float = 0.0
    seconds: float = 0.0
    rows: float = 0.0
    plans: float = 0.0

    def since(self, before: "Cost") -> "Cost":
        """What has come to ``before``; all, where the counts were put back to 0 meanwhile."""
        if self.calls < before.calls or self.seconds < before.seconds:
            return self
        return Cost(
            self.calls - before.calls,
            self.seconds - before.seconds,
            self.rows - before.rows,
            self.plans - before.plans,
        )


class Statements:
    """The costs at two moments."""

    def __init__(self, source: Source, scrub: Scrubber) -> None:
        self._source = source
        self._scrub = scrub
        self._before: Mapping[int, Cost] | None = None

    def begin(self) -> None:
        """Look for the first time. Raises psycopg.Error."""
        self._before = self._costs()

    def end(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """For the fifty statements that took most time since ``begin``: seconds, and the detail of the reading.

        What the rehearsal itself asked to watch is none of them. Raises psycopg.Error.
        """
        before = self._before
        after = self._costs() if before is not None else None
        if before is None or after is None:
            return
        spent = {queryid: cost.since(before.get(queryid, Cost())) for queryid, cost in after.items()}
        most = sorted((one for one in spent if spent[one].calls), key=lambda one: (-spent[one].seconds, one))
        texts = self._texts(most[: _MOST + _MOST_OURS])
        for queryid in [one for one in most if one in texts][:_MOST]:
            yield spent[queryid].seconds, self._detail(queryid, spent[queryid], before.get(queryid), texts)

    def _detail(self, queryid: int, cost: Cost, before: Cost | None, texts: Mapping[int, str]) -> dict[str, Any]:
        earlier = before if before is not None and before.calls else None
        return {
            "queryid": str(queryid),  # 64 bits, more than a number in JSON is sure to keep
            "query": self._scrub.query(texts[queryid])[:_LONGEST_QUERY],
            "calls": cost.calls,
            "rows": cost.rows,
            "plans": cost.plans,
            "mean_s": cost.seconds / cost.calls,
            "mean_before_s": earlier.seconds / earlier.calls if earlier else None,
            "rows_per_call": cost.rows / cost.calls,
            "rows_per_call_before": earlier.rows / earlier.calls if earlier else None,
        }

    def _costs(self) -> dict[int, Cost] | None:
        extension = self._extension()
        if extension is None:
            return None
        schema, version = extension
        named = version >= (1, 8)
        query = _COSTS.format(
            schema=schema,
            time="total_exec_time" if named else "total_time",
            plans="sum(plans)" if named else "0",
        )
        return {
            row["queryid"]: Cost(row["calls"], row["seconds"], row["rows"], row["plans"])
            for row in self._source.rows(query)
        }

    def _texts(self, queryids: list[int]) -> dict[int, str]:
        """The texts of all but our own."""
        extension = self._extension()
        if extension is None or not queryids:
            return {}
        rows = self._source.rows(_TEXTS.format(schema=extension[0]), OURS, queryids)
        return {row["queryid"]: row["query"] or "" for row in rows if not row["ours"]}

    def _extension(self) -> tuple[str, tuple[int, ...]] | None:
        """The extension's schema and version, or None where it is not installed."""
        rows = self._source.rows(_EXTENSION)
        if not rows:
            return None
        return rows[0]["schema"], tuple(int(part) for part in rows[0]["version"].split(".") if part.isdigit())
