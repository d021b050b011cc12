"""Versions of portfolios in the database, and what prices them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from cryptometrics.errors import UserError
from cryptometrics.market.venues import Market
from cryptometrics.risk.portfolio.definition import Portfolio, Position
from cryptometrics.risk.portfolio.positions_file import parse_toml
from cryptometrics.store import pin_portfolio, positions
from cryptometrics.store.portfolio_market import quotes_at
from cryptometrics.store.roles import READER, WRITER, create_roles

if TYPE_CHECKING:
    from cryptometrics.store.pin_portfolio import PinnedPortfolio

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FILE = 'portfolio = "p"\ncurrency = "USD"\n[[position]]\nasset = "BTC"\nquantity = "1"\n'


def held(quantity: int, name: str = "p") -> Portfolio:
    """Return a pinned portfolio of some bitcoins."""
    return Portfolio(
        name,
        "USD",
        (Position("BTC", Decimal(quantity)),),
        group="g1",
        venue="coinbase",
        pairs={"BTC": "BTC-USD"},
    )


_PAIR = """
INSERT INTO pair_state (consumer_group, venue, pair, bid, ask, timestamp)
VALUES (%(group)s, %(venue)s, %(pair)s, 1, 2, %(at)s)
"""
_SESSION = """
INSERT INTO session_extremes (consumer_group, venue, pair, session, ticks, late, last_bid, last_ask,
    highest_bid, highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at, first_at, last_at)
