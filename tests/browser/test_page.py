"""The page in a real browser: what it shows, how it is used, and what happens when the server goes away."""

from __future__ import annotations

import re
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import QUIET
from tests.database import rows, scalar
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize

    from tests.browser.conftest import Market, Server

PATHS = ("/", "/pair/simulated/BTC-USD", "/risk", "/alerts", "/pipeline")
FORMATTED = [
    ("decimal", "-1234567.123456789012345678", "−1,234,567.123456789012345678"),
    ("decimal", "12345678901234567890", "12,345,678,901,234,567,890"),
    ("decimal", None, "–"),
    ("money", "2.675", "2.68"),  # the float is less
    ("money", "-99999999999999999999.995", "−100,000,000,000,000,000,000.00"),
    ("money", "-0.004", "0.00"),
    ("percent", 0.01234, "1.23 %"),
    ("age", 90061, "1 d 1 h"),
    ("visible", "a\x1b\u202eb", r"a\x1b\u202eb"),
]
"""A format of the page, a value, and its text."""
CUT_TEXTS = """
[...document.querySelectorAll("h1, h2, dt, dd, button, a, p, label")]
    .filter((element) => element.checkVisibility() && getComputedStyle(element).overflowX === "hidden")
    .filter((element) => element.scrollWidth > element.clientWidth && !element.matches(".visually-hidden"))
    .map((element) => element.textContent)
"""
"""JavaScript: the texts that do not fit into their places and are cut."""
NOTICED_S, HEALED_S = 3.0, 3.0
"""How soon a lost connection must be visible, and how soon it must heal after the server's return."""


