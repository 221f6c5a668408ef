"""The access log of a classic load balancer of AWS.

As https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html has it. The time is when
the request came. What a listener for TCP logs has no request, and is skipped.
"""

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource

_LINE = '{at:any} {-} {address:port} {-} {duration:s} {duration:s} {duration:s} {status} {-} {-} {size} "{request}"'
_TEMPLATES = (
    _LINE + ' "{request_header:User-Agent}" {-} {-}',
    _LINE,  # before 2015
    _LINE + ' "{request_header:User-Agent}" {*}',
)

AWS_ELB = LogSource("aws-elb", "AWS classic load balancer log", tuple(map(LinePattern, _TEMPLATES)))
SOURCES = (AWS_ELB,)
