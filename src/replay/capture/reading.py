"""Reading what is imported, in two passes.

The first learns what is secret anywhere, so that the second replaces it everywhere, also where it stood before it
showed itself to be a secret. Captures that were scrubbed when they were written are read once, and stay as they are.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from replay.capture.clients import client_of
from replay.capture.folder import iter_skipped
from replay.capture.inputs import Input
from replay.capture.joining import Join
from replay.capture.logs.columns import Columns
from replay.capture.logs.reader import LogSource
from replay.capture.manifest import Manifest, Scrubbing
from replay.capture.pseudonyms import Key, fresh_key
from replay.capture.scrub import NO_RULES, Rules, Scrubber
from replay.capture.segments import to_exchanges, to_table
from replay.capture.selection import EVERYTHING, Selection
from replay.capture.sources import find_source, reads_columns
from replay.capture.sources.capture import is_mirror, notes_of, read_capture
from replay.capture.sources.log_format import LogFormatSource
from replay.capture.sources.roles import check_columns
from replay.capture.sources.source import Lines, ReadOptions, Record, Source
from replay.capture.store import CaptureWriter, read_manifest, read_tables
from replay.errors import InputError
from replay.target import PRODUCTION
from replay.traffic import Exchange, Skipped

_REFUSED_SHOWN = 5
# Why a line of a log is no exchange of its own, where a mirror's requests are imported with it.
JOINED, NOT_JOINED = "--join, as part of a request of the mirror", "--join, as no request of the mirror"
OTHER_KEY = (
    "The mirror was recorded with another --scrub-key, so that only X-Request-Id could join what has secrets in it: "
    "give the key of the recording."
)


@dataclass(frozen=True, slots=True)
class Importing:
    """What to import, and how.

    ``inputs`` are files, ``captures`` folders of earlier captures. ``format`` is the name of a source for every file,
    or None to find it by each one's contents. ``environment`` says where the traffic was recorded; without it, it is
    that of the captures, else production. With ``scrub`` off, ``key`` only names the clients. With ``join``, a capture
    that a mirror recorded gets its answers from the logs beside it.
    """

    inputs: tuple[Input, ...] = ()
    captures: tuple[Path, ...] = ()
    environment: str | None = None
    name: str = ""
    format: str | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    scrub: bool = True
    key: Key = field(default_factory=fresh_key)
    rules: Rules = NO_RULES
    selection: Selection = EVERYTHING
    join: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: of ``total_bytes`` in all passes, with ``exchanges`` kept so far; ``doing`` says what."""

    doing: str
    read_bytes: int
    total_bytes: int
    exchanges: int


OnProgress = Callable[[Progress], None]


class Keeper(Protocol):
    """What takes the exchanges: the writer of a capture, or a count of what it would hold."""

    def add(self, exchange: Exchange, source: str = "") -> None:
        """Keep an exchange, scrubbed by the keeper."""

    def add_table(self, table: pa.Table, source: str = "") -> None:
        """Keep a table of ``segments.SCHEMA``, scrubbed already."""

    def skip(self, skipped: Skipped) -> None:
        """Note a record that could not become an exchange."""

    def leave_out(self, source: str, option: str, count: int = 1) -> None:
        """Count records that a selection left out."""

    def body_not_kept(self, reason: str, count: int = 1) -> None:
        """Count bodies that their exchanges lack."""

    def note(self, sentence: str) -> None:
        """Tell the reader of the capture something."""

    def note_format(self, source: str, source_format: str) -> None:
        """Say which format a source has."""


