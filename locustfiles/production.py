"""The traffic of production (production), recorded 2026-11-22 20:27 UTC.

5,898 requests of 40 clients in 50 s:

     31.6%  GET /v1/events/{event_id}/attendees
     14.6%  GET /v1/events
     11.7%  POST /v1/registrations/{registration_id}/check-in
      9.1%  GET /v1/events/{event_id}
      7.6%  GET /v1/attendees/{attendee_id}
      6.6%  GET /v1/events/{event_id}/summary
      5.3%  POST /oauth/token
      4.6%  GET /v1/search
      4.4%  GET /v1/registrations/{registration_id}
      4.4%  POST /v1/events/{event_id}/registrations
      0.1%  GET /v1/exports/registrations

Run it:

    locust -f production.py --host http://127.0.0.1:8000 --identities production.csv

production.data/identities.example.csv has the credentials to fill in.
"""

from replay.scenario.runtime import PlannedRequest, Replay, Retry


class Production(Replay):
    """Replays every visit at its own time, whatever the target does."""

    scenario = "production.data"
    pacing = "visits"  # what followed an answer waits for it; "strict" sends everything at its due time
    on_failure = Retry(times=0)  # clients give up; or "retry", "reauth", {"*": "retry", "POST /pay": Retry(times=5)}

    def prepare(self, request: PlannedRequest, client: str) -> PlannedRequest:
        """Change a request just before it is sent: the place for signatures, nonces, idempotency keys."""
        return request
