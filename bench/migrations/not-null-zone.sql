-- Registrations are counted by zone. The halls that were tried out on Stage have one; the first ten halls have not.
CREATE TABLE zones (
    hall text PRIMARY KEY,
    zone text NOT NULL
);

INSERT INTO zones SELECT 'Hall ' || i, (ARRAY['north', 'east', 'south'])[i / 11] FROM generate_series(11, 40) i;

CREATE TABLE registration_zones (
    registration_id bigint PRIMARY KEY,
    zone text NOT NULL
);

CREATE FUNCTION set_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO registration_zones
    SELECT NEW.id, z.zone FROM events e LEFT JOIN zones z ON z.hall = e.venue WHERE e.id = NEW.event_id;
    RETURN NULL;
END
$$;

SET lock_timeout = '2s';

CREATE TRIGGER set_zone AFTER INSERT ON registrations FOR EACH ROW EXECUTE FUNCTION set_zone();
