"""What processes take of this machine while an arm is played, or what the whole machine has."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from replay.errors import InputError
from replay.rehearsal.probes.plan import Probe, ProbePlan, Setting, read_interval_s
from replay.rehearsal.probes.readings import Readings, Sampler
from replay.rehearsal.table import Table

_SHORTEST_S = 0.1
_LOOK_EVERY_S = 0.9  # below the usual interval, so that each sample of a probe that has it sees who is new
_NAMES = 20
_PIDS = 20
Identity = tuple[int, float]  # a process id and when that process was created: ids are given again


@dataclass(frozen=True, slots=True)
class ProcessProbePlan(ProbePlan):
    """Processes with their children: by id, by a file that holds the id, or by a part of the command line.

    Without any of them it is the whole machine, whose free disk space is that of ``path``.
    """

    interval_s: float = 1.0
    pids: tuple[int, ...] = ()
    pid_file: Path | None = None
    match: str | None = None
    path: Path | None = None

    @property
    def what(self) -> str:
        """The processes in words; empty for the machine."""
        if self.match is not None:
            return f"whose command line has {self.match!r}"
        if self.pid_file is not None:
            return f"that {self.pid_file} names"
        return f"with the id {' or '.join(map(str, self.pids))}" if self.pids else ""

    @property
    def reads(self) -> frozenset[str]:
        """What should stay level."""
        names = "process_memory_bytes process_open_files process_threads processes host_swap_used_bytes"
        return frozenset(names.split())

    def check(self) -> None:
        """The path must be there; processes and their file may come later."""
        if self.path is not None and not self.path.exists():
            raise InputError(f"The probe {self.name!r} is to watch the disk of {self.path}, which is not there.")

    def open(self, setting: Setting) -> Probe:
        """The probe of one arm."""
        readings = Readings(self.name, setting.clock, setting.readings(self.name))
        sampled: _Processes | _Host = (
            _Processes(self, readings) if self.what else _Host(self.path or Path("/"), readings)
        )

        def end() -> None:
            sampled.sample()
            readings.close()

        return Sampler(f"probe {self.name}", self.interval_s, sampled.sample, end)


def read_process(name: str, table: Table) -> ProcessProbePlan:
    """Read the table of such a probe: ``pids``, ``pid_file`` or ``match``, ``path``, ``interval``. Raises PlanError."""
    pids = table.texts("pids")
    for pid in pids:
        if not pid.isdecimal() or not int(pid):
            raise table.error("pids", f"has {pid!r}, which is no process id", 'Write pids = ["${API_PID}"].')
    pid_file, match, path = table.path("pid_file"), table.text("match"), table.path("path")
    given = [key for key, value in (("pids", pids), ("pid_file", pid_file), ("match", match)) if value]
    if len(given) > 1:
        raise table.error(given[1], f"cannot stand beside {given[0]}")
    if given and path is not None:
        raise table.error("path", "is for the whole machine, without pids, pid_file and match")
    interval_s = read_interval_s(table, "1s", _SHORTEST_S)
    return ProcessProbePlan(name, interval_s, tuple(map(int, pids)), pid_file, match, path)


class _Processes:
    """Processes counted together. Which they are is looked up once a second, as all of the machine's must be seen."""

    def __init__(self, plan: ProcessProbePlan, readings: Readings) -> None:
        self._plan = plan
        self._readings = readings
        self._table: _ProcessTable | None = None
        self._named: tuple[int, ...] = ()
        self._pids: set[int] = set()
        self._roots: frozenset[Identity] | None = None  # None: never seen
        self._cpu_s: dict[Identity, float] | None = None
        self._at_s = readings.now_s
        self._missed = False
        self._hidden = False

    def sample(self) -> None:
        """Read them once."""
        named = self._pids_of_the_plan()
        table, before = self._table, self._table
        if table is None or named != self._named or table.is_old or not self._all_there(table):
            table = self._table = _ProcessTable()
            self._named = named
            roots = self._found(table, named)
            if self._roots is None and not roots:
                if not self._missed:
                    self._missed = True
                    self._readings.failed(f"there is no process {self._plan.what}")
                return
            self._say_restart(frozenset(map(table.identity, roots)))
            self._pids = table.with_children(roots)
        if self._roots is not None:
            self._read(table, before)

    def _pids_of_the_plan(self) -> tuple[int, ...]:
        if self._plan.pid_file is None:
            return self._plan.pids
        try:
            return (int(self._plan.pid_file.read_text(encoding="utf-8").split()[0]),)
        except (OSError, ValueError, IndexError):
            return ()

    def _all_there(self, table: "_ProcessTable") -> bool:
        return all(table.is_there(pid) for pid, _ in self._roots or ())

    def _found(self, table: "_ProcessTable", named: Iterable[int]) -> set[int]:
        if self._plan.match is not None:
            return table.matching(self._plan.match)
        found = {pid for pid in named if pid in table.parents}
        if self._plan.pids and self._roots is not None:  # an id that was given again is another process
            found = {pid for pid in found if table.identity(pid) in self._roots}
        return found

    def _say_restart(self, roots: frozenset[Identity]) -> None:
        before, self._roots = self._roots, roots
        if before is None:
            return
        gone, come = before - roots, roots - before
        if gone or (come and not before):
            detail = {"gone": sorted(pid for pid, _ in gone)[:_PIDS], "come": sorted(pid for pid, _ in come)[:_PIDS]}
            self._readings.add("process_restarted", 1.0, detail)

    def _read(self, table: "_ProcessTable", earlier: "_ProcessTable | None") -> None:
        """Read the processes; those that ``earlier`` did not have may have begun since then."""
        at_s, used = self._readings.now_s, _Used()
        for pid in self._pids:
            used.add(table.processes[pid], table.identity(pid))
        detail = {"names": sorted(used.names)[:_NAMES]}
        values: dict[str, float] = {
            "processes": len(used.cpu_s),
            "process_memory_bytes": used.own_bytes + used.shared_bytes,
            "process_threads": used.threads,
        }
        if not used.hidden:
            values["process_open_files"] = used.open_files
        elif not self._hidden:
            self._hidden = True
            self._readings.failed("the open files of another user's processes are not to be seen")
        before, since_s = self._cpu_s, at_s - self._at_s
        if before is not None and since_s > 0:
            taken_s = 0.0
            for one, cpu_s in used.cpu_s.items():
                if one in before:
                    taken_s += cpu_s - before[one]
                elif earlier is not None and one[1] >= earlier.began:
                    # It has been there for longer than since the last sample, perhaps, and was only found now.
                    taken_s += cpu_s * min(1.0, since_s / max(since_s, time.time() - one[1]))
            values["process_cpu_cores"] = max(0.0, taken_s) / since_s
        self._cpu_s, self._at_s = used.cpu_s, at_s
        for metric, value in values.items():
            self._readings.add(metric, float(value), detail, at_s)


