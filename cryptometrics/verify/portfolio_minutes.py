"""Read the minutes and the closing ticks that the rows of a portfolio are compared with."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cryptometrics.verify.portfolio_figures import LOOK_BACK, PairMinutesAgain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    import psycopg

    from cryptometrics.verify.portfolio_figures import Floats

MINUTE = timedelta(minutes=1)

_MINUTES = """
SELECT pair, window_start, close::float8, completeness IN ('verified', 'simulated')
FROM crypto_minutes(%(group)s, %(venue)s, %(pairs)s, %(since)s, %(until)s)
ORDER BY pair, window_start
"""
# By the ticks that close the minutes, also those of the last minute before the first row.
_CLOSING = """
SELECT w.pair, w.window_start, w.close, w.close_at, w.close_partition, w.close_offset,
       coalesce(w.close_at <@ m.gaps, false)
FROM crypto_windows w
LEFT JOIN crypto_markets m USING (consumer_group, venue, pair)
WHERE (w.consumer_group, w.name, w.venue) = (%(group)s, '1m', %(venue)s) AND w.pair = ANY(%(pairs)s)
  AND w.origin IS NULL AND w.window_start < %(until)s
  AND w.window_start >= coalesce((
      SELECT max(p.window_start) FROM crypto_windows p
      WHERE (p.consumer_group, p.name, p.venue, p.pair) = (%(group)s, '1m', %(venue)s, w.pair)
        AND p.origin IS NULL AND p.window_start < %(day)s), '-infinity')
ORDER BY w.pair, w.window_start
"""
_EXISTS = """
SELECT EXISTS (SELECT FROM crypto_metrics
               WHERE (consumer_group, kafka_partition, kafka_offset, timestamp) = (%s, %s, %s, %s))
"""


class Version(NamedTuple):
    """A version of a portfolio, as it is stored."""

    effective_at: datetime
    number: int
    group: str
    venue: str
    currency: str
    definition: dict[str, Any] | None


class ClosingTick(NamedTuple):
    """The tick that closes a minute."""

    mid: Decimal
    at: datetime
    partition: int
    offset: int
    has_gap: bool


class PortfolioMinutes:
    """The minutes of all pairs that a portfolio has held."""

    def __init__(
        self,
        connection: psycopg.Connection,
        group: str,
        venue: str,
        definitions: Sequence[Mapping[str, Any]],
        begun_at: datetime,
        until: datetime,
    ) -> None:
        self._connection, self._group = connection, group
        pairs = sorted({pair for each in definitions for pair in each["pairs"].values() if pair})
        longest = max((each["risk"]["range_s"] // 60 for each in definitions), default=0)
        used = longest + LOOK_BACK
        self._since = begun_at - used * MINUTE
        count = (until - self._since) // MINUTE
        values = {"group": group, "venue": venue, "pairs": pairs, "since": self._since, "until": until}
        columns = {pair: (np.full(count, np.nan), np.zeros(count, dtype=np.bool_)) for pair in pairs}
        self._first: dict[str, datetime] = {}
        for pair, start, close, is_quiet in connection.execute(_MINUTES, values):
            place = (start - self._since) // MINUTE
            columns[pair][0][place] = math.nan if close is None else close
            columns[pair][1][place] = is_quiet
            self._first.setdefault(pair, start)
        self._pairs = {pair: PairMinutesAgain(used, *found) for pair, found in columns.items()}
        day = begun_at.replace(hour=0, minute=0, second=0, microsecond=0)
        self._ticks: dict[str, tuple[list[float], list[ClosingTick]]] = {pair: ([], []) for pair in pairs}
        for pair, start, *tick in connection.execute(_CLOSING, values | {"day": day}):
            starts, ticks = self._ticks[pair]
            starts.append(start.timestamp())
            ticks.append(ClosingTick(*tick))

    def has(self, pair: str, as_of: datetime) -> bool:
        """Return whether a pair has begun before a moment."""
        return pair in self._first and self._first[pair] < as_of

    def closes(self, pair: str, as_of: datetime, length: int) -> Floats:
        """Return the closes of a range and of the day before it."""
        return self._pairs[pair].closes((as_of - self._since) // MINUTE, length)

    def are_gone(self, row: Mapping[str, Any], definition: Mapping[str, Any], as_of: datetime) -> bool:
        """Return whether a row was computed from more minutes than are stored now."""
        end, length = (as_of - self._since) // MINUTE, definition["risk"]["range_s"] // 60
        return any(
            each["priced_minutes"] is not None
            and each["priced_minutes"] > self._pairs[each["pair"]].priced(end, length)
            for each in row["positions"]
            if each["pair"] in self._pairs
        )

    def tick(self, pair: str, as_of: datetime) -> ClosingTick | None:
        """Return the newest tick of a pair before a moment."""
        starts, ticks = self._ticks[pair]
        place = int(np.searchsorted(starts, as_of.timestamp(), side="left"))
        return ticks[place - 1] if place else None

    def was_pruned(self, tick: ClosingTick) -> bool:
        """Return whether the quote of a tick is no longer stored."""
        values = [self._group, tick.partition, tick.offset, tick.at]
        row = self._connection.execute(_EXISTS, values).fetchone()
        return row is None or not row[0]
