-- Tokens live shorter. Whoever logs in for every few calls does not notice; clients that keep theirs are turned away.
CREATE FUNCTION shorten_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.expires_at := NEW.created_at + interval '4 seconds';
    RETURN NEW;
END
$$;

SET lock_timeout = '2s';

CREATE TRIGGER shorten_token BEFORE INSERT ON access_tokens FOR EACH ROW EXECUTE FUNCTION shorten_token();
