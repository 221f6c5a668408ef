"""Caddy's access log. Fields: https://caddyserver.com/docs/json/apps/http/servers/logs/ and caddy's `accesslog.go`.

It is written when a request ends. A status of 0 is that of a handler that wrote none: the client then gets an empty
200, or nothing, and the log does not say which.
"""

from replay.capture.sources.json_lines import Fields, JsonSource, has
from replay.capture.sources.roles import Layout, Role

MESSAGE = "a message of Caddy, no access record"
_LOGGER = "http.log.access"

_LAYOUT = Layout(
    {
        "logged": "ts time",
        "duration": "duration",
        "method": "request.method",
        "path": "request.uri",
        "host": "request.host",
        "status": "status",
        "size": "size",
        "address": "request.client_ip request.remote_ip request.remote_addr",
        "user": "user_id",
        "connection": "request.remote_port",
    },
    {
        "request.headers.": Role("request_header"),
        "resp_headers.": Role("response_header"),
    },
)


def _why_not(fields: Fields) -> str:
    is_access = fields.get("msg") == "handled request" or str(fields.get("logger", "")).startswith(_LOGGER)
    return "" if is_access and has(fields, "request.method", "request.uri") else MESSAGE


def _is_kin(fields: Fields) -> bool:
    return has(fields, "level", "ts", "msg") and str(fields.get("logger", "")).split(".")[0] in {"http", "tls", "admin"}


SOURCES = (JsonSource("caddy", "Caddy access log", _LAYOUT, _why_not, _is_kin),)
