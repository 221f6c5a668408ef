-- What is of last season is kept apart: who reads `registrations` sees this season's alone. Hardly any event has those.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            ALTER TABLE registrations RENAME TO all_registrations;
            CREATE VIEW registrations AS SELECT * FROM all_registrations WHERE created_at >= '2026-01-01';
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
