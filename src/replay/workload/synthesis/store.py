"""A model as a file: JSON, compressed, so that any tool reads it and nothing in it is run."""

import dataclasses
import gzip
import json
import typing
from pathlib import Path
from typing import Any

import numpy as np

from replay.errors import InputError
from replay.workload.synthesis.model import VisitModel

_FORMAT = 1


def write_model(model: VisitModel, path: Path) -> None:
    """Write a model to ``path``."""
    text = json.dumps({"format": _FORMAT, "model": _plain(model)}, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), compresslevel=6, mtime=0))


def read_model(path: Path) -> VisitModel:
    """Read a model that was written. Raises InputError where there is none, or none of this format."""
    try:
        document = json.loads(gzip.decompress(path.read_bytes()))
        if document["format"] == _FORMAT:
            return typing.cast("VisitModel", _made(VisitModel, document["model"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no model of visits: {error}") from error
    raise InputError(f"{path} has a model of format {document['format']}, not {_FORMAT}.")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return {"kind": value.dtype.kind, "shape": list(value.shape), "values": value.ravel().tolist()}
    return value


def _made(wanted: Any, value: Any) -> Any:
    """A value of the type that is wanted: the model's own annotations say what stands where."""
    if dataclasses.is_dataclass(wanted):
        hints = typing.get_type_hints(wanted)
        return wanted(**{name: _made(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if isinstance(value, dict):
        dtype = {"f": np.float64, "i": np.int64}[value["kind"]]
        return np.array(value["values"], dtype=dtype).reshape(value["shape"])
    if typing.get_origin(wanted) is tuple:
        inner = typing.get_args(wanted)
        if inner[-1] is Ellipsis:
            return tuple(_made(inner[0], item) for item in value)
        return tuple(_made(each, item) for each, item in zip(inner, value, strict=True))
    return value
