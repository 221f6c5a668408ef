"""Which lines of a log tell an error, and which merely mention a table."""

import pytest

from replay.judge.probes.severity import tells_error

ERRORS = """
psycopg.errors.NotNullViolation: null value in column "zone" of relation "orders" violates not-null constraint
psycopg.errors.FeatureNotSupported: cached plan must not change result type
psycopg.errors.InvalidTextRepresentation: invalid input value for enum level: INFO
asyncpg.exceptions.UndefinedColumnError: column orders.status does not exist
sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation "orders" is gone
django.db.utils.IntegrityError: orders.status is NULL
ActiveRecord::StatementInvalid (PG::UndefinedColumn: ERROR:  column orders.status)
org.postgresql.util.PSQLException: ERROR: column "status" of relation "orders"
column "status" of relation "orders" does not exist (SQLSTATE 42703)
there is no unique or exclusion constraint matching the ON CONFLICT specification
value too long for type character varying(3), orders.status
Unknown column 'orders.status' in 'field list'
Field 'status' doesn't have a default value
Duplicate entry '7' for key 'orders.status'
Out of range value for column 'status' at row 1
UNIQUE constraint failed: orders.status
no such column: orders.status
permission denied for table orders
deadlock detected on orders
2026-11-26 23:34:39.730 UTC [12] app@events ERROR:  column "status" of orders
2026-11-26 23:34:39.730 UTC [12] app@events STATEMENT:  SELECT status FROM orders
2026-11-26 23:34:39,730 ERROR orders: WARNING: status
[error] 12#0: orders.status
time=2026-11-26 level=error msg="orders.status"
{"ts": 1, "level": "error", "msg": "info of orders.status"}
{"level":50,"msg":"orders.status"}
DETAIL:  Key (status)=(7) in orders.
CONTEXT:  SQL statement "UPDATE orders SET status = 7"
LINE 1: SELECT status FROM orders
PL/pgSQL function set_status() line 3, of orders
""".strip().splitlines()

MENTIONS = """
LOG: automatic vacuum of table "events.public.orders": index scans: 1
LOG:  duration: 12.5 ms  statement: SELECT error FROM orders WHERE failed
duration: 12.5 ms  statement: SELECT error FROM orders
ERROR:  canceling autovacuum task
CONTEXT:  automatic vacuum of table "events.public.orders"
CONTEXT:  while vacuuming index "orders_pkey" of relation "public.orders"
WARNING slow query (12 ms): SELECT id FROM orders WHERE status = ?
ERROR slow query: SELECT id FROM orders
SELECT id FROM orders WHERE status = ?
GET /v1/errors/orders: orders.status
orders.error_log was read
NOTICE:  relation "orders" already exists, skipping
2026-11-26 23:34:39.730 UTC [12] app@events LOG:  could not send data of "orders"
2026-11-26 23:34:39,730 INFO app.ErrorHandler: orders.status failed
2026-11-26 23:34:39,730 DEBUG orders.status does not exist
D, [2026-11-26T23:34:39 #12] DEBUG -- : Order Load (0.5ms) SELECT "orders".* failed
WARNING:app:orders failed
warn: orders.status failed
12:00:00.000 [info] orders.status failed
2026-11-26T23:34:39Z 0 [Note] [MY-1] orders.status failed
TRACE orders.status failed
time=2026-11-26 level=info msg="orders.status failed"
{"ts": 1, "msg": "orders.status failed", "level": "info"}
{"severity":"WARNING","message":"orders.status failed"}
{"level":30,"msg":"orders.status failed"}
""".strip().splitlines()


@pytest.mark.parametrize("line", ERRORS)
def test_an_error_is_told(line):
    assert tells_error(line)


@pytest.mark.parametrize("line", MENTIONS)
def test_what_is_below_an_error_or_merely_mentions_a_table_is_none(line):
    assert not tells_error(line)
