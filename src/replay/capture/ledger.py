"""The counts of a capture while it is written, and how they are found again in its segments after a crash.

Each segment has noted in it how many exchanges of each source its row groups hold, and what the capture's manifest said
at that moment (of its sources only those that anything was new about). So the segments alone tell the truth.
"""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from replay.capture.manifest import RECORDING, Manifest, Scrubbing, Source, parse_manifest
from replay.capture.segments import Segment
from replay.errors import InputError

MANIFEST_NOTE, GROUPS_NOTE = "replay.manifest", "replay.groups"
# Reasons beyond this are counted together, so that no source can make a manifest grow without end.
_REASONS = 500
_OTHER = "another reason"

Window = tuple[datetime, datetime] | None


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: how many exchanges of each source it holds, and in how many something is not judged."""

    sources: Mapping[str, int]
    undecided: int = 0


@dataclass(slots=True)
class Ledger:
    """What was read, kept, skipped and left out. ``kept`` counts what is in segments, not what waits for one."""

    name: str
    environment: str
    hosts: set[str]
    window: Window = None
    kept: Counter[str] = field(default_factory=Counter)
    skipped: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    left_out: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    formats: dict[str, str] = field(default_factory=dict)
    bodies_not_kept: Counter[str] = field(default_factory=Counter)
    lacking: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _noted: dict[str, Source] = field(default_factory=dict)

    def skip(self, source: str, reason: str, count: int = 1) -> None:
        """Count what was skipped."""
        self.skipped[source][_known(reason, self.skipped[source])] += count

    def widen(self, window: Window, hosts: Iterable[str]) -> None:
        """Take in when exchanges were, and at which hosts."""
        self.window = widened(self.window, window)
        self.hosts.update(filter(None, hosts))

    def manifest(self, scrubbing: Scrubbing, bodies_not_kept: Mapping[str, int] | None = None) -> Manifest:
        """All of it, as a manifest of a capture that is not complete."""
        names = {*self.kept, *self.skipped, *self.left_out, *self.formats}
        lacking = {reason: count for reason, count in sorted(self.lacking.items()) if count}
        return Manifest(
            name=self.name,
            environment=self.environment,
            state=RECORDING,
            exchanges=self.kept.total(),
            window=self.window,
            hosts=tuple(sorted(self.hosts)),
            sources=tuple(self._source(name) for name in sorted(names)),
            scrubbing=scrubbing,
            bodies_not_kept=dict(self.bodies_not_kept + Counter(bodies_not_kept or {})),
            notes=(*self.notes, *(f"Not written, {why}: {in_words(n, 'exchange')}." for why, n in lacking.items())),
            lacking=lacking,
        )

    def news(self, manifest: Manifest) -> Manifest:
        """``manifest`` with those sources only that changed since this was asked last."""
        changed = tuple(source for source in manifest.sources if self._noted.get(source.name) != source)
        self._noted.update((source.name, source) for source in changed)
        return dataclasses.replace(manifest, sources=changed)

    def _source(self, name: str) -> Source:
        return source_of(
            name, self.kept[name], self.skipped.get(name, {}), self.left_out.get(name, {}), self.formats.get(name, "")
        )


def source_of(
    name: str, kept: int, skipped: Mapping[str, int], left_out: Mapping[str, int], source_format: str
) -> Source:
    """A source, of which everything was read that was kept, skipped or left out."""
    read = kept + sum(skipped.values()) + sum(left_out.values())
    return Source(name, read, kept, dict(skipped), dict(left_out), source_format)


def widened(window: Window, other: Window) -> Window:
    """From the earlier start to the later end."""
    if window is None or other is None:
        return window or other
    return min(window[0], other[0]), max(window[1], other[1])


def in_words(count: int, noun: str) -> str:
    """``1 exchange``, ``1,200 exchanges``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def notes_for(manifest: Manifest, groups: Sequence[Group] = ()) -> dict[str, str]:
    """What to note in a segment."""
    notes = {MANIFEST_NOTE: json.dumps(manifest.to_json())}
    if groups:
        notes[GROUPS_NOTE] = json.dumps([[group.sources, group.undecided] for group in groups])
    return notes


def noted_manifest(segment: Segment) -> Manifest | None:
    """The manifest as it was when ``segment`` was written, or None where nothing is noted."""
    try:
        return parse_manifest(segment.metadata(MANIFEST_NOTE), str(segment.file))
    except InputError:
        return None


def noted_groups(segment: Segment) -> list[Group] | None:
    """What is noted of the row groups of ``segment``, or None where nothing is, or nothing true."""
    try:
        groups = [
            Group({str(name): int(count) for name, count in sources.items()}, int(undecided))
            for sources, undecided in json.loads(segment.metadata(GROUPS_NOTE))
        ]
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    counts = [sum(group.sources.values()) for group in groups]
    return groups if counts == [segment.rows_in(group) for group in range(segment.groups)] else None


def _known(reason: str, counts: Mapping[str, int]) -> str:
    return reason if reason in counts or len(counts) < _REASONS else _OTHER
