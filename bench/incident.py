"""The incident, with an independent client beside: does each interval of the verdict hold what that client saw?

    python bench/incident.py [--every S] [--plan NAME] [--out FOLDER]

Rehearses the demonstration's incident (a migration that breaks endpoints, a rollback that fails, a hotfix that heals
some of them, a revert) on a Stage of its own. A process of its own asks every endpoint but the reports, each on a
connection of its own, with a token that Stage has had from the beginning: one request in so many seconds, good where it
has a status of 2xx and a body. It knows nothing of replay's schedule, judge or clocks but that the machine's is theirs.

What it saw of an endpoint in the arm with the steps: it broke after the last good request before the first bad one was
sent, and by the time the bad one was answered; it came back after the last bad one was sent, and by the time the next
good one was answered. Bad ones less than two seconds apart are one outage. The judge's interval and the client's must
share a moment, for they are to hold the same one; each outage of either must be one of the other's too, but for those
that the client alone saw for less than half a second. Leaves with 1 where that does not hold. (The client writes while
arms are prepared too, which the verdict finds: Stage was not the same before every arm.)
"""

import argparse
import contextlib
import http.client
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from measure import print_table

from replay.demo.identities import INTEGRATIONS, SPARE, write_identities
from replay.demo.stage import Stage

_ROOT = Path(__file__).parents[1]
_PLANS = _ROOT / "src" / "replay" / "demo" / "plans"
_LIMIT_S = 600.0
_PATIENCE_S = 10.0
_APART_S = 2.0
_LASTED_S = 0.5
_TOKEN = "seeded token 2"  # noqa: S105 - of the demonstration's data
_AS_JSON = {"Content-Type": "application/json"}
_AS_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request of the client, in seconds since the epoch."""

    sent: float
    done: float
    good: bool


@dataclass(frozen=True, slots=True)
class Interval:
    """What holds a moment. Without a ``low`` it reaches back for ever, without a ``high`` it does not end."""

    low: float | None
    high: float | None

    def meets(self, other: "Interval") -> bool:
        """Whether both may hold the same moment."""
        lows = [one.low for one in (self, other) if one.low is not None]
        highs = [one.high for one in (self, other) if one.high is not None]
        return max(lows, default=-math.inf) <= min(highs, default=math.inf)

    def __str__(self) -> str:
        low, high = ("-" if one is None else f"{one:.2f}" for one in (self.low, self.high))
        return f"{low}..{high}"


@dataclass(frozen=True, slots=True)
class Outage:
    """When an endpoint broke and when it came back (None: it was not seen to), and how many requests failed."""

    broke: Interval
    back: Interval | None
    failures: int


def main() -> int:
    """Rehearse, compare, and say whether all holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=float, default=0.1, help="seconds between two requests to an endpoint")
    parser.add_argument("--plan", default="incident", choices=["incident", "wrong-order"])
    parser.add_argument("--out", type=Path, help="keep the run, and what the client saw, in this folder")
    parser.add_argument("--client", help=argparse.SUPPRESS)  # the URL: be the client, until SIGTERM
    options = parser.parse_args()
    if options.client:
        return _be_client(options.client, options.every, sys.stdout)
    with tempfile.TemporaryDirectory(prefix="replay-incident-") as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "run", ignore_errors=True)
        seen = _rehearse(options.plan, folder, options.every)
        return _compare(seen, folder / "run")


def _rehearse(plan: str, folder: Path, every_s: float) -> dict[str, list[Seen]]:
    """Play the plan with the client beside. Returns what the client saw, by endpoint."""
    record = folder / "client.jsonl"
    with Stage(folder / "stage") as stage:
        write_identities(folder / "identities.csv")
        environment = {
            **os.environ,
            **stage.environment,
            "DEMO_CAPTURES": str(_ROOT / "captures"),
            "DEMO_IDENTITIES": str(folder / "identities.csv"),
        }
        command = [sys.executable, "-m", "replay", "rehearse", str(_PLANS / f"{plan}.toml"), "--out", folder / "run"]
        with _client(stage.url, every_s, record), (folder / "rehearsal.log").open("w", encoding="utf-8") as log:
            done = subprocess.run(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=_LIMIT_S, check=False
            )
        if done.returncode not in {0, 1, 3}:
            raise RuntimeError((folder / "rehearsal.log").read_text(encoding="utf-8"))
    seen: dict[str, list[Seen]] = defaultdict(list)
    for line in record.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        seen[row["endpoint"]].append(Seen(row["sent"], row["done"], row["good"]))
    return seen


