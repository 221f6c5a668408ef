-- The database's part of a release: events have halls, logins say what they are for, guests have a list, and check-ins
-- a gate. Nothing here waits for long or rewrites a table; but the release that runs knows nothing of it.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '80ms', false);
    FOR attempt IN 1..60 LOOP
        BEGIN
            ALTER TABLE events RENAME COLUMN venue TO hall;
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

-- What a login is for must be said.
CREATE FUNCTION check_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.claims ->> 'scope' IS NULL THEN
        RAISE 'access_tokens: a scope is needed' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER check_token BEFORE INSERT ON access_tokens FOR EACH ROW EXECUTE FUNCTION check_token();

-- A ticket must be on the list of the new price model.
CREATE FUNCTION check_registration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.ticket NOT LIKE '%/%' THEN
        RAISE 'registrations: ticket % has no price group', NEW.ticket USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER check_registration BEFORE INSERT ON registrations
    FOR EACH ROW EXECUTE FUNCTION check_registration();

-- Whoever checks a guest in says at which gate: the device's name ends with it.
CREATE FUNCTION check_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.device IS NULL OR NEW.device NOT LIKE '%@%' THEN
        RAISE 'check_ins: a gate is needed' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER check_gate BEFORE INSERT ON check_ins FOR EACH ROW EXECUTE FUNCTION check_gate();
