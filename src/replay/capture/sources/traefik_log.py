"""Traefik's access log in text, ``format: common``: Combined, then the request's number, router, server and duration.

As https://doc.traefik.io/traefik/observe/logs-and-access-logs/ has it. The time is when the request began, and the
status is that of the server behind: ``-`` where Traefik answered by itself. Nothing is escaped. (``genericCLF`` is
plain Combined.)
"""

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource

_START = '{address} - {user} [{at:clf}] "{request}" {status} {size}'
_FROM = (
    ' "{request_header:Referer}" "{request_header:User-Agent}" ',
    ' {-} "{request_header:User-Agent}" ',  # what lacks was not quoted before 1.7
)
_BEHIND = ('{-} "{-}" "{-}" {duration:ms}ms', "{-} {-} {-} {duration:ms}ms")

TRAEFIK = LogSource(
    "traefik",
    "Traefik access log",
    (
        *(LinePattern(_START + origin + behind, escaped=False) for origin in _FROM for behind in _BEHIND),
        LinePattern(_START, weight=0.5),  # others write so too
    ),
)
SOURCES = (TRAEFIK,)
