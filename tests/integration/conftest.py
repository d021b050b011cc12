"""Store ticks with SQL alone, so that the tests of readers do not depend on the code that writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import psycopg
import pytest
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.config import Settings


class Store(Protocol):
    """Stores quotes: rows of time (UTC), bid and ask in the topic's order, or a query of n, at, bid, ask."""

    def __call__(
        self,
        quotes: str | Sequence[tuple[str, str, str]],
        *,
        pair: str = ...,
        group: str = ...,
        session: str = ...,
        venue: str = ...,
    ) -> None: ...


_STORE = sql.SQL("""
WITH quotes AS ({quotes}), stored AS (
    INSERT INTO crypto_metrics (pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread,
                                timestamp, consumer_group, session, kind, kafka_partition, kafka_offset,
                                venue)
    SELECT {pair}, bid, ask, (bid + ask) * 0.5, ask - bid, max(bid) OVER topic, min(ask) OVER topic,
           max(ask - bid) OVER topic, at, {group}, {session}, 'quote', 0, n, {venue}
    FROM quotes
    WINDOW topic AS (ORDER BY n)
    RETURNING *
)
INSERT INTO session_extremes
    (consumer_group, venue, pair, session, highest_bid, highest_bid_at, lowest_ask, lowest_ask_at,
     max_spread, max_spread_at, last_bid, last_ask, last_at, first_at, ticks, late)
SELECT {group}, {venue}, {pair}, {session},
       max(bid), (array_agg(timestamp ORDER BY bid DESC, kafka_offset))[1],
       min(ask), (array_agg(timestamp ORDER BY ask, kafka_offset))[1],
       max(spread), (array_agg(timestamp ORDER BY spread DESC, kafka_offset))[1],
       (array_agg(bid ORDER BY timestamp DESC, kafka_offset DESC))[1],
       (array_agg(ask ORDER BY timestamp DESC, kafka_offset DESC))[1],
       max(timestamp), min(timestamp), count(*), 0
FROM stored
""")


@pytest.fixture
def store(settings: Settings) -> Store:
    """Return a function that stores quotes in the test's database, with their session's extremes."""

    def run(
        quotes: str | Sequence[tuple[str, str, str]],
        *,
        pair: str = "BTC-USD",
        group: str = "g1",
        session: str = "2024-01-05",
        venue: str = "coinbase",
    ) -> None:
        query = quotes if isinstance(quotes, str) else _as_query(quotes)
        names = {"pair": pair, "group": group, "session": session, "venue": venue}
        with psycopg.connect(settings.postgres()) as connection:
            connection.execute(
                "SELECT crypto_metrics_add_day(current_date), crypto_metrics_add_day(current_date - 1)"
            )
            connection.execute(
                _STORE.format(
                    quotes=sql.SQL(query),
                    **{name: sql.Literal(value) for name, value in names.items()},
                )
            )

    return run


def _as_query(quotes: Sequence[tuple[str, str, str]]) -> str:
    rows = (f"({n}, timestamptz '{at}Z', {bid}, {ask})" for n, (at, bid, ask) in enumerate(quotes))
    return f"SELECT * FROM (VALUES {', '.join(rows)}) AS quotes (n, at, bid, ask)"
