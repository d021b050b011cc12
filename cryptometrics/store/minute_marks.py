"""Read the quotes that close the minutes of pairs: the newest ones at the end of each minute.

`process` notes with each minute which tick closes it, so late ticks and equal times need no thought here.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.risk.portfolio.marks import MarkQuote

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import psycopg

    from cryptometrics.market.windows import Place

# Besides the minutes of the range, the newest one before it: it has the mark until the pair's next tick. Each
# minute of all pairs is read once, as in `portfolio_market`. An imported minute has no ticks.
_CLOSING = """
WITH closing AS MATERIALIZED (
    SELECT named.pair, w.*
    FROM unnest(%(pairs)s::text[]) AS named (pair)
    CROSS JOIN LATERAL (
        (SELECT w.window_start, w.close_at, w.close_partition, w.close_offset FROM crypto_windows w
         WHERE w.consumer_group = %(group)s AND w.name = '1m' AND w.venue = %(venue)s AND w.pair = named.pair
           AND w.window_start < %(since)s AND w.origin IS NULL
         ORDER BY w.window_start DESC LIMIT 1)
        UNION ALL
        SELECT w.window_start, w.close_at, w.close_partition, w.close_offset FROM crypto_windows w
        WHERE w.consumer_group = %(group)s AND w.name = '1m' AND w.venue = %(venue)s AND w.pair = named.pair
          AND w.window_start >= %(since)s AND w.window_start < %(until)s AND w.origin IS NULL
    ) AS w
), quote AS MATERIALIZED (
    SELECT m.*
    FROM (SELECT DISTINCT window_start FROM closing) AS minute
    CROSS JOIN LATERAL (
        SELECT m.pair, m.timestamp, m.kafka_partition, m.kafka_offset, m.bid, m.ask, m.bid_size, m.ask_size
        FROM crypto_metrics m
        WHERE m.consumer_group = %(group)s AND m.venue = %(venue)s AND m.pair = ANY(%(pairs)s)
          AND m.timestamp >= minute.window_start AND m.timestamp < minute.window_start + interval '1 minute'
    ) AS m
)
SELECT c.pair, c.window_start, c.close_at, c.close_partition, c.close_offset,
       coalesce(c.close_at <@ market.gaps, false), q.bid, q.ask, q.bid_size, q.ask_size
FROM closing c
LEFT JOIN quote q ON (q.pair, q.timestamp, q.kafka_partition, q.kafka_offset)
                   = (c.pair, c.close_at, c.close_partition, c.close_offset)
LEFT JOIN crypto_markets AS market
    ON (market.consumer_group, market.venue, market.pair) = (%(group)s::text, %(venue)s::text, c.pair)
ORDER BY c.pair, c.window_start
"""

# Quotes that were pruned since a row was written are still in the row.
_STORED = """
SELECT DISTINCT ON (pair, quoted_at, kafka_partition, kafka_offset) quote.*
FROM portfolio_risk r
CROSS JOIN LATERAL (
    SELECT pair, quoted_at, kafka_partition, kafka_offset, bid, ask, bid_size, ask_size
    FROM jsonb_to_recordset(r.positions || r.cash) AS mark (
        pair text, quoted_at timestamptz, kafka_partition int, kafka_offset bigint, bid numeric, ask numeric,
        bid_size numeric, ask_size numeric)
    UNION ALL
    SELECT mark.pair, midnight.quoted_at, midnight.kafka_partition, midnight.kafka_offset, midnight.bid,
           midnight.ask, midnight.bid_size, midnight.ask_size
    FROM jsonb_to_recordset(r.positions) AS mark (pair text, midnight jsonb)
    CROSS JOIN LATERAL jsonb_to_record(mark.midnight) AS midnight (
        quoted_at timestamptz, kafka_partition int, kafka_offset bigint, bid numeric, ask numeric,
        bid_size numeric, ask_size numeric)
) AS quote
WHERE r.portfolio = ANY(%(portfolios)s) AND r.as_of > %(since)s AND r.as_of <= %(until)s
  AND (quote.pair, quote.quoted_at) IN (
      SELECT * FROM unnest(%(pairs)s::text[], %(times)s::timestamptz[]))
"""


class ClosingQuote(NamedTuple):
    """The quote that closes a minute of a pair."""

    minute: datetime
    """Start of the minute."""
    place: Place
    """Event time, partition and offset."""
    in_gap: bool
    quote: MarkQuote | None
    """None: it was pruned."""


class MinuteMarks:
    """The quotes that close minutes, by pair and time."""

    def __init__(self, quotes: Mapping[str, Sequence[ClosingQuote]]) -> None:
        """Take the closing quotes of each pair, oldest first."""
        self._quotes = quotes
        self._minutes = {pair: [each.minute for each in found] for pair, found in quotes.items()}

    def at(self, as_of: datetime) -> dict[str, MarkQuote]:
        """Return the newest quote of each pair before the end of a minute; a pair without one is left out."""
        found = {}
        for pair, minutes in self._minutes.items():
            place = bisect_left(minutes, as_of)
            quote = self._quotes[pair][place - 1].quote if place else None
            if quote is not None:
                found[pair] = quote
        return found


def read_marks(
    connection: psycopg.Connection,
    group: str,
    venue: str,
    pairs: Collection[str],
    since: datetime,
    until: datetime,
) -> dict[str, list[ClosingQuote]]:
    """Return the closing quotes of the minutes from `since` on and before `until`, and the newest before."""
    values = {"group": group, "venue": venue, "pairs": list(pairs), "since": since, "until": until}
    found: dict[str, list[ClosingQuote]] = {}
    for pair, minute, at, partition, offset, in_gap, *prices in connection.execute(_CLOSING, values):
        place = at, partition, offset
        quote = None if prices[0] is None else _quote(place, prices, in_gap)
        found.setdefault(pair, []).append(ClosingQuote(minute, place, in_gap, quote))
    return found


def with_stored_quotes(
    connection: psycopg.Connection,
    quotes: Mapping[str, Sequence[ClosingQuote]],
    portfolios: Collection[str],
    since: datetime,
    until: datetime,
) -> dict[str, list[ClosingQuote]]:
    """Return closing quotes, those that were pruned as rows of portfolios in a range of time have them."""
    pruned = [(pair, each.place[0]) for pair, found in quotes.items() for each in found if each.quote is None]
    if not pruned:
        return {pair: list(found) for pair, found in quotes.items()}
    values = {
        "portfolios": list(portfolios),
        "since": since,
        "until": until,
        "pairs": [pair for pair, _ in pruned],
        "times": [at for _, at in pruned],
    }
    stored = {
        (pair, (at, partition, offset)): prices
        for pair, at, partition, offset, *prices in connection.execute(_STORED, values)
    }

    def filled(pair: str, each: ClosingQuote) -> ClosingQuote:
        prices = stored.get((pair, each.place))
        if each.quote is not None or prices is None:
            return each
        bid, ask, bid_size, ask_size = prices
        at, partition, offset = each.place
        return each._replace(
            quote=MarkQuote(bid, ask, at, bid_size, ask_size, partition, offset, each.in_gap)
        )

    return {pair: [filled(pair, each) for each in found] for pair, found in quotes.items()}


def _quote(place: Place, prices: Sequence[Decimal], in_gap: bool) -> MarkQuote:
    bid, ask, bid_size, ask_size = prices
    at, partition, offset = place
    return MarkQuote(bid, ask, at, bid_size, ask_size, partition, offset, in_gap)
