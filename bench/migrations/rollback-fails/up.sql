-- Says when a registration was changed last, and does no harm.
CREATE TABLE registration_changes (
    registration_id bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO registration_changes (registration_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;

SET lock_timeout = '2s';

CREATE TRIGGER note_change AFTER UPDATE ON registrations FOR EACH ROW EXECUTE FUNCTION note_change();
