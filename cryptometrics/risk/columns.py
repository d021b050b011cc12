"""Turn inputs into columns of floats, and reduce them without surprises. NaN marks what is not known.

Statistics are floats, unlike prices and sums elsewhere in the package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Column: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = Sequence[float | Decimal | None] | NDArray[Any]
"""What the public functions take: any sequence or array of one dimension. None counts as NaN."""


def column(values: Numbers, name: str) -> Column:
    """Return values as a column of floats, None as NaN.

    Raises ValueError, which names the argument, unless they are numbers in one dimension.
    """
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers: {error}") from None
    if numbers.ndim != 1:
        raise ValueError(f"{name} must have one dimension, not {numbers.ndim}")
    return numbers


def prices(values: Numbers, name: str) -> Column:
    """Return prices as a column. Raises ValueError if one of them is not positive."""
    numbers = column(values, name)
    if (numbers <= 0).any():
        raise ValueError(f"{name} must be positive prices")
    return numbers


def require_equal_length(**columns: Column) -> None:
    """Raise ValueError unless all columns are equally long."""
    if len({len(numbers) for numbers in columns.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(numbers)}" for name, numbers in columns.items())
        raise ValueError(f"the columns must be equally long: {lengths}")


def require_confidence(confidence: float) -> float:
    """Return q = 1 − confidence, the share of losses beyond the value at risk.

    Rounded to 12 places, so that 1 − 0.9 is 0.1. Raises ValueError outside of (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, both excluded, not {confidence}")
    return round(1 - confidence, 12) or 1 - confidence


def require_positive(value: float, name: str) -> None:
    """Raise ValueError unless a value is a positive, finite number."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, not {value}")


def known(numbers: Column) -> Column:
    """Return the finite values of a column, in order."""
    finite = np.isfinite(numbers)
    return numbers if finite.all() else numbers[finite]


def all_finite(*columns: Column) -> bool:
    """Return whether no value of the columns is NaN or infinite."""
    return all(bool(np.isfinite(numbers).all()) for numbers in columns)


def finite_or_none(value: float) -> float | None:
    """Return a figure as a float, or None if it is not finite."""
    return float(value) if math.isfinite(value) else None


def root_or_none(value: float) -> float | None:
    """Return a square root, or None if there is none."""
    return math.sqrt(value) if math.isfinite(value) and value >= 0 else None


def deviations(numbers: Column) -> Column:
    """Return numbers less their mean; exact zeros if all are equal, whatever the rounding of the mean."""
    if len(numbers) and numbers.max() == numbers.min():
        return np.zeros(len(numbers))
    from_mean: Column = numbers - numbers.mean()
    return from_mean


def sample_variance(numbers: Column) -> float:
    """Return the variance with the divisor n − 1, NaN for fewer than two numbers."""
    if len(numbers) < 2:
        return math.nan
    return float(np.square(deviations(numbers)).sum()) / (len(numbers) - 1)
