"""The traffic of qa (pre-production), recorded 2026-11-22 20:28 UTC.

446 requests of 1 client in 30 s:

     14.3%  GET /v1/events
     14.3%  GET /v1/events/{event_id}/attendees
     14.3%  POST /oauth/token
      7.2%  GET /v1/attendees/{attendee_id}
      7.2%  GET /v1/events/{event_id}
      7.2%  GET /v1/registrations/{registration_id}
      7.2%  GET /v1/search
      7.2%  POST /v1/events/{event_id}/registrations
      7.2%  POST /v1/registrations/{registration_id}/check-in
      7.0%  GET /v1/events/{event_id}/summary
      7.0%  GET /v1/exports/registrations

Run it:

    locust -f qa.py --host http://127.0.0.1:8000 --identities qa.csv

qa.data/identities.example.csv has the credentials to fill in.
"""

from replay.scenario.runtime import PlannedRequest, Replay, Retry


class Qa(Replay):
    """Replays every visit at its own time, whatever the target does."""

    scenario = "qa.data"
    pacing = "visits"  # what followed an answer waits for it; "strict" sends everything at its due time
    on_failure = Retry(times=0)  # clients give up; or "retry", "reauth", {"*": "retry", "POST /pay": Retry(times=5)}

    def prepare(self, request: PlannedRequest, client: str) -> PlannedRequest:
        """Change a request just before it is sent: the place for signatures, nonces, idempotency keys."""
        return request
