-- Attendees are to be called people. The table has its new name, and a view the old one: both releases find theirs, and
-- what is written through the view lands in the table.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            ALTER TABLE attendees RENAME TO people;
            CREATE VIEW attendees AS SELECT * FROM people;
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
