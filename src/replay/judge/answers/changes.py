"""Answers that are well by themselves, and yet are others than the same request got in the other arm.

One such answer proves nothing: a shape, or a shorter list, that the endpoint had now and then in the capture may be
nobody's fault. So nothing is said of single answers here. Both arms are asked alike, and what differs by chance does so
as often one way as the other; `replay.judge.effects.changes` asks whether the arm with the steps has more of it.

*Another shape*: the one arm's answer has the captured status class and shape, the other one's has not. A captured 304
tells nothing: what was not modified there may be modified here, and is well. *Fewer items*: more than a fifth of the
other arm's are missing. A single write that was lost makes a list shorter too, for as long as the arm lasts.

*Let in* is worse by itself: the capture and the other arm refused (401, 403), and this one was answered with success.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from replay.judge.answers.contents import Answers
from replay.judge.answers.texts import Texts, alike
from replay.judge.arrays import Flags, numbers

LET_IN = "let in"
_FEWER = 0.8
UNKNOWN = (401, 403)  # who asks is not known, or not let in
_NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class Apart:
    """Which pairs ``could`` tell, and where the answer of the steps arm, or that of the control, is the odd one."""

    could: Flags
    steps: Flags
    control: Flags

    def but(self, other: Flags) -> "Apart":
        """The same without ``other`` pairs, of which something else is told."""
        return Apart(self.could & ~other, self.steps & ~other, self.control & ~other)


@dataclass(frozen=True, slots=True)
class Statuses:
    """The status of every answer; 0 where there is none."""

    captured: npt.NDArray[np.int16]
    steps: npt.NDArray[np.int16]
    control: npt.NDArray[np.int16]


def statuses_of(steps: pd.DataFrame, control: pd.DataFrame) -> Statuses:
    """What the observations of both arms, in the same order, say of the statuses."""
    return Statuses(_whole(steps, "expected_status"), _whole(steps, "status"), _whole(control, "status"))


def _whole(observations: pd.DataFrame, name: str) -> npt.NDArray[np.int16]:
    return numbers(observations, name, 0.0).astype(np.int16)


def let_in(status: Statuses, ok: tuple[Flags, Flags]) -> tuple[Flags, Flags]:
    """Which requests were let in that the capture and the other arm refused: (in the steps arm, in the control).

    ``ok`` says of both arms which answers are well by themselves.
    """
    captured, steps, control = (np.isin(one, UNKNOWN) for one in (status.captured, status.steps, status.control))
    refused = captured & steps, captured & control
    return refused[1] & ok[0] & (status.steps // 100 == 2), refused[0] & ok[1] & (status.control // 100 == 2)


def other_shapes(status: Statuses, captured: Texts, steps: Texts, control: Texts, ok: Flags) -> Apart:
    """Where one arm's answer is like the captured one and the other's is not, among those that are ``ok`` in all."""
    shape, t_shape, c_shape = alike(captured, steps, control)
    could = ok & (status.captured > 0) & (status.captured != _NOT_MODIFIED)
    t_same, c_same = (
        (of_arm // 100 == status.captured // 100) & ((one.codes == shape.codes) | (one.codes < 0) | (shape.codes < 0))
        for of_arm, one in ((status.steps, t_shape), (status.control, c_shape))
    )
    return Apart(could & (t_same | c_same), could & c_same & ~t_same, could & t_same & ~c_same)


def fewer_items(steps: Answers, control: Answers) -> Apart:
    """Where a list has clearly fewer items than in the other arm."""
    could: Flags = steps.ok & control.ok & np.isfinite(steps.items) & np.isfinite(control.items)
    return Apart(could, _are_fewer(could, steps, control), _are_fewer(could, control, steps))


def _are_fewer(could: Flags, one: Answers, other: Answers) -> Flags:
    return could & (one.items < _FEWER * other.items)


def columns(shapes: Apart, items: Apart) -> dict[str, Any]:
    """Both as columns of the pairs."""
    return {
        "could_shape": shapes.could,
        "t_other_shape": shapes.steps,
        "c_other_shape": shapes.control,
        "could_items": items.could,
        "t_fewer_items": items.steps,
        "c_fewer_items": items.control,
    }
