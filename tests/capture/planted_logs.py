"""Logs of every format that hold requests with secrets planted in them."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from planted_files import HEADERS, TARGETS, Format, Sent

from replay.traffic import first_header

_FROM = frozenset({"header", "referer"})  # a header of any name stands as the user agent
LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
    '"$http_cookie" "$http_x_ref" "$sent_http_location" "$sent_http_set_cookie" "$cookie_data" $connection '
    '"$http_x_forwarded_for" "$upstream_addr"'
)


def _clf(at: datetime) -> str:
    return f"{at:%d/%b/%Y:%H:%M:%S +0000}"


def _escaped(value: str) -> str:
    """As nginx and Apache escape what stands in quotes."""
    return value.replace("\\", "\\x5C").replace('"', "\\x22")


def _agent(one: Sent) -> str:
    found = next((value for name, value in one.exchange.request.headers if name.startswith("X-")), None)
    return found or "one/1"


def _header(one: Sent, name: str) -> str:
    return one.exchange.request.header(name) or first_header(one.answer.headers, name) or "-"


def _values(one: Sent, escape: Callable[[str], str]) -> dict[str, Any]:
    """What a line of a log says, by short names."""
    exchange, request = one.exchange, one.exchange.request
    quoted = {"referer": _header(one, "referer"), "agent": _agent(one), "cookie": _header(one, "cookie")}
    quoted |= {"location": _header(one, "location"), "set_cookie": _header(one, "set-cookie"), "error": exchange.error}
    return {
        **{name: escape(value) for name, value in quoted.items()},
        "clf": _clf(exchange.at),
        "iso": f"{exchange.at:%Y-%m-%dT%H:%M:%S.310Z}",
        "later": f"{exchange.at + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S.310Z}",
        "day": f"{exchange.at:%Y-%m-%d}",
        "time": f"{exchange.at:%H:%M:%S}",
        "seconds": f"{exchange.at.timestamp():.3f}",
        "haproxy": f"{exchange.at:%d/%b/%Y:%H:%M:%S}.655",
        "host": request.host,
        "method": request.method,
        "target": one.target,
        "path": request.path,
        "query": request.query or "-",
        "address": one.address,
        "peer": one.peer if ":" not in one.address else f"{one.address}:41234",
        "user": one.user,
    }


def _lines(template: str, found: list[Sent], *, front: str = "", escape: Callable[[str], str] = _escaped) -> bytes:
    """Lines of a log, each by the template."""
    return front.encode() + "".join(template.format_map(_values(one, escape)) + "\n" for one in found).encode()


def _as_is(value: str) -> str:
    return value


def _without_quotes(value: str) -> str:
    return value.replace('"', "'")


def _w3c(found: list[Sent]) -> bytes:
    """As IIS writes it: paths decoded but for slashes, a plus sign for a space."""
    fields = (
        "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs-host cs(User-Agent) cs(Cookie) "
        "cs(Referer) sc-status sc-substatus sc-win32-status time-taken"
    )
    lines = [f"#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n#Fields: {fields}"]
    for one in found:
        v = _values(one, lambda value: value.replace(" ", "+"))
        path = unquote(v["path"].replace("%2F", "%252F")).replace(" ", "+")
        lines.append(
            f"{v['day']} {v['time']} 10.0.0.1 {v['method']} {path} {v['query']} 443 {v['user']} {v['address']} "
            f"{v['host']} {v['agent']} {v['cookie']} {v['referer']} 200 0 0 250"
        )
    return "".join(line + "\n" for line in lines).encode()


def _cloudfront(found: list[Sent]) -> bytes:
    """What was encoded before is encoded once more."""
    fields = (
        "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) "
        "cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken "
        "x-forwarded-for x-edge-detailed-result-type"
    )
    lines = [f"#Version: 1.0\n#Fields: {fields}"]
    for one in found:
        encode = partial(quote, safe="/:?=&;,-._!$*()+@'")
        v = _values(one, encode)
        lines.append(
            "\t".join(
                (
                    *(v["day"], v["time"], "FRA56-P1", "392", v["address"], v["method"], "d1.example.net"),
                    *(encode(v["path"]), "000" if v["error"] else "200", v["referer"], v["agent"], encode(v["query"])),
                    *(v["cookie"], "Error", "id", v["host"], "https", "20", "0.25", v["address"]),
                    v["error"] or "Error",
                )
            )
        )
    return "".join(line + "\n" for line in lines).encode()


def _ltsv(found: list[Sent]) -> bytes:
    pattern = (
        "time:{clf}\thost:{address}\tuser:{user}\tvhost:{host}\treq:{method} {target} HTTP/1.1\tstatus:{status}\t"
        "size:5\treferer:{referer}\tua:{agent}\tcookie:{cookie}\tforwardedfor:{address}, 10.0.0.1\t"
        "connection:{peer}\terror:{error}"
    )
    lines = []
    for one in found:
        values = _values(one, _as_is)
        lines.append(pattern.format_map(values | {"status": "-" if values["error"] else 200}))
    return "".join(line + "\n" for line in lines).encode()


# Lines of JSON


def _json(record: Callable[[Sent, dict[str, Any]], Mapping[str, Any]], found: list[Sent]) -> bytes:
    return "".join(json.dumps(record(one, _values(one, _as_is))) + "\n" for one in found).encode()


def _dict(one: Sent, *, lists: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    sent, received = dict(one.exchange.request.headers), dict(one.answer.headers)
    if lists:
        return {name: [value] for name, value in sent.items()}, {name: [value] for name, value in received.items()}
    return sent, received


def _nginx(one: Sent, v: dict[str, Any]) -> dict[str, Any]:
    sent, received = _dict(one)
    return {
        "time_iso8601": v["iso"],
        "remote_addr": v["address"],
        "remote_user": v["user"],
        "request": f"{v['method']} {v['target']} HTTP/1.1",
        "status": "200",
        "http_x_forwarded_for": f"{v['address']}, 10.0.0.1",
        "connection": v["peer"],
        **{"http_" + name.lower().replace("-", "_"): value for name, value in sent.items()},
        **{"sent_http_" + name.lower().replace("-", "_"): value for name, value in received.items()},
    }


def _caddy(one: Sent, v: dict[str, Any]) -> dict[str, Any]:
    sent, received = _dict(one, lists=True)
    request = {"client_ip": v["address"], "remote_port": "41234", "method": v["method"], "host": v["host"]}
    return {
        "level": "info",
        "ts": float(v["seconds"]),
        "logger": "http.log.access",
        "msg": "handled request",
        "user_id": v["user"],
        "status": 200,
        "request": {**request, "uri": v["target"], "headers": sent},
        "resp_headers": received,
    }


def _traefik(one: Sent, v: dict[str, Any]) -> dict[str, Any]:
    sent, received = _dict(one)
    return {
        "StartUTC": v["iso"],
        "RequestMethod": v["method"],
        "RequestPath": v["target"],
        "RequestHost": v["host"],
        "DownstreamStatus": 200,
        "ClientHost": v["address"],
        "ClientPort": "41234",
        "ClientAddr": v["peer"],
        "ClientUsername": v["user"],
        **{f"request_{name}": value for name, value in sent.items()},
        **{f"downstream_{name}": value for name, value in received.items()},
    }


def _envoy(one: Sent, v: dict[str, Any]) -> dict[str, Any]:
    sent, _ = _dict(one)
    return {
        "start_time": v["iso"],
        "method": v["method"],
        "path": v["target"],
        "response_code": 0 if v["error"] else 200,
        "response_flags": v["error"] or "-",
        "authority": v["host"],
        "downstream_remote_address": v["peer"],
        "user_agent": v["agent"],
        "x_forwarded_for": f"{v['address']}, 10.0.0.1",
        **{name.lower(): value for name, value in sent.items()},
    }


def _cloudflare(one: Sent, v: dict[str, Any]) -> dict[str, Any]:
    sent, received = _dict(one)
    cookies = dict(pair.split("=", 1) for pair in v["cookie"].split("; ") if "=" in pair)
    return {
        "EdgeStartTimestamp": v["iso"],
        "ClientRequestMethod": v["method"],
        "ClientRequestURI": v["target"],
        "ClientRequestHost": v["host"],
        "EdgeResponseStatus": 200,
        "ClientIP": v["address"],
        "ClientSrcPort": 41234,
        "ClientRequestUserAgent": v["agent"],
        "RequestHeaders": sent,
        "ResponseHeaders": received,
        "Cookies": cookies,
    }


def _ecs(one: Sent, v: dict[str, Any]) -> dict[str, Any]:
    sent, received = _dict(one)
    request, response = one.exchange.request, one.exchange.response
    body, answer = request.body or b"", one.answer.body or b""
    return {
        "@timestamp": v["iso"],
        "ecs.version": "8.0",
        "client": {"ip": v["address"], "port": 41234},
        "user": {"name": v["user"]},
        "url": {"original": v["target"], "domain": v["host"]},
        "user_agent": {"original": v["agent"]},
        "error": {"message": v["error"]},
        "http": {
            "request": {
                "method": v["method"],
                "headers": sent,
                "body": {"content": body.decode("utf-8", "surrogateescape")},
            },
            "response": {
                **({"status_code": 200} if response else {}),
                "headers": received,
                "body": {"content": answer.decode("utf-8", "surrogateescape")},
            },
        },
    }


_QUOTED = '"{method} {target} HTTP/1.1"'
_URL = '"{method} https://{host}:443{target} HTTP/1.1"'
_HAPROXY = "10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0"
_BY_LINE = TARGETS | _FROM
_ECS_BODIES = frozenset({"json", "json untyped", "json in json", "base64 in json", "form", "xml", "html", "plain text"})

FORMATS = {
    "combined": Format(
        partial(_lines, f'{{address}} - {{user}} [{{clf}}] {_QUOTED} 200 12 "{{referer}}" "{{agent}}"'), _BY_LINE
    ),
    "log-format": Format(
        partial(
            _lines,
            f'{{address}} - {{user}} [{{clf}}] {_QUOTED} 200 12 "{{referer}}" "{{agent}}" "{{cookie}}" "{{agent}}" '
            '"{location}" "{set_cookie}" "{agent}" {peer} "{address}, 10.0.0.1" "10.0.0.2:80"',
        ),
        HEADERS | TARGETS,
        ("--log-format", LOG_FORMAT),
    ),
    "haproxy": Format(
        partial(
            _lines, f"Feb  6 12:14:14 host haproxy[1]: {{peer}} [{{haproxy}}] web static/srv1 {_HAPROXY} {_QUOTED}"
        ),
        TARGETS,
    ),
    "w3c": Format(_w3c, _BY_LINE | {"cookie"}),
    "squid": Format(
        partial(_lines, "{seconds} 310 {address} TCP_MISS/200 1234 GET http://{host}{target} {user} DIRECT/10.0.0.1 -"),
        TARGETS,
    ),
    "traefik": Format(
        partial(
            _lines,
            f'{{address}} - {{user}} [{{clf}}] {_QUOTED} 200 352 "{{referer}}" "{{agent}}" 244 "api@docker" '
            '"http://172.17.0.3:80" 42ms',
            escape=_without_quotes,
        ),
        _BY_LINE,
    ),
    "envoy": Format(
        partial(
            _lines,
            f'[{{iso}}] {_QUOTED} 200 - via_upstream - "-" 154 7 226 100 "{{address}}" "{{agent}}" '
            '"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "{host}" "10.0.2.1:80" inbound|8000|| 127.0.0.6:47 10.44.1.23:80 '
            "{peer} outbound_.8000_._.a.svc.cluster.local default",
            escape=_without_quotes,
        ),
        TARGETS | {"header"},
    ),
    "aws-alb": Format(
        partial(
            _lines,
            "https {later} app/lb/50dc6c495c0c9188 {peer} 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "
            f'{_URL} "{{agent}}" ECDHE-RSA TLSv1.2 arn:aws:x "Root=1-58337281-1d84f3d" "{{host}}" "arn:aws:acm" 1 '
            '{iso} "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90 "-" "-" "-"',
        ),
        TARGETS | {"header"},
    ),
    "aws-elb": Format(
        partial(
            _lines, f'{{iso}} lb {{peer}} 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 {_URL} "{{agent}}" - -'
        ),
        TARGETS | {"header"},
    ),
    "cloudfront": Format(_cloudfront, _BY_LINE | {"cookie", "error"}),
    "s3": Format(
        partial(
            _lines,
            f"owner shop [{{clf}}] {{address}} {{user}} 3E57427F3EXAMPLE REST.GET.OBJECT a {_QUOTED} 200 - 113 4406 41 "
            '28 "{referer}" "{agent}" - s9lz SigV4 ECDHE-RSA AuthHeader shop.s3.example.com TLSv1.2 - -',
            escape=_without_quotes,
        ),
        _BY_LINE,
    ),
    "ltsv": Format(_ltsv, _BY_LINE | {"cookie", "error"}),
    "nginx-json": Format(partial(_json, _nginx), HEADERS | TARGETS),
    "caddy": Format(partial(_json, _caddy), HEADERS | TARGETS),
    "traefik-json": Format(partial(_json, _traefik), HEADERS | TARGETS),
    "envoy-json": Format(partial(_json, _envoy), TARGETS | {"header", "cookie", "referer", "error"}),
    "cloudflare": Format(partial(_json, _cloudflare), HEADERS | TARGETS),
    "ecs": Format(partial(_json, _ecs), HEADERS | TARGETS | _ECS_BODIES | {"error"}),
}
