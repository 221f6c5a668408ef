"""One replica's distance from its primary."""

import psycopg

from replay.errors import first_line
from replay.rehearsal.probes.lag import LagHistory, lsn_number
from replay.rehearsal.probes.postgres.source import Source, place_of
from replay.rehearsal.probes.readings import Readings
from replay.rehearsal.secrets import Scrubber

_PRIMARY = """
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END)::text AS position,
       extract(epoch FROM clock_timestamp())::float8 AS now_s
"""
# The moment of a transaction is the primary's own, so that its age is none of the difference between two clocks.
_REPLICA = """
SELECT pg_is_in_recovery() AS is_replica, pg_last_wal_replay_lsn()::text AS position,
       extract(epoch FROM pg_last_xact_replay_timestamp())::float8 AS replayed_s
"""


class Replica:
    """Reads one replica and its primary."""

    def __init__(self, primary_dsn: str, dsn: str, name: str, readings: Readings, scrub: Scrubber) -> None:
        self._name = place_of(dsn)
        self._primary = Source(primary_dsn, name)
        self._replica = Source(dsn, name)
        self._readings = readings
        self._scrub = scrub
        self._history = LagHistory()

    def sample(self) -> None:
        """One look. The primary first: the replica may then be ahead of it, which is no lag, never seem behind."""
        try:
            if None in (self._primary.connect(), self._replica.connect()):
                return
            at_s = self._readings.now_s
            primary = self._primary.rows(_PRIMARY)[0]
            replica = self._replica.rows(_REPLICA)[0]
        except psycopg.Error as error:
            self._primary.close()
            self._replica.close()
            self._readings.failed(self._scrub(first_line(error)), replica=self._name)
            return
        if not replica["is_replica"] or None in (replica["position"], primary["position"]):
            self._readings.failed("this server is not a replica", replica=self._name)
            return
        size_bytes, seconds = self._history.lag(at_s, lsn_number(primary["position"]), lsn_number(replica["position"]))
        age_s = None if replica["replayed_s"] is None else primary["now_s"] - replica["replayed_s"]
        replay_s = self._history.replay_lag(at_s, age_s)
        detail = {"replica": self._name}
        self._readings.add("replica_lag_bytes", float(size_bytes), detail, at_s)
        self._readings.add("replica_lag_s", seconds, detail, at_s)
        if replay_s is not None:
            self._readings.add("replica_replay_lag_s", replay_s, detail, at_s)

    def end(self) -> None:
        """Close all."""
        self._primary.close()
        self._replica.close()
        self._readings.close()
