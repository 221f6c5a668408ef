-- Takes back what 0042 did to the data, and leaves the new column and tables in place: every token is `full` again,
-- and `check-in` is no scope any more.

-- All of it or nothing.
BEGIN;

-- Should a login and this ever wait for each other, the login gives way: clients try again.
SET LOCAL deadlock_timeout = '15s';

UPDATE access_tokens SET scope = before.scope
FROM token_scopes_before before
WHERE access_tokens.id = before.id;

DELETE FROM token_scopes WHERE name <> 'full';

COMMIT;
