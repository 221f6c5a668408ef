"""mitmproxy's dumps, of every version that the mitmproxy which is installed can read."""

import re
from collections.abc import Iterator

from replay.capture.inputs import BROKEN_STREAM, Head, Input
from replay.capture.sources.http_message import TOO_LARGE
from replay.capture.sources.source import ReadOptions, Record
from replay.capture.sources.tnetstring import BrokenOff, read_netstring
from replay.errors import InputError
from replay.traffic import Skipped

_KEYS = (
    "backup client_conn comment error id intercepted is_replay marked messages metadata mode request response "
    "server_conn timestamp_created type version websocket"
)
_HEAD = re.compile(rb"(\d{1,12}):(\d{1,2}):(%s)[;,]" % _KEYS.replace(" ", "|").encode())
_DAMAGED = "the file cannot be read beyond here: it is damaged or breaks off"


class MitmproxyDump:
    """What ``mitmdump -w FILE`` and mitmproxy's *save* write."""

    name = "mitmproxy"
    title = "mitmproxy dump"

    def likeness(self, head: Head) -> float:
        """By the netstring's length and the first key of the flow in it."""
        found = _HEAD.match(head.data)
        return 1.0 if found and int(found[2]) == len(found[3]) else 0.0

    def read(self, file: Input, options: ReadOptions) -> Iterator[Record | Skipped]:
        """Each HTTP flow. Raises InputError where the file is no dump."""
        if not self.likeness(file.head):
            raise InputError(f"{file.name} is no dump of mitmproxy.", "Leave --format away to have its format found.")
        from replay.capture.sources.mitmproxy_flow import record_of  # noqa: PLC0415 - importing mitmproxy takes a second

        number = 0
        with file.open() as stream:
            try:
                while (raw := read_netstring(stream)) != b"":
                    number += 1
                    record = TOO_LARGE if raw is None else record_of(raw, options)
                    yield Skipped(file.name, f"flow {number}", record) if isinstance(record, str) else record
            except (BrokenOff, *BROKEN_STREAM):
                yield Skipped(file.name, f"flow {number + 1}", _DAMAGED)


SOURCES = (MitmproxyDump(),)
