"""The windows of a steps arm in which an effect is looked for, in blocks from the first step's start on."""

import math

from replay.judge.case import Case
from replay.judge.effects.blocks import TALLY_BLOCK_S

LATER = "from the first step on"
_SOON_S = 20.0


def windows_of(case: Case) -> dict[str, tuple[int, int]]:
    """(first block, stop) by name: all that is later, each phase, and twenty seconds from each step's start on.

    An effect that lasts as long as a phase shows best there; one that is over sooner is lost in a long phase.
    """
    start_s = case.first_step_s
    if not math.isfinite(start_s):
        return {}
    end = max(1, _block(case.end_s - start_s))
    found = {LATER: (0, end)}
    for number, span in enumerate(case.spans):
        after = case.spans[number + 1].started_s if number + 1 < len(case.spans) else case.end_s
        first, stop = int((span.started_s - start_s) // TALLY_BLOCK_S), _block(span.end_s(case.end_s) - start_s)
        found.setdefault(span.during, (first, max(first + 1, stop)))
        found.setdefault(span.after, (max(first + 1, stop), _block(after - start_s)))
        found.setdefault(
            f"soon after the start of {span.step}", (first, min(end, first + int(_SOON_S / TALLY_BLOCK_S)))
        )
    different = {window: name for name, window in reversed(found.items()) if window[1] > window[0]}
    return {name: window for name, window in found.items() if different.get(window) == name}


def _block(seconds: float) -> int:
    return math.ceil(seconds / TALLY_BLOCK_S - 1e-9)
