"""The formats that traffic can be imported from, one file each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Never, cast

from replay.capture.inputs import Head, Input
from replay.capture.sources.envelopes import best
from replay.capture.sources.source import Lines, ReadOptions, Record, Source
from replay.errors import InputError, ReplayError, ToolError
from replay.traffic import Skipped

# Each module has SOURCES, a tuple of one or more. Where two formats are alike, the first of the most alike is taken.
_MODULES: tuple[str, ...] = (
    *("har", "mitmproxy_dump", "gor", "otlp"),
    *("combined", "log_format", "haproxy", "squid", "envoy_log", "traefik_log", "w3c"),
    *("aws_alb", "aws_elb", "cloudfront", "s3", "ltsv"),
    *("caddy", "traefik_json", "envoy_json", "cloudflare", "ecs", "nginx_json", "json_lines"),
    "table",
)
# Formats in which everything has its place.
_FIXED = frozenset(
    "har mitmproxy gor otlp combined log-format haproxy squid envoy traefik w3c aws-alb aws-elb cloudfront s3".split()
)
# What people give that has to be opened first.
_CONTAINERS = {
    b"PK\x03\x04": ("a zip archive", "unzip -p {} | replay import - reads what is in it."),
    b"\xfd7zXZ\x00": ("compressed with xz", "xz -dc {} | replay import - reads it."),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it first."),
    b"%PDF-": ("a PDF", "Give what it was made from."),
}
_ENTRY_POINTS = "replay.sources"
_LIKELY = 0.5


@cache
def all_sources() -> tuple[Source, ...]:
    """Every format: ours, then those that installed packages add as entry points of the group ``replay.sources``.

    Each entry point names a ``Source``. One that cannot be loaded is like no file, and says why when it is asked for.
    """
    ours = [source for name in _MODULES for source in import_module(f"{__name__}.{name}").SOURCES]
    return (*ours, *map(_load, entry_points(group=_ENTRY_POINTS)))


def find_source(file: Input, name: str | None = None, sources: Sequence[Source] | None = None) -> Source:
    """The format of ``file``, found by its contents, or the one called ``name``.

    Raises InputError where there is none of that name, or where the contents are of no known format.
    """
    known = all_sources() if sources is None else sources
    if name:
        found = next((source for source in known if source.name == name), None)
        if found is None:
            raise InputError(f"There is no format {name!r}.", f"Formats: {', '.join(s.name for s in known)}.")
        if isinstance(found, _Broken):
            raise found.error
        return best(file, [found])[0]
    if file.head.is_empty:
        raise InputError(f"{file.name} is empty.")
    _refuse_archive(file)
    likely, likeness = best(file, known)
    if likeness < _LIKELY:
        broken = [source.error.message for source in known if isinstance(source, _Broken)]
        raise InputError(
            f"{file.name} is in no format that is known by its contents.", " ".join([_hint(file), *broken])
        )
    return likely


def reads_columns(source: Source) -> bool:
    """Whether ``--map`` can say what the fields of a source hold."""
    return source.name not in _FIXED


def _refuse_archive(file: Input) -> None:
    data = file.head.data
    if data[257:262] == b"ustar":
        raise InputError(
            f"{file.name} is a tar archive.", f"tar -xOf {file.name} | replay import - reads what is in it."
        )
    for start, (what, hint) in _CONTAINERS.items():
        if data.startswith(start):
            raise InputError(f"{file.name} is {what}.", hint.format(file.name))


def _hint(file: Input) -> str:
    if file.head.text.lstrip().startswith("["):
        return f"It looks like one JSON array; records are read one a line: jq -c '.[]' {file.name} | replay import -"
    return "Name it with --format, or give the log's own format with --log-format."


def _load(entry: EntryPoint) -> Source:
    try:
        return cast("Source", _Foreign(_checked(entry.load())))
    except Exception as error:  # noqa: BLE001 - whatever breaks in another package must not break our own formats
        why = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        return cast("Source", _Broken(entry.name, InputError(f"The format {entry.name!r} cannot be loaded: {why}.")))


def _checked(source: Source) -> Source:
    source.likeness(Head("", b""))
    if not (isinstance(source.name, str) and isinstance(source.title, str) and callable(source.read)):
        raise TypeError("it is no Source")
    return source


@dataclass(frozen=True)
class _Foreign:
    """A format that an installed package adds."""

    source: Source

    @property
    def name(self) -> str:
        """See Source."""
        return self.source.name

    @property
    def title(self) -> str:
        """See Source."""
        return self.source.title

    def likeness(self, head: Head) -> float:
        """See Source: whatever breaks in another package, it is like no file then."""
        try:
            return self.source.likeness(head)
        except Exception:  # noqa: BLE001 - it must not break our own formats
            return 0.0

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Lines | Skipped]:
        """See Source. Raises ToolError, with the format's name, where it breaks."""
        try:
            yield from self.source.read(file, options)
        except (ReplayError, OSError):
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
            raise ToolError(f"The importer {self.name!r} broke at {file.name}: {why}.", "Ask who wrote it.") from error


@dataclass(frozen=True)
class _Broken:
    """A format that an installed package adds, and that cannot be loaded."""

    name: str
    error: InputError
    title = "a format that cannot be loaded"

    def likeness(self, _: Head) -> float:
        """See Source."""
        return 0.0

    def read(self, _: Input, __: ReadOptions) -> Never:
        """See Source."""
        raise self.error
