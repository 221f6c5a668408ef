"""The access log of an application load balancer of AWS.

As https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html has it. It has the
time when the request came and the one when it was answered; durations of -1 say that it never got so far, and then what
lies between the two times is taken. The request line has the whole URL.
"""

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource

_LINE = (
    "{-} {ended:any} {-} {address:port} {-} {duration:s} {duration:s} {duration:s} {status} {-} {-} {size} "
    '"{request}" "{request_header:User-Agent}" {-} {-} {-} "{-}"'
)
_TEMPLATES = (
    _LINE + ' "{-}" "{-}" {-} {at:any} {*}',
    _LINE + " {*}",  # before 2018
    _LINE,
)

AWS_ALB = LogSource("aws-alb", "AWS application load balancer log", tuple(map(LinePattern, _TEMPLATES)))
SOURCES = (AWS_ALB,)
