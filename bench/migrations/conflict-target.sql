-- Somebody may be checked in at several gates, so that one check-in for each registration is no rule any more. The release
-- that runs names that rule in its ON CONFLICT.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            ALTER TABLE check_ins DROP CONSTRAINT check_ins_pkey;
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
