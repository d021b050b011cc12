"""Compute the risk of a portfolio from minutes again, by formulas that differ from those that wrote it. Pure.

Quantiles come from numpy, variances with falling weights from cumulative sums in blocks, the parts of the
normal method from the matrix of covariances, those of the modified one from differences of the whole.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LOOK_BACK = 1440
"""Minutes before a range that its figures may use."""
_YEAR = 525_600
_DECAY = 0.5 ** (1 / 60)
_START = 88
"""The first variance is the mean of 1/(1 − λ) squared returns, rounded up."""
_BLOCK = 1000
"""Steps of one cumulative sum: the weights of more would leave the range of floats."""
_STEP = 1e-4
"""Relative change of a position by which the modified method's parts are measured."""
_CLOSE = 1e-9


class TailFigures(NamedTuple):
    """Losses in money, of the whole and of each position."""

    value_at_risk: float
    expected_shortfall: float
    alone: Sequence[float]
    components: Sequence[float] | None
    """None where scenarios are tied, so that any of them may be that of the quantile."""


class PairMinutesAgain:
    """The closes of a pair's minutes, with `before` unknown ones in front."""

    def __init__(self, before: int, close: Floats, quiet: NDArray[np.bool_]) -> None:
        """Take closes, NaN without a price of its own; quiet: the feed was heard, so perhaps it is empty."""
        self._before = before
        close = np.concatenate([np.full(before, np.nan), close])
        quiet = np.concatenate([np.zeros(before, dtype=np.bool_), quiet])
        self._priced = np.isfinite(close)
        self._source = np.full(len(close), -1)
        source = -1
        for minute, (has_price, was_heard) in enumerate(
            zip(self._priced.tolist(), quiet.tolist(), strict=True)
        ):
            source = minute if has_price else source if was_heard else -1
            self._source[minute] = source
        self._close = np.where(self._source >= 0, close[self._source], np.nan)

    def closes(self, end: int, length: int) -> Floats:
        """Return the closes of a range before the minute of index `end`, and of the day before it."""
        end += self._before
        oldest = end - length - LOOK_BACK
        return np.where(self._source[oldest:end] >= oldest, self._close[oldest:end], np.nan)

    def priced(self, end: int, length: int) -> int:
        """Return how many of these minutes have a price of their own."""
        end += self._before
        return int(np.count_nonzero(self._priced[end - length - LOOK_BACK : end]))


def volatility(closes: Floats, length: int) -> float | None:
    """Return the realized volatility of the newest `length` minutes."""
    found = np.diff(np.log(closes[-length - 1 :]))
    found = found[np.isfinite(found)]
    return math.sqrt(_YEAR * float(np.dot(found, found)) / len(found)) if len(found) > 1 else None


def tail_figures(
    closes: Sequence[Floats],
    exposures: Sequence[float],
    *,
    length: int,
    horizon: int,
    confidence: float,
    method: str,
) -> TailFigures | None:
    """Return the risk of exposures, each to the pair of its closes; None if it cannot be known."""
    if not exposures:
        return TailFigures(0.0, 0.0, [], [])
    q = round(1 - confidence, 12) or 1 - confidence
    held = np.array(exposures)
    columns = np.array(closes).T
    if method == "historical":
        logs = np.log(columns[-length - 1 :])
        returns = logs[horizon:] - logs[:-horizon]
        whole = np.isfinite(returns).all(axis=1)
        return _of_gains(np.expm1(returns[whole]) * held, q) if _apart(whole, horizon) >= _least(q) else None
    returns = np.diff(np.log(columns), axis=0)
    whole = np.isfinite(returns).all(axis=1)
    earlier, within = returns[:-length][whole[:-length]], returns[-length:][whole[-length:]]
    if method == "filtered":
        scaled = _at_newest_variance(np.concatenate([earlier[-_START:], within]))
        if len(scaled) < _least(q):
            return None
        mean = scaled.mean(axis=0)
        spread = np.where(np.ptp(scaled, axis=0) > 0, scaled - mean, 0)
        return _of_gains(np.expm1(horizon * mean + math.sqrt(horizon) * spread) * held, q)
    if len(within) < 2:
        return None
    return _of_moments(within * held, q, horizon, method)


def _least(q: float) -> int:
    return math.ceil(round(1 / q, 6))


def _apart(known: NDArray[np.bool_], step: int) -> int:
    count, free = 0, 0
    for place, is_known in enumerate(known.tolist()):
        if is_known and place >= free:
            count, free = count + 1, place + step
    return count


