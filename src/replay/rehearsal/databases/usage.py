"""Who uses a database while an arm is played, as its own counters and its sessions tell.

Somebody else may use a database too, a monitoring say. So it is looked at before the traffic starts as well: only the
application has more to do with it than without. What moved was moved in the second before it was seen, or somewhat
earlier.
"""

import threading
from collections.abc import Sequence
from typing import Any

from replay.errors import first_line
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.databases.database import TROUBLE, Database, Session, said
from replay.rehearsal.databases.fingerprint import digest

_EVERY_S, _CLOSELY_S = 1.0, 0.1
_LINGER_S = 1.0  # after a command
_REST = 9.0  # times what a look takes: a tenth of the time at most
_MOST_SPELLS = 1000
_MOST_LOOKS = 2000
_MOST_SAID = 3


class Spells:
    """Times, in seconds of the arm, made of the intervals between two looks."""

    def __init__(self) -> None:
        self._spells: list[list[float]] = []

    def add(self, from_s: float, to_s: float) -> None:
        """An interval; those that follow each other become one. Beyond a thousand the last one grows."""
        full = len(self._spells) >= _MOST_SPELLS
        if self._spells and (full or from_s <= self._spells[-1][1] + 0.001):
            self._spells[-1][1] = to_s
        else:
            self._spells.append([from_s, to_s])

    def to_json(self) -> list[list[float]]:
        """Pairs of seconds."""
        return [[round(from_s, 3), round(to_s, 3)] for from_s, to_s in self._spells]


