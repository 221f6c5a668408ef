"""Captures for judging forecasts, made by programs that know nothing of a model: people with aims, jobs by the clock.

``shop`` is a shop for two hours: people who look for something, compare, go back, fill a basket and buy or lose
interest, campaigns that send many to one product, a monitor, a feed each minute, a crawler. ``mobile`` is an app for
three hours: devices that synchronise by their own timers, people who open the app when they are told of news, threads
that cool down, and partners that hand their orders over in batches. Both are by the same seed the same.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pandas as pd

Row = tuple[float, float, int, int, str, str, int, int]
COLUMNS = "at_s duration_s client visit endpoint key variant status".split()


@dataclass(slots=True)
class Log:
    """What was sent, by whom."""

    dice: random.Random
    rows: list[Row] = field(default_factory=list)
    visits: Iterator[int] = field(default_factory=itertools.count)
    clients: Iterator[int] = field(default_factory=itertools.count)

    def send(self, at_s: float, who: tuple[int, int], endpoint: str, key: str = "", takes_s: float = 0.03) -> float:
        """Note a request, and say when its answer has come."""
        duration_s = takes_s * self.dice.lognormvariate(0, 0.5)
        variant = who[0] % 3 if endpoint.startswith("POST") else 0
        self.rows.append((at_s, duration_s, *who, endpoint, key, variant, 200))
        return at_s + duration_s

    def frame(self, duration_s: float) -> pd.DataFrame:
        """All of it, in order of time."""
        frame = pd.DataFrame([row for row in self.rows if row[0] < duration_s], columns=COLUMNS)
        return frame.sort_values("at_s", kind="stable").reset_index(drop=True)


def shop(seed: int, duration_s: float = 7200.0) -> pd.DataFrame:
    """A shop."""
    log = Log(random.Random(seed))  # noqa: S311 - no secret
    dice = log.dice
    trending = [dice.randrange(3000) for _ in range(40)]
    shoppers = [next(log.clients) for _ in range(4000)]
    waiting: list[tuple[float, int, int | None]] = []
    at_s = 0.0
    while at_s < duration_s:  # people who come by themselves, more of them in waves
        at_s += dice.expovariate(0.22 if int(at_s / 700) % 2 else 0.16)
        waiting.append((at_s, dice.choice(shoppers), None))
    for _ in range(int(duration_s // 400)):  # a campaign: one product, many people within a minute or two
        begin_s, product = dice.uniform(0, duration_s), dice.randrange(3000)
        many = range(dice.randrange(10, 60))
        waiting += [(begin_s + dice.expovariate(1 / 40), dice.choice(shoppers), product) for _ in many]
    heapq.heapify(waiting)
    while waiting:
        begin_s, client, product = heapq.heappop(waiting)
        if dice.random() < 0.08:  # taste moves on
            trending[dice.randrange(len(trending))] = product if product is not None else dice.randrange(3000)
        _shop_around(log, begin_s, (client, next(log.visits)), trending, product)
    _each(log, duration_s, 5.0, lambda at, who: log.send(at, who, "GET /health", takes_s=0.002))
    _each(log, duration_s, 60.0, lambda at, who: _feed(log, at, who))
    _each(log, duration_s, 11.0, lambda at, who: log.send(at, who, "GET /products/{id}", str(int(at) % 3000)), 3.0)
    return log.frame(duration_s)


def _feed(log: Log, at_s: float, who: tuple[int, int]) -> None:
    for page in range(log.dice.randrange(4, 9)):
        at_s = log.send(at_s, who, "GET /feed/prices", str(page), 0.2)


def _shop_around(log: Log, at_s: float, who: tuple[int, int], trending: list[int], product: int | None) -> None:
    """One person: patience and interest run out by what is met, and decide when it ends."""
    dice = log.dice
    haste = dice.choice([0.4, 1.0, 1.0, 2.5])
    patience, basket, seen = dice.randrange(2, 14), 0, list[int]()
    if product is None:
        at_s = _page(log, at_s, who, "GET /", parts=3)
    while patience > 0:
        if product is None:
            if seen and dice.random() < 0.3:
                product = seen[0] if dice.random() < 0.5 else dice.choice(seen)  # back to compare
            elif dice.random() < 0.6:
                at_s = _page(log, at_s, who, "GET /categories/{id}", key=str(dice.randrange(1, 13)), parts=2)
                product = trending[int(len(trending) * dice.random() ** 2)]
            else:
                for _ in range(dice.randrange(2, 6)):  # suggestions while typing
                    at_s = log.send(at_s, who, "GET /search/suggest", "", 0.02) + dice.uniform(0.1, 0.4)
                at_s = log.send(at_s, who, "GET /search", "", 0.15)
                product = dice.randrange(3000) if dice.random() < 0.7 else dice.choice(trending)
            at_s += haste * dice.gammavariate(2.0, 3.0)
        at_s = _page(log, at_s, who, "GET /products/{id}", key=str(product), parts=2)
        if product in seen and dice.random() < 0.5:
            at_s = log.send(at_s + haste * dice.uniform(1, 4), who, "POST /basket", str(product))
            basket += 1
        elif dice.random() < 0.25:
            at_s = log.send(at_s + haste * dice.uniform(3, 30), who, "GET /products/{id}/reviews", str(product), 0.1)
        seen.append(product)
        product = None
        patience -= 1 + (len(seen) > 6) * 2
        at_s += haste * dice.lognormvariate(2.2, 0.8)
    if basket and dice.random() < 0.6:
        at_s = _page(log, at_s, who, "GET /basket", parts=1) + haste * dice.uniform(4, 20)
        for step in ("POST /checkout/address", "POST /checkout/payment", "POST /orders"):
            at_s = log.send(at_s, who, step, takes_s=0.3) + haste * dice.uniform(8, 40)
            if dice.random() < 0.1:
                return


def _page(log: Log, at_s: float, who: tuple[int, int], endpoint: str, *, key: str = "", parts: int) -> float:
    """A page, then side by side what stands on it."""
    at_s = log.send(at_s, who, endpoint, key, 0.08) + 0.02
    beside = ["GET /api/basket", "GET /api/recommendations", "GET /api/banner"][:parts]
    return max(log.send(at_s + 0.003 * place, who, part) for place, part in enumerate(beside))


def mobile(seed: int, duration_s: float = 10800.0) -> pd.DataFrame:
    """A mobile app and a partner's batches."""
    log = Log(random.Random(seed))  # noqa: S311 - no secret
    dice = log.dice
    threads = [(dice.uniform(-7200, 0), number) for number in range(60)]
    for client in (next(log.clients) for _ in range(350)):  # timers, in phase with the device's own start
        every_s = dice.choice([600.0, 900.0, 900.0, 1800.0])
        at_s, changes = dice.uniform(0, every_s), 0
        while at_s < duration_s:
            changes = min(9, changes + dice.choice([0, 0, 1, 3]))
            _synchronise(log, at_s, (client, next(log.visits)), changes)
            changes = 0 if changes else changes
            at_s += every_s + dice.expovariate(1 / 8)
    people = [next(log.clients) for _ in range(900)]
    moments = [(dice.uniform(0, duration_s), dice.choice(people), -1) for _ in range(int(duration_s / 14))]
    at_s = 0.0
    while at_s < duration_s:  # news: a new thread, and those who open it when they see it
        at_s += dice.expovariate(1 / 420)
        thread = len(threads)
        threads.append((at_s, thread))
        moments += [
            (at_s + dice.lognormvariate(3.5, 1.2), dice.choice(people), thread) for _ in range(dice.randrange(8, 45))
        ]
    for begin_s, person, thread in sorted(moments):
        _read(log, begin_s, (person, next(log.visits)), threads, thread)
    for partner, minute in ((next(log.clients), 5), (next(log.clients), 20), (next(log.clients), 35)):
        begin_s = minute * 60.0
        while begin_s < duration_s:
            _hand_over(log, begin_s + dice.uniform(0, 3), (partner, next(log.visits)))
            begin_s += 1800.0
    return log.frame(duration_s)


