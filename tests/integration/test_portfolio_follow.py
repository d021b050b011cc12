"""`risk --follow` values portfolios: a row for each complete minute, whatever happens to the follower."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.database import rows, scalar
from tests.integration.test_risk_follow import (
    COMPLETE,
    START,
    follow,
    history,
    stop,
    up_to_date,
)
from tests.waiting import wait_until

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

MINUTE = timedelta(minutes=1)
BOOK = """
portfolio = "{name}"
currency = "USD"
group = "g1"
venue = "simulated"
[cash]
USD = "1000"
[[position]]
asset = "BTC"
quantity = "{btc}"
cost = "60000"
[[position]]
asset = "ETH"
quantity = "-3.25"
[limits]
gross = "500000"
drawdown_pct = 50
[limits.of.BTC]
gross = "100"
"""
PENDING = """
SELECT count(*) FROM portfolio_progress p JOIN risk_progress r USING (consumer_group, venue)
WHERE p.complete_until < r.complete_until OR p.again_from IS NOT NULL
"""
COUNTS = """
SELECT portfolio, version, count(*), count(DISTINCT as_of), min(as_of), max(as_of)
FROM portfolio_risk GROUP BY portfolio, version ORDER BY portfolio, version
"""


def load(cli: Cli, at: datetime, *more: str, name: str = "book", btc: str = "0.5", code: int = 0) -> str:
    """Load a version of a portfolio; return what was printed."""
    (cli.cwd / "book.toml").write_text(BOOK.format(name=name, btc=btc))
    done = cli("positions", "load", "book.toml", "--effective-at", at.isoformat(), *more, code=code)
    return done.stderr if code else done.stdout


def valued(settings: Settings) -> bool:
    """Return whether every row is there and none is stale."""
    begun = scalar(settings, "SELECT count(*) FROM portfolio_progress")
    return bool(begun and up_to_date(settings) and not scalar(settings, PENDING))


def catch_up(cli: Cli, settings: Settings) -> None:
    process = follow(cli)
    wait_until(lambda: valued(settings), "the portfolios are valued", running=process, limit=120)
    stop(process)


def test_each_complete_minute_has_its_row_from_the_first_version_on(cli: Cli, settings: Settings) -> None:
    history(cli, 3)
    load(cli, START + timedelta(minutes=10, seconds=20))
    load(cli, START + timedelta(minutes=60), btc="0.75")
    catch_up(cli, settings)
    complete = scalar(settings, COMPLETE)
    first, second = START + 11 * MINUTE, START + 60 * MINUTE
    count = (complete - second) // MINUTE + 1
    assert rows(settings, COUNTS) == [
        ("book", 1, 49, 49, first, second - MINUTE),
        ("book", 2, count, count, second, complete),
    ]
    row = rows(
        settings,
        "SELECT value, value_at_mid, profit_and_loss, gross, net, unmarked, positions, limits, value_at_risk "
        "FROM portfolio_risk WHERE as_of = %s",
        complete,
    )[0]
    btc, eth = row[6]
    assert (btc["asset"], btc["quantity"], btc["state"]) == ("BTC", "0.75", "marked")
    for position, pair in ((btc, "BTC-USD"), (eth, "ETH-USD")):
        newest = (
            "SELECT bid, ask, kafka_partition, kafka_offset FROM crypto_metrics "
            "WHERE pair = %s AND timestamp < %s ORDER BY timestamp DESC LIMIT 1"
        )
        bid, ask, partition, offset = rows(settings, newest, pair, complete)[0]
        assert (Decimal(position["bid"]), Decimal(position["ask"])) == (bid, ask)
        assert (position["kafka_partition"], position["kafka_offset"]) == (partition, offset)
    long_value = Decimal("0.75") * Decimal(btc["bid"])
    short_value = Decimal("-3.25") * Decimal(eth["ask"])
    assert row[0] == long_value + short_value + 1000
    assert row[2] == long_value - Decimal("0.75") * 60000
    assert row[5] == 0
    assert row[8] > 0
    assert [(each["limit"], each["state"]) for each in row[7]] == [
        ("limit.gross", "ok"),
        ("limit.drawdown_pct", "ok"),
        ("limit.of.BTC.gross", "breach"),
    ]
