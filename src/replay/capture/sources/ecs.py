"""Events of HTTP requests in the Elastic Common Schema, as Filebeat, Elastic Agent and ecs-logging write them.

Fields: https://www.elastic.co/guide/en/ecs/current/ecs-http.html and its neighbours. Without `event.start`, the time
is that of the log line, which is when the request ended.
"""

from replay.capture.sources.json_lines import Fields, JsonSource, has
from replay.capture.sources.roles import Layout, Role

NO_REQUEST = "an event that is no request"

_LAYOUT = Layout(
    {
        "at": "event.start",
        "ended": "event.end",
        "logged": "@timestamp",
        "duration:ns": "event.duration",
        "method": "http.request.method",
        "path": "url.original url.full url.path",
        "query": "url.query",
        "scheme": "url.scheme",
        "host": "url.domain",
        "port": "url.port",
        "status": "http.response.status_code",
        "size": "http.response.body.bytes http.response.bytes",
        "address": "client.ip source.ip client.address source.address",
        "connection": "client.port source.port",
        "user": "user.name",
        "error": "error.message",
        "request_body": "http.request.body.content",
        "request_type": "http.request.mime_type",
        "response_body": "http.response.body.content",
        "request_header:User-Agent": "user_agent.original",
        "request_header:Referer": "http.request.referrer",
        "request_header:X-Request-Id": "http.request.id",
        "request_header:X-Forwarded-For": "network.forwarded_ip",
        "response_header:Content-Type": "http.response.mime_type",
    },
    {
        "http.request.headers.": Role("request_header"),
        "http.response.headers.": Role("response_header"),
    },
)


def _why_not(fields: Fields) -> str:
    return "" if has(fields, "http.request.method", "url.original url.full url.path") else NO_REQUEST


def _is_kin(fields: Fields) -> bool:
    return has(fields, "@timestamp", "ecs.version")


SOURCES = (JsonSource("ecs", "Elastic Common Schema", _LAYOUT, _why_not, _is_kin),)