class Reading:
    """The inputs with their formats, and how far they were read.

    ``scrubber`` is None where nothing is to be scrubbed; ``scrubbing`` says what was done to captures that stay as they
    are, None where there are none. Raises InputError where an input cannot be read or is of no known format.
    """

    def __init__(self, importing: Importing, on_progress: OnProgress) -> None:
        self._importing = importing
        self._on_progress = on_progress
        self._selection = importing.selection
        self._sources = _find_sources(importing)
        self._captures = [(path, read_manifest(path, repair=True)) for path in importing.captures]
        manifests = [manifest for _, manifest in self._captures]
        plain = [path for path, manifest in self._captures if importing.scrub and not manifest.scrubbing.on]
        self._to_scrub = frozenset(plain)
        self.environment = importing.environment or _environment_of(manifests)
        self.scrubber = (
            Scrubber(importing.key, importing.rules) if importing.scrub and (self._sources or plain) else None
        )
        stay = [manifest.scrubbing for path, manifest in self._captures if path not in self._to_scrub]
        if self._sources and not importing.scrub:
            stay.append(Scrubbing(on=False))
        self.scrubbing = Scrubbing.merged(stay) if stay else None
        self._earliest: datetime | None = None
        self._is_learning = bool(self.scrubber) or self._selection.is_relative
        self._doing = ""
        self._read_bytes = 0
        self._total_bytes = sum(file.size_bytes for file in importing.inputs) * (1 + self._is_learning)
        self._exchanges = 0
        self._lost: Counter[str] = Counter()
        for file in importing.inputs:
            file.on_read = self._count_read

    def check_kept(self) -> None:
        """Raises InputError, which says what became of them, where of all records none was kept."""
        if not self._exchanges:
            why = ", ".join(f"{reason} ({count:,})" for reason, count in self._lost.most_common(3))
            raise InputError(f"No request is left to import: {why or 'nothing is in it'}.", self._hint_for_none())

    def _hint_for_none(self) -> str:
        if any(reason.startswith("left out by") for reason in self._lost):
            return "Without --out and with --dry-run, it shows what each option leaves out."
        if self._importing.options.log_format:
            return "Does --log-format say how the lines are written, from their first sign to their last?"
        return "Name another --format, or give a log's own with --log-format."

    def tell(self, doing: str) -> None:
        """Tell how far it is."""
        self._doing = doing
        read_bytes = min(self._read_bytes, self._total_bytes)  # a table's parts may be read more than once
        self._on_progress(Progress(doing, read_bytes, self._total_bytes, self._exchanges))

    # The first pass

    def learn(self) -> None:
        """Learn what is secret, and when all begins where the selection counts from there."""
        if self._is_learning:
            columns = Columns(self.scrubber, self._importing.key)
            for file, source in self._sources:
                self.tell(f"looking for secrets in {file.name}")
                self._learn(file, source, columns)
            for path, manifest in self._captures:
                self._begin(manifest.window[0] if manifest.window else None)
                if path in self._to_scrub:
                    self.tell(f"looking for secrets in {path}")
                    self._learn_capture(path)
        if self._selection.is_relative:
            self._selection = self._selection.from_(self._earliest or datetime.now(UTC))

    def _learn(self, file: Input, source: Source, columns: Columns) -> None:
        if isinstance(source, LogSource | LogFormatSource) and not self._selection.is_relative:
            for texts in source.read_texts(file, self._importing.options):
                columns.learn(texts)
            return
        for item in source.read(file, self._importing.options):
            if isinstance(item, Record):
                self._begin(item.exchange.at)
                if self.scrubber:
                    self.scrubber.learn(item.exchange)
            elif isinstance(item, Lines) and item.table.num_rows:
                self._begin(pc.min(item.table["at"]).as_py().astimezone(UTC))
                columns.learn(item.table)

    def _learn_capture(self, path: Path) -> None:
        for item in read_capture(path):
            for exchange in () if isinstance(item, Skipped) else to_exchanges(item):
                if self.scrubber:
                    self.scrubber.learn(exchange)

    def _begin(self, at: datetime | None) -> None:
        if at and (self._earliest is None or at < self._earliest):
            self._earliest = at

    # The second pass

    def keep(self, keeper: Keeper) -> None:
        """Everything into ``keeper``."""
        mirrors = [pair for pair in self._captures if self._importing.join and is_mirror(pair[1])]
        for path, manifest in self._captures:
            self._keep_facts(path, manifest, keeper)
        if mirrors and self._sources:
            self._keep_joined(mirrors, keeper)
        else:
            mirrors = []
            for file, source in self._sources:
                self._keep_file(file, source, keeper, self._selection)
        for path, _ in (pair for pair in self._captures if pair not in mirrors):
            for table in self._tables(path, keeper):
                self._keep_table(table, str(path), keeper, self._selection)
                self.tell(f"reading {path}")
        for sentence in notes_of([manifest for _, manifest in self._captures]):
            keeper.note(sentence)

    def _keep_file(self, file: Input, source: Source, keeper: Keeper, selection: Selection) -> None:
        self.tell(f"reading {file.name}")
        keeper.note_format(file.name, source.title)
        columns = Columns(self.scrubber, self._importing.key)
        for item in source.read(file, self._importing.options):
            if isinstance(item, Record):
                self._keep_record(item, file.name, keeper, selection)
            elif isinstance(item, Lines):
                for skipped in item.skipped:
                    self._skip(skipped, keeper)
                self._keep_table(columns.rows(item.table), file.name, keeper, selection)
            else:
                self._skip(item, keeper)

    def _skip(self, skipped: Skipped, keeper: Keeper) -> None:
        self._lost[skipped.reason] += 1
        keeper.skip(skipped)

    def _leave_out(self, source: str, option: str, count: int, keeper: Keeper) -> None:
        self._lost[f"left out by {option}"] += count
        keeper.leave_out(source, option, count)

    def _keep_record(self, record: Record, source: str, keeper: Keeper, selection: Selection) -> None:
        exchange = self._named(record)
        option = selection.reason_to_leave_out(exchange)
        if option:
            self._leave_out(source, option, 1, keeper)
            return
        for reason in record.bodies_not_kept:
            keeper.body_not_kept(reason)
        self._exchanges += 1
        keeper.add(exchange, source)

    def _keep_table(self, table: pa.Table, source: str, keeper: Keeper, selection: Selection) -> None:
        table, left_out = selection.leave_out(table)
        for option, count in left_out.items():
            self._leave_out(source, option, count, keeper)
        self._exchanges += table.num_rows
        keeper.add_table(table, source)

    def _keep_facts(self, path: Path, manifest: Manifest, keeper: Keeper) -> None:
        """What is to be said of a capture beside its exchanges."""
        keeper.note_format(str(path), "capture")
        for skipped in iter_skipped(path):
            keeper.skip(Skipped(str(path), f"{skipped.source}, {skipped.where}", skipped.reason))
        if self._selection == EVERYTHING:
            for reason, count in manifest.bodies_not_kept.items():
                keeper.body_not_kept(reason, count)

    def _tables(self, path: Path, keeper: Keeper) -> Iterator[pa.Table]:
        """The exchanges of a capture, scrubbed."""
        for item in read_capture(path):
            if isinstance(item, Skipped):
                self._skip(item, keeper)
            elif self.scrubber and path in self._to_scrub:
                yield to_table([self.scrubber.exchange(exchange) for exchange in to_exchanges(item)])
            else:
                yield item

    def _keep_joined(self, mirrors: Sequence[tuple[Path, Manifest]], keeper: Keeper) -> None:
        """The requests of mirrors with the answers that the files tell of."""
        with TemporaryDirectory(prefix="replay-") as folder:
            answers = [Path(folder) / str(number) for number in range(len(self._sources))]
            for path, (file, source) in zip(answers, self._sources, strict=True):
                with CaptureWriter(path, environment=self.environment, scrubber=self.scrubber) as writer:
                    self._keep_file(file, source, _Answers(writer, keeper), EVERYTHING)
            join = Join([read_tables(path) for path in answers])
            self._exchanges = 0
            for number, table in join.joined([self._tables(path, keeper) for path, _ in mirrors]):
                self._keep_table(table, str(mirrors[number][0]), keeper, self._selection)
                self.tell("joining requests with their answers")
        for (file, _), lines, used in zip(self._sources, join.lines, join.used, strict=True):
            keeper.leave_out(file.name, JOINED, used)
            keeper.leave_out(file.name, NOT_JOINED, lines - used)
        keeper.note(join.matched.sentence)
        if any(manifest.scrubbing.key_id not in {None, self._importing.key.id} for _, manifest in mirrors):
            keeper.note(OTHER_KEY)
        elif join.matched.hint:
            keeper.note(join.matched.hint)

    def _named(self, record: Record) -> Exchange:
        exchange = record.exchange
        request = exchange.request
        if not request.host:
            request = replace(request, host=self._importing.options.host)
        client = client_of(request, record.address, self._importing.key, user=record.user)
        return replace(exchange, request=request, client=client)

    def _count_read(self, count: int) -> None:
        self._read_bytes += count
        self.tell(self._doing)


