"""Amazon S3's server access log.

As https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html has it. The time is when the request came; the
whole of it took the first of the two durations. Quotes in values are not escaped. What S3 does by itself, as when
objects expire, has no request and is skipped.
"""

from replay.capture.logs.pattern import LinePattern
from replay.capture.logs.reader import LogSource

_LINE = (
    '{-} {-} [{at:clf}] {address} {user} {-} {-} {-} "{request}" {status} {-} {size} {-} {duration:ms} {-} '
    '"{request_header:Referer}" "{request_header:User-Agent}"'
)
_TEMPLATES = (
    _LINE + " {-} {-} {-} {-} {-} {host} {*}",
    _LINE + " {-} {-} {-} {-} {-} {host}",
    _LINE + " {-}",  # before 2019
    _LINE,
)

S3 = LogSource("s3", "Amazon S3 server access log", tuple(LinePattern(each, escaped=False) for each in _TEMPLATES))
SOURCES = (S3,)
