"""Which names SQL changes, and which lines of a log have one of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.judge.probes.errors import names_in
from replay.judge.probes.sql_names import changed_names


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("ALTER TABLE public.orders ADD COLUMN IF NOT EXISTS channel text NOT NULL DEFAULT 'web'", "orders channel"),
        ('ALTER TABLE ONLY "Order Items" ALTER COLUMN price TYPE bigint USING price::bigint', "order items,price"),
        (
            "ALTER TABLE a_table RENAME COLUMN email TO address; ALTER TABLE b_table RENAME TO c_table",
            "a_table email address b_table c_table",
        ),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_each ON orders USING btree (lower(email), day)",
            "one_each orders email day",
        ),
        ("DROP INDEX CONCURRENTLY orders_email", "orders_email"),
        (
            "UPDATE orders SET state = 'x', changed_at = now() WHERE state = 'y' AND other = 1",
            "orders state changed_at",
        ),
        (
            "INSERT INTO totals (day, amount) SELECT day, sum(x) FROM orders ON CONFLICT (day) DO NOTHING",
            "totals day amount",
        ),
        ("DELETE FROM orders o USING kept WHERE o.id = kept.id", "orders"),
        ("ALTER TABLE orders ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID", "orders positive"),
        (
            "ALTER TABLE orders ADD CONSTRAINT of_client FOREIGN KEY (client_id) REFERENCES clients (id)",
            "orders of_client client_id",
        ),
        ("CREATE TRIGGER count_orders AFTER INSERT ON orders EXECUTE FUNCTION count_them()", "count_orders orders"),
        (
            "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN UPDATE totals SET n = n + 1; RETURN NULL; END $$",
            "totals",
        ),
        ("ALTER ROLE api SET statement_timeout = '1s'", "api statement_timeout"),
        ("SELECT setval('orders_id_seq', 1)", "orders_id_seq orders"),
        ("ALTER TABLE orders ALTER COLUMN device SET NOT NULL", "orders device"),
        ("-- ALTER TABLE hidden\n/* DROP TABLE this_one */ SELECT 'UPDATE that SET x = 1'", ""),
        ("SET lock_timeout = '1s'; SELECT * FROM orders JOIN clients ON clients.id = client; COMMIT", ""),
        ("", ""),
    ],
)
def test_a_name_stands_where_something_is_changed(sql, names):
    assert changed_names([sql]) == set(names.split("," if "," in names else None))


def test_a_loop_that_tries_a_lock_changes_no_words():
    sql = """
        -- every row must have it, or the attempt is lost
        DO $$
        DECLARE attempt int;
        BEGIN
            FOR attempt IN 1..9 LOOP
                BEGIN
                    SET LOCAL lock_timeout = '50ms';
                    ALTER TABLE orders ADD COLUMN gate text;
                    EXIT;
                EXCEPTION WHEN lock_not_available THEN
                    RAISE NOTICE 'again';
                    PERFORM pg_sleep(0.2);
                END;
            END LOOP;
        END $$;
    """
    assert changed_names([sql]) == {"orders", "gate"}


CHANGED = frozenset({"orders", "status", "client_id", "orders_device"})


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ('relation "orders" does not exist', "orders"),
        ("column o.status does not exist", "status"),
        ("null value in column status of the row", "status"),
        ("Key (client_id)=(7) already exists", "client_id"),
        ("Unknown column 'status' in 'field list'", "status"),
        ('duplicate key value violates unique constraint "orders_device_key"', "orders orders_device"),
        ("ActiveRecord: OrdersDevice is not there", "orders_device"),
        ("POST /v1/orders/7/status: no connection in time", ""),
        ("the client must retry, its status is 500, and all orders wait", ""),
        ("ERROR: cached plan must not change result type", "cached plan must not change result type"),
        (
            "InvalidColumnReference: there is no unique or exclusion constraint matching the ON CONFLICT specification",
            "there is no unique or exclusion constraint matching the on conflict specification",
        ),
    ],
)
def test_a_line_names_it_or_does_not(line, names):
    told = {names} if names.startswith(("cached", "there is")) else set(names.split())
    assert names_in(line, CHANGED) == told


@given(st.text(max_size=300))
def test_any_text_is_read(text):
    names = changed_names([text])
    assert all(len(name) >= 3 for name in names)
    assert names_in(text, names) <= names  # a text that holds what is said by nature is not drawn