class _Answers:
    """A keeper of what a log tells of answers, while all else goes to the capture's own."""

    def __init__(self, answers: CaptureWriter, keeper: Keeper) -> None:
        self.add = answers.add
        self.add_table = answers.add_table
        self.skip = keeper.skip
        self.leave_out = keeper.leave_out
        self.body_not_kept = keeper.body_not_kept
        self.note = keeper.note
        self.note_format = keeper.note_format


def _find_sources(importing: Importing) -> list[tuple[Input, Source]]:
    """The format of each file. Raises InputError, which names all files that have none."""
    check_columns(importing.options.columns)
    # A log's own format needs no other name.
    name = "log-format" if importing.options.log_format and not importing.format else importing.format
    found: list[tuple[Input, Source]] = []
    refused: list[InputError] = []
    for file in importing.inputs:
        try:
            found.append((file, find_source(file, name)))
        except InputError as error:
            refused.append(error)
    if len(refused) > 1:
        more = f" And {len(refused) - _REFUSED_SHOWN} more." if len(refused) > _REFUSED_SHOWN else ""
        raise InputError(" ".join(error.message for error in refused[:_REFUSED_SHOWN]) + more, "Leave these out.")
    if refused:
        raise refused[0]
    if importing.options.columns and found and not any(reads_columns(source) for _, source in found):
        raise InputError(
            f"--map has no use here: {found[0][0].name} is {found[0][1].title}.",
            "It says what the fields of JSON logs, LTSV and tables hold.",
        )
    return found


def _environment_of(manifests: Sequence[Manifest]) -> str:
    environments = {manifest.environment for manifest in manifests} or {PRODUCTION}
    if len(environments) > 1:
        raise InputError(
            f"The captures are of several environments: {', '.join(sorted(environments))}.",
            "Say with --environment which one theirs is to be together.",
        )
    return environments.pop()
