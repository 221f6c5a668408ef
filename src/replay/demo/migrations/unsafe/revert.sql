-- Removes everything that 0042 added.

-- One transaction, so that the lock on the token table is waited for once.
BEGIN;

DROP TRIGGER set_token_scope ON access_tokens;

DROP FUNCTION set_token_scope();

DROP INDEX access_tokens_scope;

ALTER TABLE access_tokens DROP COLUMN scope;

DROP TABLE token_scopes_before;

DROP TABLE token_scopes;

COMMIT;
