"""A rehearsal and a run watched in a real Chromium."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_parts import Commands, Listener, Plan, Running, wait_until, workload, write_capture
from playwright.sync_api import Browser, Error, Page, sync_playwright

CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None)
WAIT_MS = 60_000
HOLDS = "BEGIN;\nLOCK TABLE access_tokens IN ACCESS EXCLUSIVE MODE;\nSELECT pg_sleep(6);\nCOMMIT;\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page()
    yield opened
    opened.close()


def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def go(page: Page, web: str, running: Running) -> None:
    """Open the page as soon as locust serves it."""
    until = time.monotonic() + 120
    while True:
        assert running.process.poll() is None, running.files[1].read_text()
        try:
            page.goto(f"http://{web}/?tab=replay")
            break
        except Error:
            assert time.monotonic() < until
            time.sleep(0.2)


@pytest.mark.slow
def test_a_rehearsal_is_watched_over_all_its_arms(plan: Plan, replay: Commands, page: Page) -> None:
    plan.values["workloads.busy"] = workload("production", "production", "14s")
    plan.add_step("hold the tokens", at="3s", sql=HOLDS)
    web = address()
    running = replay.start("rehearse", plan.write(), "--out", plan.out, "--web", web)
    go(page, web, running)
    page.wait_for_function("document.querySelector('#replay h2')?.innerText.includes('busy-control')", timeout=WAIT_MS)
    page.wait_for_function("/[1-9]\\d* of [1-9]/.test(document.querySelector('#replay .cards')?.innerText)")
    assert (plan.out / "live.json").exists()
    # Nobody opens it again: it waits while locust is gone, and goes on with the next arm.
    page.wait_for_function("document.querySelector('#replay h2')?.innerText.includes('busy-steps')", timeout=WAIT_MS)
    shown = page.wait_for_function(
        """() => {
            const [step, cards] = ["step", "cards"].map(name => document.querySelector(`#replay .${name}`)?.innerText);
            return /SELECT pg_sleep/.test(step) && /behind “hold/.test(cards) && [step, cards];
        }""",
        timeout=WAIT_MS,
    )
    step, cards = shown.json_value()
    assert re.match(r"migrate “hold the tokens” for \d\.\d s\s+statement \d for", step), step
    assert re.search(r"Lock queue\s+\d+\s+up to \d+\.\d s behind “hold the tokens”", cards), cards
    assert re.search(r"Replica lag\s+\d+\.\d s", cards), cards
    page.wait_for_selector("#replay .waiting", timeout=WAIT_MS)
    assert "The last arm is over" in page.inner_text("#replay .waiting")
    done = running.wait(120)
    assert done.code in {0, 1, 3}, done.err
    assert done.said(f"To be watched at http://{web}/?tab=replay")
    assert not (plan.out / "live.json").exists()
    assert plan.record["state"] == "complete"


@pytest.mark.slow
def test_a_run_is_watched(tmp_path: Path, listen: Callable[..., Listener], replay: Commands, page: Page) -> None:
    target, web = listen(), address()
    capture = write_capture(tmp_path / "stage", environment="stage", host="stage.example")
    scenario = tmp_path / "stage.py"
    assert replay("build", capture, "--out", scenario).code == 0
    to_there = ("--target", target.url, "--allow", "127.0.0.1", "--out", tmp_path / "run")
    running = replay.start("run", scenario, *to_there, "--duration", "12s", "--web", web)
    go(page, web, running)
    page.wait_for_selector("#replay tr.good", timeout=WAIT_MS)
    assert "of 12 s" in page.inner_text("#replay .progress")
    done = running.wait(60)
    assert done.code == 0, done.err
    assert done.said(f"To be watched at http://{web}/?tab=replay")
    wait_until(lambda: not running.processes, 15)


def test_a_taken_address_is_refused_before_anything_is_done(
    tmp_path: Path, listen: Callable[..., Listener], replay: Commands
) -> None:
    target = listen()
    capture = write_capture(tmp_path / "stage", environment="stage", host="stage.example")
    scenario, run = tmp_path / "stage.py", tmp_path / "run"
    assert replay("build", capture, "--out", scenario).code == 0
    to_there = ("--target", target.url, "--allow", "127.0.0.1", "--out", run)
    done = replay("run", scenario, *to_there, "--web", f"127.0.0.1:{target.port}")
    assert done.code == 4
    assert done.said(f"No web page can be served at 127.0.0.1:{target.port}")
    assert not run.exists()
    assert not target.asked
