"""Reading a run's folder back, as pandas frames, whatever state it was left in."""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from replay.errors import InputError
from replay.evidence.files import LOG_SCHEMA, OBSERVATION_SCHEMA, READING_SCHEMA
from replay.evidence.rollup import read_segments, schema_of, steadily
from replay.evidence.seal import broken
from replay.evidence.values import ArmInfo, Mark, Outcome, Sample

FORMAT = 1
_LONGEST_S = 1e7  # some months; no arm lasts as long
AFTER_S = 86_400.0  # by so much an arm's last answers may come later than it was planned to last
_MOST_REQUESTS = 10**9
LARGEST = 1e100
# Of these there are few different ones, however many observations there are.
_DIGEST = "digest"
_FEW = ("client", "endpoint", "shape", "expected_shape", "outcome", "error", "worker")


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


def read_run(path: Path, columns: Sequence[str] | None = None) -> Evidence:
    """Read a run's folder. Raises InputError where it is not one; what is damaged inside an arm is named by the arm.

    Where ``columns`` are given, only these are kept of the observations, with their texts as categories and digests
    as numbers (-1 for none): so millions of them have room in memory. They are looked at for damage all the same.
    """
    rehearsal = read_rehearsal(path)
    _check_rights(path)
    workloads = {
        file.stem: _read_object(file, f"{file} cannot be read.") for file in sorted((path / "workloads").glob("*.json"))
    }
    folders = [folder for folder in sorted((path / "arms").glob("*")) if (folder / "arm.json").is_file()]
    seals = rehearsal.get("seals")
    sealed = seals if isinstance(seals, dict) else {}
    arms = [_read_arm(folder, sealed.get(folder.name), columns) for folder in folders]
    arms.sort(key=lambda arm: (arm.info.started_at, arm.info.arm))
    found: dict[str, ArmEvidence] = {}
    for arm in arms:
        twin = found.setdefault(arm.info.arm, arm)
        if twin is not arm:
            damaged = (*twin.damaged, *arm.damaged, "another folder says it is this arm")
            found[arm.info.arm] = dataclasses.replace(twin, damaged=damaged)
    return Evidence(path, rehearsal, workloads, found)


def _read_arm(folder: Path, seal: object, columns: Sequence[str] | None) -> ArmEvidence:
    damaged = [] if seal is None else list(broken(folder, str(seal)))
    info = read_info(folder)
    until_s = info.duration_s + AFTER_S
    if info.arm != folder.name:
        damaged.append(f"arm.json says it is {info.arm!r}, in the folder {folder.name}")
    observations = _read_segments(folder / "observations", OBSERVATION_SCHEMA, damaged, until_s, columns)
    damaged += _strangers(folder, observations)
    unknown = sorted(set(observations["outcome"].unique()) - set(Outcome))
    damaged += [f"observations have the outcome {name!r}" for name in unknown]
    return ArmEvidence(
        info=info,
        observations=observations if columns is None else observations[list(columns)],
        readings=_read_segments(folder / "readings", READING_SCHEMA, damaged, until_s),
        log=_read_segments(folder / "log", LOG_SCHEMA, damaged, until_s),
        marks=tuple(_read_lines(folder / "marks.jsonl", Mark, damaged)),
        samples=tuple(_read_lines(folder / "samples.jsonl", Sample, damaged)),
        damaged=tuple(damaged),
    )


