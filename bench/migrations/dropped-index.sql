-- Who is registered for what is looked up for the events to come, so it seemed on Stage: the others' part of the index goes.
CREATE INDEX CONCURRENTLY registrations_upcoming ON registrations (event_id, id) WHERE event_id > 1900;

DROP INDEX CONCURRENTLY registrations_event;