@contextlib.contextmanager
def _client(url: str, every_s: float, record: Path) -> Iterator[None]:
    with record.open("w", encoding="utf-8") as lines:
        client = subprocess.Popen([sys.executable, __file__, "--client", url, "--every", str(every_s)], stdout=lines)
        try:
            yield
        finally:
            client.send_signal(signal.SIGTERM)
            try:
                client.wait(_PATIENCE_S * 2)
            except subprocess.TimeoutExpired:
                client.kill()
                client.wait()


# The client


def _requests() -> dict[str, tuple[str, str, str | None, dict[str, str]]]:
    """What it sends to each endpoint: method, path, body, headers."""
    spare = next(one for one in INTEGRATIONS if one.product is SPARE)
    bearer = {"Authorization": f"Bearer {_TOKEN}"}
    form = {"grant_type": "client_credentials", "client_id": spare.client_id, "client_secret": spare.client_secret}
    guest = {"name": "Guest", "email": "guest@example.test", "ticket": "standard"}
    return {
        "POST /oauth/token": ("POST", "/oauth/token", urllib.parse.urlencode(form), _AS_FORM),
        "GET /v1/events": ("GET", "/v1/events?limit=5", None, bearer),
        "GET /v1/events/{event_id}": ("GET", "/v1/events/7", None, bearer),
        "GET /v1/events/{event_id}/attendees": ("GET", "/v1/events/7/attendees?limit=5", None, bearer),
        "GET /v1/events/{event_id}/summary": ("GET", "/v1/events/1990/summary", None, bearer),
        "POST /v1/events/{event_id}/registrations": (
            "POST", "/v1/events/1991/registrations", json.dumps(guest), bearer | _AS_JSON
        ),
        "GET /v1/attendees/{attendee_id}": ("GET", "/v1/attendees/7", None, bearer),
        "GET /v1/registrations/{registration_id}": ("GET", "/v1/registrations/7", None, bearer),
        "POST /v1/registrations/{registration_id}/check-in": ("POST", "/v1/registrations/7/check-in", "", bearer),
        "GET /v1/search": ("GET", "/v1/search?q=forum", None, bearer),
    }  # fmt: skip


