-- Prepares the token table for scopes, ahead of the release that reads them.
-- The API that runs today knows nothing of scopes, so the database keeps them right for what it writes.

CREATE TABLE token_scopes (
    name text PRIMARY KEY
);

INSERT INTO token_scopes (name) VALUES ('full'), ('check-in');

-- A constant default needs no rewrite of the table.
ALTER TABLE access_tokens
    ADD COLUMN scope text NOT NULL DEFAULT 'full' REFERENCES token_scopes (name);

-- A token of a device may check in, and nothing else. What is changed is kept, so that it can be put back.
CREATE TABLE token_scopes_before AS
SELECT id, integration_id, scope FROM access_tokens WHERE device IS NOT NULL;

UPDATE access_tokens SET scope = 'check-in' WHERE device IS NOT NULL;

-- Tokens issued from now on get their scope here, and the integration's other tokens are kept in step with it. Logins
-- of one integration take turns, so that they do not wait for each other's rows in a circle.
CREATE FUNCTION set_token_scope() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.scope := CASE WHEN NEW.device IS NULL THEN 'full' ELSE 'check-in' END;
    PERFORM FROM integrations WHERE id = NEW.integration_id FOR NO KEY UPDATE;
    UPDATE access_tokens
    SET scope = CASE WHEN device IS NULL THEN 'full' ELSE 'check-in' END
    WHERE integration_id = NEW.integration_id;
    RETURN NEW;
END
$$;

CREATE TRIGGER set_token_scope BEFORE INSERT ON access_tokens
    FOR EACH ROW EXECUTE FUNCTION set_token_scope();

-- The release will look tokens up by integration and scope.
CREATE INDEX access_tokens_scope ON access_tokens (integration_id, scope);
