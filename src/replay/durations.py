"""Durations as plans write them: ``20s``, ``1.5h``, ``1m30s``."""

import re

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: str) -> float | None:
    """The seconds that a duration has; None where the text is none. Spaces do not matter."""
    tight = text.replace(" ", "")
    if not _DURATION.fullmatch(tight):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(tight))
