-- Takes back what 0042 did to the data, and leaves the new column and tables in place: every token is `full` again,
-- and `check-in` is no scope any more.

-- All of it or nothing.
BEGIN;

-- The integrations whose tokens are put back log in again when this is done.
SELECT id FROM integrations
WHERE id IN (SELECT integration_id FROM token_scopes_before)
ORDER BY id
FOR NO KEY UPDATE;

UPDATE access_tokens SET scope = before.scope
FROM token_scopes_before before
WHERE access_tokens.id = before.id;

DELETE FROM token_scopes WHERE name <> 'full';

COMMIT;
