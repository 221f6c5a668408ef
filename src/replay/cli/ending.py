"""Why locust ended otherwise than at the end of a replay, in words."""

import re
from pathlib import Path

from replay.errors import ExitCode, InputError, Interrupted, ReplayError, ToolError
from replay.scenario.process import LocustProcess

_NOT_IMPORTED = re.compile(r"NameError: name '(PlannedRequest|Replay|Retry)' is not defined")
_FRAME = re.compile(r'  File "(.*)", line (\d+)')
_MOST_LINES = 200


def ended_badly(code: int, process: LocustProcess, locustfile: Path, run: Path, *, began: bool) -> ReplayError:
    """The error that an exit code of locust's stands for; ``run`` is the run's folder, ``began`` whether it played."""
    log = f"All that locust said is in {run / 'locust.log'}."
    if code == ExitCode.INTERRUPTED:
        return Interrupted("The replay was interrupted.", f"What was observed until then is kept in {run}.")
    lines = process.last_words(_MOST_LINES).splitlines()
    said = next((line.removeprefix("Error: ") for line in reversed(lines) if line.startswith("Error: ")), "")
    if code == ExitCode.INPUT:
        # The runtime writes a hint into the next line, or leaves.
        hint = " ".join([*lines[lines.index(f"Error: {said}") + 1 :][:1], log]) if said else log
        return InputError(said or "locust refused the locustfile or its options.", hint)
    last = lines[-1] if lines else "it said nothing"
    if began or code < 0 or code == ExitCode.BROKEN:
        return ToolError(said or f"locust ended with exit code {code}: {last}.", log)
    return _not_loaded(code, lines, locustfile, log)


def never_began(locustfile: Path, run: Path) -> InputError:
    """The error of a locust that left as if all were well, and had not begun."""
    return InputError(
        f"Nothing was replayed: locust left while it read {locustfile}.",
        f"Does the file call sys.exit()? All that locust said is in {run / 'locust.log'}.",
    )


def _not_loaded(code: int, lines: list[str], locustfile: Path, log: str) -> InputError:
    """What kept locust from reading the locustfile: all that comes later ends with codes of our own."""
    last = lines[-1] if lines else f"locust ended with exit code {code}"
    numbers = [
        int(found[2]) for line in lines if (found := _FRAME.match(line)) and Path(found[1]).name == locustfile.name
    ]
    if not numbers:
        if any("No User class found" in line for line in lines):
            return InputError(f"{locustfile} has no class of Replay to play.", f"`replay build` writes one. {log}")
        return InputError(f"The locustfile {locustfile} cannot be run: {last}.", log)
    lacking = _NOT_IMPORTED.search(last)
    hint = f"The locustfile needs: from replay.scenario.runtime import {lacking[1]}. " if lacking else ""
    return InputError(f"{locustfile}, line {numbers[-1]}, cannot be run: {last}.", hint + log)
