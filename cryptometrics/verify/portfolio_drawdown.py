"""Compute the drawdown of a portfolio's cumulative profit and loss again, minute by minute."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.portfolio_minutes import MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptometrics.verify.portfolio_figures import Floats
    from cryptometrics.verify.portfolio_minutes import PortfolioMinutes, Version


def drawdown_again(
    versions: Sequence[Version], version: Version, as_of: datetime, length: int, minutes: PortfolioMinutes
) -> float | None:
    """Return how far the sum of all changes in worth is below its peak, minute by minute.

    Each change counts for the version in force at the end of its minute. From one minute to the next in which
    all prices are known, so that a price in between need not be.
    """
    market = version.group, version.venue, version.currency
    gained = peak = 0.0
    is_known = False
    present: Version | None = None
    worth: Floats | None = None
    last: float | None = None
    for place in range(1, length + 1):
        end = as_of - (length - place) * MINUTE
        found: Version | None = next((each for each in reversed(versions) if each.effective_at <= end), None)
        if found is None:
            continue
        if found.definition is not None and (found.group, found.venue, found.currency) != market:
            gained, peak, is_known, present = 0.0, 0.0, False, None
            continue
        if present is not found:
            present, last = found, None
            worth = _worth(found, as_of, length, minutes)
            if worth is not None and math.isfinite(worth[place - 1]):
                last, is_known = worth[place - 1], True
        if worth is None:
            is_known = is_known or not _held(found)
            continue
        if math.isfinite(worth[place]):
            if last is not None:
                gained += worth[place] - last
                peak = max(peak, gained)
            last, is_known = worth[place], True
    return peak - gained if is_known else None


def _held(version: Version) -> dict[str, float]:
    definition = version.definition
    found: dict[str, float] = {}
    for each in definition["positions"] if definition else ():
        pair = definition["pairs"][each["asset"]] if definition else None
        if pair is not None and Decimal(each["quantity"]):
            found[pair] = found.get(pair, 0.0) + float(each["quantity"])
    return found


def _worth(version: Version, as_of: datetime, length: int, minutes: PortfolioMinutes) -> Floats | None:
    """Return the worth of a version's holdings at each close of a range; None if it cannot be known."""
    held = _held(version)
    if not held or not all(minutes.has(pair, as_of) for pair in held):
        return None
    worth = np.zeros(length + 1)
    for pair, quantity in held.items():
        worth += quantity * minutes.closes(pair, as_of, length)[-length - 1 :]
    return worth
