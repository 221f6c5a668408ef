-- Removes everything that 0043 added, one table after the other, each lock tried for a moment at a time.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            DROP TRIGGER check_gate ON check_ins;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt = 60 THEN
                RAISE;
            END IF;
        END;
        COMMIT;
        PERFORM pg_sleep(0.4);
    END LOOP;
    COMMIT;
    FOR attempt IN 1..60 LOOP
        BEGIN
            LOCK TABLE events, access_tokens, registrations IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE events RENAME COLUMN hall TO venue;
            DROP TRIGGER check_token ON access_tokens;
            DROP TRIGGER check_registration ON registrations;
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

SET lock_timeout = 0;

DROP FUNCTION check_token();

DROP FUNCTION check_registration();

DROP FUNCTION check_gate();
