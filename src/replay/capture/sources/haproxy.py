"""HAProxy's HTTP log: ``option httplog`` and ``option httpslog``, behind whatever syslog puts in front.

As https://docs.haproxy.org/2.8/configuration.html#8.2.3 has it. The time is when the request began, in the local zone
of HAProxy, and the last of the five timers runs from there to the response's end. (Before HAProxy 1.7 both begin with
the connection, or with the end of the response before.) Captured headers are not named in the log, so they are passed
over, and so are ``http-request capture``'s.
"""

import re

from replay.capture.inputs import Head
from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource

_IN_FRONT = (
    "{*}: ",  # Feb  6 12:14:14 host haproxy[14389]: and its kin
    "",  # HAProxy's own standard output
    "{*} - - ",  # RFC 5424: <134>1 2009-02-06T12:14:14Z host haproxy 14389 - -
    "{*} ",
)
# `option logasap` logs when the response begins, and says so with a plus sign.
_TIMERS = (
    "{-}/{-}/{-}/{-}/+{duration:ms} {status} +{size}",
    "{-}/{-}/{-}/{-}/{duration:ms} {status} {size}",
)
_CONNECTIONS = "{-}/{-}/{-}/{-}/{-} {-}/{-}"
_REQUESTS = (
    ' "{request}"',
    ' {*} "{request}"',  # captured headers
    ' "{request}" {-} {host}/{-}/{-}',  # option httpslog, with the name that TLS was asked for
    ' {*} "{request}" {-} {host}/{-}/{-}',
    ' "{request}" {*}',
    ' {*} "{request}" {*}',
)
_ENTRY = re.compile(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3}\]")


class HaproxyLog(LogSource):
    """A log in which HAProxy also says what it starts, stops and refuses."""

    def likeness(self, head: Head) -> float:
        """See Source: only lines with the time of a connection say something for or against."""
        entries = "\n".join(line for line in head.lines if _ENTRY.search(line))
        return super().likeness(Head(head.name, entries.encode("utf-8", "replace")))


HAPROXY = HaproxyLog(
    "haproxy",
    "HAProxy HTTP log",
    tuple(
        LinePattern(
            f"{front}{{address:port}} [{{at:any}}] {{-}} {{-}} {timers} {{-}} {{-}} {{-}} {_CONNECTIONS}{request}"
        )
        for timers in _TIMERS
        for front in _IN_FRONT
        for request in _REQUESTS
    ),
)
SOURCES = (HAPROXY,)
