"""Portfolios, quotes and minutes, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from cryptometrics.risk.minutes import Bars
from cryptometrics.risk.pair_minutes import PairMinutes, RangeMinutes, cut_to_range
from cryptometrics.risk.portfolio.definition import Portfolio, Position
from cryptometrics.risk.portfolio.marks import MarkQuote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.risk.columns import Column

AS_OF = datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC)


def quote(bid: str, ask: str, *, age: float = 1, **more: Any) -> MarkQuote:
    """Return a quote of some seconds before AS_OF."""
    return MarkQuote(Decimal(bid), Decimal(ask), AS_OF - timedelta(seconds=age), **more)


def portfolio(*positions: tuple[str, str] | tuple[str, str, str], **more: Any) -> Portfolio:
    """Return a pinned portfolio in USD: positions are asset, quantity and, if known, cost."""
    held = tuple(
        Position(asset, Decimal(quantity), Decimal(cost[0]) if cost else None)
        for asset, quantity, *cost in positions
    )
    pairs = {asset: f"{asset}-USD" for asset, *_ in positions} | dict.fromkeys(more.get("cash", ()))
    return Portfolio("book", "USD", held, group="g", venue="v", **{"pairs": pairs} | more)


def range_of(closes: Sequence[float] | Column, minutes: int | None = None) -> RangeMinutes:
    """Return minutes of verified closes, as a range of all but the first, or of the newest ones."""
    prices = np.array(closes, dtype=np.float64)
    no = np.zeros(len(prices), dtype=np.bool_)
    of_pair = PairMinutes(
        Bars(prices, prices, prices, prices), np.isfinite(prices).astype(np.int64), no, no, no
    )
    return cut_to_range(of_pair, minutes or len(prices) - 1)


def closes_of(returns: Sequence[float] | Column, newest: float = 100) -> list[float]:
    """Return one close more than there are returns, of which the newest is given."""
    path = np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    return [float(price) for price in newest * path / path[-1]]
