"""What fields are called in logs and exports whose layout nobody knows beforehand."""

import re

from replay.capture.sources.roles import Layout, Role

# By role, the likeliest first, in small letters and digits alone: `requesturi` is `request_uri` and `request.URI`.
_NAMES = {
    "at": "eventstart starttime startedat starttimestamp starttimeutc requeststart requeststarttime requeststartedat "
    "startutc startlocal started start edgestarttimestamp",
    "ended": "eventend endtime endedat finishedat endtimestamp edgeendtimestamp",
    "logged": "msec timeiso8601 timestamp eventtime eventtimestamp loggedat "
    "receivedat requestat requesttimestamp datetime time ts timelocal timeunix epoch at t",
    "date": "date day",
    "method": "method requestmethod httpmethod reqmethod verb httprequestmethod httprequestrequestmethod "
    "clientrequestmethod csmethod",
    "request": "request requestline httprequest req firstline firstrequestline",
    "path": "requesturi originaluri urloriginal urlfull requestoriginalurl reqoriginalurl originalurl requesturl "
    "httprequestrequesturl httprequesturl httpurl fullurl requrl url uri requestpath reqpath path httppath urlpath "
    "httptarget target requri documenturi pathname clientrequesturi csuristem",
    "query": "querystring args query urlquery requestquery requestquerystring reqquerystring httpquery qs csuriquery",
    "scheme": "scheme requestscheme urlscheme httpscheme reqprotocol",
    "host": "httphost requesthost reqhost host vhost virtualhost urldomain urlhost authority servername domain "
    "httpservername clientrequesthost",
    "port": "urlport requestport",
    "status": "status statuscode responsestatus responsestatuscode resstatuscode resstatus httpstatus httpstatuscode "
    "httpresponsestatuscode httpresponsestatus httprequeststatus responsecode edgeresponsestatus scstatus code",
    "size": "bodybytessent responsebodybytes httpresponsebodybytes responsebodysize responsebytes responsesize "
    "responselength httprequestresponsesize reslength bytessent bytesout byteswritten bytes size scbytes",
    "address": "clientip remoteaddr remoteip ip clientaddr clientaddress remoteaddress reqremoteaddress requestip "
    "requestremoteaddr requestremoteip requestclientip httprequestremoteip sourceip sourceaddress remotehost "
    "clienthost client peeraddress downstreamremoteaddress cip ipaddress",
    "user": "remoteuser username user userid userlogin login",
    "connection": "connection connectionid remoteport clientport reqremoteport sourceport",
    "error": "error err errormessage responseflags",
    "request_headers": "requestheaders reqheaders headers httprequestheaders",
    "response_headers": "responseheaders resheaders httpresponseheaders respheaders",
    "request_cookies": "cookies requestcookies reqcookies",
    "request_body": "requestbody reqbody postdata httprequestbodycontent",
    "request_body:base64": "requestbodybase64 reqbodybase64",
    "response_body": "responsebody resbody httpresponsebodycontent",
    "response_body:base64": "responsebodybase64",
    "request_type": "contenttype requestcontenttype",
    "request_header:User-Agent": "useragent agent ua httprequestuseragent useragentoriginal csuseragent",
    "request_header:Referer": "referer referrer httprequestreferer httprequestreferrer csreferer",
    "request_header:X-Forwarded-For": "xforwardedfor forwardedfor",
    "request_header:X-Request-Id": "xrequestid requestid reqid traceid correlationid",
    "request_header:Cookie": "cookie cscookie",
    "request_header:Authorization": "authorization",
}
_DURATION = re.compile(
    r"(requesttime|reqtime|duration|eventduration|latency|httprequestlatency|elapsed|elapsedtime|responsetime|took|taken|"
    r"timetaken|totaltime|processingtime|upstreamresponsetime|runtime)(?:in)?(.*)"
)
_UNITS = {
    "s": "s sec secs seconds",
    "ms": "ms msec msecs millis milliseconds",
    "us": "us usec usecs micros microsec microseconds",
    "ns": "ns nsec nanos nanoseconds",
}
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words.split()} | {"": "s"}
# Written by a library that counts in another unit than others that use the name.
_EXACTLY = {"responseTime": Role("duration", "ms")}
_DURATION_RANKS = {"upstreamresponsetime": 2, "runtime": 2}

_PREFIXES = (
    ("sent_http_", "response_header", False),
    ("upstream_http_", "response_header", True),
    ("http_", "request_header", False),
)
# What begins like one of nginx's variables of headers and is none.
_NOT_HEADERS = frozenset(
    "http_version http_protocol http_scheme http_port http_request http_response http_type".split()
)
_HEADERS_WITH_DASHES = re.compile(
    r"(?:x-|cf-|sec-|accept-|if-|content-|user-|cache-|fastly-|true-)[a-z0-9-]+|(?:accept|origin|te|via|forwarded|pragma|range)"
)
_RESPONSE_HEADERS = frozenset({"x-envoy-upstream-service-time", "x-cache", "x-runtime"})
_ENDS_IN_CONTAINER = re.compile(r"[A-Za-z_]*[Hh]eaders?\Z")
_NOT_ALNUM = re.compile(r"[^a-z0-9]+")


class _Aliases(Layout):
    """The roles of fields by what people are used to call them."""

    def role(self, name: str) -> Role | None:
        """See Layout."""
        if name in _EXACTLY:
            return _EXACTLY[name]
        plain = _NOT_ALNUM.sub("", name.lower())
        return super().role(plain) or _duration(plain) or _header(name) or _header_in_container(self, name)


ALIASES = _Aliases(_NAMES)


def nginx_header(variable: str) -> str:
    """``user_agent``, as nginx's variables write a header's name: ``User-Agent``."""
    return "-".join(word.capitalize() for word in variable.lower().split("_"))


def _duration(plain: str) -> Role | None:
    found = _DURATION.fullmatch(plain)
    unit = _UNIT_OF.get(found[2]) if found else None
    if not found or not unit:
        return None
    return Role(
        "duration",
        "ns" if found[1] == "eventduration" else unit,
        _DURATION_RANKS.get(found[1], 1 if unit == "s" else 0),
    )


def _header(name: str) -> Role | None:
    lower = name.lower()
    for prefix, role, is_behind in _PREFIXES:
        if lower.startswith(prefix) and lower not in _NOT_HEADERS and lower != prefix:
            return Role(role, nginx_header(lower[len(prefix) :]), is_behind=is_behind)
    if _HEADERS_WITH_DASHES.fullmatch(lower):
        return Role("response_header" if lower in _RESPONSE_HEADERS else "request_header", name)
    return None


def _header_in_container(aliases: Layout, name: str) -> Role | None:
    """``req.headers.user-agent``."""
    container, _, header = name.rpartition(".")
    if not header or not _ENDS_IN_CONTAINER.search(container):
        return None
    role = aliases.role(container)
    return Role(role.name[:-1], header) if role and role.name.endswith("_headers") else None
