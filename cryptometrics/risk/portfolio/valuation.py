"""Value a portfolio at a moment, from its version, the marks and the minutes of its pairs.

What is not known is None, with its reason: a position whose mark is stale or missing has no value, and then
neither has what depends on it. Nothing is priced silently.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk.figures import range_volatility
from cryptometrics.risk.portfolio.limits import LimitUse, use_of_limit
from cryptometrics.risk.portfolio.marks import PositionMark, mark_cash, mark_position
from cryptometrics.risk.portfolio.notes import assumptions, position_notes
from cryptometrics.risk.portfolio.stress_tests import StressResult, stress_result
from cryptometrics.risk.portfolio.tail_risk import (
    PortfolioTailRisk,
    TooFewScenariosError,
    portfolio_tail_risk,
)
from cryptometrics.risk.portfolio.timeline import Holding, drawdown_of_holdings, quantities_by_pair
from cryptometrics.risk.portfolio.totals import Totals, totals, without_mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cryptometrics.risk.pair_minutes import RangeMinutes
    from cryptometrics.risk.portfolio.definition import Limit, Portfolio
    from cryptometrics.risk.portfolio.marks import MarkQuote


@dataclass(frozen=True, slots=True)
class PositionRisk:
    """One position at its mark, with its part in the risk. Risk is in money, and a float."""

    marked: PositionMark
    share: float | None
    """Of gross, from 0 to 1."""
    volatility: float | None
    """`realized`, annualised; None for what counts as the currency."""
    value_at_risk: float | None
    """Of the position by itself."""
    component: float | None
    """Its part in the value at risk of the portfolio; negative where it hedges."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Valuation:
    """A portfolio at a moment. Money is exact; risk is a statistic, and a float in the same currency."""

    portfolio: Portfolio
    version: int
    as_of: datetime
    totals: Totals
    value_at_risk: float | None
    expected_shortfall: float | None
    drawdown: float | None
    """How far the cumulative profit and loss is below its peak, in money."""
    positions: tuple[PositionRisk, ...]
    stress: tuple[StressResult, ...]
    limits: tuple[LimitUse, ...]
    reasons: Mapping[str, str]
    """Why a figure is None, by its name."""
    assumptions: tuple[str, ...]

    def per_cent_of_gross(self, money: float | None) -> float | None:
        """Return money in per cent of gross; None if one is not known, or if gross is 0."""
        gross = self.totals.gross
        return None if money is None or not gross else 100 * money / float(gross)

    @property
    def is_breached(self) -> bool:
        """Whether a limit is breached."""
        return any(use.state == "breach" for use in self.limits)


@dataclass(frozen=True, slots=True)
class MarketData:
    """What a valuation takes from the market, by pair; a pair may be missing in each part."""

    marks: Mapping[str, MarkQuote]
    """The newest quotes at the moment of the valuation."""
    marks_at_midnight: Mapping[str, MarkQuote]
    """The newest quotes at 00:00 UTC of its day."""
    ranges: Mapping[str, RangeMinutes]
    """The complete minutes until then; all ranges end at the same minute and are equally long."""
    holdings: Sequence[Holding] | None = None
    """What was held during the range, for the drawdown; None: the present positions all the time."""


def value_portfolio(portfolio: Portfolio, version: int, as_of: datetime, market: MarketData) -> Valuation:
    """Return the value and the risk of a pinned portfolio at a moment."""
    stale_after = portfolio.risk.stale_after
    positions = []
    for position in portfolio.positions:
        pair = portfolio.pairs[position.asset]
        quote, midnight = market.marks.get(pair or ""), market.marks_at_midnight.get(pair or "")
        positions.append(mark_position(position, pair, quote, midnight, as_of=as_of, stale_after=stale_after))
    cash = []
    for currency, amount in portfolio.cash.items():
        pair = portfolio.pairs[currency]
        quote = market.marks.get(pair or "")
        cash.append(mark_cash(amount, pair, quote, as_of=as_of, stale_after=stale_after))
    held = [each for each in positions if each.position.quantity]
    sums = totals(held, cash, as_of)
    figures = _risk_figures(portfolio, held, market)
    gross = sums.gross
    found = Valuation(
        portfolio=portfolio,
        version=version,
        as_of=as_of,
        totals=sums,
        value_at_risk=figures.risk.value_at_risk if figures.risk else None,
        expected_shortfall=figures.risk.expected_shortfall if figures.risk else None,
        drawdown=figures.drawdown,
        positions=tuple(
            _position_risk(each, gross, figures, market.ranges.get(each.pair or ""), portfolio)
            for each in positions
        ),
        stress=tuple(
            stress_result(test, held, portfolio.treat_as, sums.value_at_mid) for test in portfolio.stress
        ),
        limits=(),
        reasons=sums.reasons | figures.reasons,
        assumptions=tuple(
            assumptions(portfolio, held, market.ranges, knows_holdings=market.holdings is not None)
        ),
    )
    return replace(found, limits=tuple(_use(limit, found) for limit in portfolio.limits))