def _at_newest_variance(returns: Floats) -> Floats:
    """Return the returns after the start window at the newest variance, where all have a scale."""
    if len(returns) <= _START:
        return returns[:0]
    squares, later = returns[:_START] ** 2, returns[_START:] ** 2
    variances = [squares.mean(axis=0)[None, :]]
    for first in range(0, len(later), _BLOCK):
        block = later[first : first + _BLOCK]
        weights = _DECAY ** np.arange(1, len(block) + 1)[:, None]
        sums = np.cumsum((1 - _DECAY) * block / weights, axis=0)
        variances.append(weights * (variances[-1][-1] + sums))
    variance = np.concatenate(variances)
    moves = returns.any(axis=0)
    has_scale = (variance[:-1][:, moves] > 0).all(axis=1)
    scaled = np.zeros((int(has_scale.sum()), returns.shape[1]))
    before = variance[:-1][has_scale][:, moves]
    scaled[:, moves] = returns[_START:][has_scale][:, moves] * np.sqrt(variance[-1][moves] / before)
    return scaled


def _of_gains(gains: Floats, q: float) -> TailFigures:
    total = gains.sum(axis=1)
    quantile, shortfall = _tail(total, q)
    order = np.argsort(total, kind="stable")
    place = (len(total) - 1) * q
    place = round(place) if abs(place - round(place)) < _CLOSE else place
    first = math.floor(place)
    around = total[order[max(0, first - 1) : first + 3]]
    components: list[float] | None = None
    if np.diff(around).min(initial=math.inf) > _CLOSE * np.abs(total).max():
        rest = place - first
        parts = gains[order[first]] * (1 - rest) + (gains[order[first + 1]] * rest if rest else 0)
        components = [-float(part) for part in parts]
    return TailFigures(-quantile, -shortfall, [-_tail(gain, q)[0] for gain in gains.T], components)


def _tail(gains: Floats, q: float) -> tuple[float, float]:
    """Return a quantile of gains and the mean of those that are not above it."""
    quantile = float(np.quantile(gains, q))
    not_above = gains <= quantile + _CLOSE * max(abs(quantile), 1e-12)
    return quantile, float(gains[not_above].mean())


def _of_moments(parts: Floats, q: float, horizon: int, method: str) -> TailFigures:
    of_method = _normal if method == "normal" else _modified
    at_risk, shortfall = of_method(parts.sum(axis=1), q, horizon)
    alone = [of_method(part, q, horizon)[0] for part in parts.T]
    if method == "normal":
        covariance = np.atleast_2d(np.cov(parts.T, bias=True))
        deviation = math.sqrt(max(0.0, float(covariance.sum())))
        slopes = covariance.sum(axis=1) / deviation if deviation else np.zeros(len(covariance))
        z = NormalDist().inv_cdf(q)
        found = -(horizon * parts.mean(axis=0) + z * math.sqrt(horizon) * slopes)
        return TailFigures(at_risk, shortfall, alone, found.tolist())
    return TailFigures(at_risk, shortfall, alone, _slopes(parts, lambda p: _modified(p, q, horizon)[0]))


def _slopes(parts: Floats, value_at_risk: Callable[[Floats], float]) -> list[float]:
    """Return by how much the whole grows with each position, in proportion to the position."""
    total = parts.sum(axis=1)
    return [
        (value_at_risk(total + _STEP * part) - value_at_risk(total - _STEP * part)) / (2 * _STEP)
        for part in parts.T
    ]


def _normal(gains: Floats, q: float, horizon: int) -> tuple[float, float]:
    mean, deviation = horizon * float(gains.mean()), math.sqrt(horizon) * float(gains.std())
    bell = NormalDist()
    z = bell.inv_cdf(q)
    return -mean - z * deviation, -mean + deviation * bell.pdf(z) / q


def _modified(gains: Floats, q: float, horizon: int) -> tuple[float, float]:
    mean, deviation = horizon * float(gains.mean()), math.sqrt(horizon) * float(gains.std())
    bell = NormalDist()
    z = bell.inv_cdf(q)
    skew = excess = 0.0
    if np.ptp(gains):
        unit = (gains - gains.mean()) / gains.std()
        skew, excess = float((unit**3).mean()), float((unit**4).mean()) - 3
    else:
        deviation = 0.0
    x = z + (z * z - 1) * skew / 6 + z * (z * z - 3) * excess / 24 - z * (2 * z * z - 5) * skew**2 / 36
    tail = 1 + x**3 * skew / 6 + (x**6 - 9 * x**4 + 9 * x**2 + 3) * skew**2 / 72
    tail += (x**4 - 2 * x**2 - 1) * excess / 24
    return -mean - x * deviation, -mean - deviation * min(-bell.pdf(x) * tail / q, x)
