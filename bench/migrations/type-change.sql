-- Addresses become a type of their own: the whole table is written anew, and nobody reads it meanwhile. (The pauses stand for
-- the rows that a real table has more.)
CREATE FUNCTION address_of(email text) RETURNS varchar(200) LANGUAGE plpgsql AS $$
BEGIN
    IF email LIKE '%0000@%' THEN
        PERFORM pg_sleep(0.15);
    END IF;
    RETURN lower(email);
END
$$;

ALTER TABLE attendees ALTER COLUMN email TYPE varchar(200) USING address_of(email);
