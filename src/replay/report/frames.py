"""Evidence reduced to what a chart can show: small frames, one row a bar or a point. Times are arm seconds."""

from dataclasses import dataclass

import pandas as pd

from replay.evidence.run import ArmEvidence
from replay.evidence.values import INTERRUPTED, Mark, Outcome, expected_outcome

AS_EXPECTED = "as expected"
# From what a client notices least to what it notices most: the order in which bars are stacked.
OUTCOMES = (
    AS_EXPECTED,
    str(Outcome.REFUSED),
    str(Outcome.UNSENT),
    str(Outcome.SERVER_ERROR),
    str(Outcome.NO_CONNECTION),
    str(Outcome.TIMEOUT),
    str(Outcome.EMPTY),
)
BARS = 150
_WIDTHS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@dataclass(frozen=True, slots=True)
class StepSpan:
    """One step of an arm, or one statement of it. ``ended_s`` is None where no mark says how it ended."""

    name: str
    kind: str
    started_s: float
    ended_s: float | None
    failed: bool
    error: str
    statement: str = ""
    rows: int | None = None

    @property
    def duration_s(self) -> float | None:
        """How long it took, or None where it never ended."""
        return None if self.ended_s is None else self.ended_s - self.started_s


def bar_width(length_s: float) -> float:
    """The seconds that one bar stands for, so that an arm of ``length_s`` has at most ``BARS`` of them."""
    return next((float(width) for width in _WIDTHS if length_s / width <= BARS), length_s / BARS)


def told_apart(observations: pd.DataFrame) -> pd.DataFrame:
    """``endpoint``, ``at_s`` (when sent, or due where never sent) and ``outcome`` of each observation.

    An outcome that the capture had for the same request, a 404 that a test asks for, is ``as expected``. What was not
    sent as the arm was ended before is none of it.
    """
    observations = observations[observations["error"] != INTERRUPTED]
    wanted = observations[["expected_status", "expected_shape"]]
    pairs = wanted.drop_duplicates()
    outcomes = [
        str(expected_outcome(*_expectation(status, shape)))
        for status, shape in zip(pairs["expected_status"], pairs["expected_shape"], strict=True)
    ]
    expected = wanted.merge(pairs.assign(expected=outcomes), how="left")["expected"].to_numpy()
    fine = (observations["outcome"] == str(Outcome.OK)) | (observations["outcome"] == expected)
    return pd.DataFrame(
        {
            "endpoint": observations["endpoint"],
            "at_s": observations["sent_s"].fillna(observations["due_s"] + observations["waited_s"]),
            "outcome": observations["outcome"].mask(fine, AS_EXPECTED),
        }
    )


def timeline(arm: ArmEvidence, width_s: float) -> pd.DataFrame:
    """Requests per second by outcome, as stacked bars.

    Columns: ``from_s``, ``to_s``, ``outcome``, ``requests``, ``rate``, and the bar's ``low`` and ``high``. The bad ones
    stand at the bottom, where their height can be read.
    """
    told = told_apart(arm.observations)
    told["from_s"] = told["at_s"] // width_s * width_s
    counted = told.groupby(["from_s", "outcome"], as_index=False).size().rename(columns={"size": "requests"})
    counted["order"] = [-OUTCOMES.index(name) if name in OUTCOMES else 0 for name in counted["outcome"]]
    counted = counted.sort_values(["from_s", "order", "outcome"], ignore_index=True).drop(columns="order")
    counted["to_s"] = counted["from_s"] + width_s
    counted["rate"] = counted["requests"] / width_s
    counted["high"] = counted.groupby("from_s")["rate"].cumsum()
    counted["low"] = counted["high"] - counted["rate"]
    return counted


def strips(arm: ArmEvidence, endpoints: list[str], width_s: float) -> pd.DataFrame:
    """One cell for each endpoint and stretch of time: its most frequent bad outcome and the share of bad ones."""
    told = told_apart(arm.observations)
    told = told[told["endpoint"].isin(endpoints)]
    told["from_s"] = told["at_s"] // width_s * width_s
    cell = ["endpoint", "from_s"]
    counted = told.groupby([*cell, "outcome"], as_index=False).size()
    all_of = counted.groupby(cell)["size"].sum().rename("requests").reset_index()
    bad = counted[counted["outcome"] != AS_EXPECTED]
    bad_of = bad.groupby(cell)["size"].sum().rename("bad").reset_index()
    most = bad.sort_values([*cell, "size", "outcome"], ascending=[True, True, False, True]).drop_duplicates(cell)
    cells: pd.DataFrame = all_of.merge(bad_of, how="left", on=cell).merge(most[[*cell, "outcome"]], how="left", on=cell)
    cells["outcome"] = cells["outcome"].fillna(AS_EXPECTED)
    cells["bad"] = cells["bad"].fillna(0).astype(int)
    cells["share"] = cells["bad"] / cells["requests"]
    cells["to_s"] = cells["from_s"] + width_s
    return cells


def signal(arm: ArmEvidence, metric: str, width_s: float) -> pd.DataFrame:
    """The highest value of ``metric`` in each stretch of ``width_s``: ``at_s``, ``value``. Empty where not measured."""
    found = arm.readings[arm.readings["metric"] == metric]
    if found.empty:
        return pd.DataFrame({"at_s": [], "value": []}, dtype="float64")
    at_s = found["at_s"] // width_s * width_s
    highest = found.groupby(at_s)["value"].max()
    return pd.DataFrame({"at_s": highest.index.to_numpy(), "value": highest.to_numpy()})


def peak(arm: ArmEvidence | None, metric: str) -> float | None:
    """The highest value that ``metric`` had in the arm, or None where it was not measured."""
    if arm is None:
        return None
    values = arm.readings.loc[arm.readings["metric"] == metric, "value"]
    return None if values.empty else float(values.max())


def step_spans(arm: ArmEvidence) -> list[StepSpan]:
    """The steps of an arm in the order they began."""
    return _spans([mark for mark in arm.marks if mark.index == 0 and mark.kind != "arm"])


def statement_spans(arm: ArmEvidence) -> list[StepSpan]:
    """The statements of the arm's steps in the order they began."""
    return _spans([mark for mark in arm.marks if mark.index > 0])


def _spans(marks: list[Mark]) -> list[StepSpan]:
    """Pairs each start with the next mark of the same step and statement that is not a start.

    What the end of the rehearsal interrupted has not ended.
    """
    spans: list[StepSpan] = []
    for place, mark in enumerate(marks):
        if mark.event != "started":
            continue
        same = (other for other in marks[place + 1 :] if (other.step, other.index) == (mark.step, mark.index))
        end = next(same, None)
        if end is None or end.event in {"started", "interrupted"}:
            spans.append(StepSpan(mark.step, mark.kind, mark.at_s, None, False, "", mark.statement))
        else:
            failed = end.event == "failed"
            spans.append(
                StepSpan(mark.step, mark.kind, mark.at_s, end.at_s, failed, end.error, mark.statement, end.rows)
            )
    return spans


def _expectation(status: float | None, shape: str | None) -> tuple[int | None, str | None]:
    """A status and shape out of a frame, where what is missing may be NaN."""
    return (None if pd.isna(status) else int(status or 0), None if pd.isna(shape) else shape)
