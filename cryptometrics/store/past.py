"""What a worker has to know of the past before it can go on: sessions, quotes, stored ticks, days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from cryptometrics.market.metrics import Session
from cryptometrics.store.batch_transaction import PairState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import psycopg

TickKey = tuple[str, int, datetime]
"""What makes a tick of the feed the same tick: pair, trade id, time."""

NEARBY = timedelta(seconds=10)
"""Ticks nearer than this are looked for together: their rows lie in the same blocks."""

_PAIRS = """
SELECT pair, bid, ask, timestamp, trade_ids::text, trade_ids_floor, trade_id
FROM pair_state WHERE consumer_group = %s AND pair = ANY(%s)
"""

_SESSIONS = """
SELECT e.pair, e.session, e.highest_bid, e.highest_bid_at, e.lowest_ask, e.lowest_ask_at, e.max_spread,
       e.max_spread_at, e.last_bid, e.last_ask, e.last_at, e.first_at, e.ticks, e.late
FROM session_extremes e JOIN unnest(%s::text[], %s::text[]) AS wanted (pair, session) USING (pair, session)
WHERE e.consumer_group = %s
"""

# The table's statistics lag behind its growth: without them the planner would read a whole day, or the
# same blocks once for each tick.
_READ_BLOCKS_ONCE = "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off"

_STORED_TICKS = """
SELECT m.pair, m.trade_id, m.timestamp
FROM crypto_metrics m
JOIN unnest(%s::text[], %s::bigint[], %s::timestamptz[]) AS wanted (pair, trade_id, timestamp)
  USING (pair, trade_id, timestamp)
WHERE m.consumer_group = %s AND m.timestamp BETWEEN %s AND %s
"""


@dataclass
class State:
    """Reads the past of one consumer group over a connection of its own."""

    connection: psycopg.Connection
    group: str

    def pairs(self, names: Collection[str]) -> dict[str, PairState]:
        """Return what is stored of each of these pairs that has a tick already."""
        rows = self.connection.execute(_PAIRS, [self.group, list(names)])
        return {row[0]: PairState(*row) for row in rows}

    def sessions(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Session]:
        """Return the sessions, by (pair, session), that have ticks already."""
        rows = self.connection.execute(_SESSIONS, [*map(list, zip(*keys, strict=True)), self.group])
        return {(row[0], row[1]): Session(*row[2:]) for row in rows}

    def stored(self, ticks: Iterable[TickKey]) -> set[TickKey]:
        """Return which of these ticks have a row.

        The search goes by time, which the table's block-range index knows; ticks far apart are looked for
        apart, so that one from last week does not have a week's rows read.
        """
        found: set[TickKey] = set()
        with self.connection.transaction():
            self.connection.execute(_READ_BLOCKS_ONCE)
            for cluster in _clusters(ticks):
                pairs, trade_ids, times = (list(column) for column in zip(*cluster, strict=True))
                rows = self.connection.execute(
                    _STORED_TICKS, [pairs, trade_ids, times, self.group, times[0], times[-1]]
                )
                found.update((pair, trade_id, time) for pair, trade_id, time in rows)
        return found

    def add_day(self, day: date) -> None:
        """Make the partition of a day, in a transaction of its own; a day that has one costs a look."""
        self.connection.execute("SELECT crypto_metrics_add_day(%s)", [day])


def summarize(connection: psycopg.Connection, days: Iterable[date]) -> None:
    """Let the table's index know the newest blocks of these days."""
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
