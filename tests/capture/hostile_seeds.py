"""The beginning of a file of each format, to be spoilt."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from import_parts import combined, entry, flow, gor, har, json_line, moment


def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(
        pa.table({"time": [moment(1), moment(2)], "method": ["GET"] * 2, "path": ["/a", "/b"], "status": [200, 404]}),
        file,
    )
    return file.getvalue()


FIXTURES = Path(__file__).parent / "sources" / "fixtures"
SEEDS = {
    **{file.name: file.read_bytes()[:20_000] for file in sorted(FIXTURES.glob("*"))},
    "combined": (combined(1) + combined(2, "/a?token=hush-hush-42", 404)).encode(),
    "json": (json_line(1) + json_line(2, "/b", 404, host="a", user_agent='x "y"')).encode(),
    "har": har(entry(1), entry(2, "/a?b=c", {"Cookie": "sid=hush-hush-42"})).encode(),
    "gor": (gor(1) + gor(2, identity="b2")).encode(),
    "mitmproxy": flow(1) + flow(2, "/b"),
    "ltsv": b"time:[01/Mar/2026:08:00:01 +0000]\thost:192.0.2.7\treq:GET / HTTP/1.1\tstatus:200\tsize:1\n",
    "w3c": b"#Fields: date time c-ip cs-method cs-uri-stem cs-uri-query sc-status time-taken cs(User-Agent)\n"
    b"2026-03-01 08:00:01 192.0.2.7 GET /a q=1 200 15 one+1\n",
    "csv": b"time,method,path,status\n2026-03-01T08:00:00Z,GET,/a,200\n",
    "parquet": _parquet(),
    "caddy": b'{"level":"info","ts":1772352000.5,"logger":"http.log.access","msg":"handled request","request":'
    b'{"remote_ip":"192.0.2.7","method":"GET","host":"a","uri":"/","headers":{"X":["a"]}},"status":200,"duration":1}\n',
    "alb": b"http 2026-03-01T08:00:00.186641Z app/lb/50dc6c495c0c9188 192.0.2.7:2817 10.0.0.1:80 0.000 0.001 0.000 200 "
    b'200 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - arn:aws:a "Root=1-5" "-" "-" 0 '
    b'2026-03-01T08:00:00.186641Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-"\n',
    "docker": json.dumps({"log": combined(1), "stream": "stdout", "time": "2026-03-01T08:00:00Z"}).encode() + b"\n",
    "kubernetes": b"2026-03-01T08:00:00.000000000Z stdout F " + combined(1).encode(),
}
