"""The pages of a report in a real browser, as its readers have it."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from support.chromium import CHROMIUM, MISSING

PAGES = ("index.html", "compare.html", "burstgpt-2/index.html", "mooncake-conversation/index.html")
RATE = "burstgpt-2/index.html"
SHIFTS = """
new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const each of list.getEntries()) sum += each.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 200);
})
"""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason=MISSING)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Reader:
    """A reader with a browser of their own, and what the pages complained about or asked others for."""

    def __init__(self, browser: Browser, report: Path, **options: Any) -> None:
        self.report = report
        self.context: BrowserContext = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith(("file://", "data:")):
            self.complaints.append(f"asks {url}")

    def open(self, name: str) -> Page:
        """Open a page and scroll through it, so that all is drawn."""
        self.page.goto(f"file://{self.report}/{name}")
        charts = self.page.locator(".chart:not(.empty) .live")
        for number in range(charts.count()):
            charts.nth(number).scroll_into_view_if_needed()
            charts.nth(number).locator("svg").wait_for()
        return self.page


@pytest.fixture
def reader(browser: Browser, report: Path) -> Iterator[Reader]:
    reader = Reader(browser, report)
    yield reader
    reader.context.close()
    assert reader.complaints == []


@pytest.mark.parametrize(("name", "scheme"), [*zip(PAGES, ("dark", "light", "light", "dark"), strict=True)])
def test_a_page_draws_all_its_charts_and_has_no_serious_fault(
    browser: Browser, report: Path, name: str, scheme: Any
) -> None:
    reader = Reader(browser, report, color_scheme=scheme)
    page = reader.open(name)
    assert page.locator(".chart.failed").count() == 0
    assert page.locator(".chart.drawn").count() == page.locator(".chart:not(.empty)").count()
    for chart in page.locator(".chart.drawn .live svg").all():
        assert chart.locator("path").count() > 3
    assert page.evaluate(SHIFTS) < 0.01
    assert reader.complaints == []
    page.evaluate("[...document.querySelectorAll('details')].slice(0, 2).forEach((each) => { each.open = true; })")
    faults = Axe().run(page, options={"preload": False}).response["violations"]
    assert [
        (each["id"], each["nodes"][0]["html"]) for each in faults if each["impact"] in ("serious", "critical")
    ] == []
    reader.context.close()


def ticks(page: Page) -> list[str]:
    return page.locator("#chart-rate .role-axis-label text").all_text_contents()


def test_a_reader_chooses_the_time_shown_with_the_keyboard(reader: Reader) -> None:
    page = reader.open(RATE)
    before = ticks(page)
    page.get_by_label("Time shown").first.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function(
        "(before) => document.querySelector('#chart-rate').textContent !== before", arg="".join(before)
    )
    assert ticks(page) != before


def test_the_wheel_zooms_with_shift_and_scrolls_without(reader: Reader) -> None:
    page = reader.open(RATE)
    chart = page.locator("#chart-rate svg")
    chart.scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, 0)")
    chart.hover()
    before = ticks(page)
    page.mouse.wheel(0, 100)
    page.wait_for_function("scrollY > 0")
    assert ticks(page) == before
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Shift")
    page.wait_for_timeout(300)
    assert ticks(page) != before


def test_a_click_on_the_legend_fades_the_other_series(reader: Reader) -> None:
    page = reader.open(RATE)
    lines = page.locator("#chart-lengths .mark-line path")
    before = [line.get_attribute("opacity") for line in lines.all()]
    page.locator("#chart-lengths .role-legend-label text").first.click(force=True)
    page.wait_for_timeout(300)
    assert [line.get_attribute("opacity") for line in lines.all()] != before


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_web_server_that_has_the_folder_lets_readers_download_the_files(browser: Browser, report: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=report)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/{RATE}")
        download_all(page, report)
        page.close()
        server.shutdown()


def download_all(page: Page, report: Path) -> None:
    for kind in ("CSV", "SVG", "PNG"):
        with page.expect_download() as download:
            page.get_by_label(f"Requests over time as {kind}").click()
        assert download.value.suggested_filename == f"burstgpt-2-rate.{kind.lower()}"
        assert (
            Path(download.value.path()).read_bytes()
            == (report / f"burstgpt-2/burstgpt-2-rate.{kind.lower()}").read_bytes()
        )


def test_the_citation_is_copied_with_a_click(browser: Browser, report: Path) -> None:
    reader = Reader(browser, report, permissions=["clipboard-read", "clipboard-write"])
    page = reader.open("azure-2023-code/index.html")
    page.get_by_role("button", name="Copy BibTeX").click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#bibtex").text_content()
    reader.context.close()


def test_the_overview_sorts_by_a_column_with_the_keyboard(reader: Reader) -> None:
    page = reader.open("index.html")
    column = page.get_by_role("columnheader", name="Requests", exact=True)
    found = []
    for order in ("descending", "ascending"):
        column.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert column.get_attribute("aria-sort") == order
        found.append(
            [int(cell.replace(",", "")) for cell in page.locator("tbody tr td:nth-child(3)").all_text_contents()]
        )
    assert found == [sorted(found[0], reverse=True), sorted(found[0])]


def test_the_address_of_a_comparison_names_its_workloads(reader: Reader) -> None:
    page = reader.open("compare.html")
    page.get_by_label("burstgpt/2").uncheck()
    assert page.url.endswith("#w=azure-2023%2Fcode&w=mooncake%2Fconversation")
    page.reload()
    assert not page.get_by_label("burstgpt/2").is_checked()
    assert page.locator("th[data-workload]:visible").all_text_contents() == ["azure-2023/code", "mooncake/conversation"]
    page.locator("#chart-dispersion svg").wait_for()
    page.get_by_label("mooncake/conversation").uncheck()
    page.get_by_label("azure-2023/code").uncheck()
    assert page.locator(".chart.empty").count() == page.locator(".chart").count()


def test_the_first_tab_leads_past_the_navigation(reader: Reader) -> None:
    page = reader.open(RATE)
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_a_page_without_scrolling_sideways(reader: Reader, name: str) -> None:
    reader.page.set_viewport_size({"width": 360, "height": 740})
    page = reader.open(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_javascript_the_charts_are_images(browser: Browser, report: Path) -> None:
    reader = Reader(browser, report, java_script_enabled=False)
    reader.page.goto(f"file://{report}/{RATE}")
    assert reader.page.locator("img.still").first.is_visible()
    assert reader.complaints == []
    reader.context.close()


def test_paper_gets_the_images(reader: Reader) -> None:
    page = reader.open(RATE)
    page.emulate_media(media="print")
    assert page.locator("img.still").first.is_visible()
    assert not page.locator(".live").first.is_visible()
    assert not page.locator(".bar").is_visible()
