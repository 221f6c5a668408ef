-- Sales are counted by kind of ticket. One that is sold every day was forgotten.
CREATE TYPE ticket_kind AS ENUM ('student', 'speaker', 'staff', 'press');

CREATE TABLE ticket_sales (
    at timestamptz NOT NULL DEFAULT now(),
    kind ticket_kind NOT NULL
);

CREATE FUNCTION count_sale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ticket_sales (kind) VALUES (NEW.ticket::ticket_kind);
    RETURN NULL;
END
$$;

SET lock_timeout = '2s';

CREATE TRIGGER count_sale AFTER INSERT ON registrations FOR EACH ROW EXECUTE FUNCTION count_sale();
