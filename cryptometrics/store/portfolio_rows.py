"""Write the rows of `portfolio_risk`: a valuation, with the quotes that marked it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptometrics.risk.portfolio.money import exact_text
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    import psycopg

    from cryptometrics.risk.portfolio.marks import MarkQuote
    from cryptometrics.risk.portfolio.valuation import MarketData, PositionRisk, Valuation

# A row of another version, from before a restatement, goes with the rows that replace it.
_REMOVE = """
DELETE FROM portfolio_risk
WHERE portfolio = ANY(%(portfolios)s) AND as_of > %(since)s AND as_of <= %(until)s
  AND (consumer_group, venue) = (%(group)s, %(venue)s)
"""
_WRITE = """
INSERT INTO portfolio_risk
    (portfolio, version, consumer_group, as_of, venue, currency, value, value_at_mid, profit_and_loss,
     profit_and_loss_today, gross, net, value_at_risk, expected_shortfall, value_at_risk_pct,
     expected_shortfall_pct, drawdown, drawdown_pct, unmarked, positions, cash, limits)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_VALUES = """
SELECT as_of, value FROM portfolio_risk WHERE portfolio = %s AND as_of >= %s ORDER BY as_of
"""


class PortfolioRow(NamedTuple):
    """A valuation at the end of a minute, and what it was computed from."""

    valuation: Valuation
    market: MarketData
    priced_minutes: Mapping[str, int]
    """By pair: how many minutes of the range and the day before it have a price of their own."""


def replace_rows(
    connection: psycopg.Connection,
    group: str,
    venue: str,
    portfolios: Collection[str],
    since: datetime,
    until: datetime,
    rows: Iterable[PortfolioRow],
) -> None:
    """Write the rows of portfolios as of the moments after `since` and up to `until`, and remove others."""
    values = {"portfolios": list(portfolios), "since": since, "until": until, "group": group, "venue": venue}
    connection.execute(_REMOVE, values)
    with connection.cursor() as cursor:
        cursor.executemany(_WRITE, [_columns(row, group, venue) for row in rows])


def values_from(
    connection: psycopg.Connection, portfolio: str, since: datetime
) -> dict[datetime, Decimal | None]:
    """Return the value of a portfolio at each row from a moment on."""
    return dict(connection.execute(_VALUES, [portfolio, since]).fetchall())


def _columns(row: PortfolioRow, group: str, venue: str) -> tuple[Any, ...]:
    found = row.valuation
    totals, of_gross = found.totals, found.per_cent_of_gross
    held = [each.marked for each in found.positions if each.marked.position.quantity]
    return (
        found.portfolio.name, found.version, group, found.as_of, venue, found.portfolio.currency,
        totals.value, totals.value_at_mid, totals.profit_and_loss, totals.profit_and_loss_today, totals.gross,
        totals.net, found.value_at_risk, found.expected_shortfall, of_gross(found.value_at_risk),
        of_gross(found.expected_shortfall), found.drawdown, of_gross(found.drawdown),
        sum(not each.is_marked for each in held),
        json.dumps([_position(each, row) for each in found.positions]),
        json.dumps([_cash(*each, row) for each in found.portfolio.cash.items()]),
        json.dumps(
            [
                {
                    "limit": each.limit.name,
                    "value": each.value,
                    "limit_at": exact_text(each.limit.level),
                    "use": each.use,
                    "state": each.state,
                }
                for each in found.limits
            ]
        ),
    )  # fmt: skip


def _position(each: PositionRisk, row: PortfolioRow) -> dict[str, Any]:
    marked = each.marked
    pair = marked.pair
    midnight = row.market.marks_at_midnight.get(pair or "")
    return {
        "asset": marked.position.asset,
        "pair": pair,
        "quantity": exact_text(marked.position.quantity),
        "state": marked.state,
        **_quote(marked.quote),
        "value": _text(marked.value),
        "value_at_mid": _text(marked.value_at_mid),
        "share": each.share,
        "profit_and_loss": _text(marked.profit_and_loss),
        "profit_and_loss_today": _text(marked.profit_and_loss_today),
        "volatility": each.volatility,
        "value_at_risk": each.value_at_risk,
        "component_value_at_risk": each.component,
        "midnight": None if midnight is None else _quote(midnight),
        "priced_minutes": row.priced_minutes.get(pair or ""),
    }


def _cash(currency: str, amount: Decimal, row: PortfolioRow) -> dict[str, Any]:
    pair = row.valuation.portfolio.pairs[currency]
    return {
        "currency": currency,
        "amount": exact_text(amount),
        "pair": pair,
        **_quote(row.market.marks.get(pair or "")),
    }


def _quote(quote: MarkQuote | None) -> dict[str, Any]:
    return {
        "bid": _text(quote.bid if quote else None),
        "ask": _text(quote.ask if quote else None),
        "bid_size": _text(quote.bid_size if quote else None),
        "ask_size": _text(quote.ask_size if quote else None),
        "quoted_at": iso(quote.quoted_at) if quote else None,
        "kafka_partition": quote.kafka_partition if quote else None,
        "kafka_offset": quote.kafka_offset if quote else None,
    }


def _text(number: Decimal | None) -> str | None:
    return None if number is None else exact_text(number)
