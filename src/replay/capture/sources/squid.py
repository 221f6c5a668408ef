"""Squid's own ``access.log``: ``logformat squid``, also with the headers of ``log_mime_hdrs`` behind it.

As http://www.squid-cache.org/Doc/config/logformat/ has it. The time is when the request ended.
"""

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource

_ENDED = "{ended:s} {duration:ms} {address}"
_FOR = "{user} {-}/{-} {response_header:Content-Type}"
_TEMPLATES = (
    # What cannot be understood, as in error:invalid-request, and what other caches ask this one.
    f"{_ENDED} {{-}}/{{status}} {{size}} {{-}} error:{{request}} {{-}} {{-}}/{{-}} {{*}}",
    f"{_ENDED} UDP_{{-}}/{{status}} {{size}} {{request}} {{-}} {{-}} {{-}}/{{-}} {{*}}",
    f"{_ENDED} {{-}}/{{status}} {{size}} {{method}} {{target}} {_FOR} [{{*}}] [{{*}}]",
    f"{_ENDED} {{-}}/{{status}} {{size}} {{method}} {{target}} {_FOR}",
)

SQUID = LogSource("squid", "Squid access log", tuple(LinePattern(each, padded=True) for each in _TEMPLATES))
SOURCES = (SQUID,)
