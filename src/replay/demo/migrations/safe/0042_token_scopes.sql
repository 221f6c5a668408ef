-- Prepares the token table for scopes, ahead of the release that reads them: expand first, contract after the release.
-- The API that runs today knows nothing of scopes, so the database keeps them right for what it writes.
--
-- Every login and every call reads this table. What needs a strong lock on it therefore gives up after a moment, lets
-- the traffic pass that queued behind it, and tries again.

CREATE TABLE token_scopes (
    name text PRIMARY KEY
);

INSERT INTO token_scopes (name) VALUES ('full'), ('check-in');

-- Nullable, and with a constant default: neither rewritten nor scanned. A report may hold the table for seconds, so
-- that this may take many tries.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            ALTER TABLE access_tokens ADD COLUMN scope text DEFAULT 'full';
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

-- New rows get their scope as they are written. Only the row itself is touched.
CREATE FUNCTION set_token_scope() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.scope := CASE WHEN NEW.device IS NULL THEN 'full' ELSE 'check-in' END;
    RETURN NEW;
END
$$;

DO $$
BEGIN
    FOR attempt IN 1..60 LOOP
        BEGIN
            CREATE TRIGGER set_token_scope BEFORE INSERT ON access_tokens
                FOR EACH ROW EXECUTE FUNCTION set_token_scope();
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

-- The rows that are there already, a few at a time: locks are short, and the replicas keep up. Rows written from here
-- on have their scope, so the end is known at the start.
DO $$
DECLARE
    batch constant bigint := 5000;
    highest constant bigint := (SELECT max(id) FROM access_tokens);
BEGIN
    FOR lowest IN 0..highest BY batch LOOP
        UPDATE access_tokens SET scope = 'check-in'
        WHERE id > lowest AND id <= lowest + batch AND device IS NOT NULL AND scope IS DISTINCT FROM 'check-in';
        COMMIT;
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;

-- Waits for old transactions without holding anybody up, so it must not give up.
SET lock_timeout = 0;

CREATE INDEX CONCURRENTLY access_tokens_scope ON access_tokens (integration_id, scope);

-- Checked for new rows at once, for the old ones below, under a lock that readers and writers do not notice.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_scope_fkey
                FOREIGN KEY (scope) REFERENCES token_scopes (name) NOT VALID;
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

ALTER TABLE access_tokens VALIDATE CONSTRAINT access_tokens_scope_fkey;
