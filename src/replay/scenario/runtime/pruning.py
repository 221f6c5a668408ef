"""Locust counts requests for every second since the start, of every endpoint; only the last ones are ever looked at."""

import time

import gevent
from locust.stats import RequestStats

_EVERY_S = 30.0
_KEPT_S = 60  # locust itself looks at the last twelve


def keep_small(stats: RequestStats) -> None:
    """Let locust's statistics take no more memory the longer a replay goes on. Never returns."""
    while True:
        gevent.sleep(_EVERY_S)
        prune(stats, int(time.time()) - _KEPT_S)


def prune(stats: RequestStats, before: int) -> None:
    """Drop the counts of the seconds before one, in seconds since the epoch."""
    for entry in (stats.total, *stats.entries.values()):
        for counts in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
            for second in [second for second in counts if second < before]:
                del counts[second]
