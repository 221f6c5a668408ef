"""What each metric of a probe is: its name in words, its unit, and how much of a difference is worth a look."""

from dataclasses import dataclass

from replay.report import formats

# The smallest difference that is worth a look, by unit; of what has none, any.
_LEAST = {"s": 0.1, "bytes": 1e6, "cores": 0.1, "share": 0.1, "count": 3.0, "": 0.0}


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric in words. ``unit`` is ``s``, ``bytes``, ``cores``, ``share``, ``count`` or nothing that is known.

    ``counts`` says that it counts on since something began, so that differences tell; ``happens`` that each reading is
    something that happened; ``scarce`` that little of it is what hurts. Where ``named_by`` is a field of the reading's
    detail, each value of that is a series of its own. ``least`` is the smallest difference that is worth a look (0: the
    unit's).
    """

    words: str
    unit: str
    counts: bool = False
    happens: bool = False
    scarce: bool = False
    named_by: str = ""
    least: float = 0.0

    @property
    def telling(self) -> float:
        """The smallest difference that is worth a look, in its unit."""
        return self.least or _LEAST[self.unit]

    def text(self, value: float) -> str:
        """A value in its unit: ``42 MB``, ``3.1 s``, ``0.4 cores``, ``18``."""
        if self.unit == "s":
            return formats.seconds(value)
        if self.unit == "bytes":
            return f"-{formats.size(-value)}" if value < 0 else formats.size(value)
        if self.unit == "share":
            return formats.share(value)
        return f"{formats.number(value)} cores" if self.unit == "cores" else formats.number(value)

    def rate(self, value: float) -> str:
        """So much of it a second: ``2.1 MB/s``."""
        return f"{formats.number(value) if self.unit == 's' else self.text(value)}/s"


KNOWN: dict[str, Measure] = {
    "connections": Measure("connections", "count"),
    "long_transaction_s": Measure("longest transaction", "s"),
    "replica_replay_lag_s": Measure("age of the last change replayed by the replica", "s", named_by="replica"),
    "wal_bytes": Measure("write-ahead log written", "bytes", counts=True),
    "deadlocks": Measure("deadlocks", "count", counts=True, least=1.0),
    "temp_files": Measure("temporary files", "count", counts=True),
    "temp_bytes": Measure("size of temporary files", "bytes", counts=True),
    "checkpoints": Measure("checkpoints", "count", counts=True, least=2.0),
    "slot_retained_bytes": Measure("log kept for the replication slot", "bytes", named_by="slot"),
    "autovacuum_workers": Measure("autovacuum workers", "count", least=2.0),
    "threads_running": Measure("threads running", "count"),
    "history_list_length": Measure("old versions of rows to purge", "count", least=1000.0),
    "sqlite_write_locked_s": Measure("nobody else could write for", "s"),
    "sqlite_read_locked_s": Measure("nobody else could read for", "s"),
    "sqlite_wal_bytes": Measure("write-ahead log", "bytes"),
    "process_cpu_cores": Measure("processors used", "cores"),
    "process_memory_bytes": Measure("memory", "bytes"),
    "process_open_files": Measure("open files", "count"),
    "process_threads": Measure("threads", "count"),
    "processes": Measure("processes", "count", least=1.0),
    "process_restarted": Measure("processes that ended or came", "count", happens=True, least=1.0),
    "host_cpu_share": Measure("processors of the machine, busy", "share"),
    "host_memory_available_bytes": Measure("memory left on the machine", "bytes", scarce=True),
    "host_swap_used_bytes": Measure("swap used on the machine", "bytes"),
    "host_load_1m": Measure("load of the machine over a minute", "", least=0.5),
    "host_disk_free_bytes": Measure("disk left", "bytes", scarce=True, named_by="path"),
}
# What the report shows elsewhere, or what is no series.
ELSEWHERE = frozenset(
    {
        "waiting_backends",
        "lock_wait_s",
        "lock_held_s",
        "replica_lag_s",
        "replica_lag_bytes",
        "log_lines",
        "connections_limit",
        "table_bytes",
        "index_bytes",
        "invalid_indexes",
        "statement_s",
        "probe_failed",
    }
)
_UNITS = {"_s": "s", "_seconds": "s", "_bytes": "bytes", "_share": "share", "_ratio": "share", "_cores": "cores"}
_COUNTERS = ("_total", "_count", "_sum", "_bucket")  # as Prometheus names them


def measure_of(metric: str) -> Measure:
    """The measure of a metric: of one that is not ours, what the end of its name says."""
    if metric in KNOWN:
        return KNOWN[metric]
    counts = metric.endswith(_COUNTERS)
    bare = metric.removesuffix("_total").removesuffix("_sum") if counts else metric
    unit = next((unit for end, unit in _UNITS.items() if bare.endswith(end)), "")
    return Measure(metric, unit, counts)
