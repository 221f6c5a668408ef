"""Where in the evidence a finding or a check lies, and what was seen beside it, as the report says both."""

from typing import Any

from replay.report.story import as_list, rows


def place(told: dict[str, Any]) -> str:
    """The arm and the numbers of the requests that a finding or a check names; empty where there are none."""
    evidence = _evidence(told)
    numbers = [str(number) for number in as_list(evidence.get("requests"))]
    if not numbers:
        return ""
    arm = str(told.get("arm") or evidence.get("arm") or "")
    return f"{arm}, request{'s' * (len(numbers) > 1)} {', '.join(numbers)}".removeprefix(", ")


def at_the_same_time(finding: dict[str, Any]) -> list[str]:
    """What was seen beside a finding, which proves nothing."""
    return [str(one.get("what")) for one in rows(_evidence(finding).get("at_the_same_time")) if one.get("what")]


def _evidence(told: dict[str, Any]) -> dict[str, Any]:
    evidence = told.get("evidence")
    return evidence if isinstance(evidence, dict) else {}
