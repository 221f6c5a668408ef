-- A copy of the tokens, to be on the safe side. Nobody waits for it, but the replica behind a narrow link.
CREATE TABLE access_tokens_before AS SELECT * FROM access_tokens;
