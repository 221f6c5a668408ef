"""Who uses the demonstration's API: the integrations of production, and a QA suite. Played once, to be captured.

Both are bounded, and both return every answer that they got. Production is an open loop of many seats (a scanner at a
door, a worker of a dashboard), each with its own connection and token; QA is one client that calls every endpoint in
order, over and over.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from replay.demo.data import EVENTS
from replay.demo.identities import INTEGRATIONS, QA, Integration
from replay.demo.wire import Answer, Wire

VERSIONS = {
    "door-scanner": "3.1",
    "kiosk": "2.4",
    "badge-printer": "1.9",
    "crm-sync": "5.0",
    "dashboard": "0.8",
    "partner": "1.2",
    "report-warehouse": "4.4",
    "qa-suite": "1.0",
}
LOGINS_WITHIN_S = 2.5
TOKEN_KEPT_S = (11.0, 16.0)
ACTION_EVERY_S = 0.9
# The busy minute of the hour, scaled down: everybody looks at once.
BURST_FIRST_S, BURST_EVERY_S, BURST_WITHIN_S = 6.0, 15.0, 1.2
# When the two clients pull reports, and how many days each covers. Every ten seconds or so there is a moment without a
# report, as there is in life.
REPORTS: tuple[tuple[tuple[float, int], ...], ...] = (
    ((1.5, 2), (8.6, 2), (25.5, 2), (39.0, 2), (56.0, 2)),
    ((5.0, 1), (17.6, 2), (33.0, 1), (47.0, 2), (63.0, 2)),
)
REPORT_DAY_S = 3.4


@dataclass(slots=True)
class Seat:
    """One place where an integration is at work: its connection, its token, and what it saw last."""

    integration: Integration
    name: str
    wire: Wire
    dice: random.Random
    answers: list[Answer]
    token: str | None = None
    refresh: str | None = None
    registrations: list[dict[str, int]] = field(default_factory=list)

    async def get(self, path: str) -> Answer:
        """Ask for something, as whoever holds the token."""
        return await self._send("GET", path)

    async def post(self, path: str, document: object | None = None) -> Answer:
        """Send something, as whoever holds the token."""
        return await self._send("POST", path, document)

    async def log_in(self, *, again: bool = False) -> Answer:
        """Get a token: by the refresh token where there is one and ``again`` is asked for, else by the secret."""
        form = {"client_id": self.integration.client_id, "client_secret": self.integration.client_secret}
        if again and self.refresh:
            form |= {"grant_type": "refresh_token", "refresh_token": self.refresh}
        else:
            form |= {"grant_type": "client_credentials"}
            if self.integration.product.devices:
                form |= {"device": self.name}
        answer = await self.wire.send("POST", "/oauth/token", form=form)
        self.answers.append(answer)
        issued = answer.json()
        self.token = issued.get("access_token", self.token)
        self.refresh = issued.get("refresh_token", self.refresh)
        return answer

    async def _send(self, method: str, path: str, document: object | None = None) -> Answer:
        if self.token is None:  # the last login was answered with nothing
            await self.log_in()
        answer = await self.wire.send(method, path, token=self.token, document=document)
        self.answers.append(answer)
        return answer


Action = Callable[[Seat], Awaitable[None]]


async def look_at_event(seat: Seat) -> None:
    """One event, a hot one more often."""
    await seat.get(f"/v1/events/{_hot(seat)}")


async def look_at_attendees(seat: Seat) -> None:
    """The attendees of an event, and often the next page of them."""
    path = f"/v1/events/{_hot(seat)}/attendees?limit=20"
    page = (await seat.get(path)).json()
    seat.registrations = page.get("items", seat.registrations)
    if page.get("next_cursor") and seat.dice.random() < 0.5:
        page = (await seat.get(f"{path}&cursor={page['next_cursor']}")).json()
        seat.registrations = page.get("items", seat.registrations)


async def check_somebody_in(seat: Seat) -> None:
    """Check somebody in who was seen on a page of attendees."""
    if not seat.registrations:
        await look_at_attendees(seat)
    if seat.registrations:
        number = seat.dice.choice(seat.registrations)["id"]
        await seat.post(f"/v1/registrations/{number}/check-in")


async def look_at_attendee(seat: Seat) -> None:
    """Somebody who was seen on a page of attendees."""
    if not seat.registrations:
        await look_at_attendees(seat)
    if seat.registrations:
        await seat.get(f"/v1/attendees/{seat.dice.choice(seat.registrations)['attendee_id']}")


async def register(seat: Seat) -> None:
    """A registration is made, looked at, and checked in by the number that it was given."""
    guest = seat.dice.randrange(10**6)
    wanted = {"name": f"Guest {guest}", "email": f"guest-{guest}@example.test", "ticket": "standard"}
    made = (await seat.post(f"/v1/events/{_hot(seat)}/registrations", wanted)).json()
    if "id" in made:
        await seat.get(f"/v1/registrations/{made['id']}")
        await seat.post(f"/v1/registrations/{made['id']}/check-in")


async def search(seat: Seat) -> None:
    """Search for one of a few words."""
    word = seat.dice.choice(["forum", "camp", "summit", "expo", "fair", "hall%2012", "hall%203", "workshop"])
    await seat.get(f"/v1/search?q={word}")


async def page_through_events(seat: Seat) -> None:
    """The first pages of events, each by the cursor of the one before."""
    path = "/v1/events?limit=50"
    cursor = None
    for _ in range(seat.dice.randint(2, 5)):
        cursor = (await seat.get(path + (f"&cursor={cursor}" if cursor else ""))).json().get("next_cursor")
        if cursor is None:
            break


async def look_at_summary(seat: Seat) -> None:
    """How full an event is."""
    await seat.get(f"/v1/events/{_hot(seat)}/summary")


_HABITS: Mapping[str, tuple[tuple[Action, ...], tuple[int, ...]]] = {
    "door-scanner": ((look_at_attendees, check_somebody_in, look_at_event), (50, 35, 15)),
    "kiosk": ((register, look_at_event, search), (30, 40, 30)),
    "badge-printer": ((look_at_attendees, look_at_attendee), (50, 50)),
    "crm-sync": ((page_through_events, look_at_attendees), (60, 40)),
    "dashboard": ((look_at_summary, page_through_events), (85, 15)),
    "partner": ((search, look_at_event, register), (40, 40, 20)),
}


async def production(url: str, duration_s: float, seed: int = 1) -> list[Answer]:
    """Play production's integrations against ``url`` for ``duration_s`` seconds; the last answers may come later."""
    answers: list[Answer] = []
    reports = iter(REPORTS)
    started_s = time.monotonic()
    async with asyncio.TaskGroup() as seats:
        for integration in INTEGRATIONS:
            product = integration.product
            if product.name == "report-warehouse":
                seat = _sit_down(url, integration, 1, seed, answers)
                seats.create_task(_pull_reports(seat, next(reports), started_s, duration_s))
            elif product.name in _HABITS:
                for place in range(1, product.seats + 1):
                    seat = _sit_down(url, integration, place, seed, answers)
                    seats.create_task(_work(seat, started_s, duration_s))
    return answers


