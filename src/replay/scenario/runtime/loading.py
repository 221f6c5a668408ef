"""A scenario as one process plays it: read from disk, bound to the target's own values, paced, and checked."""

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.errors import InputError
from replay.scenario.answers import Answers, read_answers
from replay.scenario.copies import lend
from replay.scenario.data import read_data
from replay.scenario.identities import Identities, needed_columns, rank_clients, read_identities
from replay.scenario.lacking import tell_example, tell_lacking
from replay.scenario.pace import pace
from replay.scenario.payloads import PAYLOADS, read_payloads
from replay.scenario.pools import bindings_of, parse_pools
from replay.scenario.process import NOTE
from replay.scenario.repeats import round_of
from replay.scenario.runtime import pacing as pacings
from replay.scenario.runtime.answering import notes_on
from replay.scenario.runtime.binding import bind
from replay.scenario.runtime.filling import Filler
from replay.scenario.runtime.options import Options
from replay.scenario.runtime.retries import Policies
from replay.scenario.schedule import Schedule

if TYPE_CHECKING:
    from replay.scenario.runtime.user import Replay


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario read from disk and checked, with what the command line says about it."""

    options: Options
    scenario: dict[str, Any]
    schedule: Schedule
    identities: Identities
    filler: Filler
    pacing: str
    policies: Policies
    answers: Answers


def load(user_class: "type[Replay]", options: Options) -> Loaded:
    """Read a scenario's data and pace it. Raises InputError where it cannot be played."""
    folder = data_folder(user_class)
    scenario, schedule = read_data(folder)
    answers = read_answers(folder, scenario)
    for note in notes_on(answers, schedule):
        sys.stderr.write(f"{NOTE}{note}\n")
    policies = Policies(user_class.on_failure, schedule.copies)
    for key in policies.unmatched(schedule):
        sys.stderr.write(f"{NOTE}on_failure has {key!r}, which is no endpoint and no client of the scenario.\n")
    ranked = rank_clients(schedule)
    bindings = bindings_of(schedule, parse_pools(options.pools))
    for binding in bindings:
        sys.stderr.write(f"{binding.told}\n")
    payloads = folder / PAYLOADS
    filler = Filler(read_payloads(payloads) if payloads.exists() else {}, bindings)
    schedule = bind(schedule, bindings)
    schedule = pace(
        schedule, speed=options.speed, scale=options.scale, duration_s=options.duration_s, seed=options.seed
    )
    once = round_of(schedule)
    pacings.check(once, user_class.pacing)
    needed = needed_columns(once)
    identities = read_identities(options.identities, ranked, needed) if options.identities else {}
    lent = lend(schedule, identities)
    policies = Policies(user_class.on_failure, schedule.copies)  # which now has more copies
    lack = tell_lacking(once, identities, options.identities)
    for note in (lent.note if identities else "", *([lack, tell_example(folder)] if lack else [])):
        sys.stderr.write(f"{note}\n" if note else "")
    return Loaded(options, scenario, lent.schedule, lent.identities, filler, user_class.pacing, policies, answers)


def data_folder(user_class: "type[Replay]") -> Path:
    """Where a scenario's data lies: beside the file of the class that names it. Raises InputError."""
    for owner in user_class.__mro__:
        if vars(owner).get("scenario"):
            return Path(inspect.getfile(owner)).resolve().parent / user_class.scenario
    raise InputError(f"{user_class.__name__} names no scenario.", 'Set `scenario = "NAME.data"` in the class.')
