"""All figures of one pair over a range of its minutes.

`core_figures` are the few that are kept current for each minute, `pair_figures` everything that the table of
risk shows of one pair, and `dependence` how it moves with another one. The formulas are those of the modules
that they come from. Losses are positive ratios, and what cannot be known is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk import ewma
from cryptometrics.risk.columns import finite_or_none, known, sample_variance
from cryptometrics.risk.dependence import beta_of_known, correlation_of_known
from cryptometrics.risk.drawdown import largest_fall_of_bars, present_drawdown
from cryptometrics.risk.horizon import tail_risk_of_minutes, with_start_window
from cryptometrics.risk.minutes import every, log_returns, simple_return
from cryptometrics.risk.volatility import (
    ESTIMATORS,
    Estimator,
    annualised,
    bipower_variance,
    garman_klass_variance,
    jump_share,
    parkinson_variance,
    realized_variance,
    rogers_satchell_variance,
    yang_zhang_variance,
)

if TYPE_CHECKING:
    from cryptometrics.risk.pair_minutes import RangeMinutes
    from cryptometrics.risk.tail_risk import Method


@dataclass(frozen=True, slots=True)
class FigureSettings:
    """How figures are computed; lengths are in minutes."""

    confidence: float = 0.99
    horizon: int = 60
    method: Method = "filtered"
    half_life: float = 60
    """In which a return loses half its weight, in `ewma` and in `filtered`."""
    bar: int = 5
    """The grid on which two pairs are compared."""

    @property
    def decay(self) -> float:
        """λ of `ewma`."""
        return ewma.decay_factor(self.half_life)


@dataclass(frozen=True, slots=True)
class CoreFigures:
    """The figures that are kept current for each minute."""

    minutes: int
    minutes_with_ticks: int
    coverage: float
    gap_minutes: int
    volatility: float | None
    """`realized`, annualised."""
    volatility_ewma: float | None
    value_at_risk: float | None
    expected_shortfall: float | None
    drawdown: float | None
    """Of the newest known close of the range."""
    max_drawdown: float | None


@dataclass(frozen=True, slots=True)
class PairFigures:
    """Everything that the table of risk shows of one pair by itself."""

    core: CoreFigures
    unverified_minutes: int
    volatility: dict[Estimator, float | None]
    """By every estimator, annualised."""
    jump_share: float | None
    return_1h: float | None
    return_24h: float | None
    """The last hour and day, whatever the range is; simple returns."""
    max_drawdown_peak: int | None
    max_drawdown_trough: int | None
    """The minutes of the range, counted from 0, in which the peak and the trough lie."""


@dataclass(frozen=True, slots=True)
class Dependence:
    """How a pair moves with another one."""

    correlation: float | None
    beta: float | None
    returns: int
    """How many returns of the grid both have."""


def core_figures(ranged: RangeMinutes, settings: FigureSettings) -> CoreFigures:
    """Return the few figures that are cheap enough to be computed each minute."""
    tail = tail_risk_of_minutes(
        ranged.bars.close,
        settings.confidence,
        horizon=settings.horizon,
        method=settings.method,
        decay=settings.decay,
        before=ranged.before - 1,
    )
    bars = ranged.range_bars
    fall = largest_fall_of_bars(bars.open, bars.high, bars.low)
    return CoreFigures(
        minutes=ranged.minutes,
        minutes_with_ticks=ranged.minutes_with_ticks,
        coverage=ranged.coverage,
        gap_minutes=ranged.gap_minutes,
        volatility=range_volatility(ranged, "realized", settings.decay),
        volatility_ewma=range_volatility(ranged, "ewma", settings.decay),
        value_at_risk=finite_or_none(tail.value_at_risk) if tail else None,
        expected_shortfall=finite_or_none(tail.expected_shortfall) if tail else None,
        drawdown=present_drawdown(bars.high, bars.close),
        max_drawdown=fall.value if fall else None,
    )


def pair_figures(ranged: RangeMinutes, settings: FigureSettings) -> PairFigures:
    """Return everything that the table of risk shows of one pair by itself."""
    bars = ranged.range_bars
    fall = largest_fall_of_bars(bars.open, bars.high, bars.low)
    return PairFigures(
        core=core_figures(ranged, settings),
        unverified_minutes=ranged.unverified_minutes,
        volatility={each: range_volatility(ranged, each, settings.decay) for each in ESTIMATORS},
        jump_share=jump_share(ranged.range_returns),
        return_1h=simple_return(ranged.bars.close, 60),
        return_24h=simple_return(ranged.bars.close, 24 * 60),
        max_drawdown_peak=fall.peak if fall else None,
        max_drawdown_trough=fall.trough if fall else None,
    )


def range_volatility(ranged: RangeMinutes, estimator: Estimator, decay: float) -> float | None:
    """Return the annualised volatility of a range, None if it has too few bars.

    Unlike `volatility` of complete columns, it knows the close before the first bar: n bars have n returns.
    """
    bars = ranged.range_bars
    with np.errstate(over="ignore", invalid="ignore"):
        match estimator:
            case "close":
                variance = sample_variance(known(ranged.range_returns))
            case "realized":
                variance = realized_variance(ranged.range_returns)
            case "bipower":
                variance = bipower_variance(ranged.range_returns)
            case "ewma":
                returns = with_start_window(ranged.returns, ranged.before - 1, decay)
                variance = ewma.newest_variance(returns, decay)
            case "parkinson":
                variance = parkinson_variance(bars.high, bars.low)
            case "garman_klass":
                variance = garman_klass_variance(bars.open, bars.high, bars.low, bars.close)
            case "rogers_satchell":
                variance = rogers_satchell_variance(bars.open, bars.high, bars.low, bars.close)
            case "yang_zhang":
                bars = ranged.bars_from_close_before
                variance = yang_zhang_variance(bars.open, bars.high, bars.low, bars.close)
    return annualised(variance)


def dependence(a: RangeMinutes, b: RangeMinutes, bar: int) -> Dependence:
    """Return how a moves with b, by the log returns over bars of so many minutes.

    Both ranges end at the same moment and are equally long; the grid is counted back from that moment.
    """
    returns_a, returns_b = (log_returns(every(each.closes, bar)) for each in (a, b))
    return Dependence(
        correlation=correlation_of_known(returns_a, returns_b),
        beta=beta_of_known(returns_a, returns_b),
        returns=int((np.isfinite(returns_a) & np.isfinite(returns_b)).sum()),
    )


@dataclass(frozen=True, slots=True)
class Liquidity:
    """What it costs to trade, from the stored sums of a range."""

    spread_bps: float | None
    """Mean over the ticks of 10,000 · (ask − bid)/mid."""
    imbalance: float | None
    """Mean bid size / (mean bid size + mean ask size), from 0 to 1."""


def liquidity(ticks: float, spread_bps_sum: float, bid_size_sum: float, ask_size_sum: float) -> Liquidity:
    """Return the liquidity of a range from its sums; without ticks or sizes there is none.

    Both sizes are summed over the same ticks, so their means need no count.
    """
    sizes = bid_size_sum + ask_size_sum
    return Liquidity(
        spread_bps=finite_or_none(spread_bps_sum / ticks if ticks else math.nan),
        imbalance=finite_or_none(bid_size_sum / sizes if sizes > 0 else math.nan),
    )
