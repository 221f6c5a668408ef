"""Asks Stage for its own values, and whether it takes each identity for who it is."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from replay.errors import ReplayError
from replay.rehearsal.checks.answers import judge_visit
from replay.rehearsal.checks.check import PLAN, Check, broken, failed, not_asked, passed
from replay.rehearsal.checks.playing import Played, play, scenario_of
from replay.rehearsal.checks.visits import first_visits, most_of_each, share_out
from replay.rehearsal.outline import Outline
from replay.rehearsal.supplies import Supplies, asks_stage, gather
from replay.rehearsal.workloads import WorkloadOutline
from replay.scenario.identities import needed_credentials, rank_clients, read_identities
from replay.scenario.words import many

IDENTITY = "identity"  # what the names of checks of identities begin with
_TELL_EVERY_S = 5.0


class IdentityAsker:
    """Asks for all workloads of an outline. ``blind`` are the connection strings of databases that do not answer.

    ``folder`` gets what is played.
    """

    def __init__(self, outline: Outline, folder: Path, blind: Collection[str], say: Callable[[str], None]) -> None:
        self._outline = outline
        self._folder = folder
        self._blind = blind
        self._say = say
        self._supplies: dict[str, Supplies] = {}

    def ask_supplies(self) -> Iterator[Check]:
        """Run the queries of pools and identities, and count what they give."""
        plan = self._outline.plan
        for workload in self._outline.workloads:
            name = f"Stage's own values for {workload.plan.name}"
            queries = [pool.query for pool in plan.pools if pool.query]
            queries += [workload.plan.credentials] if workload.plan.credentials else []
            if any(query.dsn.value in self._blind for query in queries):
                yield not_asked(name, "The database that would give them does not answer.")
                continue
            self._say(f"reading {name}")
            try:
                supplies = self._gather(workload)
            except ReplayError as error:
                # The database answers: what cannot be read is asked for wrongly, or by somebody who may not.
                yield failed(name, error.message, error.hint, fault=PLAN)
                continue
            self._supplies[workload.plan.name] = supplies
            if asks_stage(plan, workload.plan):
                yield _counted(name, supplies, workload)

    def ask_visits(self, *, reads_only: bool) -> Iterator[Check]:
        """Play the first visit of each identity. With ``reads_only`` nothing that changes Stage is sent."""
        ready = []
        for workload in self._outline.workloads:
            if (supplies := self._supplies.get(workload.plan.name)) is None:
                yield not_asked(f"visits of {workload.plan.name}", "Stage's own values for it are not known.")
                continue
            self._say(f"preparing visits of {workload.plan.name}")
            try:
                ready.append(self._prepare(workload, supplies))
            except ReplayError as error:
                yield broken(f"visits of {workload.plan.name}", error)
        chosen = share_out({one.outline.plan.name: _candidates(one) for one in ready})
        for one in ready:
            yield from self._play(one, chosen[one.outline.plan.name], reads_only=reads_only)

    def _gather(self, workload: WorkloadOutline) -> Supplies:
        return gather(
            self._outline.plan,
            workload.plan,
            captured=[pool.captured for pool in workload.pools],
            needed=workload.credentials,
            ranked=workload.ranked,
            folder=self._folder / f"{workload.plan.name}-pools",
        )

    def _prepare(self, workload: WorkloadOutline, supplies: Supplies) -> Played:
        scenario = scenario_of(workload, self._folder / f"{workload.plan.name}-scenario")
        identities = read_identities(supplies.identities, workload.ranked) if supplies.identities else {}
        supplies.close()
        return Played(workload, scenario, supplies, identities)

    def _play(self, one: Played, clients: tuple[str, ...], *, reads_only: bool) -> Iterator[Check]:
        workload = one.outline.plan.name
        most = most_of_each(len(clients))
        visits, idle = first_visits(one.scenario.schedule, clients, reads_only=reads_only, most=most)
        for client in idle:
            why = "Its first visit begins with a request that may change something, and no reset would put that back."
            yield not_asked(_name(client, workload), why)
        if not visits.clients:
            if not clients:
                yield not_asked(f"visits of {workload}", "No client of it has all credentials that it needs.")
            return
        doing = f"playing the first visits of {many(len(visits.clients), 'client')} of {workload}"
        self._say(doing)
        tell = _Telling(self._say, doing, len(visits.schedule))
        scrub = self._outline.plan.scrubber(one.supplies.secrets)
        try:
            answers = play(self._outline.plan, one, visits, self._folder / f"{workload}-visits", scrub=scrub, tell=tell)
        except ReplayError as error:
            yield broken(f"visits of {workload}", error).scrubbed(scrub)
            return
        own = {client: visits.of(client) for client in visits.clients}
        played = [client for client, requests in own.items() if any(planned.request in answers for planned in requests)]
        for client in played:
            yield judge_visit(_name(client, workload), own[client], answers).scrubbed(scrub)
        yield from _not_played(one, len(played), len(own) - len(played))


class _Telling:
    """Says every few seconds how many of the requests are done."""

    def __init__(self, say: Callable[[str], None], doing: str, requests: int) -> None:
        self._say = say
        self._doing = doing
        self._requests = requests
        self._said_at = time.monotonic()

    def __call__(self, done: int) -> None:
        """So many are done by now."""
        if time.monotonic() - self._said_at >= _TELL_EVERY_S:
            self._said_at = time.monotonic()
            self._say(f"{self._doing}: {done:,} of {many(self._requests, 'request')}")


def _not_played(one: Played, played: int, too_late: int) -> Iterator[Check]:
    """How many clients' visits were not played, where there are such; there was no time for ``too_late`` of them."""
    every = {planned.client for planned in one.scenario.schedule}
    if left := len(every) - played:
        told = f"The first visits of {played:,} of {many(len(every), 'client')} were played, {left:,} were not"
        told += f", {too_late:,} of them for want of time." if too_late else "."
        why = "What Stage says to those is not known." if needed_credentials(one.scenario.schedule) else ""
        figures = {"clients": len(every), "not_played": left, "too_late": too_late}
        yield passed(f"clients of {one.outline.plan.name}", told, why, figures=figures)


def _candidates(one: Played) -> tuple[str, ...]:
    """The clients with all the credentials that they need, the busiest first; the busiest, where none needs any."""
    schedule = one.scenario.schedule
    needed: dict[str, set[str]] = {}
    for client, column in needed_credentials(schedule):
        needed.setdefault(client, set()).add(column)
    if not needed:
        counts = Counter(planned.client for planned in schedule)
        return tuple(client for client, _ in counts.most_common(1))
    given = one.identities
    return tuple(client for client in rank_clients(schedule) if needed[client] <= set(given.get(client, {})))


def _counted(name: str, supplies: Supplies, workload: WorkloadOutline) -> Check:
    counts = {}
    for pool in supplies.pools:
        parameters, _, file = pool.partition("=")
        with Path(file).open(encoding="utf-8") as lines:
            counts[parameters] = sum(1 for line in lines if line.strip()) - 1
    told = [f"{count:,} of {parameters}" for parameters, count in counts.items()]
    if workload.plan.credentials is not None and supplies.identities is not None:
        counts["identities"] = len(read_identities(supplies.identities, workload.ranked))
        told.append(f"{counts['identities']:,} identities")
    return passed(name, f"They can be read: {', '.join(told)}.", figures=counts)


def _name(client: str, workload: str) -> str:
    return f"{IDENTITY} {client} of {workload}"
