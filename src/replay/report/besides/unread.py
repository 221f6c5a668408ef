"""What probes said that they could not read."""

from dataclasses import dataclass

from replay.judge.findings import short
from replay.judge.probes.waits import detail_of
from replay.report.story import Story

_MOST = 10


@dataclass(frozen=True, slots=True)
class Unread:
    """What one probe said, how often, in which arms."""

    probe: str
    words: str
    times: int
    arms: tuple[str, ...]


def unread(story: Story) -> list[Unread]:
    """What the probes could not read in any arm, most often said first; the ten that were said most."""
    said: dict[tuple[str, str], dict[str, int]] = {}
    for arm in story.arms:
        rows = arm.readings[arm.readings["metric"] == "probe_failed"]
        counts = rows.groupby(["probe", "detail"], as_index=False).size()
        for probe, detail, count in counts.itertuples(index=False):
            words = short(str(detail_of(detail).get("error") or "it did not say why"), 200)
            mine = said.setdefault((str(probe), words), {})
            mine[arm.info.arm] = mine.get(arm.info.arm, 0) + int(count)
    found = [Unread(probe, words, sum(arms.values()), tuple(arms)) for (probe, words), arms in said.items()]
    return sorted(found, key=lambda one: (-one.times, one.probe, one.words))[:_MOST]
