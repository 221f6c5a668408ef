"""Reading a run's folder back, as pandas frames, whatever state it was left in."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from replay.errors import InputError
from replay.evidence.files import LOG_SCHEMA, OBSERVATION_SCHEMA, READING_SCHEMA
from replay.evidence.values import ArmInfo, Mark, Sample


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
    rehearsal = _read_object(path / "rehearsal.json", f"{path} is not a run: it has no readable rehearsal.json.")
    workloads = {
        file.stem: _read_object(file, f"{file} cannot be read.") for file in sorted((path / "workloads").glob("*.json"))
    }
    arms = [_read_arm(folder) for folder in sorted((path / "arms").glob("*")) if (folder / "arm.json").is_file()]
    arms.sort(key=lambda arm: (arm.info.started_at, arm.info.arm))
    return Evidence(path, rehearsal, workloads, {arm.info.arm: arm for arm in arms})


def _read_arm(folder: Path) -> ArmEvidence:
    damaged: list[str] = []
    values = _read_object(folder / "arm.json", f"{folder} has no readable arm.json.")
    try:
        info = ArmInfo(**{field.name: values[field.name] for field in dataclasses.fields(ArmInfo)})
    except KeyError as error:
        raise InputError(f"{folder / 'arm.json'} lacks {error}.") from error
    observations = _read_segments(folder / "observations", OBSERVATION_SCHEMA, damaged)
    return ArmEvidence(
        info=info,
        observations=observations.sort_values("request", kind="stable", ignore_index=True),
        readings=_read_segments(folder / "readings", READING_SCHEMA, damaged).sort_values(
            "at_s", kind="stable", ignore_index=True
        ),
        log=_read_segments(folder / "log", LOG_SCHEMA, damaged).sort_values("at_s", kind="stable", ignore_index=True),
        marks=tuple(Mark(**line) for line in _read_lines(folder / "marks.jsonl", damaged)),
        samples=tuple(Sample(**line) for line in _read_lines(folder / "samples.jsonl", damaged)),
        damaged=tuple(damaged),
    )


def _read_segments(folder: Path, schema: pa.Schema, damaged: list[str]) -> pd.DataFrame:
    tables = [schema.empty_table()]
    for file in sorted(folder.glob("*.parquet")):
        try:
            tables.append(pq.read_table(file).select(schema.names).cast(schema))
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            damaged.append(f"{file.parent.name}/{file.name}: {str(error).splitlines()[0]}")
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def _read_lines(file: Path, damaged: list[str]) -> list[dict[str, Any]]:
    """The JSON lines of a file. A bad one, such as a last line that a crash broke off, is named in ``damaged``."""
    if not file.is_file():
        return []
    lines = []
    # Not splitlines: a body may hold U+2028, which that would take for the end of a line.
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n"), 1):
        if not line:
            continue
        try:
            lines.append(json.loads(line))
        except ValueError:
            damaged.append(f"{file.name}: line {number} is not JSON")
    return lines


def _read_object(file: Path, message: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(message, "Give the folder that `replay rehearse` wrote.") from error
    if not isinstance(value, dict):
        raise InputError(message, "Give the folder that `replay rehearse` wrote.")
    return value
