"""Minutes of one pair, made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk.minutes import Bars
from cryptometrics.risk.pair_minutes import PairMinutes

if TYPE_CHECKING:
    from collections.abc import Sequence


def pair_minutes(close: Sequence[float], labels: str = "") -> PairMinutes:
    """Return minutes whose four prices are the close, a tick in each that has one.

    labels: a letter a minute, `v`erified (the default), `g`ap, `u`nverified.
    """
    prices = np.array(close, dtype=np.float64)
    of = np.array(list(labels or "v" * len(prices)))
    return PairMinutes(
        Bars(prices, prices, prices, prices),
        np.isfinite(prices).astype(np.int64),
        of == "v",
        of == "g",
        of == "u",
    )


def random_minutes(count: int, seed: int = 19, scale: float = 0.001) -> PairMinutes:
    """Return minutes with ticks whose closes are a random walk and whose opens are the closes before."""
    generator = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(generator.normal(0, scale, count)))
    open_ = np.concatenate([[100.0], close[:-1]])
    spread = np.exp(np.abs(generator.normal(0, scale / 2, (2, count))))
    high, low = np.maximum(open_, close) * spread[0], np.minimum(open_, close) / spread[1]
    no = np.zeros(count, dtype=np.bool_)
    return PairMinutes(Bars(open_, high, low, close), np.full(count, 3), ~no, no, no)
