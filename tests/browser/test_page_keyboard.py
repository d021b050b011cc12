"""The whole tour with the keyboard alone: each page, and what people do there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import QUIET
from tests.browser.test_page import row

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

MAX_STEPS = 80
"""Presses of Tab from one end of a page to the other."""


def test_tour(open_page: Callable[[str], Page]) -> None:
    page = open_page("/")
    keyboard = page.keyboard
    keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()

    walk_to(page, page.get_by_label("Filter"))
    keyboard.type("btc")
    expect(page.locator("tbody tr")).to_have_count(1)
    walk_to(page, page.get_by_role("button", name="Bid", exact=True))
    keyboard.press("Enter")
    walk_to(page, page.get_by_role("link", name="BTC-USD"))
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("BTC-USD")

    shorter = page.get_by_role("group", name="Range").get_by_role("button", name="15m")
    walk_to(page, shorter)
    keyboard.press("Space")
    expect(shorter).to_have_attribute("aria-pressed", "true")
    chart = page.get_by_role("application")
    expect(chart.locator("canvas").first).to_be_attached()
    walk_to(page, chart)
    keyboard.press("ArrowLeft")
    expect(page.locator(".readout")).to_contain_text("mid price")
    keyboard.press("Escape")
    expect(page.locator(".readout")).to_contain_text("Point at the chart")

    go_to(page, "Risk")
    walk_to(page, page.get_by_role("application"))
    walk_to(page, page.get_by_role("region", name="Correlation matrix"))

    go_to(page, "Alerts")
    walk_to(page, page.get_by_role("button", name=f"Acknowledge again of {QUIET}"))
    keyboard.press("Enter")
    expect(page.get_by_label("Your name")).to_be_focused()
    keyboard.type("Ana")
    keyboard.press("Tab")
    keyboard.type("I am on it")
    keyboard.press("Tab")
    expect(page.get_by_role("dialog").get_by_role("button", name="Acknowledge")).to_be_focused()
    keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row(page, "again")).to_contain_text("I am on it")

    go_to(page, "Pipeline")
    walk_to(page, page.get_by_role("group", name="Raw text").first)


def walk_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press Tab until an element has the focus."""
    target.wait_for()
    for _ in range(MAX_STEPS):
        page.keyboard.press(key)
        if target.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"{MAX_STEPS} times {key} do not lead to {target}")


def go_to(page: Page, name: str) -> None:
    """Walk back to the navigation, and open a page."""
    walk_to(page, page.get_by_role("navigation").get_by_role("link", name=name), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page).to_have_title(re.compile(f"^{name} "))