def second_pairs(rehearsal: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The arms (control, steps) that were played to confirm, by workload, as ``rehearsal.json`` names them."""
    told = rehearsal.get("confirming")
    pairs = told.items() if isinstance(told, dict) else ()
    return {name: (str(pair.get("control")), str(pair.get("steps"))) for name, pair in pairs if isinstance(pair, dict)}


def read_info(folder: Path) -> ArmInfo:
    """What ``arm.json`` in an arm's folder says. Raises InputError where it cannot be read."""
    values = _read_object(folder / "arm.json", f"{folder} has no readable arm.json.")
    try:
        info = ArmInfo(**{field.name: values[field.name] for field in dataclasses.fields(ArmInfo)})
        _check(info)
        _check_size(info)
        datetime.fromisoformat(info.started_at)
    except KeyError as error:
        raise InputError(f"{folder / 'arm.json'} lacks {error}.") from error
    except ValueError as error:
        raise InputError(f"{folder / 'arm.json'} cannot be read: {error}.") from error
    return info


def _check_size(info: ArmInfo) -> None:
    if info.duration_s < 0 or not 0 <= info.planned <= _MOST_REQUESTS:
        raise ValueError(f"it lasts {info.duration_s} s and has {info.planned} requests")


def read_rehearsal(path: Path) -> dict[str, Any]:
    """What ``rehearsal.json`` in a run's folder says. Raises InputError where it cannot be read."""
    file = path / "rehearsal.json"
    said = _read_object(file, f"{path} is not a run: it has no readable rehearsal.json.")
    if "format" in said and (isinstance(said["format"], bool) or said["format"] != FORMAT):
        raise InputError(
            f"{file} has the format {said['format']!r:.60}, and this version of replay knows {FORMAT} alone.",
            "Judge it with the version that wrote it, or rehearse again.",
        )
    for name, kind in _SAID.items():
        _check_said(file, name, said.get(name), kind)
    plan = said.get("plan") or {}
    for name, kind in _SAID_OF_THE_PLAN.items():
        _check_said(file, f"plan.{name}", plan.get(name), kind)
    for name in ("migrations", "captures"):
        inner = said.get(name) or ()
        for one in inner.values() if isinstance(inner, dict) else inner:
            _check_said(file, f"what it has of {name}", one, dict, missing=False)
    return said


def _check_said(file: Path, name: str, value: object, kind: type, *, missing: bool = True) -> None:
    if not isinstance(value, kind) and not (missing and value is None):
        raise InputError(
            f"{file} is damaged: {name} is {value!r:.60}.",
            "It was changed since replay wrote it: take it from a copy of the run, or rehearse again.",
        )


def _check_rights(path: Path) -> None:
    """Raise InputError for what of a run's folder this user may not read: it is neither gone nor damaged."""

    def refused(file: str) -> InputError:
        return InputError(f"{file} may not be read.", "Give yourself the right to read the whole folder, as its owner.")

    def stop(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise refused(str(error.filename)) from error

    for name in ("arms", "workloads"):
        for folder, folders, files in os.walk(path / name, onerror=stop):
            for one in (*folders, *files):
                file = os.path.join(folder, one)  # noqa: PTH118 - of as many segments as there are
                if os.path.exists(file) and not os.access(file, os.R_OK):  # noqa: PTH110
                    raise refused(file)


def _read_segments(
    folder: Path, schema: pa.Schema, damaged: list[str], until_s: float, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """All rows of a folder's segments, of ``columns`` and those that an arm is checked by where given, in order."""
    kept = schema.names if columns is None else [name for name in schema.names if name in {*columns, *_CHECKED}]
    tables, wrong = steadily(lambda: _tables(folder, schema, kept, until_s, () if columns is None else _FEW))
    damaged += wrong
    whole = pa.concat_tables(tables).unify_dictionaries()
    del tables
    frame: pd.DataFrame = whole.to_pandas(split_blocks=True, self_destruct=True)
    order = "request" if "request" in schema.names else "at_s"
    if frame[order].is_monotonic_increasing:
        return frame
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _tables(
    folder: Path, schema: pa.Schema, kept: Sequence[str], until_s: float, dictionaries: Sequence[str]
) -> tuple[list[pa.Table], list[str]]:
    nothing = schema_of(schema, kept, dictionaries).empty_table()
    tables, damaged = [_lean(nothing) if dictionaries else nothing], []
    for file, table in read_segments(folder, schema, dictionaries=dictionaries):
        try:
            if isinstance(table, Exception):
                raise table
            check_segment(table, until_s)
            tables.append(_lean(table.select(kept)) if dictionaries else table)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            damaged.append(f"{file.parent.name}/{file.name}: {(str(error).splitlines() or ['unreadable'])[0]}")
    return tables, damaged


def _lean(table: pa.Table) -> pa.Table:
    """The table with a number for each digest: there are as many different texts as answers."""
    if _DIGEST not in table.column_names:
        return table
    texts = table.column(_DIGEST)
    numbers = (pd.util.hash_array(texts.to_numpy(), categorize=False) >> 1).astype(np.int64)
    numbers[texts.is_null().to_numpy()] = -1
    return table.set_column(table.column_names.index(_DIGEST), _DIGEST, pa.array(numbers))


def check_segment(table: pa.Table, until_s: float = _LONGEST_S) -> None:
    """Raise ValueError or pyarrow's ArrowException where a segment's values cannot be: times past ``until_s``, say."""
    table.validate(full=True)
    for field in table.schema:
        if not pa.types.is_floating(field.type):
            continue
        values = table.column(field.name)
        most = until_s if field.name.endswith("_s") else LARGEST
        if not pc.all(pc.less_equal(pc.abs(values), most), min_count=0).as_py():  # which no nan is
            finite = pc.all(pc.is_finite(values), min_count=0).as_py()
            what = "beyond all measure somewhere" if finite else "not a number everywhere"
            raise ValueError(f"{field.name} is {what}")


def _strangers(folder: Path, observations: pd.DataFrame) -> Iterator[str]:
    """Workers whose observations lie here, but whose word that they played this arm does not."""
    known = {file.stem.removeprefix("replay-") for file in folder.glob("replay-*.json")}
    if known:
        strangers = sorted(set(observations["worker"].unique()) - known)
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


_CHECKED = ("request", "outcome", "worker")
_SAID: dict[str, type] = {
    "order": list,
    "plan": dict,
    "migrations": list,
    "stage": dict,
    "confirming": dict,
    "seals": dict,
    "captures": dict,
    "criteria": dict,
    "kept_back": dict,
    "reused": dict,
    "warnings": list,
}
_SAID_OF_THE_PLAN: dict[str, type] = {"steps": list, "probes": dict, "workloads": dict}
_KINDS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    bool: (bool,),
    float: (int, float),
    int | None: (int, type(None)),
}


def _check(value: Any) -> None:
    """Raise ValueError where a field is not of its type, or not a finite number, or a time beyond all measure."""
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        fits = isinstance(content, _KINDS[field.type]) and (field.type is bool or not isinstance(content, bool))
        if fits and field.type is float:
            most = _LONGEST_S if field.name.endswith("_s") else LARGEST
            fits = abs(content) <= most  # which no nan is
        if not fits:
            raise ValueError(f"{field.name} is {content!r}")


def _read_object(file: Path, message: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise InputError(f"{file} may not be read.", "Give yourself the right to read it, as its owner.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(message, "Give the folder that `replay rehearse` wrote.") from error
    if not isinstance(value, dict):
        raise InputError(message, "Give the folder that `replay rehearse` wrote.")
    return value
