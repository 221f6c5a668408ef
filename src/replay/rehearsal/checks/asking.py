"""Asks Stage all that can be asked without load, in the order in which one answer allows the next question."""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from replay.errors import Refused, ReplayError, StageError
from replay.rehearsal.checks.check import PASSED, PLAN, Check, broken, failed, not_asked, passed
from replay.rehearsal.checks.clocks import check_target_clock
from replay.rehearsal.checks.identities import IdentityAsker
from replay.rehearsal.checks.mysql import check_mysql
from replay.rehearsal.checks.places import listens
from replay.rehearsal.checks.reset import NAME, WHOLE, compare, put_back, tell_reset
from replay.rehearsal.checks.rights import check_database
from replay.rehearsal.checks.room import check_disk, check_duration
from replay.rehearsal.checks.uses import uses_of
from replay.rehearsal.databases import Fingerprint, fingerprint, first_of
from replay.rehearsal.outline import Outline
from replay.rehearsal.probes.mysql.plan import MysqlProbePlan
from replay.rehearsal.production import MARKER, check_marker
from replay.rehearsal.stage import wait_until_ready
from replay.rehearsal.steps.actions import Alembic, Django, Run


@dataclass(frozen=True, slots=True)
class Asked:
    """What Stage was asked, and the outline with the reset as it was timed."""

    checks: tuple[Check, ...]
    outline: Outline


def ask_stage(outline: Outline, out: Path, say: Callable[[str], None] = lambda _: None) -> Asked:
    """Ask all that can be asked; ``say`` hears what is being done. Whatever Stage does is a check and no error.

    Puts Stage back once before and once after the visits, where the plan says how, and leaves it so. Nothing is run and
    nothing is sent where a database is production's by its mark; Stage is not put back where that cannot be asked.
    """
    with tempfile.TemporaryDirectory(prefix="replay-dry-run-") as folder:
        asking = _Asking(outline, Path(folder), say)
        checks = [*asking.all(), check_disk(outline, out)]
        timed = outline if asking.reset_s is None else dataclasses.replace(outline, reset_s=asking.reset_s)
        checks.append(check_duration(timed, asking.reset_s))
    scrub = outline.plan.scrubber()
    return Asked(tuple(check.scrubbed(scrub) for check in checks), timed)


class _Asking:
    """One dry run. ``reset_s`` is how long putting Stage back took, None where that was not done."""

    def __init__(self, outline: Outline, folder: Path, say: Callable[[str], None]) -> None:
        self._outline = outline
        self._plan = outline.plan
        self._folder = folder
        self._say = say
        self._blind: dict[str, str] = {}  # databases that did not answer, by their connection strings
        self._unknown = ""  # why nobody knows whether this is production
        self._scrub = outline.plan.scrubber()
        self.reset_s: float | None = None

    def all(self) -> Iterator[Check]:
        """Every check that is about Stage."""
        self._say("asking whether this is production")
        try:
            check_marker(self._plan)
        except Refused as error:
            yield failed("production", error.message, error.hint, fault=PLAN)
            yield not_asked("Stage", "Nothing else was asked, and nothing was run.")
            return
        except StageError as error:
            self._unknown = error.message  # each database is asked more, and says itself why it cannot be
        yield self._not_production()
        yield from self._databases()
        yield from self._commands()
        ready = yield from self._target()
        yield from self._put_back_and_visit(ready=ready)

    def _not_production(self) -> Check:
        if self._plan.target.not_production:
            return passed("production", "The plan says that this is not production, so nothing was looked for.")
        return passed("production", f"No name is production's, and no database that answers has a table {MARKER}.")

    def _databases(self) -> Iterator[Check]:
        for dsn, uses in uses_of(self._outline).items():
            self._say(f"asking the database of {uses[0].user}")
            first, *others = check_database(dsn, uses)
            if first.state != PASSED:
                self._blind[dsn] = first.name
            yield first
            yield from others
        for probe in self._plan.probes:
            if isinstance(probe, MysqlProbePlan):
                self._say(f"asking the database of the probe {probe.name!r}")
                yield from check_mysql(probe)

    def _commands(self) -> Iterator[Check]:
        for step in self._outline.steps:
            if isinstance(step.plan.action, (Run, Alembic, Django)):
                why = "It is a command, which brings its own connection: where it goes and what it may is not known."
                yield not_asked(f"rights of the step {step.plan.name!r}", why)

    def _target(self) -> Generator[Check, None, bool]:
        """The target's checks; whether it is ready."""
        target = self._plan.target
        name = "target"
        self._say(f"asking {target.target.url}")
        if why := listens(target.target.host, target.target.port):
            yield not_asked(
                name, f"Nobody answers at {target.target.url} ({why}).", "See that Stage runs and that url is right."
            )
            return False
        started = time.monotonic()
        try:
            wait_until_ready(target)
        except StageError as error:
            yield broken(name, error)
            return False
        took_s = time.monotonic() - started
        asked = " ".join(target.ready) if target.ready else "a connection"
        yield passed(name, f"It answers {asked}.", figures={"took_s": round(took_s, 3)})
        yield check_target_clock(target)
        return True

    def _put_back_and_visit(self, *, ready: bool) -> Iterator[Check]:
        asker = IdentityAsker(self._outline, self._folder, self._blind, self._say)
        has_reset = self._plan.target.reset is not None
        before: Fingerprint | None = None
        if not has_reset:
            note = "Visits send only what changes nothing, and arms will not begin alike."
            yield not_asked(NAME, "The plan has no reset.", note)
        elif not ready:
            yield not_asked(NAME, "It was not run, as the target is not ready.")
        elif self._blind:
            first = next(iter(self._blind.values()))
            yield not_asked(NAME, f"It was not run, as the {first} could not be asked whether it is production's.")
        elif self._unknown:
            yield not_asked(NAME, f"It was not run. {self._unknown}")
        else:
            yield self._put_back()
            before = yield from self._fingerprint(None)
        yield from asker.ask_supplies()
        if not ready or (has_reset and self.reset_s is None):
            why = "Stage was not put back" if ready else "the target is not ready"
            yield not_asked("identities", f"No visit was played, as {why}.")
            return
        yield from asker.ask_visits(reads_only=not has_reset)
        if has_reset:
            yield from self._verify(before)

    def _put_back(self) -> Check:
        self._say("putting Stage back")
        try:
            done = put_back(self._plan, self._folder, self._scrub)
        except StageError as error:
            return broken(NAME, error)
        self.reset_s = done.all_s
        return tell_reset(done, len(self._outline.to_play))

    def _fingerprint(self, before: Fingerprint | None) -> Generator[Check, None, Fingerprint | None]:
        """A check only where it cannot be taken; the fingerprint, or None."""
        database = first_of(self._plan)
        if database is None or self.reset_s is None:
            return None
        self._say("taking the database's fingerprint")
        try:
            return fingerprint(database, None if before is None else set(before.rows))
        except StageError as error:
            yield broken(WHOLE, error)
            return None

    def _verify(self, before: Fingerprint | None) -> Iterator[Check]:
        """Put Stage back again, and see whether all is there again."""
        written = None if before is None else (yield from self._fingerprint(before))
        self._say("putting Stage back again")
        try:
            put_back(self._plan, self._folder, self._scrub)
        except ReplayError as error:
            yield broken(WHOLE, error)
            return
        if first_of(self._plan) is None:
            yield not_asked(WHOLE, "The plan has no dsn of the database, so that nothing could be compared.")
        elif before is not None and written is not None:
            after = yield from self._fingerprint(before)
            if after is not None:
                yield compare(before, written, after)
