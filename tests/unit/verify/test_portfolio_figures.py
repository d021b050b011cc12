"""The second calculation of a portfolio's risk gives what the first one does."""

from __future__ import annotations

import numpy as np
import pytest

from cryptometrics.risk.figures import FigureSettings
from cryptometrics.risk.minutes import Bars
from cryptometrics.risk.pair_minutes import PairMinutes, cut_to_range
from cryptometrics.risk.portfolio.tail_risk import TooFewScenariosError, portfolio_tail_risk
from cryptometrics.risk.tail_risk import METHODS, Method
from cryptometrics.verify.portfolio_figures import PairMinutesAgain, tail_figures, volatility

LENGTH = 1440
EXPOSURES = [700_000.0, -300_000.0, 50_000.0]


def minutes(pair: int, count: int, *, missing: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Return closes of a walk, some of them unknown, and whether the feed was heard."""
    random = np.random.default_rng(pair)
    close = 100 * np.exp(np.cumsum(random.standard_t(3, count) * 1e-4))
    close[random.random(count) < missing] = np.nan
    return close, random.random(count) < 0.7


@pytest.mark.parametrize("count", [400, 1441, 3000])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("horizon", "confidence"), [(1, 0.99), (60, 0.95), (10, 0.975)])
def test_every_method_agrees(method: Method, count: int, horizon: int, confidence: float) -> None:
    columns = [minutes(pair, count) for pair in range(3)]
    no = np.zeros(count, dtype=np.bool_)
    ranges = [
        cut_to_range(
            PairMinutes(Bars(close, close, close, close), np.isfinite(close).astype(np.int64), heard, no, no),
            LENGTH,
        )
        for close, heard in columns
    ]
    again = [PairMinutesAgain(LENGTH + 1440, *column).closes(count, LENGTH) for column in columns]
    found = tail_figures(
        again, EXPOSURES, length=LENGTH, horizon=horizon, confidence=confidence, method=method
    )
    try:
        first = portfolio_tail_risk(np.array(EXPOSURES), ranges, FigureSettings(confidence, horizon, method))
    except TooFewScenariosError:
        assert found is None
        return
    assert found is not None
    assert found.value_at_risk == pytest.approx(first.value_at_risk, rel=1e-9)
    assert found.expected_shortfall == pytest.approx(first.expected_shortfall, rel=1e-9)
    assert found.alone == pytest.approx(list(first.alone), rel=1e-9)
    assert found.components is not None
    scale = 1e-5 if method == "modified" else 1e-9
    assert found.components == pytest.approx(list(first.components), abs=scale * first.value_at_risk)


def test_a_price_that_never_moved_loses_nothing() -> None:
    moving = minutes(1, 2000, missing=0)[0]
    flat = np.full(2000, 5.0)
    quiet = np.zeros(2000, dtype=np.bool_)
    again = [PairMinutesAgain(2880, close, quiet).closes(2000, LENGTH) for close in (moving, flat)]
    found = tail_figures(
        again, [1000.0, 1000.0], length=LENGTH, horizon=60, confidence=0.99, method="filtered"
    )
    assert found is not None
    assert found.alone[1] == 0
    assert found.components is not None
    assert found.components[1] == 0
    assert volatility(again[1], LENGTH) == 0


def test_nothing_held_risks_nothing() -> None:
    found = tail_figures([], [], length=LENGTH, horizon=60, confidence=0.99, method="filtered")
    assert found == (0, 0, [], [])
