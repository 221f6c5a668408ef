"""The page in a real browser."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from replay.report.write import write_reports

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>{{7*7}}\u2028"
FIRST_SCREEN = {"width": 1280, "height": 800}


@dataclass
class Opened:
    """A page that has drawn its charts, with what the browser said and asked for meanwhile."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def open_report(
    browser: Browser, build_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Opened]:
    """Writes a run and its report, and opens it. The browser closes the pages with itself."""

    def open_page(verdict: dict[str, Any], **options: Any) -> Opened:
        report = write_reports(build_run(tmp_path_factory.mktemp("opened") / "runs" / "demo", verdict, **options))
        page = browser.new_page(viewport=FIRST_SCREEN)
        opened = Opened(page)
        page.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: opened.said.append(str(error)))
        page.on("request", lambda request: opened.asked.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_function(
            "document.querySelectorAll('.chart.drawn').length === document.querySelectorAll('[data-chart]').length",
            timeout=60_000,
        )
        return opened

    return open_page


@pytest.fixture(scope="module")
def no_go(open_report: Callable[..., Opened], verdicts: Any) -> Opened:
    return open_report(verdicts.no_go())


@pytest.fixture(scope="module")
def hostile(open_report: Callable[..., Opened], verdicts: Any) -> Opened:
    verdict = verdicts.no_go()
    verdict["reasons"][0] += HOSTILE
    verdict["criteria"][0]["sentence"] = HOSTILE
    for table in ("endpoints", "findings"):
        for row in verdict[table]:
            row |= {key: row[key] + HOSTILE for key in ("endpoint", "explanation", "root") if row.get(key)}
    return open_report(verdict, hostile=HOSTILE)


def below(opened: Opened, selector: str) -> float:
    """How far down the page the lowest thing that the selector finds ends."""
    bottoms: list[float] = opened.page.eval_on_selector_all(
        selector, "found => found.map(one => one.getBoundingClientRect().bottom)"
    )
    return max(bottoms)


def check_first_screen(opened: Opened, word: str, reasons: list[str]) -> None:
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [opened.page.url]
    assert opened.page.inner_text("h1") == word
    assert opened.page.locator(".reasons li").all_inner_texts() == reasons[:5]
    for selector in ("h1", ".reasons li", "table.compare tr", "dl.facts dd"):
        assert 0 < below(opened, selector) <= FIRST_SCREEN["height"], selector
    assert "production: 1,800 exchanges of 42 clients" in opened.page.inner_text("dl.facts")


def test_the_first_screen_of_a_no_go(no_go: Opened, verdicts: Any) -> None:
    check_first_screen(no_go, "NO GO", verdicts.REASONS)
    compared = no_go.page.locator("table.compare tbody tr").all_inner_texts()
    assert "Rolling the data back\tworked, 0.30 s\tfailed" in compared


def test_the_first_screen_of_a_go(open_report: Callable[..., Opened], verdicts: Any) -> None:
    opened = open_report(verdicts.go(), broken=False)
    check_first_screen(opened, "GO", verdicts.go()["reasons"])
    assert opened.page.locator(".worse").count() == 0
    assert "holds nothing against any of the 7 endpoints" in opened.page.inner_text("#broke")


def test_the_first_screen_of_an_inconclusive_run_without_probes_or_pre_production(
    open_report: Callable[..., Opened], verdicts: Any
) -> None:
    opened = open_report(verdicts.inconclusive(), only="production", probes=False, broken=False)
    check_first_screen(opened, "INCONCLUSIVE", verdicts.inconclusive()["reasons"])
    assert "No probe looked" in opened.page.inner_text("#why")
    assert "No replica was measured" in opened.page.inner_text("#replica")
    assert "No error log was read" in opened.page.inner_text("#log")
    assert "No pre-production workload was rehearsed" in opened.page.inner_text("#checked")
    assert "Without the change" in opened.page.inner_text("table.compare")


def test_every_arm_and_signal_is_drawn(no_go: Opened) -> None:
    page = no_go.page
    drawn = page.eval_on_selector_all(
        ".chart", "found => Object.fromEntries(found.map(one => [one.id, one.querySelectorAll('svg path').length]))"
    )
    assert set(drawn) == {
        *(f"timeline-{place}" for place in range(4)),
        *(f"signal-{name}" for name in ("waiting_backends", "replica_lag_s", "replica_lag_bytes", "log_lines")),
        "strips",
    }
    assert all(count > 20 for name, count in drawn.items() if name.startswith(("timeline", "strips"))), drawn
    steps = page.locator("#timeline-0 svg text").all_text_contents()
    assert any("migrate: add token scopes" in text for text in steps)
    assert any("FAILED" in text for text in steps)


def test_a_hostile_text_is_only_a_text(hostile: Opened) -> None:
    page = hostile.page
    assert hostile.said == []
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    scripts = page.eval_on_selector_all("script", "found => found.map(one => one.type || 'program')")
    assert scripts.count("program") == 2
    assert "49" not in page.inner_text(".reasons")
    for selector in (".reasons", "#broke table", "#why .chain", "#log table", "#responses", "#checked"):
        assert "<script>window.hacked=1</script>" in page.inner_text(selector), selector
    assert any("window.hacked" in text for text in page.locator("#strips svg text").all_text_contents())


def test_a_tooltip_shows_hostile_text_as_text(hostile: Opened) -> None:
    page = hostile.page
    cell = page.locator("#strips svg .mark-rect path").first
    cell.scroll_into_view_if_needed()
    cell.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "window.hacked" in page.inner_text("#vg-tooltip-element")
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hacked") is None


def test_the_story_of_the_incident_can_be_read(no_go: Opened) -> None:
    page = no_go.page
    broke = page.locator("#broke tbody").first.inner_text()
    assert re.search(r"1\s+POST /oauth/token\s+authentication\s+only in production\s+10\.4 s", broke)
    assert "never" in broke
    chain = page.locator(".chain").first.inner_text()
    assert (
        chain.index("GET /v2/reports/attendance")
        < chain.index("ALTER TABLE access_tokens")
        < chain.index("15 database")
    )
    assert "violates foreign key constraint" in page.inner_text("#rollback")
    assert "4.5 s" in page.inner_text("#replica")
    assert "pool: no connection within <*> s for <*>" in page.inner_text("#log")
    assert "(empty body)" in page.inner_text("#responses")


@pytest.mark.parametrize("width", [360, 400, 768])
def test_nothing_is_cut_off_on_a_small_screen(no_go: Opened, width: int) -> None:
    page = no_go.page
    page.set_viewport_size({**FIRST_SCREEN, "width": width})
    try:
        page.wait_for_function(f"[...document.querySelectorAll('.chart svg')].every(one => one.clientWidth <= {width})")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        over = """found => found.filter(one => one.getBoundingClientRect().right > innerWidth + 1)
                  .map(one => one.tagName + " " + one.textContent.slice(0, 80))"""
        assert page.eval_on_selector_all("body *", over) == []
        plots = page.eval_on_selector_all(
            ".chart[id^=timeline]",
            "all => all.map(one => one.querySelector('.background').getBoundingClientRect().width)",
        )
        assert plots
        assert max(plots) - min(plots) < 2  # none is squeezed by a step's long name
    finally:
        page.set_viewport_size(FIRST_SCREEN)
