-- A nullable column. A report may hold the table for seconds: the lock is tried for a moment at a time.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            ALTER TABLE registrations ADD COLUMN gate text;
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
