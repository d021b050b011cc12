"""Read what portfolios are valued by: the newest quotes at a moment, those at midnight, and the minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.risk.lines import MarketRange
from cryptometrics.risk.pair_minutes import cut_to_range
from cryptometrics.risk.portfolio.marks import MarkQuote, start_of_day
from cryptometrics.risk.portfolio.valuation import MarketData
from cryptometrics.store.risk_inputs import load_minutes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    import psycopg

    from cryptometrics.risk.pair_minutes import RangeMinutes
    from cryptometrics.risk.portfolio.definition import Portfolio
    from cryptometrics.risk.portfolio.timeline import Timeline

_NEWEST = "SELECT max(timestamp) FROM pair_state WHERE consumer_group = %s AND venue = %s"

_COMPLETE = """
SELECT max(complete_until) FROM crypto_markets WHERE consumer_group = %s AND venue = %s
"""

# Minutes find the quotes of a pair by the primary key: the newest until the moment is in one of the last two
# minutes with ticks that begin until then; the later one may have only later quotes. Most pairs share these
# minutes, and each minute of all pairs is read once.
_QUOTES = """
WITH minute AS MATERIALIZED (
    SELECT DISTINCT newest.window_start
    FROM unnest(%(pairs)s::text[]) AS named (pair)
    CROSS JOIN LATERAL (
        SELECT w.window_start FROM crypto_windows w
        WHERE w.consumer_group = %(group)s AND w.name = '1m' AND w.venue = %(venue)s AND w.pair = named.pair
          AND w.window_start <= %(at)s AND w.origin IS NULL
        ORDER BY w.window_start DESC LIMIT 2
    ) AS newest
)
SELECT quote.*, coalesce(quote.timestamp <@ market.gaps, false)
FROM (
    SELECT DISTINCT ON (quote.pair) quote.*
    FROM minute
    CROSS JOIN LATERAL (
        SELECT m.pair, m.bid, m.ask, m.timestamp, m.bid_size, m.ask_size, m.kafka_partition, m.kafka_offset
        FROM crypto_metrics m
        WHERE m.consumer_group = %(group)s AND m.venue = %(venue)s AND m.pair = ANY(%(pairs)s)
          AND m.timestamp >= minute.window_start AND m.timestamp < minute.window_start + interval '1 minute'
          AND m.timestamp <= %(at)s
    ) AS quote
    ORDER BY quote.pair, quote.timestamp DESC, quote.kafka_partition DESC, quote.kafka_offset DESC
) AS quote
LEFT JOIN crypto_markets AS market
    ON (market.consumer_group, market.venue, market.pair) = (%(group)s::text, %(venue)s::text, quote.pair)
"""


@dataclass(frozen=True, slots=True)
class PortfolioMarket:
    """What the portfolios of one group and venue are valued by."""

    as_of: datetime
    marks: Mapping[str, MarkQuote]
    marks_at_midnight: Mapping[str, MarkQuote]
    ranges: Mapping[int, Mapping[str, RangeMinutes]]
    """Those that end with the newest complete minute, by their length in minutes and by pair."""
    complete_until: datetime
    """The end of that minute."""

    def of(self, portfolio: Portfolio, timeline: Timeline | None = None) -> MarketData:
        """Return what one portfolio is valued by.

        timeline: its versions, for the drawdown of what was held. Without it, or if the portfolio is not in
        force yet at the end of the range, the drawdown is that of the present positions.
        """
        length = portfolio.risk.range_minutes
        effective = timeline.at(self.complete_until) if timeline else None
        holdings = None
        if timeline is not None and effective is not None and effective.portfolio == portfolio:
            holdings = timeline.holdings(self.complete_until, length)
        return MarketData(self.marks, self.marks_at_midnight, self.ranges[length], holdings)


def load_market(
    connection: psycopg.Connection,
    group: str,
    venue: str,
    portfolios: Collection[Portfolio],
    at: datetime | None,
    earlier: Collection[Portfolio] = (),
) -> PortfolioMarket:
    """Return what portfolios of a group and a venue are valued by, at a moment or at the newest quote.

    earlier: versions that were in force before, whose pairs are read, too.
    Raises UserError if the venue has stored nothing.
    """
    newest = _moment(connection, _NEWEST, group, venue)
    if newest is None:
        raise UserError(f"venue {venue} has stored nothing in group {group}: run `cryptometrics process`")
    as_of = at or newest
    complete = _moment(connection, _COMPLETE, group, venue)
    minute = as_of.replace(second=0, microsecond=0)
    end = min(minute, complete or minute)
    ranges = {}
    # Of each length by itself: how far before a range is read must not depend on other portfolios.
    for length in {portfolio.risk.range_minutes for portfolio in portfolios}:
        of_length = [each for each in portfolios if each.risk.range_minutes == length]
        market = MarketRange(group, venue, end, length)
        names = {each.name for each in of_length}
        pairs = _pairs([*of_length, *(each for each in earlier if each.name in names)])
        minutes = load_minutes(connection, market, pairs, of_length[0].risk.figures)
        ranges[length] = {pair: cut_to_range(each, length) for pair, each in minutes.items()}
    pairs = _pairs(portfolios)
    marks = dict(quotes_at(connection, group, venue, pairs, as_of))
    midnight = dict(quotes_at(connection, group, venue, pairs, start_of_day(as_of)))
    return PortfolioMarket(as_of, marks, midnight, ranges, end)


def _pairs(portfolios: Collection[Portfolio]) -> list[str]:
    return sorted({pair for portfolio in portfolios for pair in portfolio.used_pairs})


def quotes_at(
    connection: psycopg.Connection, group: str, venue: str, pairs: Collection[str], at: datetime
) -> Iterable[tuple[str, MarkQuote]]:
    """Yield the newest quote of each pair until a moment; of equal times the last in the topic."""
    values = {"group": group, "venue": venue, "pairs": list(pairs), "at": at}
    for pair, *quote in connection.execute(_QUOTES, values):
        yield pair, MarkQuote(*quote)


def _moment(connection: psycopg.Connection, query: str, group: str, venue: str) -> datetime | None:
    row = connection.execute(query, [group, venue]).fetchone()
    moment: datetime | None = row[0] if row else None
    return moment
