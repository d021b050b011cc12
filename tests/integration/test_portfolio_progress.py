"""Which rows of portfolios a changed minute or a version for the past makes stale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cryptometrics.risk.portfolio.definition import Portfolio, Position
from cryptometrics.store import portfolio_progress, positions

if TYPE_CHECKING:
    import psycopg

NOON = datetime(2026, 7, 10, 12, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
BOOK = Portfolio(
    "p", "USD", (Position("BTC", Decimal(1)),), group="g1", venue="coinbase", pairs={"BTC": "BTC-USD"}
)
_RISK = """
INSERT INTO risk_progress (consumer_group, venue, begun_at, complete_until, heard_until)
VALUES ('g1', 'coinbase', %s, %s, %s)
"""
_WINDOW = """
INSERT INTO crypto_windows (consumer_group, name, venue, pair, window_start, window_end, ticks, open, high,
    low, close, highest_bid, lowest_ask, max_spread, spread_sum, spread_bps_sum, late, open_at,
    open_partition, open_offset, close_at, close_partition, close_offset, complete)
VALUES ('g1', '1m', 'coinbase', 'BTC-USD', %(at)s, %(at)s + interval '1 minute', 1, 1, 1, 1, 1, 1, 1, 0, 0,
    0, 0, %(at)s, 0, 1, %(at)s, 0, 1, true)
"""


def begun(connection: psycopg.Connection, at: datetime) -> None:
    """Store figures of ten days until noon, and a portfolio that is valued from a moment on until then."""
    connection.execute(_RISK, [NOON - 10 * DAY, NOON, NOON])
    positions.load(connection, BOOK, at)
    portfolio_progress.begin(connection, "g1", "coinbase", 10 * DAY)
    connection.execute("UPDATE portfolio_progress SET complete_until = %s", [NOON])


def stale(connection: psycopg.Connection) -> tuple[datetime | None, datetime | None]:
    [place] = portfolio_progress.lock_places(connection, "g1", "coinbase")
    return place.again_from, place.again_until


def change(connection: psycopg.Connection, first: datetime, last: datetime, pair: str = "BTC-USD") -> None:
    portfolio_progress.note_minutes(connection, "g1", "coinbase", pair, first, last)


@pytest.mark.parametrize("seconds", [0, 1, 59])
def test_the_first_row_is_of_the_first_end_of_a_minute_in_force(
    connection: psycopg.Connection, seconds: int
) -> None:
    begun(connection, NOON - DAY + timedelta(seconds=seconds))
    [place] = portfolio_progress.lock_places(connection, "g1", "coinbase")
    assert place.begun_at == NOON - DAY - (MINUTE if not seconds else timedelta())


def test_rows_begin_at_most_so_long_ago(connection: psycopg.Connection) -> None:
    connection.execute(_RISK, [NOON - 10 * DAY, NOON, NOON])
    positions.load(connection, BOOK, NOON - 365 * DAY)
    portfolio_progress.begin(connection, "g1", "coinbase", 3 * DAY)
    [place] = portfolio_progress.lock_places(connection, "g1", "coinbase")
    assert (place.begun_at, place.complete_until) == (NOON - 3 * DAY, NOON - 3 * DAY)


def test_a_changed_minute_makes_rows_of_its_range_and_a_day_stale(connection: psycopg.Connection) -> None:
    begun(connection, NOON - 9 * DAY)
    minute = NOON - 5 * DAY
    connection.execute(_WINDOW, {"at": minute + MINUTE})
    change(connection, minute, minute)
    assert stale(connection) == (minute, minute + 2 * DAY + MINUTE)
    change(connection, minute - DAY, minute - DAY)
    assert stale(connection) == (minute - DAY, minute + 2 * DAY + MINUTE)


def test_a_pair_that_is_silent_afterwards_makes_all_later_rows_stale(connection: psycopg.Connection) -> None:
    begun(connection, NOON - 9 * DAY)
    change(connection, NOON - 8 * DAY, NOON - 8 * DAY)
    assert stale(connection) == (NOON - 8 * DAY, NOON)


def test_the_first_mark_of_a_day_makes_its_rows_stale(connection: psycopg.Connection) -> None:
    begun(connection, NOON - 9 * DAY)
    minute = NOON - 8 * DAY
    connection.execute(_WINDOW, {"at": minute + 4 * DAY})
    change(connection, minute, minute)
    assert stale(connection) == (minute, (minute + 5 * DAY).replace(hour=0))


def test_a_minute_long_before_the_first_row_changes_none(connection: psycopg.Connection) -> None:
    begun(connection, NOON - DAY)
    connection.execute(_WINDOW, {"at": NOON - 8 * DAY})
    change(connection, NOON - 9 * DAY, NOON - 9 * DAY)
    assert stale(connection) == (None, None)
    change(connection, NOON - 2 * DAY, NOON - 2 * DAY, pair="ETH-USD")
    assert stale(connection) == (None, None)


def test_a_version_for_the_past_makes_its_rows_stale_and_may_add_some(connection: psycopg.Connection) -> None:
    begun(connection, NOON - DAY)
    portfolio_progress.note_version(connection, "p", NOON - timedelta(hours=1))
    assert stale(connection) == (NOON - timedelta(hours=1) - MINUTE, NOON)
    portfolio_progress.note_version(connection, "p", NOON - 20 * DAY)
    [place] = portfolio_progress.lock_places(connection, "g1", "coinbase")
    assert (place.begun_at, place.again_from, place.again_until) == (
        NOON - 10 * DAY, NOON - 10 * DAY, NOON
    )  # fmt: skip
    portfolio_progress.note_version(connection, "p", NOON + MINUTE)
    assert stale(connection) == (NOON - 10 * DAY, NOON)
