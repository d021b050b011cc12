"""How much could be lost: volatility, value at risk, drawdown, dependence, and whether the forecasts held.

Pure functions on sequences or numpy arrays: no database, no clock. Losses are positive, returns are natural
logarithms, and what cannot be known is None, never 0. Annualised figures count 525,600 minutes a year.

`docs/risk.md` explains each figure. The functions here take complete columns. The modules hold their parts
for columns with NaN, where a minute's price is not known.
"""

from cryptometrics.risk.backtest import Backtest, evaluate, walk
from cryptometrics.risk.coverage_tests import (
    CoverageTest,
    TrafficLight,
    christoffersen,
    conditional_coverage,
    kupiec,
    traffic_light,
)
from cryptometrics.risk.dependence import beta, correlation
from cryptometrics.risk.drawdown import MaxDrawdown, max_drawdown
from cryptometrics.risk.tail_risk import METHODS, expected_shortfall, value_at_risk
from cryptometrics.risk.volatility import ESTIMATORS, jump_share, volatility

__all__ = [
    "ESTIMATORS",
    "METHODS",
    "Backtest",
    "CoverageTest",
    "MaxDrawdown",
    "TrafficLight",
    "beta",
    "christoffersen",
    "conditional_coverage",
    "correlation",
    "evaluate",
    "expected_shortfall",
    "jump_share",
    "kupiec",
    "max_drawdown",
    "traffic_light",
    "value_at_risk",
    "volatility",
    "walk",
]
