"""Limits of portfolios as alerts: what opens them, and what alone ends them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.database import rows, scalar
from tests.integration.test_portfolio_follow import catch_up, valued
from tests.integration.test_risk_follow import PAIRS, START, follow, history, stop
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
RULES = '[[rule]]\nname = "wide"\nkind = "spread_bps"\nlevel = 100000\n'
FIRING = "SELECT rule FROM alerts WHERE resolved_at IS NULL ORDER BY rule"
ALERTS = "SELECT rule, severity, fired_at, resolved_at, resolved_message FROM alerts ORDER BY id"
ALL_ALERTS = "SELECT * FROM alerts ORDER BY id"


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


def test_only_new_rows_fire_and_only_the_follower_ends_an_alert(cli: Cli, settings: Settings) -> None:
    history(cli, 1)
    load(cli, 10)
    process = cli.start("risk", "--follow", "--group", "g1", "--no-alerts")
    wait_until(lambda: valued(settings), "the portfolio is valued", running=process)
    stop(process)
    assert scalar(settings, "SELECT count(*) FROM alerts") == 0  # nobody asked for them

    load(cli, 20, "--restate", btc="0.75")
    assert scalar(settings, "SELECT count(*) FROM alerts") == 0  # the minutes had their rows already

    when = ("--rate", "0", "--step", "5s", "--start", "2026-07-01T14:00")
    cli("simulate", *when, "--pair", ",".join(PAIRS), "--count", "720")
    cli("process", "--group", "g1", "--until-caught-up")
    catch_up(cli, settings)
    before = rows(settings, ALL_ALERTS)
    assert rows(settings, FIRING) == [("limit.of.BTC.gross",)]
    # Its rule is in no file, and commands that read one leave it alone.
    (cli.cwd / "alerts.toml").write_text(RULES)
    rows(
        settings,
        "INSERT INTO alerts (consumer_group, rule, kind, venue, pair, severity, level, message, started_at, "
        "fired_at) VALUES "
        "('g1', 'old-process', 'spread_bps', 'simulated', 'BTC-USD', 'info', 1, 'm', now(), now()), "
        "('g1', 'old-risk', 'drawdown_pct', 'simulated', 'BTC-USD', 'info', 1, 'm', now(), now())",
    )
    process = cli.start("process", "--group", "g1")
    left = [("limit.of.BTC.gross",), ("old-risk",)]
    wait_until(lambda: rows(settings, FIRING) == left, "process ends its own", running=process)
    follower = follow(cli)
    wait_until(lambda: rows(settings, FIRING) == left[:1], "the follower ends its own", running=follower)
    stop(follower)
    process.terminate()
    assert process.wait(60) == 0
    assert rows(settings, ALL_ALERTS)[: len(before)] == before