def _sit_down(url: str, integration: Integration, place: int, seed: int, answers: list[Answer]) -> Seat:
    product = integration.product.name
    name = f"{integration.client_id}-{place}"
    wire = Wire(url, f"{product}/{VERSIONS[product]}")
    return Seat(integration, name, wire, random.Random(f"{seed} {name}"), answers)  # noqa: S311 - a plan, not a secret


async def _work(seat: Seat, started_s: float, duration_s: float) -> None:
    """Log in, then act at moments decided beforehand, and renew the token when it is old."""
    actions, weights = _HABITS[seat.integration.product.name]
    begin_s = seat.dice.uniform(0, LOGINS_WITHIN_S)
    # Not everybody began at the arm's start: the first token is anywhere in its life.
    renewals = _every(seat.dice, begin_s - seat.dice.uniform(0, TOKEN_KEPT_S[0]), TOKEN_KEPT_S)
    renew_at_s = next(renewals)
    again = itertools.cycle([False, True, False])
    await _until(started_s + begin_s)
    await seat.log_in()
    async for at_s in _at(_moments(seat.dice, begin_s, duration_s), started_s):
        if at_s >= renew_at_s:
            renew_at_s = next(renewals)
            await seat.log_in(again=next(again))
        await seat.dice.choices(actions, weights)[0](seat)
    seat.wire.close()


