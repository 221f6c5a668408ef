"""The tab of the replay in locust's own web page: what it knows, and how it looks in a real Chromium."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, Route, sync_playwright

from replay.evidence.files import ArmFolder
from replay.evidence.values import Observation
from replay.rehearsal.watch import Watch
from replay.scenario.process import PARENT_VARIABLE, LocustProcess, Web
from replay.scenario.runtime.web.tally import Tally

CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None)
HOSTILE = "</pre></script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>"
WAIT_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def web() -> Web:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Web("127.0.0.1", int(probe.getsockname()[1]))


def url(web: Web, path: str = "?tab=replay") -> str:
    return f"http://{web.host}:{web.port}/{path}"


def ask(web: Web, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(web.host, web.port, timeout=5)
    try:
        connection.request(method, f"/{path}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def told(web: Web) -> dict[str, Any]:
    status, text = ask(web, "replay/live")
    assert status == 200, text
    value: dict[str, Any] = json.loads(text)
    return value


def await_web(web: Web, process: Any, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    until = time.monotonic() + 40
    while time.monotonic() < until:
        assert process.poll() is None, "locust has ended"
        try:
            if holds(value := told(web)):
                return value
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(told(web))


def opened(browser: Browser, web: Web, **context: Any) -> Page:
    page = browser.new_context(**context).new_page()
    page.goto(url(web))
    return page


# What this process knows of itself


def observation(number: int, at_s: float, outcome: str, endpoint: str) -> Observation:
    return Observation(
        request=number,
        visit=0,
        client="c",
        endpoint=endpoint,
        due_s=at_s,
        waited_s=0.0,
        sent_s=at_s,
        first_byte_s=at_s,
        done_s=at_s,
        status=200,
        size_bytes=1,
        digest=None,
        shape=None,
        expected_status=200,
        expected_shape=None,
        outcome=outcome,
        error=None,
        caused_by=None,
        worker="w",
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["GET /a", "GET /b"]), st.sampled_from(["ok", "server error"])),
        max_size=60,
    )
)
def test_the_browser_and_the_terminal_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, str, str]]
) -> None:
    """Requests in the midst of halves of a second, looked at in each full one."""
    made = [
        observation(number, half / 2 + 0.25, outcome, endpoint)
        for number, (half, endpoint, outcome) in enumerate(sorted(asked, key=lambda one: one[0]))
    ]
    folder = ArmFolder(tmp_path_factory.mktemp("arm"))
    folder.create()
    writer = folder.observations("w")
    due = [0] * 30
    for one in made:
        due[int(one.due_s)] += 1
    watch, tally, now_s = Watch(folder, due), Tally(due, 30.0), 0
    tally.clock = lambda: float(now_s)
    for now_s in range(1, 27):
        lately = [one for one in made if now_s - 1 <= one.due_s < now_s]
        if lately:
            writer.write(lately)
        for one in lately:
            tally.observed(one)
        sight, own = watch.look(float(now_s), anew=True), tally.look()
        assert [(name, since_s) for name, since_s, _ in own["endpoints"]] == list(sight.endpoints)
        assert (own["asked_per_s"], own["answered_per_s"]) == (sight.asked_per_s, sight.answered_per_s)
        assert own["observed"] == sight.observed
    assert all(back is None or since is None for _, since, back in own["endpoints"])


def test_nothing_is_known_before_the_clock_runs() -> None:
    assert Tally([0, 1, 1], 2.0).look() == {}


def test_an_endpoint_that_came_back_says_since_when() -> None:
    tally, now_s = Tally([], 60.0), 0.0
    tally.clock = lambda: now_s
    for number in range(4):
        tally.observed(observation(number, 1.5, "server error", "GET /a"))
    now_s = 2.0
    assert tally.look()["endpoints"] == [["GET /a", 1.5, None]]
    for number in range(40):
        tally.observed(observation(number, 8.5, "ok", "GET /a"))
    now_s = 9.0
    assert tally.look()["endpoints"] == [["GET /a", None, 9.0]]


# The page


@pytest.mark.slow
def test_the_tab_shows_what_fails_and_since_when(room, planned, stage, browser, web) -> None:
    bad = [planned(2 * n, "/broken", 0.2 * n, visit=n) for n in range(40)]
    good = [planned(2 * n + 1, "/ok", 0.2 * n, visit=100 + n) for n in range(40)]
    room.write(sorted(bad + good, key=lambda one: one.request))
    with room.process(stage.url, web=web) as process:
        await_web(web, process, lambda value: bool(value.get("endpoints")))
        page = opened(browser, web)
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: said.append(str(error)))
        assert page.get_by_role("tab", name="Replay").get_attribute("aria-selected") == "true"
        page.wait_for_selector("#replay tr.bad", timeout=WAIT_MS)
        row = page.inner_text("#replay tr.bad")
        assert re.search(r"GET /broken\s+fails since 0\.\d s, for \d+ s", row), row
        assert "GET /ok\twell" in page.inner_text("#replay tr.good")
        assert "of 80 requests" in page.inner_text("#replay .progress")
        cards = page.inner_text("#replay .cards")
        assert re.search(r"Asked for\s+10 /s", cards), cards
        assert re.search(r"Endpoints well\s+1 of 2\s+1 fail", cards), cards
        assert "Lock queue" not in cards  # which nobody reads here
        page.get_by_role("tab", name="Statistics").click()
        page.wait_for_selector("text=/broken")
        assert page.locator("#replay").count() == 0
        page.get_by_role("tab", name="Replay").click()
        page.wait_for_selector("#replay tr.bad", timeout=WAIT_MS)
        assert {request.split("/")[2] for request in asked} == {f"{web.host}:{web.port}"}
        assert said == []
        page.context.close()
        assert process.wait(60) == 0, process.last_words()


LIVE: dict[str, Any] = {
    "arm": "production-steps",
    "role": "production",
    "steps": True,
    "number": 2,
    "arms": 4,
    "left_s": 200.0,
    "doing": "",
    "at_s": 12.0,
    "duration_s": 45.0,
    "planned": 900,
    "observed": 240,
    "asked_per_s": 20.0,
    "answered_per_s": 17.4,
    "endpoints": [
        ["GET /b", None, 11.0],
        ["GET /a", 8.25, None],
        [f"GET /{HOSTILE}", 9.5, None],
        ["GET /c", None, None],
    ],
    "probed": True,
    "lock": {"waited_s": 2.14, "queued": 17, "behind": f"the export {HOSTILE}"},
    "lag_s": 3.25,
    "step": {"name": f"add scopes {HOSTILE}", "kind": "migrate", "at_s": 8.0},
    "statement": {"index": 2, "at_s": 9.0, "text": f"ALTER TABLE tokens ADD scopes text {HOSTILE}"},
}


@pytest.fixture
def playing(room, planned, stage, web, tmp_path) -> Iterator[tuple[LocustProcess, Path]]:
    """A replay of some time whose conductor tells what the file says."""
    room.write([planned(n, "/ok", 0.5 * n, visit=n) for n in range(180)])
    file = tmp_path / "live.json"
    file.write_text(json.dumps(LIVE))
    with room.process(stage.url, web=Web(web.host, web.port, file)) as process:
        await_web(web, process, lambda value: value.get("state") == "running")
        yield process, file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("playing")
def test_the_tab_shows_what_the_conductor_tells(browser, web, scheme) -> None:
    page = opened(browser, web, color_scheme=scheme)
    page.wait_for_selector("#replay .step", timeout=WAIT_MS)
    assert page.inner_text("#replay h2") == "arm 2 of 4  production-steps  production, with the steps"
    assert page.inner_text("#replay .progress") == "12 of 45 s · 240 of 900 requests · 3 min 20 s left in all"
    step = page.inner_text("#replay .step")
    assert f"migrate “add scopes {HOSTILE}” for 4.0 s" in step
    assert "statement 2 for 3.0 s" in step
    assert page.inner_text("#replay pre") == LIVE["statement"]["text"]
    cards = page.inner_text("#replay .cards")
    assert re.search(r"Asked for\s+20 /s", cards)
    assert re.search(r"Answered\s+17 /s", cards)
    assert re.search(r"Lock queue\s+17\s+up to 2\.1 s behind “the export ", cards)
    assert re.search(r"Replica lag\s+3\.3 s", cards)
    assert [row.replace("\t", " ") for row in page.locator("#replay tr").all_inner_texts()] == [
        "✗ GET /a fails since 8.3 s, for 4 s",
        f"✗ GET /{HOSTILE} fails since 9.5 s, for 3 s",
        "✓ GET /b well again since 11.0 s",
        "✓ GET /c well",
    ]
    assert page.evaluate("window.hacked") is None
    assert page.locator("#replay img, #replay script").count() == 0
    for selector in (
        "#replay h2",
        "#replay tr.bad td",
        "#replay tr.good td",
        "#replay .more",
        "#replay .card.bad .value",
    ):
        assert contrast(page, selector) >= 4.5, selector
    page.context.close()


def contrast(page: Page, selector: str) -> float:
    """How well a text can be read on the page's background, as WCAG counts it."""
    colours = page.evaluate(
        """selector => [getComputedStyle(document.querySelector(selector)).color,
                        getComputedStyle(document.body).backgroundColor]""",
        selector,
    )
    lights = []
    for colour in colours:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_the_tab_goes_along_with_the_file(browser, web, playing) -> None:
    _, file = playing
    page = opened(browser, web)
    page.wait_for_selector("#replay .step", timeout=WAIT_MS)
    file.write_text(
        json.dumps(LIVE | {"step": None, "statement": None, "lock": None, "at_s": None, "doing": "resting"})
    )
    page.wait_for_selector("#replay .doing", timeout=WAIT_MS)
    assert page.inner_text("#replay .doing") == "resting ..."
    # What it cannot read it does without: then it shows what locust itself knows.
    file.write_text("half of a fi")
    page.wait_for_function("document.querySelector('#replay').innerText.includes('of 180 requests')", timeout=WAIT_MS)
    page.context.close()


