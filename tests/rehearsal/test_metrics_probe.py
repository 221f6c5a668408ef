"""The probe of a Prometheus exposition: a real client's, over HTTP, and servers that behave badly."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from replay.errors import PlanError, Refused
from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.outline import check_plan
from replay.rehearsal.plan import read_plan
from replay.rehearsal.probes.kinds import read_probe
from replay.rehearsal.probes.metrics import MetricsProbePlan, fetch, parse_selector, select
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.secrets import Scrubber
from replay.rehearsal.table import Surroundings, Table

LIMIT_S = 20.0
TOKEN = "hush-hush-42"
TEXT, OPEN = "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class WsgiServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Exposed:
    """What a program exposes, and the headers that it was asked with."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["code", "path"]
        self.requests = Counter("http_requests", "Requests", labels, registry=self.registry)
        self.latency = Histogram("latency_seconds", "Latency", registry=self.registry, buckets=(0.1, 1.0))
        self.pool = Gauge("pg_pool_size", "Connections", ["name"], registry=self.registry)
        self.odd = Gauge("pg_unknown", "Nothing known", registry=self.registry)
        self.requests.labels("500", 'a "quoted" \\ path').inc(3)
        self.requests.labels("200", "/").inc(40)
        self.latency.observe(0.5, {"trace_id": "abc"})
        self.pool.labels("main").set(17)
        self.odd.set(float("nan"))
        self.asked: list[dict[str, str]] = []
        application = make_wsgi_app(self.registry)

        def asked(environ: dict[str, Any], start_response: Any) -> Any:
            self.asked.append({key: value for key, value in environ.items() if isinstance(value, str)})
            return application(environ, start_response)

        self.server = make_server("127.0.0.1", 0, asked, WsgiServer, QuietHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/metrics"


@pytest.fixture
def exposed() -> Iterator[Exposed]:
    made = Exposed()
    with serving(made.server):
        yield made


class serving:  # noqa: N801 - used as a statement
    def __init__(self, server: Any) -> None:
        self.server = server
        self.thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Any:
        self.thread.start()
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(LIMIT_S)


def plan_of(address: str, *series: str, **values: object) -> MetricsProbePlan:
    surroundings = Surroundings(Path("plan.toml").absolute(), {"TOKEN": TOKEN})
    given = {"kind": "prometheus", "url": address, "series": list(series), "interval": "100ms", **values}
    plan = read_probe("app", Table("[probes.app]", given, surroundings))
    assert isinstance(plan, MetricsProbePlan)
    return plan


def read(folder: Path, plan: MetricsProbePlan, enough: Callable[[pd.DataFrame], bool]) -> pd.DataFrame:
    """The probe's readings, once they are enough."""
    arm = ArmFolder(folder / "arm")
    arm.create()
    scrub = Scrubber({}, plan.secrets)
    probe = plan.open(Setting(ArmClock.started_now(), arm.readings, arm.log, scrub))
    probe.start()
    by = time.monotonic() + LIMIT_S
    frame = pd.DataFrame()
    try:
        while frame.empty or not enough(frame):
            assert time.monotonic() < by, "it did not come to that"
            time.sleep(0.05)
            frames = [pd.read_parquet(file) for file in sorted(arm.path.glob("readings/*.parquet"))]
            frame = pd.concat(frames) if frames else frame
    finally:
        probe.stop()
    return frame


@pytest.mark.parametrize("accept", [TEXT, OPEN])
def test_series_with_their_labels_in_both_formats(tmp_path: Path, exposed: Exposed, accept: str) -> None:
    series = ['http_requests_total{code="500"}', "pg_*", "latency_seconds_count", 'latency_seconds_bucket{le="1.0"}']
    plan = plan_of(exposed.url, *series, headers={"Accept": accept, "Authorization": "Bearer ${TOKEN}"})
    frame = read(tmp_path, plan, lambda frame: len(frame) > 8)
    assert fetch(plan)[0] == accept.partition(";")[0]
    assert {(row.metric, row.value, row.detail) for row in frame.itertuples()} == {
        ("http_requests_total", 3.0, json.dumps({"code": "500", "path": 'a "quoted" \\ path'})),
        ("pg_pool_size", 17.0, '{"name": "main"}'),
        ("latency_seconds_count", 1.0, "{}"),
        ("latency_seconds_bucket", 1.0, '{"le": "1.0"}'),
    }
    assert exposed.asked[0]["HTTP_AUTHORIZATION"] == f"Bearer {TOKEN}"
    assert plan.secrets == (f"Bearer {TOKEN}", TOKEN)
    assert plan.hosts == ("127.0.0.1",)
    assert TOKEN not in repr(plan)


def test_a_counter_is_read_as_it_stands(tmp_path: Path, exposed: Exposed) -> None:
    def grown(frame: pd.DataFrame) -> bool:
        exposed.requests.labels("200", "/").inc()
        return len(frame) > 15

    frame = read(tmp_path, plan_of(exposed.url, 'http_requests{code="200"}'), grown)
    values = frame[frame["metric"] == "http_requests_total"]["value"].tolist()
    assert values == sorted(values)
    assert values[-1] > values[0] >= 40


def test_the_environment_names_no_proxy_for_it(
    tmp_path: Path, exposed: Exposed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert len(read(tmp_path, plan_of(exposed.url, "pg_pool_size"), lambda frame: len(frame) > 2))


def test_more_than_two_hundred_series_are_said(tmp_path: Path, exposed: Exposed) -> None:
    many = Gauge("many", "Many", ["number"], registry=exposed.registry)
    for number in range(300):
        many.labels(str(number)).set(number)
    frame = read(tmp_path, plan_of(exposed.url, "many"), lambda frame: len(frame) > 401)
    assert frame[frame["metric"] == "many"]["detail"].nunique() == 200
    failed = frame[frame["metric"] == "probe_failed"]["detail"].tolist()
    assert failed == ['{"error": "300 series are asked for, and 200 are kept: name fewer"}']


class BadHandler(BaseHTTPRequestHandler):
    """Answers as its path says."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012 - emptied by the fixture

    def do_GET(self) -> None:
        self.asked.append(self.path)
        getattr(self, f"answer_{self.path.strip('/').partition('/')[0]}")()

    def begin(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def answer_elsewhere(self) -> None:
        self.begin(302, Location="/good", Content_Length="0")

    def answer_good(self) -> None:
        self.begin(200, Content_Length="4")
        self.wfile.write(b"a 1\n")

    def answer_refused(self) -> None:
        self.begin(401, Content_Length="0")

    def answer_slowly(self) -> None:
        self.begin(200, Connection="close")
        self.drip(b"a 1\n")

    def answer_chunked(self) -> None:
        self.begin(200, Transfer_Encoding="chunked")
        self.drip(b"4\r\na 1\n\r\n")

    def answer_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.drip(b"X-A: 1\r\n")

    def answer_huge(self) -> None:
        self.begin(200, Connection="close")
        with_room = b"a 1\n" * (1 << 16)
        try:
            for _ in range(128):  # 32 MiB
                self.wfile.write(with_room)
        except OSError:
            pass

    def answer_rubbish(self) -> None:
        body = b"a{b=hush-hush-42} 1\n"
        self.begin(200, Content_Length=str(len(body)))
        self.wfile.write(body)

    def answer_nothing(self) -> None:
        self.close_connection = True

    def drip(self, piece: bytes) -> None:
        try:
            for _ in range(200):
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def bad() -> Iterator[str]:
    BadHandler.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), BadHandler)
    server.daemon_threads = True
    with serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("elsewhere", "the answer is 302 (redirects are not followed)"),
        ("refused", "the answer is 401"),
        ("slowly", "took longer than 2 s"),
        ("chunked", "took longer than 2 s"),
        ("headers", "took longer than 2 s"),
        ("huge", "more than 16 MiB"),
        ("rubbish", "no exposition: Invalid labels: b=***"),
        ("nothing", "closed connection"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, bad: str, path: str, words: str) -> None:
    plan = plan_of(f"{bad}/{path}", "a", headers={"Authorization": "Bearer ${TOKEN}"})
    frame = read(tmp_path, plan, lambda frame: len(frame) > 0)
    assert set(frame["metric"]) == {"probe_failed"}
    assert words in frame["detail"].iloc[0]
    assert TOKEN not in " ".join(frame["detail"])
    assert set(BadHandler.asked) == {f"/{path}"}


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    frame = read(tmp_path, plan_of("http://127.0.0.1:1/metrics", "a"), lambda frame: len(frame) > 0)
    assert "refused" in frame["detail"].iloc[0]


def test_an_odd_family_does_not_spoil_the_others() -> None:
    body = '# TYPE good gauge\ngood 1\n# TYPE odd histogram\nodd_bucket{le="x"} y\n# TYPE late counter\nlate_total 2\n'
    for content_type in ("text/plain", "application/openmetrics-text"):
        found = select([parse_selector("good"), parse_selector("late_total")], content_type, body + "# EOF\n")
        assert [(sample.name, sample.value) for sample in found] == [("good", 1), ("late_total", 2)]


@given(st.dictionaries(st.from_regex(r"[a-z_]\w{0,5}", fullmatch=True), st.text(max_size=8), max_size=3))
def test_a_selector_finds_the_labels_that_it_was_written_with(labels: dict[str, str]) -> None:
    labels = {name: value.translate({ord("*"): None, ord("?"): None, ord("["): None}) for name, value in labels.items()}
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in labels.items()
    }
    selector = parse_selector("a{" + ", ".join(f'{name}="{value}"' for name, value in escaped.items()) + "}")
    assert dict(selector.labels) == labels


@pytest.mark.parametrize(
    "text", ["", "{}", "a{b}", "a{b=1}", 'a{b="c"', 'a{b=~"c"}', 'a{b!="c"}', "a b", "1a", 'a{b="c"d}']
)
def test_selectors_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"name of a series|labels"):
        parse_selector(text)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"series": []}, "names none"),
        ({"series": ['a{b=~"c"}']}, "not of the form"),
        ({"url": "ftp://127.0.0.1/metrics"}, "is not an address"),
        ({"url": "http://me:word@127.0.0.1/metrics"}, "is not an address"),
        ({"interval": "10ms"}, "must be 100ms or longer"),
        ({"headers": {"X A": "1"}}, "cannot be sent"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "cannot be sent"),
    ],
)
def test_plans_that_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        plan_of("http://127.0.0.1:1/metrics", **{"series": ["a"], **values})


def test_a_host_that_is_not_allowed_is_refused(setting: Any) -> None:
    setting.values["probes.app"] = {"kind": "prometheus", "url": "http://metrics.example.test/", "series": ["a"]}
    plan = read_plan(setting.write(), setting.environment)
    with pytest.raises(Refused, match=r"metrics\.example\.test"):
        check_plan(plan, setting.out)


def test_a_token_is_hidden_in_what_is_written_down(setting: Any) -> None:
    setting.values["probes.app"] = {"kind": "prometheus", "url": "http://127.0.0.1:1/metrics", "series": ["a"]}
    setting.values["probes.app.headers"] = {"Authorization": f"Bearer {TOKEN}7", "X-Key": "${STAGE_DSN}"}
    plan = read_plan(setting.write(), setting.environment)
    assert plan.resolved["probes"]["app"]["headers"] == {"Authorization": "***", "X-Key": "${STAGE_DSN}"}
    assert plan.scrubber()(f"x {TOKEN}7") == "x ***"
