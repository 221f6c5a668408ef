-- Attendees are to be sorted by another key. Nobody can be added while the index is built. (The pauses stand for the rows that
-- a real table has more.)
CREATE FUNCTION sort_key(name text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF right(name, 4) = '0000' THEN
        PERFORM pg_sleep(0.18);
    END IF;
    RETURN lower(name);
END
$$;

CREATE INDEX attendees_sorted ON attendees (sort_key(name));