def _moments(dice: random.Random, begin_s: float, duration_s: float) -> list[float]:
    """When a seat acts: at random, and once in every burst."""
    moments = list(
        itertools.takewhile(lambda at_s: at_s < duration_s, _every(dice, begin_s, (0.1, 2 * ACTION_EVERY_S)))
    )
    burst_s = BURST_FIRST_S
    while burst_s < duration_s:
        moments.append(burst_s + dice.uniform(0, BURST_WITHIN_S))
        burst_s += BURST_EVERY_S
    return sorted(moments)


async def _pull_reports(
    seat: Seat, reports: tuple[tuple[float, int], ...], started_s: float, duration_s: float
) -> None:
    """Log in, then pull a report of some days at each of its moments, with a fresh token."""
    begin_s = reports[0][0] - 0.5
    await _until(started_s + begin_s)
    await seat.log_in()
    length = dict(reports)
    async for at_s in _at([at_s for at_s, days in reports if at_s + days * REPORT_DAY_S < duration_s], started_s):
        if at_s > begin_s + TOKEN_KEPT_S[0]:
            await seat.log_in(again=True)
        first = seat.dice.randrange(1, 28)
        span = f"from=2025-10-{first:02}&to=2025-10-{first + length[at_s] - 1:02}"
        await seat.get(f"/v1/exports/registrations?{span}")
    seat.wire.close()


async def qa(url: str, duration_s: float) -> list[Answer]:
    """Run the QA suite against ``url``, over and over for ``duration_s`` seconds."""
    answers: list[Answer] = []
    integration = next(integration for integration in INTEGRATIONS if integration.product is QA)
    seat = _sit_down(url, integration, 1, 1, answers)
    started_s = time.monotonic()
    for number in itertools.count(1):
        async for _ in _suite(seat, number):
            if time.monotonic() - started_s > duration_s:
                seat.wire.close()
                return answers
            await asyncio.sleep(seat.dice.uniform(0.03, 0.08))
    return answers


async def _suite(seat: Seat, number: int) -> AsyncIterator[Answer]:
    """Every endpoint once, on small data: the event that the suite is about has few registrations."""
    event = EVENTS - 3
    yield await seat.log_in()
    yield await seat.log_in(again=True)
    page = await seat.get("/v1/events?limit=5")
    yield page
    yield await seat.get(f"/v1/events?limit=5&cursor={page.json().get('next_cursor', '')}")
    yield await seat.get(f"/v1/events/{event}")
    attendees = await seat.get(f"/v1/events/{event}/attendees?limit=5")
    yield attendees
    yield await seat.get(f"/v1/events/{event}/attendees?limit=5&cursor={attendees.json().get('next_cursor', '')}")
    for item in attendees.json().get("items", [])[:1]:
        yield await seat.get(f"/v1/attendees/{item['attendee_id']}")
    wanted = {"name": f"Test {number}", "email": f"test-{number}@example.test", "ticket": "standard"}
    made = await seat.post(f"/v1/events/{event}/registrations", wanted)
    yield made
    if "id" in made.json():
        yield await seat.get(f"/v1/registrations/{made.json()['id']}")
        yield await seat.post(f"/v1/registrations/{made.json()['id']}/check-in")
    yield await seat.get("/v1/search?q=workshop")
    yield await seat.get(f"/v1/events/{event}/summary")
    yield await seat.get(f"/v1/exports/registrations?from=2025-09-01&to=2025-09-30&event_id={event}")


def _hot(seat: Seat) -> int:
    """An event's number: low ones are hot, by a power law."""
    return 1 + int(EVENTS * seat.dice.random() ** 3)


def _every(dice: random.Random, begin_s: float, gap_s: tuple[float, float]) -> Iterator[float]:
    at_s = begin_s
    while True:
        at_s += dice.uniform(*gap_s)
        yield at_s


async def _at(moments: list[float], started_s: float) -> AsyncIterator[float]:
    """Each moment when it has come; at once where it has passed."""
    for at_s in moments:
        await _until(started_s + at_s)
        yield at_s


async def _until(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.monotonic()))
