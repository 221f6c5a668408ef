"""The pages of a workload in a real browser. Their documents are written by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from replay.errors import ToolError
from replay.report import formats
from replay.report.workload import write_comparison, write_inspection
from replay.workload.comparison.blind_spots import percent

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
        "exchanges": 120 * times, "duration_s": 60.0 * times, "notes": [],
        "clients": {
            "count": 3, "tail": 1.5, "busiest": [{"client": path, "kind": "user", "count": 100 * times, "share": 0.83}],
        },
        "agents": [{"agent": f"app{path}", "count": 90 * times, "share": 0.75}], "endpoints": endpoints,
        "successions": [
            {"before": before, "endpoint": own["endpoint"], "count": 30 * times, "share": 0.25, "think_s": think_s}
            for own in endpoints
            for before, think_s in (("(start)", None), (endpoints[0]["endpoint"], 0.25))
        ],
        "variants": [
            {"endpoint": endpoints[0]["endpoint"], "variant": "?limit", "count": 60 * times, "clients": 3},
            {"endpoint": endpoints[1]["endpoint"], "variant": "", "count": 60 * times, "clients": 3},
        ],
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
            "step_s": 20.0 * times,
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
        "agents": [], "successions": [], "variants": [], "parameters": [],
        "visits": empty | {"duration_s": {}, "think_s": {}, "side_by_side_share": 0.0},
        "arrivals": {
            "mean_per_s": 0.0, "highest_per_s": 0, "dispersion": {}, "peaks": [], "series": [], "step_s": 0.0,
        },
    }  # fmt: skip


def comparison(text: str = "", other: dict[str, Any] | None = None) -> dict[str, Any]:
    coverage = {"endpoint": 1.0, "variant": 0.9, "predecessor": 0.5, "concurrency": 0.13}
    spot = {"production": 1.0, "other": 0.0, "unit": "share", "what": text}
    kinds = [("order", 0.3), ("rate", 0.9), ("order", 0.2), *[("order", 0.01)] * 5]
    path = f"/v1/{text}"
    return {
        "coverage": coverage,
        "covered": 0.13,
        "endpoints": [
            {
                "endpoint": f"GET {path}/{{event_id}}",
                "share": 0.75,
                "other_share": 0.75,
                "coverage": coverage,
                "covered": 0.13,
                "lost_at": "predecessor",
            },
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
    assert charts(page) == ["rate", "lengths", "lasting", "think", "keys-0"]
    assert page.locator("#coverage, #spots, #correlations").count() == 0
    assert page.locator("#endpoints tbody tr").count() == 2
    assert "GET /v1/events/{event_id}/seats" in page.inner_text("#endpoints")
    assert "4 times the usual each minute at second 0" in page.inner_text("#arrivals")
    assert "83.0%" in page.inner_text("#clients")
    assert "app/v1/events" in page.inner_text("#clients")
    assert "a few clients send most" in page.inner_text("#clients")
    order = page.locator("#order tbody tr").all_inner_texts()
    assert [text.split("\t")[0] for text in order] == ["(start)", "GET /v1/events/{event_id}"] * 2
    assert [text.split("\t")[-1].strip() for text in order] == ["\N{EN DASH}", "250 ms"] * 2
    assert page.locator("#variants tbody tr").count() == 1
    assert page.locator("#concurrency .stack").first.locator("i").evaluate_all("all => all.map(one => one.title)") == [
        "alone: 50.0%", "2\N{EN DASH}3 at once: 50.0%",
    ]  # fmt: skip


def test_two_side_by_side(open_page: Callable[..., Page], tmp_path: Path) -> None:
    write_comparison(comparison(), tmp_path / "two.html")
    page = open_page(tmp_path / "two.html")
    assert page.inner_text(".title p") == "qa has seen the like of 13.0% of what production does."
    assert page.locator("#coverage .figure").all_inner_texts() == ["100%", "90.0%", "50.0%", "13.0%"]
    assert "another order" in page.locator("#endpoints tbody tr").first.inner_text()
    kinds = [text for text in page.locator("#spots .name").all_inner_texts() if text]
    assert kinds == ["rate", "order"]
    assert page.locator("#spots summary").all_inner_texts() == [
        "3 more of this kind",
        "1 more thing is too rare for qa to tell, or it is too short",
    ]
    assert "7 that concern less are left out" in page.inner_text("#spots")
    assert page.locator("#endpoints tbody tr").first.locator(".bars div").count() == 2
    assert charts(page) == ["rate", "lengths", "lasting", "think", "keys-0"]
    assert page.locator("#concurrency .side").first.inner_text().strip() == "production"


def test_correlations_are_those_of_the_document(open_page: Callable[..., Page], tmp_path: Path) -> None:
    link = {"kind": "token", "from": "POST /oauth", "handed": "json:/t", "to": "GET /v1", "sent": "bearer", "count": 9}
    own = profile() | {"correlations": [link], "followed": 100}
    write_inspection({"name": "mine", "environment": "stage", "profile": own}, tmp_path / "one.html")
    shown = open_page(tmp_path / "one.html").inner_text("#correlations")
    assert "found in the first 100 exchanges" in shown
    assert "POST /oauth\tjson:/t\tGET /v1\tbearer\ttoken\t9" in shown


def test_what_is_not_known_is_no_number(open_page: Callable[..., Page], tmp_path: Path) -> None:
    made = comparison()
    made["coverage"]["concurrency"], made["covered"] = None, 0.5
    own = made["production"]["profile"]
    own["notes"], own["visits"]["side_by_side_share"] = ["the capture has no durations"], None
    for row in own["endpoints"]:
        row |= {"running": {}, "most_running": None, "same_key_share": None}
        row["duration_s"] = dict.fromkeys(row["duration_s"])
    write_comparison(made, tmp_path / "two.html")
    page = open_page(tmp_path / "two.html")
    assert page.inner_text(".notice") == "production: the capture has no durations."
    assert page.locator("#coverage .figure").all_inner_texts() == ["100%", "90.0%", "50.0%", "\N{EN DASH}"]
    cells = page.locator("#endpoints tbody tr").first.locator(".one").all_inner_texts()
    assert cells[2:6] == ["\N{EN DASH}", "20 ms", "\N{EN DASH}", "300 ms"]
    assert "not known" in page.locator("#concurrency .crowd").first.inner_text()
    assert "side by side" not in page.locator("#visits ul li").first.inner_text()


def test_a_minute_beside_an_hour_has_an_axis_of_its_own(open_page: Callable[..., Page], tmp_path: Path) -> None:
    made = comparison()
    made["production"]["profile"]["duration_s"] = 3600.0
    write_comparison(made, tmp_path / "two.html")
    assert charts(open_page(tmp_path / "two.html"))[:2] == ["rate-0", "rate-1"]


@pytest.mark.parametrize("share", [0, 1e-9, 0.0004, 0.001, 0.0999, 0.5, 0.998, 0.9991, 1])
def test_bars_say_what_the_sentences_say(share: float) -> None:
    assert formats.percent(share) == percent(share)


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
    for selector in (
        "h1",
        "#facts",
        "#spots",
        "#endpoints",
        "#clients",
        "#order",
        "#variants",
        "#keys",
        "#concurrency",
    ):
        assert "<script>window.hacked=1</script>" in page.inner_text(selector), selector
        assert page.locator(selector).count() == 1


@pytest.mark.parametrize("width", [360, 400, 768, 900])
def test_nothing_is_cut_off_on_a_small_screen(open_page: Callable[..., Page], tmp_path: Path, width: int) -> None:
    write_comparison(comparison("a-path-with-long-words/" * 4), tmp_path / "two.html")
    page = open_page(tmp_path / "two.html", width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    over = """found => found.filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest("svg"))
              .map(one => one.tagName + " " + one.textContent)"""
    assert page.eval_on_selector_all("body *", over) == []


def test_on_a_phone_each_figure_stands_behind_its_label(open_page: Callable[..., Page], tmp_path: Path) -> None:
    write_comparison(comparison(), tmp_path / "two.html")
    page = open_page(tmp_path / "two.html", 400)
    cell = page.locator("#endpoints td[data-label='Median time']").first
    assert cell.evaluate("one => getComputedStyle(one, '::before').content") == '"Median time"'
    assert cell.evaluate("one => getComputedStyle(one).display") == "block"


def test_the_same_document_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_comparison(comparison(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be written"):
        write_comparison(comparison(), tmp_path / "none" / "two.html")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, formats.MISSING),
        (float("nan"), formats.MISSING),
        (0, "0 ms"),
        (0.0097, "9.7 ms"),
        (0.01, "10 ms"),
        (0.0999, "100 ms"),
        (6.75, "6,750 ms"),
    ],
)
def test_a_column_of_times_has_one_unit(value: float | None, text: str) -> None:
    assert formats.milliseconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(1800, "30 min"), (125, "2 min 05 s"), (120.2, "2 min")])
def test_a_whole_minute_has_no_seconds(value: float, text: str) -> None:
    assert formats.seconds(value) == text