VALUES (%(group)s, %(venue)s, %(pair)s, 's', 1, 0, 1, 2, 1, %(at)s, 2, %(at)s, 1, %(at)s, %(at)s, %(at)s)
"""


def store_quotes(connection: psycopg.Connection, group: str, *markets: str) -> None:
    """Store one quote of each market, written as `venue PAIR`."""
    for market in map(Market.parse, markets):
        for statement in (_PAIR, _SESSION):
            connection.execute(
                statement, {"group": group, "venue": market.venue, "pair": market.pair, "at": NOON}
            )


def quantity_at(connection: psycopg.Connection, at: datetime) -> list[Decimal]:
    return [
        position.quantity
        for version in positions.in_force(connection, at, "p")
        for position in version.portfolio.positions
    ]


def test_the_version_in_force_is_the_latest_effective_one(connection: psycopg.Connection) -> None:
    assert positions.load(connection, held(1), NOON) == (1, True)
    assert positions.load(connection, held(2), NOON + 2 * HOUR) == (2, True)
    assert positions.load(connection, held(3), NOON + HOUR) == (3, True)
    assert positions.load(connection, held(4), NOON + HOUR) == (4, True)
    found = [quantity_at(connection, NOON + hours * HOUR) for hours in (-1, 0, 1, 2, 3)]
    assert found == [[], [1], [4], [2], [2]]
    assert [each.version for each in positions.history(connection, "p")] == [4, 3, 2, 1]


def test_the_same_portfolio_again_changes_nothing(connection: psycopg.Connection) -> None:
    positions.load(connection, held(1), NOON)
    same = replace(held(1), positions=(Position("BTC", Decimal("1.00")),))
    assert positions.load(connection, same, NOON + HOUR) == (1, False)
    assert positions.load(connection, held(1), NOON - HOUR) == (2, True)
    assert len(positions.history(connection)) == 2


def test_a_removed_portfolio_keeps_its_past(connection: psycopg.Connection) -> None:
    positions.load(connection, held(1), NOON)
    positions.load(connection, held(5, "q"), NOON)
    assert positions.remove(connection, "p", NOON + HOUR) == 2
    assert quantity_at(connection, NOON) == [1]
    assert quantity_at(connection, NOON + HOUR) == []
    assert [each.name for each in positions.in_force(connection, NOON + HOUR)] == ["q"]
    assert [each.document is None for each in positions.history(connection, "p")] == [True, False]
    with pytest.raises(UserError, match=r"^there is no portfolio p at 2026-07-01 13:00 UTC; there is q$"):
        positions.remove(connection, "p", NOON + HOUR)
    assert positions.load(connection, held(1), NOON + 2 * HOUR) == (3, True)


def test_an_unknown_name_lists_those_that_exist(connection: psycopg.Connection) -> None:
    with pytest.raises(
        UserError, match=r"there is no portfolio at .*: load one with `cryptometrics positions load"
    ):
        positions.named_in_force(connection, NOON, None)
    positions.load(connection, held(1), NOON)
    with pytest.raises(UserError, match=r"^there never was a portfolio x; there is p$"):
        positions.history(connection, "x")


def test_the_writer_adds_versions_and_changes_none(connection: psycopg.Connection) -> None:
    create_roles(connection)
    positions.load(connection, held(1), NOON)
    for role, statement in (
        (WRITER, "UPDATE portfolio_versions SET definition = NULL"),
        (WRITER, "DELETE FROM portfolio_versions"),
        (READER, "INSERT INTO portfolio_versions SELECT * FROM portfolio_versions"),
    ):
        connection.execute(f"SET ROLE {role}")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement)
        connection.execute("RESET ROLE")
    with connection.transaction():
        connection.execute(f"SET LOCAL ROLE {WRITER}")
        assert positions.load(connection, held(2), NOON) == (2, True)


def pinned(connection: psycopg.Connection, text: str = FILE) -> PinnedPortfolio:
    file = parse_toml(text)
    present = next(iter(positions.in_force(connection, NOON, file.portfolio.name)), None)
    return pin_portfolio.pin(connection, file, present)


def test_the_group_is_chosen_once_and_then_pinned(connection: psycopg.Connection) -> None:
    store_quotes(connection, "g1", "coinbase BTC-USD")
    first = pinned(connection)
    assert (first.portfolio.group, first.portfolio.venue) == ("g1", "coinbase")
    assert first.portfolio.pairs == {"BTC": "BTC-USD"}
    assert first.note == ""
    positions.load(connection, first.portfolio, NOON)
    store_quotes(connection, "g1", "simulated BTC-USD")
    connection.execute("UPDATE session_extremes SET last_at = last_at - interval '1 hour'")
    store_quotes(connection, "g2", "coinbase BTC-USD")
    again = pinned(connection)
    assert (again.portfolio, again.note) == (first.portfolio, "")
    other = pinned(connection, FILE.replace('"p"', '"other"'))
    assert other.portfolio.group == "g2"
    assert "reading group g2, the one with the newest row" in other.note


def test_of_several_venues_one_must_be_named(connection: psycopg.Connection) -> None:
    store_quotes(connection, "g1", "coinbase BTC-USD", "simulated BTC-USD")
    [problem] = pinned(connection).problems
    assert str(problem) == (
        "line 1: venue: is missing: group g1 has the venues coinbase, simulated, and their prices differ: "
        "name one"
    )
    assert pinned(connection, 'venue = "simulated"\n' + FILE).portfolio.venue == "simulated"
    [problem] = pinned(connection, 'venue = "kraken"\n' + FILE).problems
    assert str(problem).startswith(
        "line 1: venue: kraken has stored nothing in group g1; there are coinbase, simulated"
    )
    [problem] = pinned(connection, 'group = "x"\n' + FILE).problems
    assert str(problem) == "line 1: group: group x has stored nothing; there is g1"


def test_an_asset_without_a_pair_names_the_closest(connection: psycopg.Connection) -> None:
    store_quotes(connection, "g1", "coinbase BTC-USD", "coinbase ETH-USD", "coinbase ETH-EUR")
    text = FILE + '[[position]]\nasset = "ETC"\nquantity = 1\n[cash]\nEUR = 5\n'
    etc, euro = map(str, pinned(connection, text).problems)
    assert etc.startswith("line 7: position.2.asset: coinbase has no pair ETC-USD: did you mean ETH, BTC?")
    assert euro == "line 10: cash.EUR: coinbase has no pair EUR-USD: it prices BTC, ETH"


def store_quote(connection: psycopg.Connection, pair: str, at: datetime, bid: int, offset: int) -> None:
    """Store a quote, and the minute that it is in."""
    values = {"pair": pair, "at": at, "bid": bid, "offset": offset}
    connection.execute("SELECT crypto_metrics_add_day(%(at)s::date)", values)
    connection.execute(_QUOTE, values)
    connection.execute(_MINUTE, values)


_QUOTE = """
INSERT INTO crypto_metrics (pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread, timestamp,
    consumer_group, venue, session, kind, kafka_partition, kafka_offset)