def _synchronise(log: Log, at_s: float, who: tuple[int, int], changes: int) -> None:
    at_s = log.send(at_s, who, "POST /sync/begin") + 0.05
    for change in range(changes):
        at_s = log.send(at_s, who, "PUT /notes/{id}", f"{who[0]}-{change}", 0.06) + log.dice.uniform(0.02, 0.2)
    at_s = log.send(at_s, who, "GET /sync/changes", takes_s=0.2)
    if log.dice.random() < 0.05:  # failed: once more, later each time
        for turn in range(log.dice.randrange(1, 4)):
            at_s = log.send(at_s + 2.0**turn, who, "GET /sync/changes", takes_s=0.2)
    log.send(at_s, who, "POST /sync/end")


def _read(log: Log, at_s: float, who: tuple[int, int], threads: list[tuple[float, int]], thread: int) -> None:
    dice = log.dice
    ends_s = log.send(at_s, who, "GET /me")
    at_s = max(
        ends_s, log.send(at_s + 0.01, who, "GET /timeline", takes_s=0.12), log.send(at_s + 0.02, who, "GET /badges")
    )
    known = [number for born_s, number in threads if born_s <= at_s]
    for turn in range(dice.randrange(1, 8)):
        if thread < 0 or turn:
            warmth = [2.0 ** ((threads[number][0] - at_s) / 2400) for number in known]
            thread = dice.choices(known, warmth)[0] if sum(warmth) else known[-1]
        at_s = log.send(at_s + dice.uniform(1, 4), who, "GET /threads/{id}", str(thread), 0.06)
        for _ in range(dice.choice([0, 1, 1, 2, 5])):
            at_s = log.send(at_s + dice.lognormvariate(1.5, 0.6), who, "GET /threads/{id}/posts", str(thread), 0.08)
        if dice.random() < 0.2:
            at_s = log.send(at_s + dice.uniform(5, 60), who, "POST /threads/{id}/posts", str(thread), 0.1)
        if dice.random() < 0.3:
            at_s = log.send(at_s + dice.uniform(0.5, 2), who, "GET /timeline", takes_s=0.12)


def _hand_over(log: Log, at_s: float, who: tuple[int, int]) -> None:
    """A batch: a login, many orders one after another, and a question until it is done."""
    at_s = log.send(at_s, who, "POST /oauth/token")
    for number in range(log.dice.randrange(150, 260)):
        at_s = log.send(at_s, who, "POST /orders", takes_s=0.12) + 0.01
        if number % 25 == 24:
            at_s = log.send(at_s, who, "GET /orders/batch")
    for _ in range(log.dice.randrange(2, 8)):
        at_s = log.send(at_s + 10.0, who, "GET /orders/batch")


def _each(
    log: Log, duration_s: float, every_s: float, act: Callable[[float, tuple[int, int]], object], jitter_s: float = 0.05
) -> None:
    """A job that comes by the clock, for as long as it takes."""
    who = (next(log.clients), next(log.visits))
    for turn in range(int(duration_s / every_s)):
        act(turn * every_s + log.dice.uniform(0, jitter_s), who)
