"""What a source is: a format that traffic is kept in, and how its records become exchanges."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Protocol

from replay.capture.inputs import Head, Input
from replay.traffic import Exchange, Skipped

if TYPE_CHECKING:
    import pyarrow as pa

# A record beyond this is skipped, so that no input can exhaust memory.
RECORD_LIMIT_BYTES = 64_000_000
# A line of a log beyond this is skipped.
LINE_LIMIT_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """A record that became an exchange, nothing scrubbed yet.

    The exchange's ``client`` is empty: who sent it is worked out from its request, ``address`` (the client's, without a
    port) and ``user`` (as the source names them, empty where it does not). ``bodies_not_kept`` has a reason for each
    body that the source has or had and the exchange lacks.
    """

    exchange: Exchange
    address: str = ""
    user: str = ""
    bodies_not_kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """A block of a log's lines, read at once. Nothing scrubbed yet.

    ``table`` has a row for each line that became an exchange, with the columns ``at``, ``duration_s``, ``address``,
    ``user``, ``connection``, ``method``, ``host``, ``path``, ``query``, ``status``, ``response_bytes`` and ``error``
    (types as in ``segments.SCHEMA``), and a column for each header that the log has, ``request_header:NAME`` or
    ``response_header:NAME``, null where the line has none.
    """

    table: "pa.Table"
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user says about a source that it does not say itself.

    ``log_format`` is an nginx ``log_format`` or an Apache ``LogFormat``; ``columns`` maps what an exchange needs
    (``at``, ``path``, ``status``...) to the source's own field, column or dotted JSON name. ``host`` is the host, with
    its port where it is not the scheme's own, of records that name none; ``timezone`` that of times that name none.
    """

    log_format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    timezone: tzinfo = UTC


class Source(Protocol):
    """A format. Its module in ``sources/`` has one instance for each, listed in ``sources/__init__.py``."""

    @property
    def name(self) -> str:
        """As ``--format`` has it: ``har``."""

    @property
    def title(self) -> str:
        """For a person: ``HAR 1.1 and 1.2``."""

    def likeness(self, head: Head) -> float:
        """How much a file's beginning looks like this format, from 0 (not at all) to 1 (it can be nothing else)."""

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Lines | Skipped]:
        """The records of ``file``, in its order; what is no exchange as ``Skipped``, with line or entry and reason.

        Never raises for what is wrong with one record. Raises InputError where the file is not of this format, or
        cannot be read any further and nothing was read; a file that breaks off later ends with a ``Skipped``.
        """
