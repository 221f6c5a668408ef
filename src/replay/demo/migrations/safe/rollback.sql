-- Removes everything that 0042 added. No reader knows of it yet, so that nothing needs to be put back.
--
-- The column takes its constraint and its index along. One strong lock for all of it, tried for a moment at a time.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            LOCK TABLE access_tokens IN ACCESS EXCLUSIVE MODE;
            DROP TRIGGER set_token_scope ON access_tokens;
            ALTER TABLE access_tokens DROP COLUMN scope;
            DROP TABLE token_scopes;
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

DROP FUNCTION set_token_scope();
