"""Cloudflare's Logpush of HTTP requests.

Fields: https://developers.cloudflare.com/logs/logpush/logpush-job/datasets/zone/http_requests/. Times are RFC 3339, or
numbers of seconds or nanoseconds, as the job says.
"""

from replay.capture.sources.json_lines import Fields, JsonSource, has
from replay.capture.sources.roles import Layout, Role

MESSAGE = "no record of a request to Cloudflare"

_LAYOUT = Layout(
    {
        "at": "EdgeStartTimestamp",
        "ended": "EdgeEndTimestamp",
        "logged": "Timestamp",
        "method": "ClientRequestMethod",
        "path": "ClientRequestURI ClientRequestPath",
        "scheme": "ClientRequestScheme",
        "host": "ClientRequestHost",
        "status": "EdgeResponseStatus OriginResponseStatus",
        "size": "EdgeResponseBodyBytes EdgeResponseBytes",
        "address": "ClientIP",
        "connection": "ClientSrcPort",
        "request_headers": "RequestHeaders",
        "response_headers": "ResponseHeaders",
        "request_cookies": "Cookies",
        "request_header:User-Agent": "ClientRequestUserAgent",
        "request_header:Referer": "ClientRequestReferer",
        "request_header:CF-Ray": "RayID",
        "response_header:Content-Type": "EdgeResponseContentType",
    },
    {
        "RequestHeaders.": Role("request_header"),
        "ResponseHeaders.": Role("response_header"),
        "Cookies.": Role("request_cookie"),
    },
)


def _why_not(fields: Fields) -> str:
    return "" if has(fields, "ClientRequestMethod", "ClientRequestURI ClientRequestPath") else MESSAGE


SOURCES = (JsonSource("cloudflare", "Cloudflare Logpush", _LAYOUT, _why_not),)
