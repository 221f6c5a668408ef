"""Columns of texts as numbers, of which there are as many as there are different texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.judge.arrays import Codes, Flags


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts: ``codes``, of shape (n,), are places in ``names``, -1 where there is no text."""

    codes: Codes
    names: tuple[str, ...]

    def of(self, rows: npt.NDArray[Any]) -> "Texts":
        """The texts of some rows only, by positions or flags."""
        return Texts(self.codes[rows], self.names)

    def counts(self) -> dict[str, int]:
        """How many rows have each text; those that none has are left out."""
        found = np.bincount(self.codes + 1, minlength=len(self.names) + 1)[1:]
        return {name: int(count) for name, count in zip(self.names, found, strict=True) if count}

    def where(self, test: Sequence[bool]) -> Flags:
        """The rows whose name passes a ``test`` that was made of each name; those without a text do not."""
        return np.array([*test, False], dtype=np.bool_)[self.codes]

    def are(self, name: str) -> Flags:
        """The rows that have this text."""
        return self.where([one == name for one in self.names])

    def as_in(self, names: Sequence[str]) -> Codes:
        """The places in other ``names``; of what is not there, and of what has no text, -1."""
        known = {name: place for place, name in enumerate(names)}
        places = np.array([*(known.get(name, -1) for name in self.names), -1], dtype=np.int64)
        return places[self.codes]


def codes_of(column: "pd.Series[Any]") -> Codes:
    """A number for each row, the same for the same text, -1 where there is none; as it is what are numbers already."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return np.asarray(column.cat.codes, dtype=np.int64)
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy(np.int64)
    codes: Codes = pd.factorize(column)[0].astype(np.int64)
    return codes


def texts_of(column: "pd.Series[Any]") -> Texts:
    """A column of a frame, be it of texts or of categories; the names are those that rows have."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        codes, names = pd.factorize(column)
        return Texts(codes.astype(np.int64), tuple(map(str, names)))
    whole = Texts(np.asarray(column.cat.codes, dtype=np.int64), tuple(map(str, column.cat.categories)))
    there = tuple(whole.counts())
    return whole if there == whole.names else Texts(whole.as_in(there), there)


def alike(*columns: Texts) -> tuple[Texts, ...]:
    """The same columns, with the names of all of them in the same places."""
    names = tuple(dict.fromkeys(name for column in columns for name in column.names))
    return tuple(Texts(column.as_in(names), names) for column in columns)
