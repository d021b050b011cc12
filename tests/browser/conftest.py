"""A market in real services, the server of the page, and a headless Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
from playwright.sync_api import expect, sync_playwright
from psycopg import sql

from cryptometrics.kafka import client
from cryptometrics.store.migrate import migrate
from tests.conftest import Cli, clean_environment, environment_of, free_port, settings_for
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services

expect.set_options(timeout=1000 * LIMIT_S)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LIVE, QUIET = "BTC-USD,ETH-USD,SOL-USD", "ADA-USD"
"""Pairs that get new quotes during the tests, and one that does not: its numbers stay as they are."""
HOURS = 2
"""Of history: charts and risk figures need some."""
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\x1b[31m\u202eevil" + "A" * 10_000
ALERTS = f"""
[[rule]]
name = "always"
kind = "spread_bps"
pairs = ["{QUIET}"]
level = 0
severity = "critical"
[[rule]]
name = "again"
kind = "spread_bps"
pairs = ["{QUIET}"]
level = 0
severity = "warning"
"""
PORTFOLIO = """
portfolio = "treasury"
currency = "USD"
[risk]
horizon = "1m"
range = "1h"
[cash]
USD = "250000.07"
[limits]
gross = "500000"
value_at_risk_pct = 99
[[position]]
asset = "BTC"
quantity = "12.5"
cost = "51250.00"
[[position]]
asset = "ETH"
quantity = "-140"
[[stress]]
name = "all fall"
shocks = { "*" = -0.4 }
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test time for the market, which the first one waits for."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(300))


class Market(NamedTuple):
    """A database and a topic with a market in it."""

    settings: Settings
    cli: Cli


class Server:
    """`cryptometrics web` on a port of its own, which can be killed and started again."""

    def __init__(self, cli: Cli) -> None:
        self._cli = cli
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.process = self._cli.start("web", "--port", str(self._port), "--group", "g1")
        wait_until(self._answers, "the server answers", running=self.process)

    def kill(self) -> None:
        """End the server at once."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/api/pairs", timeout=5) as answer:
                return bool(json.load(answer)["pairs"])
        except OSError:
            return False


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Return the distribution's Chromium, without a window.

    Playwright runs an event loop in this thread, so it ends with these tests: others run loops of their own.
    """
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("needs a Chromium to drive: install the distribution's package chromium")
    # Chromium's sandbox does not run as root, as tests in a container do.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=path, args=arguments)) as browser,
    ):
        yield browser


@pytest.fixture(scope="package")
def market(
    browser: Browser, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Market]:
    """Return a market with history, live quotes, a portfolio, an alert and rejected messages."""
    name = f"browser_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    settings = settings_for(services, name, name)
    with psycopg.connect(settings.postgres()) as connection:
        migrate(connection)
    cli = Cli(tmp_path_factory.mktemp("browser"), clean_environment() | environment_of(settings))
    (cli.cwd / "alerts.toml").write_text(ALERTS)
    (cli.cwd / "positions.toml").write_text(PORTFOLIO)
    cli("init-db", "--partitions", "2")
    count = ("--count", str(HOURS * 3600 * 2))
    cli("simulate", "--pair", f"{LIVE},{QUIET}", "--seed", "20", "--rate", "0", "--step", "500ms", *count)
    producer = client.make_producer(settings)
    for text in (HOSTILE, json.dumps({"type": "ticker", "product_id": HOSTILE})):
        producer.produce(settings.kafka_topic, value=text.encode(), key=b"BTC-USD")
    assert producer.flush(20) == 0
    cli("process", "--group", "g1", "--until-caught-up")
    cli("positions", "load", "positions.toml")
    for command in (["process", "--group", "g1"], ["risk", "--follow", "--catch-up", "5m"]):
        _discarding(cli, *command)
    _discarding(cli, "simulate", "--pair", LIVE, "--rate", "40", "--seed", "21")
    yield Market(settings, cli)
    cli.end()
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _discarding(cli: Cli, *command: str) -> None:
    """Start a command whose output nobody reads: a pipe would fill and block it."""
    cli.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="package")
def server(market: Market) -> Server:
    """Return a running server of the page."""
    server = Server(market.cli)
    server.start()
    return server


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """Return a new profile of the browser, 1280 pixels wide."""
    with closing(
        browser.new_context(base_url=server.address, viewport={"width": 1280, "height": 860})
    ) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Iterator[Page]:
    """Return a page; its test fails if it reports an error or asks any other server."""
    page = context.new_page()
    complaints, addresses = watch(page)
    yield page
    assert complaints == []
    assert {address for address in addresses if not address.startswith((server.address, "data:"))} == set()


def watch(page: Page) -> tuple[list[str], list[str]]:
    """Return two lists that fill: what the page complains of, and the addresses that it asks."""
    complaints: list[str] = []
    addresses: list[str] = []
    page.on("console", lambda message: _note(complaints, message.type, message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: addresses.append(request.url))
    return complaints, addresses


def _note(complaints: list[str], kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        complaints.append(f"{kind}: {text}")


@pytest.fixture
def open_page(page: Page) -> Callable[[str], Page]:
    """Return a function that opens an address of the page and waits until the stream has arrived."""

    def run(path: str) -> Page:
        page.goto(path)
        page.locator("#connection[data-state=live]").wait_for()
        return page

    return run
