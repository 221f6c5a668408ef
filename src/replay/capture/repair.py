"""What can be read of a capture that broke off or was damaged, and the truth about how much that is."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from replay.capture.close import complete
from replay.capture.folder import (
    MANIFEST,
    cut_skipped,
    exchanges_folder,
    iter_skipped,
    lock,
    segment_files,
    settle,
    unlock,
)
from replay.capture.ledger import Ledger, Window, in_words, noted_groups, noted_manifest, notes_for, source_of, widened
from replay.capture.manifest import RECORDING, Manifest, Scrubbing, Source, load_manifest
from replay.capture.merge import OnDamage
from replay.capture.segments import Segment, hosts_of, window_of, write_segment
from replay.errors import InputError

_UNKNOWN = "unknown"


BROKE_OFF = "It broke off while it was written, and was completed with what had reached the disk."


@dataclass(slots=True)
class Survey:
    """What the segments hold that can be read.

    ``sources`` counts it by source, or is None where that is not known. ``damaged`` are the segments of which a part,
    or all, is lost.
    """

    exchanges: int = 0
    window: Window = None
    hosts: set[str] = field(default_factory=set)
    sources: Counter[str] | None = field(default_factory=Counter)
    undecided: int = 0
    noted: list[Manifest] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)


def survey(path: Path, on_damage: OnDamage = lambda _: None) -> Survey:
    """Read all segments at ``path``, and say what they hold."""
    found = Survey()
    for file in segment_files(path):
        try:
            segment = Segment(file)
        except InputError as error:
            on_damage(error)
            found.damaged.append(file)
            continue
        _survey_segment(segment, found, on_damage)
    return found


def _survey_segment(segment: Segment, found: Survey, on_damage: OnDamage) -> None:
    groups = noted_groups(segment)
    manifest = noted_manifest(segment)
    if manifest:
        found.noted.append(manifest)
    if groups is None and segment.rows:
        found.sources = None
    for number in range(segment.groups):
        try:
            table = segment.read(number)
        except InputError as error:
            on_damage(error)
            if segment.file not in found.damaged:
                found.damaged.append(segment.file)
            continue
        found.exchanges += table.num_rows
        found.window = widened(found.window, window_of(table))
        found.hosts |= hosts_of(table)
        if groups is not None:
            found.undecided += groups[number].undecided
            if found.sources is not None:
                found.sources.update(groups[number].sources)


def counted(path: Path, on_damage: OnDamage = lambda _: None) -> Manifest:
    """The manifest of a capture that is not complete, with counts of what can be read.

    What a lost manifest said is taken from the segments, else made up. Raises InputError where there is no exchange
    nor a manifest.
    """
    try:
        manifest = load_manifest(path / MANIFEST)
    except InputError:
        if not segment_files(path):
            raise
        manifest = None
    return _counted(path, manifest, survey(path, on_damage))


def repair(path: Path) -> Manifest:
    """Complete a capture whose recording broke off; nobody may be recording into it.

    What can be read of a damaged segment is kept, and the segment put aside as ``NAME.parquet.damaged``.
    """
    locked = lock(path)
    try:
        settle(path)
        cut_skipped(path)
        try:
            manifest = load_manifest(path / MANIFEST)
        except InputError:
            manifest = None
        found = survey(path)
        true = _counted(path, manifest, found)
        true = dataclasses.replace(true, notes=(*true.notes, BROKE_OFF))
        for file in exchanges_folder(path).glob("*.sealed"):  # its key is gone
            file.unlink()
        for file in found.damaged:
            _save(file, true)
        completed = complete(path, lambda: true)
        unlock(locked)
        return completed
    finally:
        locked.close()


def _save(file: Path, manifest: Manifest) -> None:
    """Put a damaged segment aside, with one of what can be read of it in its place."""
    aside = file.with_name(f"{file.name}.damaged")
    tables = _readable(file)
    first = next(tables, None)
    if first is None:
        file.rename(aside)
        return
    saved = file.with_name(f".{file.name}.saved.part")
    write_segment(_with_first(first, tables), saved, notes_for(manifest))
    file.rename(aside)
    saved.rename(file)


def _readable(file: Path) -> Iterator[pa.Table]:
    try:
        segment = Segment(file)
    except InputError:
        return
    for group in range(segment.groups):
        try:
            yield segment.read(group)
        except InputError:
            continue


def _with_first(first: pa.Table, rest: Iterable[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


def _counted(path: Path, manifest: Manifest | None, found: Survey) -> Manifest:
    known = [one for one in (*found.noted, manifest) if one]
    base = manifest or max(found.noted, key=lambda one: one.exchanges, default=None) or _blank(path)
    ledger = Ledger(base.name, base.environment, set(base.hosts) | found.hosts, found.window)
    for one in known:
        _take_in(ledger, one)
    _take_in_skipped(path, ledger)
    kept = _kept(found, base, ledger)
    names = sorted({*kept, *ledger.skipped, *ledger.left_out, *ledger.formats})
    notes = list(base.notes)
    if found.undecided:
        notes.append(
            f"In {in_words(found.undecided, 'exchange')}, values stayed pseudonyms, because the recording broke off "
            "before it was known whether they are secret."
        )
    if found.damaged:
        notes.append(f"{in_words(len(found.damaged), 'damaged segment')} could not be read, or only in part.")
    counts: Counter[str] = Counter()
    for one in known:
        counts |= Counter(one.scrubbing.counts)
    return dataclasses.replace(
        base,
        state=RECORDING,
        exchanges=found.exchanges,
        window=found.window,
        hosts=tuple(sorted(ledger.hosts)),
        sources=tuple(
            source_of(name, kept[name], ledger.skipped[name], ledger.left_out[name], ledger.formats.get(name, ""))
            for name in names
        ),
        scrubbing=dataclasses.replace(base.scrubbing, counts=dict(counts)),
        bodies_not_kept=dict(ledger.bodies_not_kept),
        segments=(),
        notes=tuple(dict.fromkeys(notes)),
    )


def _take_in(ledger: Ledger, manifest: Manifest) -> None:
    """Counts only grow while a capture is written, so that the greatest is the last."""
    for source in manifest.sources:
        ledger.skipped[source.name] |= Counter(source.skipped)
        ledger.left_out[source.name] |= Counter(source.left_out)
        ledger.formats[source.name] = source.format or ledger.formats.get(source.name, "")
    ledger.bodies_not_kept |= Counter(manifest.bodies_not_kept)


def _take_in_skipped(path: Path, ledger: Ledger) -> None:
    counted = Ledger("", "", set())
    for skipped in iter_skipped(path):
        counted.skip(skipped.source, skipped.reason)
    for name, reasons in counted.skipped.items():
        ledger.skipped[name] |= reasons


def _kept(found: Survey, base: Manifest, ledger: Ledger) -> Counter[str]:
    """How many exchanges are kept of each source."""
    if found.sources is not None:
        return found.sources
    if found.exchanges == sum(source.kept for source in base.sources):
        return Counter({source.name: source.kept for source in base.sources})
    names = {source.name for source in base.sources} | ledger.skipped.keys()
    # Which of several sources it came from is not written in what is left.
    return Counter({next(iter(names)) if len(names) == 1 else _UNKNOWN: found.exchanges})


def _blank(path: Path) -> Manifest:
    # Nobody says what environment this is, so it counts as the one to be careful with.
    sources = (Source(_UNKNOWN),)
    return Manifest(path.resolve().name, "production", RECORDING, 0, None, (), sources, Scrubbing(on=False))
