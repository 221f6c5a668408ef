-- One token for each device: older ones are taken away first, and then nobody can renew one. Who has no device may.
BEGIN;

-- Nobody takes a token meanwhile: one more for a device would be a duplicate, and the index could not be built.
LOCK TABLE access_tokens IN SHARE ROW EXCLUSIVE MODE;

DELETE FROM access_tokens t
USING (SELECT integration_id, device, max(id) AS newest FROM access_tokens
       WHERE device IS NOT NULL GROUP BY integration_id, device) kept
WHERE t.integration_id = kept.integration_id AND t.device = kept.device AND t.id < kept.newest;

CREATE UNIQUE INDEX access_tokens_device ON access_tokens (integration_id, device);

COMMIT;
