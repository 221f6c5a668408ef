-- Nearly every check-in has a device, so every check-in must have one from now on.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            LOCK TABLE check_ins IN ACCESS EXCLUSIVE MODE;
            UPDATE check_ins SET device = 'unknown' WHERE device IS NULL;
            ALTER TABLE check_ins ALTER COLUMN device SET NOT NULL;
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
