"""The pages of a workload in a real browser. Their documents are written by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from replay.errors import ToolError
from replay.report.workload import write_comparison, write_inspection

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>{{7*7}}\u2028"


def profile(times: int = 1, path: str = "/v1/events") -> dict[str, Any]:
    endpoints = [
        {
            "endpoint": f"GET {path}/{{event_id}}{suffix}", "count": 60 * times, "share": share, "clients": 3,
            "statuses": {"200": 50 * times, "404": 10 * times}, "empty_share": 0.0,
            "duration_s": {"p10": 0.01, "p50": 0.02, "p90": 0.1, "p99": 0.3},
            "size_bytes": {"p10": 10, "p50": 100, "p90": 1000, "p99": 2000, "most": 3000},
            "running": {"1": 30 * times, "2-3": 30 * times}, "most_running": 3, "same_key_share": 0.1,
        }
        for suffix, share in (("", 0.75), ("/seats", 0.25))
    ]  # fmt: skip
    return {
        "exchanges": 120 * times, "duration_s": 60.0 * times,
        "clients": {"count": 3, "tail": None, "busiest": []}, "agents": [], "endpoints": endpoints,
        "successions": [], "variants": [],
        "parameters": [
            {
                "endpoint": endpoints[0]["endpoint"], "parameter": "event_id", "requests": 60, "values": 3, "once": 1,
                "top": [{"value": path, "count": 40}, {"value": "2", "count": 19}, {"value": "3", "count": 1}],
                "top_share": 1.0, "exponent": None,
            }
        ],
        "arrivals": {
            "mean_per_s": 2.0, "highest_per_s": 5, "dispersion": {"1": 1.2},
            "peaks": [{"clock": "each minute", "phase_s": 0, "ratio": 4.0}], "series": [1.0, 3.0, 2.0],
        },
        "visits": {
            "count": 4, "gap_s": 1800.0, "gap_reason": "the usual bound", "lengths": {"1": 1, "2-3": 0, "4-7": 3},
            "longest": 7, "duration_s": {"p10": 1.0, "p50": 2.0, "p90": 30.0, "p99": 50.0},
            "think_s": {"p10": 0.0, "p50": 0.2, "p90": 3.0, "p99": 5.0}, "side_by_side_share": 0.2,
        },
        "left_out": {"endpoints": 0, "successions": 0, "variants": 0, "parameters": 0},
    }  # fmt: skip


def nothing() -> dict[str, Any]:
    empty: dict[str, Any] = {"count": 0, "gap_s": 1800.0, "gap_reason": "the usual bound", "lengths": {}, "longest": 0}
    return profile() | {
        "exchanges": 0, "duration_s": 0.0, "clients": {"count": 0, "tail": None, "busiest": []}, "endpoints": [],
        "parameters": [], "visits": empty | {"duration_s": {}, "think_s": {}, "side_by_side_share": 0.0},
        "arrivals": {"mean_per_s": 0.0, "highest_per_s": 0, "dispersion": {}, "peaks": [], "series": []},
    }  # fmt: skip


def comparison(text: str = "", other: dict[str, Any] | None = None) -> dict[str, Any]:
    coverage = {"endpoint": 1.0, "variant": 0.9, "predecessor": 0.5, "concurrency": 0.13}
    spot = {"production": 1.0, "other": 0.0, "unit": "share", "what": text}
    kinds = [("order", 0.3), ("rate", 0.9), ("order", 0.2), *[("order", 0.01)] * 5]
    path = f"/v1/{text}"
    return {
        "coverage": coverage,
        "endpoints": [
            {"endpoint": f"GET {path}/{{event_id}}", "share": 0.75, "other_share": 0.75, "coverage": coverage},
        ],
        "blind_spots": [
            spot | {"kind": kind, "share": share, "sentence": f"sentence {number}{text}"}
            for number, (kind, share) in enumerate(kinds)
        ],
        "too_small_to_tell": [spot | {"kind": "variant", "share": 0.001, "sentence": f"a rare one{text}"}],
        "left_out": {"endpoints": 0, "blind_spots": 7, "too_small_to_tell": 0},
        "production": {"name": f"production{text}", "environment": "production", "profile": profile(2, path)},
        "other": {"name": "qa", "environment": f"stage{text}", "profile": other or profile(1, path)},
    }


@pytest.fixture
def open_page(browser: Browser) -> Callable[..., Page]:
    """Opens a page that must draw all its charts, say nothing on the console and ask for nothing but itself."""

    def opened(file: Path, width: int = 1280) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 800})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
        page.goto(file.as_uri())
        expect(page.locator(".chart:not(.drawn)")).to_have_count(0, timeout=60_000)
        assert said == [file.as_uri()]
        return page

    return opened


def charts(page: Page) -> list[str]:
    drawn: list[str] = page.eval_on_selector_all(
        ".chart", "found => found.filter(one => one.querySelectorAll('svg path').length > 1).map(one => one.id)"
    )
    return drawn


def test_one_capture(open_page: Callable[..., Page], tmp_path: Path) -> None:
    write_inspection({"name": "mine", "environment": "stage", "profile": profile()}, tmp_path / "one.html")
    page = open_page(tmp_path / "one.html")
    assert page.inner_text("h1") == "mine"
    assert charts(page) == ["rate", "lengths", "lasting", "think", "keys-0", "crowds"]
    assert page.locator("#coverage, #spots").count() == 0
    assert page.locator("#endpoints tbody tr").count() == 2
    assert "GET /v1/events/{event_id}/seats" in page.inner_text("#endpoints")
    assert "4 times the usual each minute at second 0" in page.inner_text("#arrivals")


def test_two_side_by_side(open_page: Callable[..., Page], tmp_path: Path) -> None:
    write_comparison(comparison(), tmp_path / "two.html")
    page = open_page(tmp_path / "two.html")
    assert page.inner_text(".title p") == "qa has seen the like of 13% of what production does."
    assert page.locator("#coverage .figure").all_inner_texts() == ["100%", "90%", "50%", "13%"]
    kinds = [text for text in page.locator("#spots .name").all_inner_texts() if text]
    assert kinds == ["rate", "order"]
    assert page.locator("#spots summary").all_inner_texts() == [
        "3 more of this kind",
        "1 more that qa is too small to tell",
    ]
    assert "7 that concern less are left out" in page.inner_text("#spots")
    assert page.locator("#endpoints tbody tr").first.locator(".bars div").count() == 2
    assert charts(page) == ["rate", "lengths", "lasting", "think", "keys-0", "crowds"]


def test_beside_nothing(open_page: Callable[..., Page], tmp_path: Path) -> None:
    write_comparison(comparison(other=nothing()), tmp_path / "two.html")
    open_page(tmp_path / "two.html")
    write_inspection({"path": "captures/none", "profile": nothing()}, tmp_path / "none.html")
    page = open_page(tmp_path / "none.html")
    assert page.inner_text("h1") == "captures/none"
    assert "No exchanges." in page.inner_text("#endpoints")
    assert charts(page) == []


def test_a_hostile_text_is_only_a_text(open_page: Callable[..., Page], tmp_path: Path) -> None:
    write_comparison(comparison(HOSTILE), tmp_path / "two.html")
    page = open_page(tmp_path / "two.html")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    scripts = page.eval_on_selector_all("script", "found => found.map(one => one.type || 'program')")
    assert scripts.count("program") == 2
    for selector in ("h1", "#facts", "#spots", "#endpoints table", "#keys"):
        assert "<script>window.hacked=1</script>" in page.inner_text(selector), selector
    assert any("window.hacked" in text for text in page.locator("#crowds svg text").all_text_contents())


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_cut_off_on_a_small_screen(open_page: Callable[..., Page], tmp_path: Path, width: int) -> None:
    write_comparison(comparison(), tmp_path / "two.html")
    page = open_page(tmp_path / "two.html", width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_same_document_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_comparison(comparison(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be written"):
        write_comparison(comparison(), tmp_path / "none" / "two.html")
