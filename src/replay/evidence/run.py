"""Reading a run's folder back, as pandas frames, whatever state it was left in."""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from replay.errors import InputError
from replay.evidence.files import LOG_SCHEMA, OBSERVATION_SCHEMA, READING_SCHEMA
from replay.evidence.rollup import read_segments, steadily
from replay.evidence.seal import broken
from replay.evidence.values import ArmInfo, Mark, Outcome, Sample


@dataclass(frozen=True, slots=True)
class ArmEvidence:
    """One arm's evidence. The frames have the columns of Observation (sorted by request), Reading and LogEvent."""

    info: ArmInfo
    observations: pd.DataFrame
    readings: pd.DataFrame
    log: pd.DataFrame
    marks: tuple[Mark, ...]
    samples: tuple[Sample, ...]
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run: ``rehearsal.json``, the workloads' models, and the arms by name in the order they were played."""

    path: Path
    rehearsal: dict[str, Any]
    workloads: dict[str, dict[str, Any]]
    arms: dict[str, ArmEvidence]


def read_run(path: Path) -> Evidence:
    """Read a run's folder. Raises InputError where it is not one; what is damaged inside an arm is named by the arm."""
    rehearsal = read_rehearsal(path)
    workloads = {
        file.stem: _read_object(file, f"{file} cannot be read.") for file in sorted((path / "workloads").glob("*.json"))
    }
    seals = rehearsal.get("seals")
    sealed = seals if isinstance(seals, dict) else {}
    arms = [
        _read_arm(folder, sealed.get(folder.name))
        for folder in sorted((path / "arms").glob("*"))
        if (folder / "arm.json").is_file()
    ]
    arms.sort(key=lambda arm: (arm.info.started_at, arm.info.arm))
    found: dict[str, ArmEvidence] = {}
    for arm in arms:
        twin = found.setdefault(arm.info.arm, arm)
        if twin is not arm:
            damaged = (*twin.damaged, *arm.damaged, "another folder says it is this arm")
            found[arm.info.arm] = dataclasses.replace(twin, damaged=damaged)
    return Evidence(path, rehearsal, workloads, found)


def _read_arm(folder: Path, seal: object) -> ArmEvidence:
    damaged = [] if seal is None else list(broken(folder, str(seal)))
    info = read_info(folder)
    if info.arm != folder.name:
        damaged.append(f"arm.json says it is {info.arm!r}, in the folder {folder.name}")
    observations = _read_segments(folder / "observations", OBSERVATION_SCHEMA, damaged)
    damaged += _strangers(folder, observations)
    unknown = sorted(set(observations["outcome"]) - set(Outcome))
    damaged += [f"observations have the outcome {name!r}" for name in unknown]
    return ArmEvidence(
        info=info,
        observations=observations.sort_values("request", kind="stable", ignore_index=True),
        readings=_read_segments(folder / "readings", READING_SCHEMA, damaged).sort_values(
            "at_s", kind="stable", ignore_index=True
        ),
        log=_read_segments(folder / "log", LOG_SCHEMA, damaged).sort_values("at_s", kind="stable", ignore_index=True),
        marks=tuple(_read_lines(folder / "marks.jsonl", Mark, damaged)),
        samples=tuple(_read_lines(folder / "samples.jsonl", Sample, damaged)),
        damaged=tuple(damaged),
    )


def read_info(folder: Path) -> ArmInfo:
    """What ``arm.json`` in an arm's folder says. Raises InputError where it cannot be read."""
    values = _read_object(folder / "arm.json", f"{folder} has no readable arm.json.")
    try:
        info = ArmInfo(**{field.name: values[field.name] for field in dataclasses.fields(ArmInfo)})
        _check(info)
        datetime.fromisoformat(info.started_at)
    except KeyError as error:
        raise InputError(f"{folder / 'arm.json'} lacks {error}.") from error
    except ValueError as error:
        raise InputError(f"{folder / 'arm.json'} cannot be read: {error}.") from error
    return info


def read_rehearsal(path: Path) -> dict[str, Any]:
    """What ``rehearsal.json`` in a run's folder says. Raises InputError where it cannot be read."""
    return _read_object(path / "rehearsal.json", f"{path} is not a run: it has no readable rehearsal.json.")


def _read_segments(folder: Path, schema: pa.Schema, damaged: list[str]) -> pd.DataFrame:
    tables, wrong = steadily(lambda: _tables(folder, schema))
    damaged += wrong
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def _tables(folder: Path, schema: pa.Schema) -> tuple[list[pa.Table], list[str]]:
    tables, damaged = [schema.empty_table()], []
    for file, table in read_segments(folder, schema):
        try:
            if isinstance(table, Exception):
                raise table
            check_segment(table)
            tables.append(table)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            damaged.append(f"{file.parent.name}/{file.name}: {(str(error).splitlines() or ['unreadable'])[0]}")
    return tables, damaged


def check_segment(table: pa.Table) -> None:
    """Raise ValueError or pyarrow's ArrowException where a segment's values cannot be."""
    table.validate(full=True)
    _check_finite(table)


def _check_finite(table: pa.Table) -> None:
    for name in table.schema.names:
        if pa.types.is_floating(table.schema.field(name).type):
            values = table.column(name).drop_null()
            if not pc.all(pc.is_finite(values), min_count=0).as_py():
                raise ValueError(f"{name} is not a number everywhere")


def _strangers(folder: Path, observations: pd.DataFrame) -> Iterator[str]:
    """Workers whose observations lie here, but whose word that they played this arm does not."""
    known = {file.stem.removeprefix("replay-") for file in folder.glob("replay-*.json")}
    if known:
        strangers = sorted(set(observations["worker"]) - known)
        yield from (f"observations of {worker!r}, which did not play this arm" for worker in strangers)


def _read_lines(file: Path, kind: type[Any], damaged: list[str]) -> Iterator[Any]:
    """The JSON lines of a file. A bad one, such as a last line that a crash broke off, is named in ``damaged``."""
    if not file.is_file():
        return
    # Not splitlines: a body may hold U+2028, which that would take for the end of a line.
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n"), 1):
        if not line:
            continue
        try:
            value = kind(**json.loads(line))
            _check(value)
        except (ValueError, RecursionError):
            damaged.append(f"{file.name}: line {number} is not JSON")
        except TypeError:
            damaged.append(f"{file.name}: line {number} is not a {kind.__name__.lower()}")
        else:
            yield value


_KINDS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    bool: (bool,),
    float: (int, float),
    int | None: (int, type(None)),
}


def _check(value: Any) -> None:
    """Raise ValueError where a field is not of its type, or not a finite number."""
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        fits = isinstance(content, _KINDS[field.type]) and (field.type is bool or not isinstance(content, bool))
        if not fits or (isinstance(content, float) and not math.isfinite(content)):
            raise ValueError(f"{field.name} is {content!r}")


def _read_object(file: Path, message: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(message, "Give the folder that `replay rehearse` wrote.") from error
    if not isinstance(value, dict):
        raise InputError(message, "Give the folder that `replay rehearse` wrote.")
    return value