@dataclass(slots=True)
class _Used:
    """What several processes take together. ``hidden``: of some, the open files are not told."""

    names: set[str] = field(default_factory=set)
    cpu_s: dict[Identity, float] = field(default_factory=dict)
    own_bytes: int = 0
    shared_bytes: int = 0
    threads: int = 0
    open_files: int = 0
    hidden: bool = False

    def add(self, process: psutil.Process, identity: Identity) -> None:
        """Add one, unless it is gone meanwhile."""
        try:
            with process.oneshot():
                if process.status() == psutil.STATUS_ZOMBIE:
                    return
                memory, times, name = process.memory_info(), process.cpu_times(), process.name()
                threads = process.num_threads()
        except psutil.Error:
            return
        self.names.add(name)
        self.cpu_s[identity] = times.user + times.system
        # Pages that processes share are counted once: those of the one that shares most.
        shared = min(memory.rss, int(getattr(memory, "shared", 0)))
        self.own_bytes += memory.rss - shared
        self.shared_bytes = max(self.shared_bytes, shared)
        self.threads += threads
        try:
            self.open_files += process.num_fds()
        except psutil.AccessDenied:
            self.hidden = True
        except psutil.Error:
            pass


class _ProcessTable:
    """All processes of this machine at one moment, ``began`` in seconds since the epoch."""

    def __init__(self) -> None:
        self.began = time.time()
        self._read_at = time.monotonic()
        self.processes: dict[int, psutil.Process] = {}
        self.parents: dict[int, int] = {}
        for process in psutil.process_iter(["ppid", "create_time", "status"]):
            if process.info["status"] != psutil.STATUS_ZOMBIE and process.info["ppid"] is not None:
                self.processes[process.pid] = process
                self.parents[process.pid] = process.info["ppid"]

    @property
    def is_old(self) -> bool:
        """Whether others may have come since: it is some time ago."""
        return time.monotonic() - self._read_at >= _LOOK_EVERY_S

    def is_there(self, pid: int) -> bool:
        """Whether one of its processes still is."""
        try:
            process = self.processes[pid]
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def identity(self, pid: int) -> Identity:
        """What a process is known by."""
        return pid, float(self.processes[pid].info["create_time"])

    def with_children(self, pids: Iterable[int]) -> set[int]:
        """The processes and all that come from them."""
        children: dict[int, list[int]] = {}
        for pid, parent in self.parents.items():
            children.setdefault(parent, []).append(pid)
        found: set[int] = set()
        due = list(pids)
        while due:
            pid = due.pop()
            if pid not in found:
                found.add(pid)
                due += children.get(pid, ())
        return found

    def matching(self, part: str) -> set[int]:
        """Those with ``part`` in their command line, none of them a child of another, of ours or above us."""
        ours = self.with_children([os.getpid()])
        above = self.parents.get(os.getpid(), 0)
        while above and above not in ours:
            ours.add(above)
            above = self.parents.get(above, 0)
        found = {pid for pid in self.processes if pid not in ours and part in self._command_line(pid)}
        return {pid for pid in found if self.parents[pid] not in found}

    def _command_line(self, pid: int) -> str:
        try:
            return " ".join(self.processes[pid].cmdline())
        except psutil.Error:
            return ""


class _Host:
    """The whole machine."""

    def __init__(self, path: Path, readings: Readings) -> None:
        self._path = path
        self._readings = readings
        self._times: tuple[float, float] | None = None

    def sample(self) -> None:
        """Read it once."""
        add = self._readings.add
        before, self._times = self._times, _busy_and_all()
        if before is not None and self._times[1] > before[1]:
            share = (self._times[0] - before[0]) / (self._times[1] - before[1])
            add("host_cpu_share", min(1.0, max(0.0, share)))
        add("host_memory_available_bytes", float(psutil.virtual_memory().available))
        add("host_swap_used_bytes", float(psutil.swap_memory().used))
        add("host_load_1m", psutil.getloadavg()[0])
        try:
            add("host_disk_free_bytes", float(psutil.disk_usage(str(self._path)).free), {"path": str(self._path)})
        except OSError as error:
            self._readings.failed(f"the disk of {self._path}: {error.strerror}")


def _busy_and_all() -> tuple[float, float]:
    """Seconds of all processors since the start: those in which they worked, and all."""
    times = psutil.cpu_times()._asdict()
    every = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)  # are in user and nice too
    return every - times["idle"] - times.get("iowait", 0.0), every
