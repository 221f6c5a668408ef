-- A table of totals, kept right by every check-in: each counts all there are, one after the other. (The pause stands for the
-- rows that a real table has more.)
CREATE TABLE attendance (
    id integer PRIMARY KEY,
    checked_in bigint
);

INSERT INTO attendance (id) VALUES (1);

CREATE FUNCTION count_attendance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM attendance WHERE id = 1 FOR UPDATE;
    PERFORM pg_sleep(0.2);
    UPDATE attendance SET checked_in = (SELECT count(*) FROM check_ins) WHERE id = 1;
    RETURN NULL;
END
$$;

SET lock_timeout = '2s';

CREATE TRIGGER count_attendance AFTER INSERT ON check_ins FOR EACH STATEMENT EXECUTE FUNCTION count_attendance();
