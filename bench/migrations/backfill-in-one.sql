-- Last season's students get a number, all in one statement: each row stays locked until the last one is written, and who is
-- checked in meanwhile waits. (The pauses stand for the rows that a real table has more.)
CREATE FUNCTION numbered(ticket text, id bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF id % 4000 = 1 THEN
        PERFORM pg_sleep(0.12);
    END IF;
    RETURN ticket || '/' || id;
END
$$;

UPDATE registrations SET ticket = numbered(ticket, id) WHERE ticket = 'student' AND created_at < '2025-11-15';
