"""Look up the past of a consumer group: sessions, pairs, stored ticks, alert states; add days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from cryptometrics.market.metrics import Session
from cryptometrics.market.venues import Market
from cryptometrics.store import alerts
from cryptometrics.store.batch_transaction import PairState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import psycopg

    from cryptometrics.alerts.evaluator import StoredStates

TickKey = tuple[Market, int, datetime]
"""Market, trade id and time: what identifies a tick of the feed."""

NEARBY = timedelta(seconds=10)
"""Ticks closer than this are searched together: their rows are in the same blocks."""

_PAIRS = """
SELECT p.venue, p.pair, p.bid, p.ask, p.timestamp, p.trade_ids::text, p.trade_ids_floor, p.trade_id,
       p.bid_size, p.ask_size
FROM pair_state p JOIN unnest(%s::text[], %s::text[]) AS wanted (venue, pair) USING (venue, pair)
WHERE p.consumer_group = %s
"""

_SESSIONS = """
SELECT e.venue, e.pair, e.session, e.highest_bid, e.highest_bid_at, e.lowest_ask, e.lowest_ask_at,
       e.max_spread, e.max_spread_at, e.last_bid, e.last_ask, e.last_at, e.first_at, e.ticks, e.late,
       e.last_bid_size, e.last_ask_size
FROM session_extremes e
JOIN unnest(%s::text[], %s::text[], %s::text[]) AS wanted (venue, pair, session) USING (venue, pair, session)
WHERE e.consumer_group = %s
"""

# The table's statistics lag behind its growth. Misled by them, the planner would scan a whole day, or the
# same blocks once for each tick.
_READ_BLOCKS_ONCE = "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off"

_STORED_TICKS = """
SELECT m.venue, m.pair, m.trade_id, m.timestamp
FROM crypto_metrics m
JOIN unnest(%s::text[], %s::text[], %s::bigint[], %s::timestamptz[])
    AS wanted (venue, pair, trade_id, timestamp) USING (venue, pair, trade_id, timestamp)
WHERE m.consumer_group = %s AND m.timestamp BETWEEN %s AND %s
"""


@dataclass
class StoredPast:
    """Looks up the past of one consumer group over a connection of its own."""

    connection: psycopg.Connection
    group: str

    def pairs(self, markets: Collection[Market]) -> dict[Market, PairState]:
        """Return the state of each of these pairs that has a tick."""
        rows = self.connection.execute(_PAIRS, [*map(list, zip(*markets, strict=True)), self.group])
        states = (PairState(Market(*row[:2]), *row[2:]) for row in rows)
        return {state.market: state for state in states}

    def sessions(self, keys: Collection[tuple[Market, str]]) -> dict[tuple[Market, str], Session]:
        """Return the state of each of these (market, session) that has a tick."""
        names = ((*market, session) for market, session in keys)
        rows = self.connection.execute(_SESSIONS, [*map(list, zip(*names, strict=True)), self.group])
        return {(Market(*row[:2]), row[2]): Session(*row[3:]) for row in rows}

    def stored(self, ticks: Iterable[TickKey]) -> set[TickKey]:
        """Return which of these ticks have a row.

        The search is by time, which the table's block-range index covers. Ticks far apart are searched
        separately, so that one from last week does not cause a scan of the week.
        """
        found: set[TickKey] = set()
        with self.connection.transaction():
            self.connection.execute(_READ_BLOCKS_ONCE)
            for cluster in _clusters(ticks):
                keys = ((*market, trade_id, time) for market, trade_id, time in cluster)
                columns = [list(column) for column in zip(*keys, strict=True)]
                times = columns[-1]
                rows = self.connection.execute(_STORED_TICKS, [*columns, self.group, times[0], times[-1]])
                found.update((Market(venue, pair), trade_id, time) for venue, pair, trade_id, time in rows)
        return found

    def add_day(self, day: date) -> None:
        """Create the table partition of a UTC day unless it exists, in a transaction of its own."""
        self.connection.execute("SELECT crypto_metrics_add_day(%s)", [day])

    def alert_states(self, markets: Iterable[Market]) -> dict[Market, StoredStates]:
        """Return the alert state of each of these markets and partitions, empty where nothing is stored."""
        return alerts.load_states(self.connection, self.group, set(markets))


def summarize(connection: psycopg.Connection, days: Iterable[date]) -> None:
    """Add the newest blocks of these days to the table's block-range index."""
    connection.execute("SELECT crypto_metrics_summarize(%s)", [list(days)])


def _clusters(ticks: Iterable[TickKey]) -> Iterable[list[TickKey]]:
    cluster: list[TickKey] = []
    for tick in sorted(ticks, key=lambda key: key[2]):
        if cluster and tick[2] - cluster[-1][2] > NEARBY:
            yield cluster
            cluster = []
        cluster.append(tick)
    if cluster:
        yield cluster
