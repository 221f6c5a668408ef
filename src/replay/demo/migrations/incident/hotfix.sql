-- What hurts most, at once and without a lock on any table: logins and registrations are let through again.
CREATE OR REPLACE FUNCTION check_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION check_registration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEW;
END
$$;
