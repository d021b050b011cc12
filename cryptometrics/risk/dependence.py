"""Measure how two series of returns move together.

Both need returns on a common grid. On a fine grid, correlation is understated: trades of two pairs do not
come at the same moments (Epps 1979). Grids of five minutes are the default of the commands.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.risk.columns import all_finite, column, deviations, finite_or_none, require_equal_length

if TYPE_CHECKING:
    from cryptometrics.risk.columns import Column, Numbers

MIN_RETURNS = 2
"""The fewest pairs of returns. Two always give a correlation of 1 or −1: show the count beside it."""


def correlation(a: Numbers, b: Numbers) -> float | None:
    """Return the correlation of two columns of returns, from −1 to 1 and without a unit.

    Formula: Σ(a − ā)(b − b̄) / √(Σ(a − ā)² · Σ(b − b̄)²). Source: Pearson 1895.

    None for fewer than two returns, if one is missing or not finite, and if a column does not vary. Raises
    ValueError for columns of unequal length.
    """
    return correlation_of_known(*columns) if (columns := _complete(a, b)) else None


def beta(a: Numbers, b: Numbers) -> float | None:
    """Return the beta of returns a to returns b: the move of a, in its unit, that goes with one unit of b.

    Formula: cov(a, b) / var(b), which is the slope of the regression of a on b. Source: Sharpe 1964.

    None and ValueError as in `correlation`; a need not vary.
    """
    return beta_of_known(*columns) if (columns := _complete(a, b)) else None


def _complete(a: Numbers, b: Numbers) -> tuple[Column, Column] | None:
    columns = column(a, "a"), column(b, "b")
    require_equal_length(a=columns[0], b=columns[1])
    return columns if all_finite(*columns) else None


def correlation_of_known(a: Column, b: Column) -> float | None:
    """Return the correlation over the places where both columns are known."""
    a, b = _deviations(a, b)
    size = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    if not size:
        return None
    found = finite_or_none(float(a @ b) / size)
    return None if found is None else max(-1.0, min(1.0, found))  # rounding may exceed the bounds


def beta_of_known(a: Column, b: Column) -> float | None:
    """Return the beta over the places where both columns are known."""
    a, b = _deviations(a, b)
    variance = float(b @ b)
    return finite_or_none(float(a @ b) / variance) if variance else None


def _deviations(a: Column, b: Column) -> tuple[Column, Column]:
    """Return both less their means, where both are known; nothing for fewer than two pairs."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < MIN_RETURNS:
        return np.empty(0), np.empty(0)
    return deviations(a[both]), deviations(b[both])
