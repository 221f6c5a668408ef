"""Traefik's access log in JSON. Fields: https://doc.traefik.io/traefik/observability/access-logs/."""

from replay.capture.sources.json_lines import Fields, JsonSource, has
from replay.capture.sources.roles import Layout, Role

MESSAGE = "a message of Traefik, no access record"

_LAYOUT = Layout(
    {
        "at": "StartUTC StartLocal",
        "logged": "time",
        "duration:ns": "Duration",
        "method": "RequestMethod",
        "path": "RequestPath",
        "scheme": "RequestScheme",
        "host": "RequestAddr RequestHost",
        "status": "DownstreamStatus OriginStatus",
        "size": "DownstreamContentSize OriginContentSize",
        "address": "ClientHost ClientAddr",
        "user": "ClientUsername",
        "connection": "ClientPort",
    },
    {
        "request_": Role("request_header"),
        "downstream_": Role("response_header"),
        "origin_": Role("response_header", is_behind=True),
    },
)


def _why_not(fields: Fields) -> str:
    is_access = has(fields, "RequestMethod", "RequestPath", "StartUTC StartLocal time")
    return "" if is_access else MESSAGE


SOURCES = (JsonSource("traefik-json", "Traefik access log in JSON", _LAYOUT, _why_not),)
