-- One token for each device. There are devices that have had many.
CREATE UNIQUE INDEX CONCURRENTLY access_tokens_device ON access_tokens (integration_id, device);
