"""Value at risk and expected shortfall over a horizon of minutes, from the closes of a range.

`historical` uses overlapping returns over the horizon and needs at least 1/(1 − p) that do not overlap. The
other methods take one-minute returns and scale them: mean by h, dispersion by √h. That understates when
returns trend. With the defaults (24 hours, 1 hour, 0.99), `filtered` gives a number and `historical` none.
"""

from __future__ import annotations

import numpy as np

from cryptometrics.risk import ewma
from cryptometrics.risk.columns import Column, known, require_confidence
from cryptometrics.risk.minutes import count_apart, log_returns
from cryptometrics.risk.tail_risk import Method, TailRisk, min_quantile_returns, tail_risk


def tail_risk_of_minutes(
    close: Column,
    confidence: float,
    *,
    horizon: int,
    method: Method,
    decay: float = ewma.RISKMETRICS_DECAY,
    before: int = 0,
) -> TailRisk | None:
    """Return both figures for the next `horizon` minutes, None if the range has too few returns.

    `close` has one close a minute, NaN where it is not known. The first of them only begins the first
    return. The first `before` returns lie before the range: only the start window of `filtered` uses them,
    so that the range itself is left whole.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least one minute, not {horizon}")
    if method == "historical":
        returns = log_returns(close[before:], horizon)
        if count_apart(np.isfinite(returns), horizon) < min_quantile_returns(require_confidence(confidence)):
            return None
        return tail_risk(known(returns), confidence, method=method)
    returns = log_returns(close)
    used = with_start_window(returns, before, decay) if method == "filtered" else known(returns[before:])
    return tail_risk(used, confidence, method=method, decay=decay, horizon=horizon)


def with_start_window(returns: Column, before: int, decay: float) -> Column:
    """Return the known returns of a range, behind as many before it as the start window of `ewma` takes.

    The first `before` returns lie before the range. If they are too few, the window ends in the range.
    """
    earlier = known(returns[:before])[-ewma.start_window(decay) :]
    return np.concatenate([earlier, known(returns[before:])])