class Usage:
    """Looks at a database every second in a thread of its own, and ten times a second while a step's command runs.

    ``schemas`` says whether each step's end is to be followed by a look at the schema.
    """

    def __init__(self, database: Database, replicas: Sequence[Database], clock: ArmClock, schemas: bool) -> None:
        self._watch = database.watch()
        self._replicas = [replica.watch() for replica in replicas]
        self._clock = clock
        self._schemas = schemas
        self._lock = threading.Lock()
        self._marks: list[tuple[str, bool, bool]] = []
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._play, name="databases", daemon=True)
        self._samples = 0
        self._counts = False
        self._last_s: float | None = None
        self._totals: tuple[tuple[int, ...], ...] = ()
        self._sessions: set[Session] | None = None
        self._touched, self._written, self._active = Spells(), Spells(), Spells()
        self._looks: list[tuple[float, float, int, int]] = []
        self._command: str | None = None
        self._known: set[str] = set()
        self._made: int | None = None
        self._ended_s: float | None = None
        self._schema: str | None = None
        self._commands: dict[str, dict[str, Any]] = {}
        self.unread: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def step(self, name: str, *, begins: bool, command: bool) -> None:
        """A step began or ended, and whether it runs a command."""
        with self._lock:
            self._marks.append((name, begins, command))
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """End, and wait for it."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def to_json(self) -> dict[str, Any]:
        """What was seen."""
        return {
            "samples": self._samples,
            "counts": self._counts,
            "touched": self._touched.to_json(),
            "written": self._written.to_json(),
            "sessions": self._active.to_json(),
            "looks": [[round(from_s, 3), round(to_s, 3), *moved] for from_s, to_s, *moved in self._looks],
            "commands": self._commands,
        }

    def _play(self) -> None:
        try:
            self._look()  # it connects too, and that is not what a look takes
            if self._schemas:
                self._schema = self._read_schema()
            cost_s = 0.0
            while not self._rests(cost_s):
                began_s = self._clock.now_s()
                self._look()
                cost_s = self._clock.now_s() - began_s
            self._look()
            self._finish()
        except Exception as error:  # noqa: BLE001 - what looks on must not break an arm
            self.unread.append(f"during the arm: {type(error).__name__}: {first_line(error)}")
        finally:
            for watch in (self._watch, *self._replicas):
                watch.close()

    def _rests(self, cost_s: float) -> bool:
        """Wait until the next look, or until a step begins or ends. Whether it is to stop instead."""
        self._wake.wait(max(_EVERY_S if self._command is None else _CLOSELY_S, _REST * cost_s))
        self._wake.clear()
        return self._stopping

    def _look(self) -> None:
        try:
            if self._watch.connect() is None:
                return
            with self._lock:
                marks, self._marks = self._marks, []
            self._sample()
            for name, begins, command in marks:
                self._step(name, begins=begins, command=command)
            if self._ended_s is not None and self._clock.now_s() > self._ended_s + _LINGER_S:
                self._finish()
        except PermissionError as error:  # the connection is well
            self._say(said(error))
        except TROUBLE as error:
            self._watch.close()
            self._say(said(error))

    def _say(self, what: str) -> None:
        text = f"during the arm: {what}"
        if len(self.unread) < _MOST_SAID and text not in self.unread:
            self.unread.append(text)

    def _sample(self) -> None:
        at_s = self._clock.now_s()
        since_s, self._last_s = self._last_s, at_s
        activity = self._watch.activity()
        totals = ((activity.reads, activity.writes), *self._of_replicas())
        sessions = self._watch.sessions()
        self._counts = activity.counts
        if since_s is not None and self._sessions is not None:
            self._note(since_s, at_s, totals, len(sessions - self._sessions))
        # What was read before the start may be handed in after it.
        if since_s is not None and since_s >= 0 and self._samples:
            # A count that became less was begun anew, as InnoDB's is when it renews a table's statistics.
            before = self._totals
            if any(now > then for pair in zip(totals, before, strict=False) for now, then in zip(*pair, strict=False)):
                self._touched.add(since_s, at_s)
            if totals[0][1] > before[0][1]:
                self._written.add(since_s, at_s)
            if self._sessions is not None and sessions - self._sessions:
                self._active.add(since_s, at_s)
        self._totals, self._sessions = totals, sessions
        # Where nothing is counted, a look at which nobody is there tells nothing: a session may have come and gone.
        tells = activity.counts or bool(sessions)
        self._samples += since_s is not None and at_s >= 0 and tells
        if self._command is not None:
            self._saw(self._command, len({who for who, _ in sessions} - self._known))

    def _note(self, since_s: float, at_s: float, totals: tuple[tuple[int, ...], ...], sessions: int) -> None:
        """How much moved between two looks: scans and rows written, of the replicas too, and sessions at work."""
        moved = sum(map(sum, totals)) - sum(map(sum, self._totals))
        if len(self._looks) < _MOST_LOOKS:
            self._looks.append((since_s, at_s, max(0, moved), sessions))

    def _of_replicas(self) -> list[tuple[int, ...]]:
        """Reads of the replicas are the application's too; one that cannot be read is the probe's to say."""
        found: list[tuple[int, ...]] = []
        for watch in self._replicas:
            try:
                reads = watch.reads_of_replica() if watch.connect() is not None else None
            except TROUBLE:
                watch.close()
                reads = None
            # Writes are seen at the primary. Without a count: the same as before, whatever that was.
            number = len(found) + 1
            before = self._totals[number] if number < len(self._totals) else (0,)
            found.append((reads,) if reads is not None else before)
        return found

    def _step(self, name: str, *, begins: bool, command: bool) -> None:
        if begins:
            self._finish()
        if command and begins:
            self._command = name
            self._known = {who for who, _ in self._sessions or ()}
            self._made = self._watch.sessions_made()
            self._commands[name] = {"sessions": None if self._made is None else 0, "schema": None}
        elif command and name == self._command:
            self._ended_s = self._clock.now_s()
        elif not begins and self._schemas:
            self._schema = self._read_schema()

    def _finish(self) -> None:
        """A command has ended, and some time passed in which the server has counted its sessions."""
        name, self._command, self._ended_s = self._command, None, None
        if name is None:
            return
        made = self._watch.sessions_made()
        if made is not None and self._made is not None:
            self._saw(name, made - self._made)
        had, self._schema = self._schema, self._read_schema()
        if None not in (had, self._schema):
            self._commands[name]["schema"] = "same" if had == self._schema else "changed"

    def _saw(self, command: str, sessions: int) -> None:
        """So many new sessions while a command ran. Where the server does not count them, a short one goes unseen."""
        had = self._commands[command]["sessions"]
        if sessions > (had or 0):
            self._commands[command]["sessions"] = sessions

    def _read_schema(self) -> str | None:
        try:
            return digest(self._watch.schema())
        except TROUBLE as error:
            self._say(said(error))
            return None
