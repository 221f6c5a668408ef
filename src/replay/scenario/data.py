"""The folder of a scenario's data: written whole or not at all, and read only where its files belong together."""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replay.errors import InputError
from replay.scenario.schedule import Schedule, read_schedule

FORMAT = 1
META = "scenario.json"
SCHEDULE = "schedule.parquet"
REBUILD = "Build the scenario again with `replay build`."


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A file beside ``file`` to write to, which takes its place at the end; where that fails, none is left."""
    partial = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else writes into ``folder``, and keep others from it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for left in folder.glob(".*.part"):  # of a process that was killed
            left.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def digest_of(file: Path) -> str:
    """32 hex digits of BLAKE2b over what a file holds."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def read_data(folder: Path) -> tuple[dict[str, Any], Schedule]:
    """What a scenario's folder says of it, and its schedule.

    Raises InputError where one cannot be read, or the schedule is not the one that was built with the rest: the hosts
    and the environment of one capture must not be taken for another's.
    """
    meta = _read_meta(folder / META)
    file = folder / SCHEDULE
    try:
        found = digest_of(file)
    except OSError as error:
        raise InputError(f"{file} is not a schedule: {error.strerror}.", REBUILD) from error
    if meta.get("schedule") != found:
        raise InputError(f"{file} is not the schedule that {META} beside it was built with.", REBUILD)
    return meta, read_schedule(file)


def _read_meta(file: Path) -> dict[str, Any]:
    try:
        meta = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"The scenario lacks its data, {file}.", REBUILD) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read: {error}.", REBUILD) from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{file} is not a scenario of format {FORMAT}.", REBUILD)
    capture = meta.get("capture")
    hosts = capture.get("hosts") if isinstance(capture, dict) else None
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise InputError(f"{file} does not say which hosts its capture was recorded from.", REBUILD)
    return meta
