"""Sessions, locks and connections of the primary."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from replay.rehearsal.probes.mysql import queries
from replay.rehearsal.probes.mysql.locks import RowWait, Seen, chains, lock_of, step_in
from replay.rehearsal.probes.mysql.source import PROBE_NAME, TROUBLE, Source, is_refused, quoted_user, said
from replay.rehearsal.probes.readings import Readings
from replay.rehearsal.secrets import Scrubber


@dataclass(frozen=True, slots=True)
class Ability:
    """What this server tells this user. ``locks`` is the query for metadata locks, None where it tells none."""

    transactions: bool = False
    schema: bool = False
    locks: str | None = None


class Sessions:
    """Reads who is connected, who waits for whom, and the longest transaction."""

    def __init__(self, source: Source, readings: Readings, steps: Mapping[str, str], scrub: Scrubber) -> None:
        self._source = source
        self._readings = readings
        self._steps = steps
        self._scrub = scrub
        self._limit: int | None = None
        self._ability = Ability()
        self._applications: dict[int, str] = {}
        self._waiting: dict[int, float] = {}  # since the look before the first at which it waited
        self._looked_s = -math.inf
        self._named: dict[int, str] = {}  # the sessions that have once said of which step they are
        self._session_names = {f"replay step: {step}": name for name, step in steps.items()}

    def sample(self) -> None:
        """One look."""
        try:
            made = self._source.connect()
            if made is None:
                return
            if made:
                self._begin()
            self._read()
        except TROUBLE as error:
            self._source.close()
            self._readings.failed(self._scrub(said(error)))

    def end(self) -> None:
        """Close all."""
        self._source.close()
        self._readings.close()

    def _begin(self) -> None:
        row = self._source.rows(queries.USER)[0]
        self._limit = int(row["connections_limit"])
        user = quoted_user(str(row["user"]))
        transactions = self._may(queries.TRANSACTIONS)
        if not transactions:
            self._readings.failed(f"{user} may not see the sessions of others: GRANT PROCESS ON *.* TO {user}")
        schema = bool(row["schema_on"])
        if schema and not self._may(queries.KEEPS_LOCKS):
            schema = False
            self._readings.failed(
                f"{user} may not see who holds which lock: GRANT SELECT ON performance_schema.* TO {user}"
            )
        self._ability = Ability(transactions, schema, self._locks_query(schema))
        self._applications, self._named, self._waiting = {}, {}, {}

    def _may(self, query: str) -> bool:
        try:
            self._source.rows(query)
        except TROUBLE as error:
            if not is_refused(error):
                raise
            return False
        return True

    def _locks_query(self, schema: bool) -> str | None:
        if schema and any(row["kept"] for row in self._source.rows(queries.KEEPS_LOCKS)):
            return queries.METADATA_LOCKS
        if self._source.version.maria and self._source.rows(queries.HAS_PLUGIN):
            return queries.METADATA_LOCKS_PLUGIN
        return None

    def _read(self) -> None:
        transactions = self._source.rows(queries.TRANSACTIONS) if self._ability.transactions else []
        rows = [row for row in self._source.rows(self._processes_query()) if int(row["pid"]) not in self._source.ours]
        at_s = self._readings.now_s
        if self._ability.schema and any(int(row["pid"]) not in self._applications for row in rows):
            self._name_all(rows)
        ages = {int(row["pid"]): max(0.0, float(row["age_s"] or 0.0)) for row in transactions}
        self._named = {pid: name for pid, name in self._named.items() if any(int(row["pid"]) == pid for row in rows)}
        seen = [self._seen(row, ages) for row in rows if not self._is_probe(row)]
        seen = self._since(seen, transactions, at_s)
        if at_s < 0:
            return
        clients = {int(row["pid"]) for row in rows if queries.is_client(row)}
        self._counts([one for one in seen if one.pid in clients], at_s)
        waiting = [one for one in seen if one.pid in self._waiting]
        self._readings.add("waiting_backends", float(len(waiting)), at_s=at_s)
        if waiting:
            self._lock_waits(seen, transactions, at_s)

    def _processes_query(self) -> str:
        if self._source.version.maria:
            return queries.PROCESSES_MARIADB
        return queries.PROCESSES_MYSQL if self._ability.schema else queries.PROCESSES

    def _name_all(self, rows: Sequence[Mapping[str, Any]]) -> None:
        named = {int(row["pid"]): str(row["application"]) for row in self._source.rows(queries.APPLICATIONS)}
        self._applications = {int(row["pid"]): named.get(int(row["pid"]), "") for row in rows}

    def _is_probe(self, row: Mapping[str, Any]) -> bool:
        return self._applications.get(int(row["pid"]), "").startswith(PROBE_NAME)

    def _seen(self, row: Mapping[str, Any], ages: Mapping[int, float]) -> Seen:
        pid, query = int(row["pid"]), str(row["query"] or "")
        # The statement says it best: a tool that knows nothing of steps has a name of its own.
        if (said_name := step_in(query)) is not None:
            self._named[pid] = self._session_names.get(said_name, said_name)
        sleeps = row["command"] == "Sleep"
        idle = "idle in transaction" if pid in ages else "idle"
        host = str(row["host"] or "").rpartition(":")[0] or str(row["host"] or "")
        return Seen(
            pid=pid,
            application=self._named.get(pid) or self._applications.get(pid) or f"{row['user']}@{host}",
            state=idle if sleeps else "active",
            stage=str(row["stage"] or ""),
            query=self._scrub.query(query),
            base=str(row["base"] or ""),
            elapsed_s=max(0.0, float(row["elapsed_s"] or 0.0)),
            transaction_s=ages.get(pid),
        )

    def _since(self, seen: list[Seen], transactions: Sequence[Mapping[str, Any]], at_s: float) -> list[Seen]:
        """Put in how long each has waited: since the last look at which it did not, but not before its statement."""
        of_rows = {int(row["pid"]): float(row["waited_s"] or 0.0) for row in transactions if row["waits"]}
        before_s, self._looked_s = self._looked_s, at_s
        self._waiting = {
            one.pid: self._waiting.get(one.pid, before_s) for one in seen if one.pid in of_rows or one.awaits
        }
        return [
            replace(one, waited_s=min(one.elapsed_s, at_s - self._waiting[one.pid]))
            if one.pid in self._waiting
            else one
            for one in seen
        ]

    def _counts(self, clients: Sequence[Seen], at_s: float) -> None:
        if self._limit is not None:
            self._readings.add("connections_limit", float(self._limit), at_s=at_s)
            self._limit = None
        counts = {row["Variable_name"]: float(row["Value"]) for row in self._source.rows(queries.COUNTS)}
        self._readings.add("threads_running", counts["Threads_running"], at_s=at_s)
        if not self._ability.transactions:
            self._readings.add("connections", counts["Threads_connected"], at_s=at_s)
            return
        self._readings.add("connections", float(len(clients)), dict(Counter(one.state for one in clients)), at_s)
        for row in self._source.rows(queries.HISTORY):
            self._readings.add("history_list_length", float(row["length"]), at_s=at_s)
        longest = max(clients, key=lambda one: one.transaction_s or 0.0, default=None)
        if longest is None or longest.transaction_s is None:
            self._readings.add("long_transaction_s", 0.0, at_s=at_s)
            return
        detail = {
            "pid": longest.pid,
            "application": longest.application,
            "state": longest.state,
            "step": self._steps.get(longest.application),
        }
        self._readings.add("long_transaction_s", longest.transaction_s, detail, at_s)

    def _lock_waits(self, seen: Sequence[Seen], transactions: Sequence[Mapping[str, Any]], at_s: float) -> None:
        if self._ability.schema and self._source.version.maria:
            last = {int(row["pid"]): str(row["query"]) for row in self._source.rows(queries.LAST_STATEMENTS)}
            seen = [one if one.query else replace(one, query=self._scrub.query(last.get(one.pid, ""))) for one in seen]
        locks = None
        if self._ability.locks is not None:
            locks = [lock_of(row) for row in self._source.rows(self._ability.locks)]
        with_wishes = self._ability.locks == queries.METADATA_LOCKS
        found = chains(seen, self._row_waits(transactions), locks, with_wishes=with_wishes)
        for waited_s, detail in found.waits(self._steps):
            self._readings.add("lock_wait_s", waited_s, detail, at_s)

    def _row_waits(self, transactions: Sequence[Mapping[str, Any]]) -> list[RowWait]:
        if not any(row["waits"] for row in transactions):
            return []
        if not (self._source.version.maria or self._ability.schema):
            return []
        query = queries.ROW_WAITS_MARIADB if self._source.version.maria else queries.ROW_WAITS_MYSQL
        # Transactions that only read may all have the same id; none of them holds a lock.
        pids = {str(row["id"]): int(row["pid"]) for row in transactions if row["holds"]}
        return [
            RowWait(pids[str(row["waiting"])], pids[str(row["blocking"])], str(row["relation"]), str(row["mode"]))
            for row in self._source.rows(query)
            if str(row["waiting"]) in pids and str(row["blocking"]) in pids
        ]