VALUES (%(pair)s, %(bid)s, %(bid)s + 1, %(bid)s, 1, 1, 1, 1, %(at)s, 'g1', 'coinbase', 's', 'quote', 0,
    %(offset)s)
"""
_GAP = """
INSERT INTO feed_gaps (consumer_group, topic, venue, pair, kind, begins_at, ends_at, kafka_partition,
    kafka_offset)
VALUES ('g1', 't', 'coinbase', 'BTC-USD', 'down', %(at)s, %(at)s + interval '5 seconds', 0, 9)
"""
_MINUTE = """
INSERT INTO crypto_windows (consumer_group, name, venue, pair, window_start, window_end, ticks, open, high,
    low, close, highest_bid, lowest_ask, spread_sum, max_spread, spread_bps_sum, late, open_at,
    open_partition, open_offset, close_at, close_partition, close_offset, complete)
SELECT 'g1', '1m', 'coinbase', %(pair)s, date_bin('1 minute', %(at)s, 'epoch'),
    date_bin('1 minute', %(at)s, 'epoch') + interval '1 minute', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0,
    %(at)s, 0, 0, %(at)s, 0, 0, true
ON CONFLICT DO NOTHING
"""


def test_the_newest_quote_at_a_moment_marks_a_pair(connection: psycopg.Connection) -> None:
    seconds = timedelta(seconds=1)
    for offset, (pair, at, bid) in enumerate(
        [
            ("BTC-USD", NOON - 70 * seconds, 1),
            ("BTC-USD", NOON + 10 * seconds, 2),
            ("BTC-USD", NOON + 10 * seconds, 3),
            ("BTC-USD", NOON + 40 * seconds, 4),
            ("ETH-USD", NOON - 5 * HOUR, 5),
        ]
    ):
        store_quote(connection, pair, at, bid, offset)

    def bids(at: datetime) -> dict[str, Decimal]:
        found = quotes_at(connection, "g1", "coinbase", ["BTC-USD", "ETH-USD", "X-USD"], at)
        return {pair: quote.bid for pair, quote in found}

    assert bids(NOON - 6 * HOUR) == {}
    assert bids(NOON - 71 * seconds) == {"ETH-USD": 5}
    assert bids(NOON + 9 * seconds) == {"BTC-USD": 1, "ETH-USD": 5}
    assert bids(NOON + 10 * seconds) == {"BTC-USD": 3, "ETH-USD": 5}
    assert bids(NOON + HOUR) == {"BTC-USD": 4, "ETH-USD": 5}


def test_a_gap_in_the_minute_of_the_quote_is_flagged(connection: psycopg.Connection) -> None:
    store_quote(connection, "BTC-USD", NOON + timedelta(seconds=50), 1, 0)
    store_quote(connection, "ETH-USD", NOON + timedelta(seconds=50), 1, 1)
    connection.execute(_GAP, {"at": NOON + timedelta(seconds=20)})
    found = quotes_at(connection, "g1", "coinbase", ["BTC-USD", "ETH-USD"], NOON + HOUR)
    assert {pair: quote.in_gap for pair, quote in found} == {"BTC-USD": True, "ETH-USD": False}
