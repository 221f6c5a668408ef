"""What an import would make of its inputs, when nothing is to be written."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from replay.capture.ledger import Ledger
from replay.capture.manifest import Scrubbing
from replay.capture.scrub import Scrubber
from replay.capture.segments import LONGEST_S, hosts_of, window_of, with_durations
from replay.traffic import Exchange, Skipped


@dataclass(frozen=True, slots=True)
class Tally:
    """What an import would make of one input."""

    source: str
    format: str
    kept: int
    skipped: dict[str, int]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class DryRun:
    """What an import would make, and change, of all inputs."""

    tallies: tuple[Tally, ...]
    window: tuple[datetime, datetime] | None
    hosts: tuple[str, ...]
    scrubbing: Scrubbing
    bodies_not_kept: dict[str, int]
    notes: tuple[str, ...]


class Count:
    """Counts what a capture would hold, as its writer does, and keeps nothing: see ``reading.Keeper``.

    ``scrubbing`` is that of what comes scrubbed already.
    """

    def __init__(self, scrubber: Scrubber | None, scrubbing: Scrubbing | None = None) -> None:
        self._scrubber = scrubber
        self._scrubbing = scrubbing
        self._ledger = Ledger("", "", set())

    def add(self, exchange: Exchange, source: str = "") -> None:
        """See Keeper."""
        if self._scrubber:
            exchange = self._scrubber.exchange(exchange)
        self._ledger.kept[source] += 1
        self._ledger.widen((exchange.at, _end(exchange)), [exchange.request.host])

    def add_table(self, table: pa.Table, source: str = "") -> None:
        """See Keeper."""
        if table.num_rows:
            self._ledger.kept[source] += table.num_rows
            self._ledger.widen(window_of(with_durations(table)), hosts_of(table))

    def skip(self, skipped: Skipped) -> None:
        """See Keeper."""
        if self._scrubber:
            skipped = self._scrubber.skipped(skipped)
        self._ledger.skip(skipped.source, skipped.reason)

    def leave_out(self, source: str, option: str, count: int = 1) -> None:
        """See Keeper."""
        if count:
            self._ledger.left_out[source][option] += count

    def body_not_kept(self, reason: str, count: int = 1) -> None:
        """See Keeper."""
        self._ledger.bodies_not_kept[reason] += count

    def note(self, sentence: str) -> None:
        """See Keeper."""
        if sentence not in self._ledger.notes:
            self._ledger.notes.append(sentence)

    def note_format(self, source: str, source_format: str) -> None:
        """See Keeper."""
        self._ledger.formats[source] = source_format

    def result(self) -> DryRun:
        """What was counted."""
        scrubber = self._scrubber
        all_scrubbing = [self._scrubbing] if self._scrubbing else []
        if scrubber:
            all_scrubbing.append(Scrubbing(True, dict(scrubber.counts), scrubber.key.id))
        manifest = self._ledger.manifest(Scrubbing.merged(all_scrubbing), scrubber.dropped if scrubber else None)
        return DryRun(
            tallies=tuple(
                Tally(source.name, source.format, source.kept, source.skipped, source.left_out)
                for source in manifest.sources
            ),
            window=manifest.window,
            hosts=manifest.hosts,
            scrubbing=manifest.scrubbing,
            bodies_not_kept=manifest.bodies_not_kept,
            notes=manifest.notes,
        )


def _end(exchange: Exchange) -> datetime:
    try:
        return exchange.at + timedelta(seconds=exchange.duration_s if 0 <= exchange.duration_s <= LONGEST_S else 0.0)
    except OverflowError:
        return exchange.at
