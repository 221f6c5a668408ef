"""Playing the first visits on Stage, by the same means as an arm: locustfile, hooks, identities and pools."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from replay.errors import ToolError
from replay.evidence.files import OBSERVATION_SCHEMA, ArmFolder
from replay.evidence.rollup import read_segments
from replay.evidence.values import Outcome
from replay.rehearsal.checks.answers import Answer
from replay.rehearsal.checks.visits import Visits
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.load import Load
from replay.rehearsal.plan import Plan
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.supplies import Supplies, Unnamed
from replay.rehearsal.watch import Watch
from replay.rehearsal.workloads import WorkloadOutline
from replay.scenario.answers import ANSWERS
from replay.scenario.data import META, SCHEDULE, digest_of
from replay.scenario.identities import Identities
from replay.scenario.locustfile import Scenario, build_scenario, read_scenario
from replay.scenario.payloads import PAYLOADS
from replay.scenario.schedule import write_schedule

_MOST_TIMEOUT_S = 10.0
_DRAIN_S = 60.0
# The class of the scenario's own locustfile, with all that it overrides, over another schedule.
_LOCUSTFILE = '''\
"""The first visits of a scenario, one request at a time."""

import importlib.util
import sys
from pathlib import Path

from replay.scenario.runtime import Replay

FILE = Path({file!r})


def _own():
    sys.path.insert(0, str(FILE.parent))
    spec = importlib.util.spec_from_file_location("replayed_" + FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Replay)]
    return next(one for one in found if not one.abstract)


class FirstVisits(_own()):
    scenario = "visits.data"
    pacing = "visits"
    on_failure = "give_up"
'''


@dataclass(frozen=True, slots=True)
class Played:
    """A workload's part in a dry run: its scenario, and what its load would get."""

    outline: WorkloadOutline
    scenario: Scenario
    supplies: Supplies
    identities: Identities


def scenario_of(workload: WorkloadOutline, folder: Path) -> Scenario:
    """The workload's scenario: the plan's own, or built into ``folder``. Raises InputError."""
    if workload.plan.locustfile is not None:
        return read_scenario(workload.plan.locustfile.absolute())
    own = workload.plan
    assert own.capture is not None  # noqa: S101 - a plan has one of the two
    folder.mkdir(parents=True, exist_ok=True)
    return build_scenario(own.capture, folder / "scenario.py", payloads=own.payloads, policy=own.policy)


def play(
    plan: Plan, played: Played, visits: Visits, folder: Path, *, scrub: Scrubber, tell: Callable[[int], None]
) -> dict[int, Answer]:
    """Send the requests of ``visits``; what became of each, by its number. Those that time ran out for have none.

    ``tell`` hears now and then how many are done. Raises InputError or ToolError where the load could not be played.
    """
    locustfile = _write(played.scenario, visits, folder)
    arm = ArmFolder(folder / "visits")
    arm.create()
    own = played.outline.plan
    timeout_s = min(own.timeout_s or _MOST_TIMEOUT_S, _MOST_TIMEOUT_S)
    slow = dataclasses.replace(own, speed=1.0, scale=1.0, duration_s=None, timeout_s=timeout_s)
    held = Unnamed(_rows(played.identities)) if played.identities else None
    with dataclasses.replace(played.supplies, file=None, held=held) as supplies:
        load = Load(
            dataclasses.replace(plan, drain_s=_DRAIN_S),
            dataclasses.replace(played.outline, plan=slow, duration_s=visits.schedule.duration_s),
            folder=arm.path,
            locustfile=locustfile,
            supplies=supplies,
            scrub=scrub,
        )
        with load:
            load.await_boot()
            supplies.close()  # it has read them
            clock = ArmClock(time.time())
            watch = Watch(arm)
            load.start(clock)
            load.play(clock, lambda: tell(watch.look(clock.now_s()).observed))
    answers = _answers(arm)
    return answers if clock.now_s() < visits.schedule.duration_s else _before_the_end(answers)


def _before_the_end(answers: Mapping[int, Answer]) -> dict[int, Answer]:
    """Without those after the last that was sent: one follows the other, and there was no time for them."""
    last = max((number for number, answer in answers.items() if answer.outcome != Outcome.UNSENT), default=-1)
    return {number: answer for number, answer in answers.items() if number <= last}


def _write(scenario: Scenario, visits: Visits, folder: Path) -> Path:
    data = folder / "visits.data"
    data.mkdir(parents=True)
    write_schedule(visits.schedule, data / SCHEDULE)
    meta = {**scenario.meta, "schedule": digest_of(data / SCHEDULE)}
    (data / META).write_text(json.dumps(meta), encoding="utf-8")
    for kept in (PAYLOADS, ANSWERS):
        if (scenario.data / kept).exists():
            shutil.copy(scenario.data / kept, data / kept)  # with its mode
    locustfile = folder / "visits.py"
    locustfile.write_text(_LOCUSTFILE.format(file=str(scenario.path.absolute())), encoding="utf-8")
    return locustfile


def _rows(identities: Mapping[str, Mapping[str, str]]) -> Iterator[list[str]]:
    """By client, as rows without names would go to others here: who sends most is another one in an excerpt."""
    columns = sorted({column for own in identities.values() for column in own})
    yield ["client", *columns]
    for client, own in identities.items():
        yield [client, *(own.get(column, "") for column in columns)]


def _answers(arm: ArmFolder) -> dict[int, Answer]:
    found: dict[int, Answer] = {}
    names = ["request", "status", "outcome"]
    for file, table in read_segments(arm.path / "observations", OBSERVATION_SCHEMA, names):
        if not isinstance(table, pa.Table):
            raise ToolError(f"What became of the visits cannot be read: {file.name}: {table}.")
        found |= {row["request"]: Answer(row["status"], row["outcome"]) for row in table.to_pylist()}
    return found
