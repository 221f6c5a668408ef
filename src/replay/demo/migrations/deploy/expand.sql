-- An event's venue is to be called its hall. Expand first: both columns are there, and both releases find theirs.
-- No endpoint writes events; where one does, a trigger keeps the two alike until the old one is dropped.
--
-- Most calls read this table, and a report holds it for seconds. What needs a strong lock gives up after a moment, lets
-- the traffic pass that queued behind it, and tries again.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            ALTER TABLE events ADD COLUMN hall text;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt = 60 THEN
                RAISE;
            END IF;
        END;
        COMMIT;
        PERFORM pg_sleep(0.4);
    END LOOP;
END
$$;

-- A few rows at a time, so that nobody waits for long.
DO $$
DECLARE
    batch constant int := 500;
    highest constant int := (SELECT max(id) FROM events);
BEGIN
    FOR lowest IN 0..highest BY batch LOOP
        UPDATE events SET hall = venue WHERE id > lowest AND id <= lowest + batch;
        COMMIT;
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
