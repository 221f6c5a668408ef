"""What the server's counters are asked. Every query gives rows of ``metric``, ``value`` and ``detail`` (JSON or null).

Written for PostgreSQL 12 to 18; a query is a function of the server's version (``180001``).
"""

from collections.abc import Callable

_POSITION = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END"


def _database(_: int) -> str:
    return """
SELECT metric, value::float8, NULL::json AS detail
FROM pg_stat_database, LATERAL (
    VALUES ('deadlocks', deadlocks), ('temp_files', temp_files), ('temp_bytes', temp_bytes)
) AS one (metric, value)
WHERE datname = current_database()
"""


def _log(_: int) -> str:
    return f"SELECT 'wal_bytes' AS metric, pg_wal_lsn_diff({_POSITION}, '0/0')::float8 AS value, NULL::json AS detail"


def _slots(version: int) -> str:
    status = "wal_status" if version >= 130000 else "NULL::text"
    return f"""
SELECT 'slot_retained_bytes' AS metric, greatest(0, pg_wal_lsn_diff({_POSITION}, restart_lsn))::float8 AS value,
       json_build_object('slot', slot_name, 'kind', slot_type, 'active', active, 'wal_status', {status}) AS detail
FROM pg_replication_slots WHERE restart_lsn IS NOT NULL
"""  # noqa: S608 - of constants alone


def _checkpoints(version: int) -> str:
    if version >= 170000:
        timed, requested, view = "num_timed", "num_requested", "pg_stat_checkpointer"
    else:
        timed, requested, view = "checkpoints_timed", "checkpoints_req", "pg_stat_bgwriter"
    return f"""
SELECT 'checkpoints' AS metric, ({timed} + {requested})::float8 AS value,
       json_build_object('timed', {timed}, 'requested', {requested}) AS detail
FROM {view}
"""  # noqa: S608 - of constants alone


def _autovacuum(_: int) -> str:
    # The text of a worker names its table, whichever database that is in.
    return """
SELECT 'autovacuum_workers' AS metric, count(*)::float8 AS value,
       json_build_object('work', coalesce(json_agg(left(query, 200) ORDER BY query), '[]')) AS detail
FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'
"""


COUNTERS: tuple[tuple[str, Callable[[int], str]], ...] = (
    ("counters of the database", _database),
    ("position in the log", _log),
    ("replication slots", _slots),
    ("checkpoints", _checkpoints),
    ("autovacuum", _autovacuum),
)

# A size takes a lock, so a table that is being altered has none. The thousand that were largest when they were last
# vacuumed or analysed are measured: more would take their time.
SIZES = """
WITH candidate AS MATERIALIZED (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.mode = 'AccessExclusiveLock')
    ORDER BY c.relpages DESC, c.oid LIMIT 1000
),
sized AS MATERIALIZED (
    SELECT oid::regclass::text AS name, pg_table_size(oid) AS table_bytes, pg_indexes_size(oid) AS index_bytes
    FROM candidate
),
largest AS (SELECT * FROM sized ORDER BY table_bytes + index_bytes DESC NULLS LAST, name LIMIT 50)
SELECT metric, value::float8, json_build_object('table', name) AS detail
FROM largest, LATERAL (VALUES ('table_bytes', table_bytes), ('index_bytes', index_bytes)) AS one (metric, value)
WHERE value IS NOT NULL
"""
INVALID_INDEXES = """
SELECT 'invalid_indexes' AS metric, count(*)::float8 AS value,
       json_build_object('indexes', coalesce(json_agg(indexrelid::regclass::text ORDER BY 1), '[]')) AS detail
FROM (SELECT indexrelid FROM pg_index WHERE NOT indisvalid ORDER BY 1 LIMIT 1000) AS invalid
"""
