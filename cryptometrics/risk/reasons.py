"""Say why a figure of a pair is None, in a few words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk import ewma
from cryptometrics.risk.columns import known, require_confidence
from cryptometrics.risk.horizon import with_start_window
from cryptometrics.risk.minutes import count_apart, log_returns
from cryptometrics.risk.tail_risk import min_quantile_returns
from cryptometrics.risk.volatility import MIN_RETURNS

if TYPE_CHECKING:
    from cryptometrics.risk.figures import FigureSettings, PairFigures
    from cryptometrics.risk.pair_minutes import RangeMinutes
    from cryptometrics.risk.volatility import Estimator

NO_PRICE = "no minute of the range has a price"
NO_MOVE = "the price did not move"
DRAWDOWNS = ("drawdown", "max_drawdown", "max_drawdown_peak_at", "max_drawdown_trough_at")


def reasons(ranged: RangeMinutes, settings: FigureSettings, figures: PairFigures) -> dict[str, str]:
    """Return the reason for each figure that is None, by its name; an estimator's is `volatility.NAME`."""
    core = figures.core
    found = {
        f"volatility.{estimator}": _no_volatility(ranged, settings, estimator)
        for estimator, value in figures.volatility.items()
        if value is None
    }
    if figures.jump_share is None:
        still = figures.volatility["realized"] == 0
        found["jump_share"] = NO_MOVE if still else _no_volatility(ranged, settings, "bipower")
    if figures.return_1h is None:
        found["return_1h"] = _no_return(ranged, 1)
    if figures.return_24h is None:
        found["return_24h"] = _no_return(ranged, 24)
    if core.value_at_risk is None:
        found |= dict.fromkeys(("value_at_risk", "expected_shortfall"), _no_tail_risk(ranged, settings))
    if core.max_drawdown is None:
        found |= dict.fromkeys(DRAWDOWNS, NO_PRICE)
    return found


def no_correlation(returns: int, bar: int) -> str:
    """Return why two pairs have no correlation, although both have minutes."""
    if returns < MIN_RETURNS:
        return too_few(MIN_RETURNS, returns, f"common returns over {bar} min")
    return NO_MOVE


def _no_volatility(ranged: RangeMinutes, settings: FigureSettings, estimator: Estimator) -> str:
    returns = known(ranged.range_returns)
    match estimator:
        case "close" | "realized":
            return too_few(MIN_RETURNS, len(returns), "returns")
        case "bipower":
            return "no two neighbouring returns are known"
        case "yang_zhang":
            return too_few(MIN_RETURNS, len(returns), "bars with a close before them")
        case "ewma":
            found = with_start_window(ranged.returns, ranged.before - 1, settings.decay)
            return too_few(ewma.start_window(settings.decay), len(found), "returns")
        case _:
            priced = np.isfinite(ranged.range_bars.close).any()
            return "the estimate of the variance is negative" if priced else NO_PRICE


def _no_return(ranged: RangeMinutes, hours: int) -> str:
    if not np.isfinite(ranged.bars.close[-1]):
        return "the price at as_of is not known"
    return f"the price {hours} h before as_of is not known"


def _no_tail_risk(ranged: RangeMinutes, settings: FigureSettings) -> str:
    needed = min_quantile_returns(require_confidence(settings.confidence))
    match settings.method:
        case "historical":
            known_returns = np.isfinite(log_returns(ranged.closes, settings.horizon))
            apart = count_apart(known_returns, settings.horizon)
            return too_few(needed, apart, f"returns over {settings.horizon} min that do not overlap")
        case "filtered":
            returns = with_start_window(ranged.returns, ranged.before - 1, settings.decay)
            scaled = ewma.rescaled(returns, settings.decay)
            window = ewma.start_window(settings.decay)
            return too_few(needed, len(scaled), f"returns after a start window of {window}")
        case _:
            return too_few(MIN_RETURNS, len(known(ranged.range_returns)), "returns")


def too_few(needed: int, found: int, of_what: str) -> str:
    """Return that there are fewer of something than a figure needs."""
    return f"{needed:,} {of_what} are needed, there {'is' if found == 1 else 'are'} {found:,}"
