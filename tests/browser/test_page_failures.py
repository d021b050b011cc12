"""The page in a real browser while its server or the database is away, and afterwards."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
from playwright.sync_api import expect
from psycopg import sql

from tests.browser.conftest import QUIET
from tests.browser.test_page import fill_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, Page

    from cryptometrics.local.services import Services
    from tests.browser.conftest import Market, Server

LIVE_AGAIN_MS = 30_000
"""How long the page may take on a busy machine to be live again."""


def test_change_is_sent_after_the_server_was_started_again(context: BrowserContext, server: Server) -> None:
    page = opened(context, "/alerts")
    server.kill()
    page.locator("#connection[data-state=lost]").wait_for()
    server.start()  # with another token than the page has
    page.locator("#connection[data-state=live]").wait_for(timeout=LIVE_AGAIN_MS)
    fill_in(page, f"Silence always of {QUIET}", {"Your name": "Ana", "Why": "after the restart"})
    silences = page.get_by_role("region", name="Silences")
    expect(silences.get_by_role("row").last).to_contain_text("after the restart")
    fill_in(page, "End the silence of always", {})
    expect(page.get_by_text("Nothing is silenced.")).to_be_visible()


def test_page_says_that_the_database_is_away_and_heals(
    context: BrowserContext, services: Services, market: Market
) -> None:
    page = opened(context, "/")
    with closed_database(services, market):
        page.locator("#connection[data-state=stale]").wait_for()
        expect(page.locator("#banner")).to_contain_text("cannot reach its database")
        expect(page.locator("tbody tr")).to_have_count(4)  # what was known stays
    page.locator("#connection[data-state=live]").wait_for(timeout=LIVE_AGAIN_MS)


def opened(context: BrowserContext, path: str) -> Page:
    """Return a page that is live; not a watched one, as the browser reports each refused request."""
    page = context.new_page()
    page.goto(path)
    page.locator("#connection[data-state=live]").wait_for()
    return page


@contextlib.contextmanager
def closed_database(services: Services, market: Market) -> Iterator[None]:
    """Let nobody into the market's database, and end the sessions that are open."""
    name = market.settings.kafka_topic  # as the fixture names both
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
