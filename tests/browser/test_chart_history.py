"""What the chart of a pair takes from the API beside prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.conftest import QUIET
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page


def test_alert_is_marked_where_it_fired(open_page: Callable[[str], Page]) -> None:
    page = open_page(f"/pair/simulated/{QUIET}")
    page.get_by_role("button", name="6h", exact=True).click()
    chart = page.get_by_role("application")
    expect(chart.locator("canvas").first).to_be_attached()
    readout = page.locator(".readout")

    def is_marked() -> bool:
        chart.press("Home")  # the alert fires at the first quote
        return "▼" in readout.inner_text()

    wait_until(is_marked, readout.inner_text)


def test_candles_are_as_long_as_a_long_range_needs(open_page: Callable[[str], Page]) -> None:
    page = open_page(f"/pair/simulated/{QUIET}")
    expect(page.get_by_role("application").locator("canvas").first).to_be_attached()
    with page.expect_response(
        lambda answer: "/api/candles" in answer.url and "range=7d" in answer.url
    ) as found:
        page.get_by_role("button", name="7d", exact=True).click()
    assert "interval=15m" in found.value.url
    lengths = page.get_by_role("group", name="Length of a candle")
    expect(lengths.get_by_role("button", name="15m", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(lengths.get_by_role("button", name="5m", exact=True)).to_be_disabled()
    page.get_by_role("button", name="1h", exact=True).first.click()  # the range: nothing is too short for it
    expect(lengths.get_by_role("button", name="1m", exact=True)).to_be_enabled()