@pytest.mark.usefixtures("playing")
def test_a_page_that_was_loaded_too_soon_goes_on_by_itself(browser, web) -> None:
    page = browser.new_context().new_page()
    too_soon: set[str] = set()
    seen: list[str] = []  # that the page was there too soon, however slow the browser is

    def answer(route: Route) -> None:
        response = route.fetch()
        text = response.text()
        if not seen or route.request.url not in too_soon:
            too_soon.add(route.request.url)
            text = re.sub(r'"state": ?"\w+"', '"state": "ready"', text)
        route.fulfill(response=response, body=text)

    page.route(url(web), answer)
    page.route(url(web, "stats/requests"), answer)
    page.goto(url(web))
    page.wait_for_selector("form")
    seen.append("form")
    page.wait_for_selector("#replay .step", timeout=WAIT_MS)
    assert too_soon == {url(web), url(web, "stats/requests")}
    page.context.close()


def test_nobody_steers_the_load_from_the_page(browser, web, playing) -> None:
    process, _ = playing
    page = opened(browser, web)
    page.wait_for_selector("#replay .step", timeout=WAIT_MS)
    page.wait_for_function("[...document.querySelectorAll('header button')].every(one => one.innerText !== 'STOP')")
    for path in ("stop", "swarm", "stats/reset", "user"):
        status, text = ask(web, path, "POST")
        assert (status, "only to watch" in text) == (403, True), path
    assert ask(web, "replay/live", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert told(web)["state"] == "running"
    assert process.poll() is None
    page.context.close()


@pytest.mark.slow
def test_an_open_page_waits_for_the_next_arm_and_goes_on_by_itself(room, stage, browser, web, playing) -> None:
    process, file = playing
    page = opened(browser, web)
    page.wait_for_selector("#replay .step", timeout=WAIT_MS)
    process.interrupt()
    assert process.wait(20) == 130
    page.wait_for_selector("#replay .waiting", timeout=WAIT_MS)
    assert "Waiting for the next arm" in page.inner_text("#replay .waiting")
    assert "production-steps" in page.inner_text("#replay h2")
    file.write_text(json.dumps(LIVE | {"arm": "qa-steps", "number": 3}))
    with room.process(stage.url, evidence=room.folder / "next", web=Web(web.host, web.port, file)) as following:
        page.wait_for_function("document.querySelector('#replay h2')?.innerText.includes('arm 3 of 4')", timeout=40_000)
        assert page.locator("#replay .waiting").count() == 0
        page.context.close()
        assert following.poll() is None


# The process


def test_it_ends_by_itself_also_while_a_page_is_open(room, planned, stage, web) -> None:
    room.write([planned(n, "/ok", 0.2 * n, visit=n) for n in range(10)])
    with room.process(stage.url, web=web) as process:
        await_web(web, process, lambda value: bool(value.get("endpoints")))
        with socket.create_connection((web.host, web.port)) as kept:  # as a browser keeps one
            kept.sendall(b"GET /replay/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert kept.recv(100).startswith(b"HTTP/1.1 200")
            code = process.wait(60)
    done = room.result(code)
    assert done.code == 0, done.said
    assert done.summary()["complete"]
    assert len(done.observations()) == 10


def test_ctrl_c_keeps_what_there_is(room, planned, stage, web) -> None:
    room.write([planned(n, "/ok", 0.2 * n, visit=n) for n in range(300)])
    with room.process(stage.url, web=web) as process:
        await_web(web, process, lambda value: value.get("observed", 0) > 5)
        assert process.pid is not None
        process.interrupt()
        done = room.result(process.wait(20))
    assert done.code == 130, done.said
    assert len(done.observations()) == 300
    assert not done.summary()["complete"]


def test_a_taken_address_is_said(room, planned, stage, web) -> None:
    room.write([planned(0)])
    with socket.create_server((web.host, web.port)):
        done = room.play(stage.url, web=web)
    assert done.code == 4, done.said
    assert f"No web page can be served at {web.host}:{web.port}" in done.said
    assert stage.paths() == []


@pytest.fixture
def by_hand(room, planned, stage, web) -> Iterator[subprocess.Popen[bytes]]:
    """Locust as a user starts it."""
    room.write([planned(n, "/broken", 0.2 * n, visit=n) for n in range(20)])
    command = [sys.executable, "-m", "locust", "-f", str(room.locustfile), "--host", stage.url]
    command += ["--web-host", web.host, "--web-port", str(web.port)]
    environment = {name: value for name, value in os.environ.items() if name != PARENT_VARIABLE}
    with (room.folder / "locust.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    yield process
    process.terminate()
    try:
        process.wait(20)
    finally:
        process.kill()


@pytest.mark.slow
def test_locust_by_hand_has_the_tab_and_stays(by_hand, browser, web) -> None:
    """Without a conductor locust is steered from its page, as ever."""
    await_web(web, by_hand, lambda value: value.get("state") == "ready")
    page = opened(browser, web)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("tab", name="Replay").click()
    page.wait_for_selector("#replay tr.bad", timeout=WAIT_MS)
    await_web(web, by_hand, lambda value: value["state"] == "stopped" and value["observed"] == 20)
    page.wait_for_function("document.querySelector('#replay .progress').innerText.includes('ended')", timeout=WAIT_MS)
    page.context.close()
    assert by_hand.poll() is None
