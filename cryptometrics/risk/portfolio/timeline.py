"""Which version of a portfolio is in force when, and the profit and loss of what was held meanwhile.

Cumulative profit and loss goes on across versions: each minute's change of price counts for the positions in
force at the end of the minute. So a deposit or a withdrawal is neither gain nor loss.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.risk.columns import known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from cryptometrics.risk.pair_minutes import RangeMinutes
    from cryptometrics.risk.portfolio.definition import Portfolio

MINUTE = timedelta(minutes=1)


class Effective(NamedTuple):
    """A version of a portfolio, and from when on it is in force until a later one is."""

    effective_at: datetime
    version: int
    portfolio: Portfolio | None
    """None: it was removed."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What was held within a range, between two of its closes."""

    first: int
    """The close that its profit and loss begins at; 0 is the close before the range."""
    last: int
    quantities: Mapping[str, float]
    """By pair. What counts as the currency has neither pair nor profit and loss."""


class Timeline:
    """The versions of one portfolio."""

    def __init__(self, versions: Iterable[Effective]) -> None:
        """Take all versions, in any order."""
        self._versions = sorted(versions, key=lambda each: (each.effective_at, each.version))
        self._starts = [each.effective_at for each in self._versions]

    def at(self, moment: datetime) -> Effective | None:
        """Return the version in force: the latest until then, of equal ones the newest; None before all."""
        place = bisect_right(self._starts, moment)
        return self._versions[place - 1] if place else None

    def within(self, since: datetime, until: datetime) -> Sequence[Effective]:
        """Return the versions that are in force at a moment after `since` and up to `until`, oldest first."""
        first = max(0, bisect_right(self._starts, since) - 1)
        return self._versions[first : bisect_right(self._starts, until)]

    def holdings(self, as_of: datetime, minutes: int) -> tuple[Holding, ...]:
        """Return what was held in the minutes of a range that ends at `as_of`, oldest first.

        Ends where another market or another currency begins: their profit and loss is not comparable.
        """
        found: list[Holding] = []
        last = minutes
        market = None
        for each in reversed(self.within(as_of - minutes * MINUTE, as_of)):
            portfolio = each.portfolio
            if portfolio is not None:
                its = portfolio.group, portfolio.venue, portfolio.currency
                market = market or its
                if its != market:
                    break
            # The first minute that ends while it is in force begins at this close.
            first = max(0, minutes - (as_of - each.effective_at) // MINUTE - 1)
            if first < last:
                found.append(Holding(first, last, quantities_by_pair(portfolio) if portfolio else {}))
                last = first
            if not last:
                break
        return tuple(reversed(found))


def quantities_by_pair(portfolio: Portfolio) -> dict[str, float]:
    """Return how much of each pair a portfolio holds: several assets may be priced by one pair."""
    found: defaultdict[str, float] = defaultdict(float)
    for position in portfolio.positions:
        pair = portfolio.pairs[position.asset]
        if pair is not None and position.quantity:
            found[pair] += float(position.quantity)
    return dict(found)


def drawdown_of_holdings(holdings: Sequence[Holding], ranges: Mapping[str, RangeMinutes]) -> float | None:
    """Return how far cumulative profit and loss is below its peak within a range, in money.

    At mid, by the closes of the minutes in which the prices of all that is held are known. Each holding
    begins with the profit and loss that the one before it ended with. None if no price of any is known.
    """
    gained = peak = 0.0
    is_known = False
    for held in holdings:
        if not held.quantities:
            is_known = True
            continue
        if any(pair not in ranges for pair in held.quantities):
            continue
        closes = [ranges[pair].closes[held.first : held.last + 1] for pair in held.quantities]
        path = known(np.column_stack(closes) @ np.array(list(held.quantities.values())))
        if len(path):
            is_known = True
            peak = max(peak, gained + float(path.max() - path[0]))
            gained += float(path[-1] - path[0])
    return peak - gained if is_known else None