def _be_client(url: str, every_s: float, out: TextIO) -> int:
    """Ask every endpoint until SIGTERM, a thread for each, and write a line for each answer."""
    ended, writing = threading.Event(), threading.Lock()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    host = urllib.parse.urlsplit(url).netloc

    def work(number: int, endpoint: str, request: tuple[str, str, str | None, dict[str, str]]) -> None:
        connection = http.client.HTTPConnection(host, timeout=_PATIENCE_S)
        due = time.time() + every_s * number / 10
        while not ended.wait(max(0.0, due - time.time())):
            due = max(due + every_s, time.time())
            sent = time.time()
            good = _ask(connection, request)
            row = {"endpoint": endpoint, "sent": sent, "done": time.time(), "good": good}
            with writing:
                out.write(json.dumps(row) + "\n")

    threads = [threading.Thread(target=work, args=(number, *item)) for number, item in enumerate(_requests().items())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.flush()
    return 0


def _ask(connection: http.client.HTTPConnection, request: tuple[str, str, str | None, dict[str, str]]) -> bool:
    method, path, body, headers = request
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return bool(answer.read()) and 200 <= answer.status < 300
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens another one
        return False


# What it saw, beside what was judged


def _compare(seen: dict[str, list[Seen]], run: Path) -> int:
    verdict = json.loads((run / "verdict.json").read_text(encoding="utf-8"))
    arm = json.loads((run / "arms" / "production-steps" / "arm.json").read_text(encoding="utf-8"))
    start = datetime.fromisoformat(arm["started_at"]).timestamp()
    lines, wrong, compared = [], 0, 0
    for row in verdict["endpoints"]:
        endpoint = row["endpoint"]
        if endpoint not in seen or row["arm"] != arm["arm"]:
            continue
        own = outages_seen(
            [
                Seen(one.sent - start, one.done - start, one.good)
                for one in seen[endpoint]
                if start <= one.sent and one.done <= start + arm["duration_s"]
            ]
        )
        for judged, client in _beside([_judged(one) for one in row["outages"]], own):
            holds = _holds(judged, client)
            compared += 1
            wrong += not holds
            lines.append(
                (
                    endpoint,
                    *(("-", "-") if judged is None else (judged.broke, judged.back or "never")),
                    *(("-", "-") if client is None else (client.broke, client.back or "never")),
                    "yes" if holds else "NO",
                )
            )
    mine = [one for one in verdict["steps"] if one["arm"] == arm["arm"]]
    steps = [f"{one['step']} {Interval(one['started_s'], one['ended_s'])}" for one in mine]
    print(
        f"{verdict['verdict']}; steps: {', '.join(steps)}; requests of the client: {sum(map(len, seen.values())):,}\n"
    )
    columns = ("Endpoint", "Broke, judged", "Came back, judged", "Broke, seen", "Came back, seen", "Holds")
    print_table(columns, lines)
    print(f"\n{compared - wrong} of {compared} outages hold what the client saw")
    return 1 if wrong or not compared else 0


def outages_seen(requests: Sequence[Seen]) -> list[Outage]:
    """The client's own outages: bad answers, those less than two seconds apart as one."""
    ordered = sorted(requests, key=lambda one: one.sent)
    spells: list[list[Seen]] = []
    for one in ordered:
        if one.good:
            continue
        if spells and one.sent - spells[-1][-1].sent < _APART_S:
            spells[-1].append(one)
        else:
            spells.append([one])
    found = []
    for spell in spells:
        before = [one.sent for one in ordered if one.good and one.sent < spell[0].sent]
        after = [one.done for one in ordered if one.good and one.sent > spell[-1].sent]
        back = Interval(spell[-1].sent, min(after)) if after else None
        broke = Interval(max(before, default=None), min(one.done for one in spell))
        found.append(Outage(broke, back, len(spell)))
    return found


def _judged(one: dict[str, Any]) -> Outage:
    back = None if one["first_good_s"] is None else Interval(one["last_bad_s"], one["first_good_s"])
    return Outage(Interval(one["last_good_s"], one["first_bad_s"]), back, one["failures"])


def _beside(judged: list[Outage], seen: list[Outage]) -> list[tuple[Outage | None, Outage | None]]:
    """Each judged outage beside the client's that overlaps it most; then those that only one of them has."""
    pairs: list[tuple[Outage | None, Outage | None]] = []
    left = list(seen)
    for one in judged:
        overlapping = [other for other in left if _shared_s(one, other) > 0]
        other = max(overlapping, key=lambda other: _shared_s(one, other), default=None)
        if other is not None:
            left.remove(other)
        pairs.append((one, other))
    return pairs + [(None, other) for other in left if _length_s(other) >= _LASTED_S]


def _holds(judged: Outage | None, seen: Outage | None) -> bool:
    if judged is None or seen is None or (judged.back is None) != (seen.back is None):
        return False
    back = judged.back is None or seen.back is None or judged.back.meets(seen.back)
    return judged.broke.meets(seen.broke) and back


def _shared_s(one: Outage, other: Outage) -> float:
    """How long both may have lasted at the same time."""
    (begin, end), (other_begin, other_end) = _widest(one), _widest(other)
    return min(end, other_end) - max(begin, other_begin)


def _widest(one: Outage) -> tuple[float, float]:
    begin = -math.inf if one.broke.low is None else one.broke.low
    return (begin, math.inf if one.back is None or one.back.high is None else one.back.high)


def _length_s(one: Outage) -> float:
    begin, end = _widest(one)
    return end - begin


if __name__ == "__main__":
    sys.exit(main())
