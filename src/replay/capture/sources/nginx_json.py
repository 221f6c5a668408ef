"""nginx's access log in JSON: whatever its ``log_format NAME escape=json`` has, named as nginx's variables or alike.

Variables: https://nginx.org/en/docs/http/ngx_http_log_module.html. It is written when a request ends.
"""

from replay.capture.sources.aliases import ALIASES
from replay.capture.sources.json_lines import Fields, JsonSource, has

MESSAGE = "no access record of nginx"


def _why_not(fields: Fields) -> str:
    is_access = has(
        fields,
        "time_iso8601 time_local msec",
        "request request_uri uri",
        "status request_time body_bytes_sent bytes_sent remote_addr",
    )
    return "" if is_access else MESSAGE


SOURCES = (JsonSource("nginx-json", "nginx access log in JSON", ALIASES, _why_not),)
