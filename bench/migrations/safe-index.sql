-- Built beside the traffic. It waits for old transactions, and nobody waits for it.
CREATE INDEX CONCURRENTLY registrations_ticket ON registrations (ticket, status);
