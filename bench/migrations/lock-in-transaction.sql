-- Adding the column takes a moment, but its lock is kept until everything else of the transaction is done. (The pauses stand
-- for the rows that a real table has more.)
CREATE FUNCTION numbered(ticket text, id bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF id % 4000 = 1 THEN
        PERFORM pg_sleep(0.12);
    END IF;
    RETURN ticket || '/' || id;
END
$$;

BEGIN;

ALTER TABLE events ADD COLUMN notation text DEFAULT 'new';

UPDATE registrations SET ticket = numbered(ticket, id) WHERE ticket = 'student' AND created_at < '2025-11-15';

COMMIT;
