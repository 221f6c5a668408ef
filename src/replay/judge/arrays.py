"""What the judge's arrays hold, by name. Each has one element for each thing, shape (n,), unless it is said."""

import numpy as np
import numpy.typing as npt
import pandas as pd

Times = npt.NDArray[np.float64]  # moments of an arm, or durations, in seconds
Values = npt.NDArray[np.float64]  # numbers whose unit is said beside them; nan is none
Counts = npt.NDArray[np.float64]  # how many there are of something, a block of time each
Flags = npt.NDArray[np.bool_]  # which of the things are meant
Rows = npt.NDArray[np.int64]  # positions in other arrays, or the numbers of requests
Codes = npt.NDArray[np.int64]  # places in a list of names; -1 is none
Labels = npt.NDArray[np.int64]  # what is alike has the same
Whole = npt.NDArray[np.int64]  # other whole numbers


def numbers(frame: pd.DataFrame, name: str, missing: float = np.nan) -> Values:
    """A column as numbers, ``missing`` where it has none; all of them where older evidence has no such column."""
    if name not in frame:
        return np.full(len(frame), missing)
    values = frame[name].to_numpy(np.float64, na_value=np.nan)
    return values if np.isnan(missing) else np.where(np.isnan(values), missing, values)
