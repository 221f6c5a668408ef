"""Envoy's access log in text, as it is by default and as Istio sets it up.

As https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string and
https://istio.io/latest/docs/tasks/observability/logs/access-log/ have it. The time is when the request began. Nothing
is escaped. A status of 0 means that there was no response; the response flags then say why.
"""

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource

_START = '[{at:utc}] "{request}" {status} {error}'
_BYTES = "{-} {size} {duration:ms} {-}"
_FROM = (
    '"{request_header:X-Forwarded-For}" "{request_header:User-Agent}" "{request_header:X-Request-Id}" "{host}" "{-}"'
)
_PEERS = "{-} {-} {-} {address:port}"  # the cluster, both addresses towards the client's, and the client's
_TEMPLATES = (
    f"{_START} {_BYTES} {_FROM}",
    f'{_START} {{*}} "{{*}}" {_BYTES} {_FROM} {_PEERS} {{*}}',
    f'{_START} {{*}} "{{*}}" {_BYTES} {_FROM}',
    f"{_START} {_BYTES} {_FROM} {{*}}",
)

ENVOY = LogSource("envoy", "Envoy access log", tuple(LinePattern(each, escaped=False) for each in _TEMPLATES))
SOURCES = (ENVOY,)
