"""Access logs as Apache, nginx, lighttpd, LiteSpeed and Nginx Proxy Manager write them, and their kin.

Common and Combined: https://httpd.apache.org/docs/2.4/logs.html and nginx's ``combined``. Apache's time is that of the
start, nginx's that of the end; it only matters where the duration is logged.
"""

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource

_REQUEST = '"{request}" {status} {size}'
_START = f"[{{at:clf}}] {_REQUEST}"
_END = f"[{{ended:clf}}] {_REQUEST}"
_FROM = '"{request_header:Referer}" "{request_header:User-Agent}"'
_WHO = (
    "{site} {client} {-} {user}",  # a virtual host before all
    "{address} {-} {user}",
    "{address} {site} {user}",  # lighttpd has the host where others have the ident
)
# What Combined is often followed by. nginx's `main` has the addresses that the request came through.
_FULL = (
    *(f'{who} {_START} {_FROM} "{{forwarded}}"' for who in _WHO),
    *(f"{who} {_END} {_FROM} {{seconds}}" for who in _WHO),
    # ingress-nginx: the request's length and time, what it was proxied to, its id
    f"{_WHO[1]} {_END} {_FROM} {{-}} {{seconds}} [{{*}}] [{{*}}] {{*}} {{request_header:X-Request-Id}}",
    *(f"{who} {_START} {_FROM}" for who in _WHO),
)
_PARTLY = (
    *(f"{who} {_START} {_FROM} {{*}}" for who in _WHO),
    *(f"{who} {_START} {{*}} {_FROM}" for who in _WHO),
    *(f"{who} {_START}" for who in _WHO),
    *(f"{who} {_START} {{*}}" for who in _WHO),
)
# Nginx Proxy Manager's formats `proxy` and `standard`, and its fork's.
_MANAGER_END = (
    '{method} {-} {host} "{target}" [Client {address}] [Length {size}] {*} "{request_header:User-Agent}" '
    '"{request_header:Referer}"'
)
_UNQUOTED = "{request_header:Referer} {request_header:User-Agent}"
_MANAGER = (
    "[{ended:clf}] {-} {-} {status} - " + _MANAGER_END,
    "[{ended:clf}] {status} - " + _MANAGER_END,
    f"[{{ended:clf}}] {{host}} {{address}} {{seconds}} {_REQUEST} {{-}} " + _UNQUOTED,
)
_ZORAXY = (
    "{*} [{at:any}] [router:{*}] [origin:{host}] [client: {address}] [useragent: {request_header:User-Agent}] "
    "{method} {target} {status}"
)
_ODD = (
    "[{at:clf}] {address} {-} {-} " + '"{request}" {size}',  # Apache's ssl_request_log
    _ZORAXY,
)
# What is left when a field lacks, or more addresses stand in front.
_SAVED = tuple(
    f"{who} {_START}{tail}"
    for who in (
        "{site} {forwarded} {client} {-} {user}",
        "{site} {forwarded} {-} {user}",
        '{site} "{forwarded}" {client} {-} {user}',
        "{host} {forwarded} {client} {-} {user}",
        "{address} {user}",
        "{address}",
        "{*} {client} {-} {user}",
    )
    for tail in (f" {_FROM}", f" {_FROM} {{*}}", "", " {*}")
)

COMBINED = LogSource(
    "combined",
    "access log (Common, Combined and their kin)",
    (
        *(LinePattern(template) for template in (*_FULL, *_MANAGER, *_ODD)),
        *(LinePattern(template, weight=0.9) for template in _PARTLY),
        *(LinePattern(template, weight=0.6) for template in _SAVED),
    ),
)
SOURCES = (COMBINED,)
