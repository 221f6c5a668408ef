"""What the server is asked. Rows of one kind have the same columns, whichever server gives them.

For MariaDB from 10.11 and MySQL from 8.0 on: ``information_schema`` for the one, ``performance_schema`` for the other.
"""

from collections.abc import Mapping
from typing import Any

from replay.rehearsal.probes.mysql.source import Version

_SERVERS_OWN = frozenset({"system user", "event_scheduler"})
USER = "SELECT CURRENT_USER() AS user, @@max_connections AS connections_limit, @@performance_schema AS schema_on"
COUNTS = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Threads_running')"
HISTORY = "SELECT COUNT AS length FROM information_schema.INNODB_METRICS WHERE NAME = 'trx_rseg_history_len'"

# pid, user, host, base, command, stage, query, elapsed_s
PROCESSES = """
SELECT ID AS pid, USER AS user, HOST AS host, DB AS base, COMMAND AS command, STATE AS stage,
       LEFT(INFO, 4000) AS query, TIME AS elapsed_s
FROM information_schema.PROCESSLIST
"""
PROCESSES_MARIADB = PROCESSES.replace("TIME AS", "TIME_MS / 1000 AS")
# This view of them takes no lock on all of them; the statement that ran last stays to be read.
PROCESSES_MYSQL = """
SELECT t.PROCESSLIST_ID AS pid, t.PROCESSLIST_USER AS user, t.PROCESSLIST_HOST AS host, t.PROCESSLIST_DB AS base,
       t.PROCESSLIST_COMMAND AS command, t.PROCESSLIST_STATE AS stage,
       LEFT(COALESCE(t.PROCESSLIST_INFO, e.SQL_TEXT), 4000) AS query,
       CASE WHEN e.END_EVENT_ID IS NULL THEN COALESCE(e.TIMER_WAIT / 1e12, t.PROCESSLIST_TIME)
            ELSE t.PROCESSLIST_TIME END AS elapsed_s
FROM performance_schema.threads t
LEFT JOIN performance_schema.events_statements_current e
    ON e.THREAD_ID = t.THREAD_ID AND e.NESTING_EVENT_LEVEL = 0
WHERE t.TYPE = 'FOREGROUND' AND t.PROCESSLIST_ID IS NOT NULL
"""
# pid, query
LAST_STATEMENTS = """
SELECT t.PROCESSLIST_ID AS pid, LEFT(e.SQL_TEXT, 4000) AS query
FROM performance_schema.events_statements_current e
JOIN performance_schema.threads t ON t.THREAD_ID = e.THREAD_ID
WHERE t.PROCESSLIST_ID IS NOT NULL AND e.NESTING_EVENT_LEVEL = 0 AND e.SQL_TEXT IS NOT NULL
"""
# pid, application
APPLICATIONS = """
SELECT PROCESSLIST_ID AS pid, ATTR_VALUE AS application
FROM performance_schema.session_connect_attrs WHERE ATTR_NAME = 'program_name'
"""
# pid, id, waits, holds, age_s, waited_s. The server knows both moments to the second only.
TRANSACTIONS = """
SELECT trx_mysql_thread_id AS pid, trx_id AS id, trx_state = 'LOCK WAIT' AS waits, trx_lock_structs > 0 AS holds,
       TIMESTAMPDIFF(MICROSECOND, trx_started, NOW(6)) / 1e6 AS age_s,
       TIMESTAMPDIFF(MICROSECOND, trx_wait_started, NOW(6)) / 1e6 AS waited_s
FROM information_schema.INNODB_TRX
"""
# waiting, blocking (ids of transactions), relation, mode
ROW_WAITS_MARIADB = """
SELECT w.requesting_trx_id AS waiting, w.blocking_trx_id AS blocking, REPLACE(l.lock_table, '`', '') AS relation,
       l.lock_mode AS mode
FROM information_schema.INNODB_LOCK_WAITS w
JOIN information_schema.INNODB_LOCKS l ON l.lock_id = w.requested_lock_id
"""
ROW_WAITS_MYSQL = """
SELECT w.REQUESTING_ENGINE_TRANSACTION_ID AS waiting, w.BLOCKING_ENGINE_TRANSACTION_ID AS blocking,
       CONCAT(l.OBJECT_SCHEMA, '.', l.OBJECT_NAME) AS relation, l.LOCK_MODE AS mode
FROM performance_schema.data_lock_waits w
JOIN performance_schema.data_locks l ON l.ENGINE_LOCK_ID = w.REQUESTING_ENGINE_LOCK_ID AND l.ENGINE = w.ENGINE
"""
# pid, kind, base, name, mode, granted
METADATA_LOCKS = """
SELECT t.PROCESSLIST_ID AS pid, m.OBJECT_TYPE AS kind, m.OBJECT_SCHEMA AS base, m.OBJECT_NAME AS name,
       m.LOCK_TYPE AS mode, m.LOCK_STATUS = 'GRANTED' AS granted
FROM performance_schema.metadata_locks m
JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID
WHERE t.PROCESSLIST_ID IS NOT NULL AND m.LOCK_STATUS IN ('GRANTED', 'PENDING')
  AND (m.OBJECT_SCHEMA IS NULL OR m.OBJECT_SCHEMA NOT IN ('performance_schema', 'information_schema'))
"""
METADATA_LOCKS_PLUGIN = """
SELECT THREAD_ID AS pid, LOCK_TYPE AS kind, TABLE_SCHEMA AS base, TABLE_NAME AS name, LOCK_MODE AS mode, 1 AS granted
FROM information_schema.METADATA_LOCK_INFO
"""
# Does the server keep them where METADATA_LOCKS looks, and has the plugin been loaded?
KEEPS_LOCKS = """
SELECT ENABLED = 'YES' AS kept FROM performance_schema.setup_instruments WHERE NAME = 'wait/lock/metadata/sql/mdl'
"""
HAS_PLUGIN = """
SELECT 1 AS one FROM information_schema.PLUGINS
WHERE PLUGIN_NAME = 'METADATA_LOCK_INFO' AND PLUGIN_STATUS = 'ACTIVE'
"""


def position_query(version: Version) -> str:
    """How a primary is asked where its binary log ends: file and position."""
    return "SHOW MASTER STATUS" if version.maria or version.number < (8, 2, 0) else "SHOW BINARY LOG STATUS"


def replica_query(version: Version) -> str:
    """How a replica is asked for its connections."""
    if version.maria:
        return "SHOW ALL SLAVES STATUS"
    return "SHOW REPLICA STATUS" if version.number >= (8, 0, 22) else "SHOW SLAVE STATUS"


def is_client(row: Mapping[str, Any]) -> bool:
    """Whether a session, of which ``user`` and ``command`` are known, is not the server's own."""
    command = str(row["command"] or "")
    return row["user"] not in _SERVERS_OWN and command != "Daemon" and not command.startswith("Binlog Dump")
