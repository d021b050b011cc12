"""Limits of portfolios as alerts: what opens them, and what ends them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.database import rows
from tests.integration.test_portfolio_follow import valued
from tests.integration.test_risk_follow import START, follow, history, stop
from tests.waiting import wait_until

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

MINUTE = timedelta(minutes=1)
BOOK = """
portfolio = "book"
currency = "USD"
group = "g1"
venue = "simulated"
[[position]]
asset = "BTC"
quantity = "{btc}"
[limits]
{limits}
[limits.of.BTC]
gross = "100"
"""
FIRING = "SELECT rule FROM alerts WHERE resolved_at IS NULL ORDER BY rule"
ALERTS = "SELECT rule, severity, fired_at, resolved_at, resolved_message FROM alerts ORDER BY id"


def load(cli: Cli, minute: int, *more: str, btc: str = "0.5", limits: str = "") -> None:
    """Load a version of the book that holds from a minute of the history on."""
    (cli.cwd / "book.toml").write_text(BOOK.format(btc=btc, limits=limits))
    cli("positions", "load", "book.toml", "--effective-at", (START + minute * MINUTE).isoformat(), *more)


def test_a_removed_limit_ends_its_alert_and_a_removed_portfolio_ends_all(
    cli: Cli, settings: Settings
) -> None:
    history(cli, 1)
    load(cli, 10, limits='gross = "200"')
    load(cli, 40)
    follower = follow(cli)
    wait_until(lambda: valued(settings), "the portfolio is valued", running=follower)
    first, changed = START + 10 * MINUTE, START + 40 * MINUTE
    assert rows(settings, ALERTS) == [
        ("limit.gross", "critical", first, changed, "book limit.gross: the limit was removed"),
        ("limit.of.BTC.gross", "critical", first, None, None),
    ]
    [alert, _] = json.loads(cli("alerts", "list", "--json").stdout)
    assert (alert["status"], alert["kind"], alert["venue"], alert["pair"]) == (
        *("firing", "limit"),
        *("simulated", "book"),
    )
    assert alert["message"].startswith("book BTC gross ")
    # No minute becomes complete any more: the feed is silent.
    cli("positions", "remove", "book")
    wait_until(lambda: rows(settings, FIRING) == [], "its alert ends", running=follower)
    stop(follower)
    assert "the portfolio was removed" in rows(settings, ALERTS)[1][4]