def row(page: Page, name: str) -> Locator:
    """Return the row of a table by its header."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


def names(page: Page) -> list[str]:
    """Return the pairs of the table from top to bottom."""
    return page.locator("tbody th a").all_inner_texts()


def test_first_paint_shows_every_pair_with_exact_digits(
    open_page: Callable[[str], Page], market: Market
) -> None:
    page = open_page("/")
    expect(page.locator("tbody tr")).to_have_count(4)
    cells = row(page, QUIET).get_by_role("cell")
    [(bid, ask, high, low)] = rows(
        market.settings,
        "SELECT last_bid::text, last_ask::text, highest_bid::text, lowest_ask::text "
        "FROM session_extremes WHERE pair = %s ORDER BY last_at DESC LIMIT 1",
        QUIET,
    )
    shown = [cells.nth(index).locator(".decimal").inner_text() for index in (0, 1, 4, 5)]
    assert [text.replace("\n", "") for text in shown] == [bid, ask, high, low]
    expect(row(page, QUIET)).to_contain_text("SIMULATED")


def test_texts_are_exact_and_harmless(open_page: Callable[[str], Page]) -> None:
    page = open_page("/")
    for name, value, shown in FORMATTED:
        call = "([name, value]) => import('/static/format.js').then((format) => format[name](value))"
        assert page.evaluate(call, [name, value]) == shown


def test_live_quotes_arrive_and_ages_count_up(open_page: Callable[[str], Page]) -> None:
    page = open_page("/")
    bid = row(page, "BTC-USD").get_by_role("cell").nth(0)
    before = bid.inner_text()
    expect(bid).not_to_have_text(before, timeout=10_000)
    age = row(page, QUIET).get_by_role("cell").nth(9)
    older = age.inner_text()
    expect(age).not_to_have_text(older, timeout=70_000)


def test_table_is_sorted_and_filtered_by_keyboard(open_page: Callable[[str], Page]) -> None:
    page = open_page("/")
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_label("Filter").focus()
    page.keyboard.type("eth")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    expect(page.locator("tbody tr")).to_have_count(4)
    page.keyboard.press("Tab")  # the table's own frame
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pair")).to_be_focused()
    assert names(page) == sorted(names(page))
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Pair")).to_have_attribute("aria-sort", "descending")
    assert names(page) == sorted(names(page), reverse=True)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Bid", exact=True)).to_have_attribute(
        "aria-sort", "ascending"
    )
    assert names(page)[0] == QUIET  # the cheapest


def test_chart_tells_exact_values_to_the_keyboard(open_page: Callable[[str], Page], market: Market) -> None:
    page = open_page("/")
    row(page, "BTC-USD").get_by_role("link").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("BTC-USD")
    expect(page.locator("main").get_by_text("SIMULATED", exact=True).first).to_be_visible()
    chart = page.get_by_role("application")
    expect(chart.locator("canvas").first).to_be_attached()
    chart.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    bid = page.locator(".readout span", has_text=re.compile("^bid")).locator("b").inner_text()
    assert scalar(
        market.settings,
        "SELECT count(*) FROM crypto_metrics WHERE pair = 'BTC-USD' AND bid = %s::numeric",
        bid.replace(",", ""),
    )
    page.get_by_role("button", name="Candles").click()
    page.get_by_role("button", name="5m", exact=True).click()
    chart.press("ArrowLeft")
    expect(page.locator(".readout")).to_contain_text("open")


def test_chart_keeps_its_range_when_the_theme_changes(open_page: Callable[[str], Page]) -> None:
    page = open_page("/pair/simulated/BTC-USD")
    chart, readout = page.get_by_role("application"), page.locator(".readout")
    expect(chart.locator("canvas").first).to_be_attached()
    for _ in range(2):
        page.get_by_role("button", name=re.compile("^Theme")).click()
    chart.press("ArrowLeft")
    expect(readout).to_contain_text("mid price")
    expect(chart.locator(".bk-Figure")).to_have_count(3)


def test_risk_shows_the_portfolio_and_the_correlations(
    open_page: Callable[[str], Page], market: Market
) -> None:
    wait_until(
        lambda: scalar(market.settings, "SELECT count(*) FROM portfolio_risk"), "a minute of the portfolio"
    )
    page = open_page("/risk")
    chart = page.get_by_role("application")
    expect(chart.locator("canvas").first).to_be_attached()
    chart.press("ArrowLeft")
    expect(page.locator(".readout")).to_contain_text("profit and loss")
    expect(row(page, "gross")).to_contain_text("breached")
    expect(row(page, "all fall")).to_be_visible()
    matrix = page.get_by_role("region", name="Correlation matrix")
    expect(matrix.get_by_role("rowheader", name="BTC-USD")).to_be_visible()


def test_dialogs_open_and_close_by_keyboard(open_page: Callable[[str], Page]) -> None:
    page = open_page("/alerts")
    button = page.get_by_role("button", name=f"Silence always of {QUIET}")
    button.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_label("Your name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()


def test_alert_is_acknowledged_and_silenced(open_page: Callable[[str], Page]) -> None:
    page = open_page("/alerts")
    fill_in(page, f"Acknowledge always of {QUIET}", {"Your name": "Ana", "Why": "a <b>test</b>"})
    expect(row(page, "always")).to_contain_text("a <b>test</b>")
    fill_in(page, f"Silence always of {QUIET}", {"Why": "it is noisy"})  # the name is known by now
    silences = page.get_by_role("region", name="Silences")
    expect(silences.get_by_role("row").last).to_contain_text("it is noisy")
    fill_in(page, "End the silence of always", {})
    expect(page.get_by_text("Nothing is silenced.")).to_be_visible()


def fill_in(page: Page, button: str, texts: dict[str, str]) -> None:
    """Open a dialog, fill it in and send it."""
    page.get_by_role("button", name=button).click()
    for label, text in texts.items():
        page.get_by_label(label).fill(text)
    page.get_by_label("Your name").press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_rejected_messages_are_shown_as_text(open_page: Callable[[str], Page]) -> None:
    page = open_page("/pipeline")
    raw = page.locator("pre").filter(has_text=re.compile("^<img src=x onerror="))
    expect(raw).to_contain_text(r"\x1b[31m\u202eevil")
    assert page.locator("main img").count() == 0
    assert page.title() == "Pipeline · cryptometrics"


def test_reconnects_after_the_server_was_killed(context: BrowserContext, server: Server) -> None:
    page = context.new_page()  # not the watched one: the browser itself reports the refused connections
    page.goto("/")
    page.locator("#connection[data-state=live]").wait_for()
    server.kill()
    page.locator("#banner.shown").wait_for(timeout=1000 * NOTICED_S)
    expect(page.locator("#banner")).to_contain_text("connection to the server is lost")
    server.start()
    returned = time.monotonic()
    page.locator("#connection[data-state=live]").wait_for()
    assert time.monotonic() - returned < HEALED_S
    expect(page.locator("#banner")).to_contain_text("starts anew")
    bid = row(page, "BTC-USD").get_by_role("cell").nth(0)
    expect(bid).not_to_have_text(bid.inner_text(), timeout=10_000)


@pytest.mark.parametrize("path", PATHS)
def test_page_is_as_wide_as_the_window(open_page: Callable[[str], Page], path: str) -> None:
    page = open_page(path)
    expect(page.locator("main table:visible").first).to_be_visible()
    for width in (360, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_first_column_stays_while_a_table_scrolls(open_page: Callable[[str], Page]) -> None:
    page = open_page("/")
    page.set_viewport_size({"width": 360, "height": 740})
    head = row(page, QUIET).get_by_role("rowheader")
    before = head.bounding_box()
    page.get_by_role("region", name="Pairs").evaluate("frame => frame.scrollBy(300, 0)")
    assert page.get_by_role("region", name="Pairs").evaluate("frame => frame.scrollLeft") == 300
    assert head.bounding_box() == before


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_lost_at_200_per_cent(browser: Browser, server: Server, path: str) -> None:
    zoomed: ViewportSize = {"width": 640, "height": 430}  # a window of 1280 by 860
    with closing(
        browser.new_context(base_url=server.address, viewport=zoomed, device_scale_factor=2)
    ) as context:
        page = context.new_page()
        page.goto(path)
        expect(page.locator("main table:visible").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 640
        assert page.evaluate(CUT_TEXTS) == []
        for link in page.get_by_role("navigation").get_by_role("link").all():
            expect(link).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing(open_page: Callable[[str], Page], path: str) -> None:
    page = open_page(path)
    expect(page.locator("main table:visible").first).to_be_visible()
    for theme in ("light", "dark"):
        while page.locator("html").get_attribute("data-theme") != theme:
            page.get_by_role("button", name=re.compile("^Theme")).click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
