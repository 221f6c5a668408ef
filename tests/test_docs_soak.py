"""docs/soak.md says what a soak's criteria are."""

import re
import tomllib
from pathlib import Path

from replay.judge.soak.criteria import LIMITS, OF_AN_ENDPOINT, SoakCriteria, parse_soak_criteria
from replay.judge.soak.drift import LEVEL

TEXT = (Path(__file__).parents[1] / "docs" / "soak.md").read_text(encoding="utf-8")


def test_every_limit_stands_there_with_its_default() -> None:
    found: dict[str, tuple[str, str]] = {}
    for names, default, of_one in re.findall(r"^\| (`.*?`) \| (\S+) \| (\w+) \|", TEXT, re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`(\w+)`", names), (default, of_one))
    assert set(found) == {*LIMITS, "drift_per_hour"}
    for name in LIMITS:
        default, of_one = found[name]
        assert float(default.strip("`")) == getattr(SoakCriteria(), name), name
        assert (of_one == "yes") == (name in OF_AN_ENDPOINT), name


def test_what_should_stay_level_stands_there() -> None:
    assert all(f"`{name}`" in TEXT for name in LEVEL)


def test_the_example_can_be_read() -> None:
    (example,) = re.findall(r"^```text\n(\[criteria\].*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    criteria = parse_soak_criteria(tomllib.loads(example)["criteria"])
    assert criteria.of("POST /oauth/token").p95_s == 1.5