@dataclass(frozen=True, slots=True)
class _RiskFigures:
    """The figures of what is held that come from minutes."""

    assets: tuple[str, ...]
    """The assets of the columns of `risk`."""
    risk: PortfolioTailRisk | None
    drawdown: float | None
    reasons: dict[str, str]


def _risk_figures(portfolio: Portfolio, held: Sequence[PositionMark], market: MarketData) -> _RiskFigures:
    risky = [each for each in held if each.pair is not None]
    assets = tuple(each.position.asset for each in risky)
    ranges = [found for each in risky if (found := market.ranges.get(each.pair or "")) is not None]
    lacking = without_mark(risky)
    if not lacking and len(ranges) < len(risky):
        without = [each.pair for each in risky if each.pair not in market.ranges]
        lacking = f"there are no minutes of {', '.join(map(str, without))}"
    if lacking:
        names = ("value_at_risk", "expected_shortfall", "drawdown")
        return _RiskFigures(assets, None, None, dict.fromkeys(names, lacking))
    reasons: dict[str, str] = {}
    exposures = np.array([float(each.value_at_mid or 0) for each in risky])
    try:
        risk = portfolio_tail_risk(exposures, ranges, portfolio.risk.figures)
    except TooFewScenariosError as error:
        risk = None
        reasons |= dict.fromkeys(("value_at_risk", "expected_shortfall"), str(error))
    holdings = market.holdings
    if holdings is None:
        holdings = [Holding(0, portfolio.risk.range_minutes, quantities_by_pair(portfolio))]
    fall = drawdown_of_holdings(holdings, market.ranges)
    if fall is None:
        reasons["drawdown"] = "in no minute of the range are all prices known"
    return _RiskFigures(assets, risk, fall, reasons)


def _position_risk(
    marked: PositionMark,
    gross: Decimal | None,
    figures: _RiskFigures,
    ranged: RangeMinutes | None,
    portfolio: Portfolio,
) -> PositionRisk:
    alone = component = share = None
    asset = marked.position.asset
    if figures.risk is not None:
        column = figures.assets.index(asset) if asset in figures.assets else None
        alone = 0.0 if column is None else float(figures.risk.alone[column])
        component = 0.0 if column is None else float(figures.risk.components[column])
    if gross and marked.value_at_mid is not None:
        share = abs(float(marked.value_at_mid)) / float(gross)
    decay = portfolio.risk.figures.decay
    return PositionRisk(
        marked=marked,
        share=share,
        volatility=range_volatility(ranged, "realized", decay) if ranged else None,
        value_at_risk=alone,
        component=component,
        notes=tuple(position_notes(marked, ranged, portfolio)),
    )


def _use(limit: Limit, valuation: Valuation) -> LimitUse:
    figure: float | None
    rests_on = limit.figure.removesuffix("_pct")
    match limit.figure:
        case "value_at_risk_pct":
            figure = valuation.per_cent_of_gross(valuation.value_at_risk)
        case "expected_shortfall_pct":
            figure = valuation.per_cent_of_gross(valuation.expected_shortfall)
        case "drawdown_pct":
            figure = valuation.per_cent_of_gross(valuation.drawdown)
        case "concentration_pct":
            shares = [each.share for each in valuation.positions if each.share is not None]
            figure = 100 * max(shares) if shares else None
            rests_on = "gross"
        case _:
            figure = _gross_of(limit, valuation)
    warn_at = valuation.portfolio.risk.warn_at
    nothing_held = valuation.totals.gross == 0
    reason = f"{limit.asset} has no mark that counts" if limit.asset else valuation.reasons.get(rests_on)
    return use_of_limit(limit, figure, warn_at=warn_at, nothing_held=nothing_held, reason=reason)


def _gross_of(limit: Limit, valuation: Valuation) -> float | None:
    """Return the gross value that a limit is about: the portfolio's, or one position's."""
    if limit.asset is None:
        return None if valuation.totals.gross is None else float(valuation.totals.gross)
    for each in valuation.positions:
        if each.marked.position.asset == limit.asset:
            worth = each.marked.value_at_mid if each.marked.position.quantity else Decimal(0)
            return None if worth is None else abs(float(worth))
    return 0.0
