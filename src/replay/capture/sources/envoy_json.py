"""Envoy's access log in JSON, as Envoy Gateway, Istio and Contour set it up.

Names are the operator's own: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage.
A response code of 0 means that there was no response; the response flags then say why.
"""

import re

from replay.capture.sources.json_lines import Fields, JsonSource, has
from replay.capture.sources.roles import Layout, Role

MESSAGE = "a message of Envoy, no access record"
_PATHS = "x-envoy-original-path x-envoy-origin-path :path path uri_path"
_METHODS = "method :method request_method"
_STATUSES = "response_code status response_status"
_HEADER = re.compile(r"x-[a-z0-9-]+|user-agent|referer|origin|cookie|authorization|accept(-[a-z]+)?|content-type")

_NAMES = {
    "at": "start_time",
    "logged": "timestamp time @timestamp",
    "duration:ms": "duration response_duration",
    "method": _METHODS,
    "path": _PATHS,
    "scheme": "scheme :scheme x-forwarded-proto",
    "host": ":authority authority host",
    "status": _STATUSES,
    "size": "bytes_sent",
    "address": "downstream_remote_address downstream_remote_address_without_port downstream_direct_remote_address",
    "error": "response_flags",
    "request_header:User-Agent": "user_agent",
    "request_header:Referer": "referer referrer",
    "request_header:X-Forwarded-For": "x_forwarded_for",
    "request_header:X-Request-Id": "request_id x_request_id",
    "response_header:X-Envoy-Upstream-Service-Time": "x-envoy-upstream-service-time upstream_service_time",
}


class _Layout(Layout):
    def role(self, name: str) -> Role | None:
        """See Layout."""
        found = super().role(name)
        return found or (Role("request_header", name) if _HEADER.fullmatch(name.lower()) else None)


def _why_not(fields: Fields) -> str:
    return "" if has(fields, "start_time", _METHODS, _PATHS, _STATUSES) else MESSAGE


SOURCES = (JsonSource("envoy-json", "Envoy access log in JSON", _Layout(_NAMES), _why_not),)
