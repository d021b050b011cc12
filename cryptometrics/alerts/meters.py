"""Meters: what a rule measures on each tick, and the state it needs for that. Pure.

A value is in the unit of the rule's kind. The state is small and of a fixed size, because it is stored with
every batch that changes it: moves and shares are measured in buckets of a twentieth of `within`.
"""

from __future__ import annotations

import abc
import decimal
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptometrics.times import EPOCH, MICROSECOND

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from cryptometrics.alerts.observed_ticks import Quote, TickRun

BUCKETS = 20
"""Buckets that `within` is divided into; the last 20 count, including the one that is still open."""
SURELY, UNSURE = 1 - 1e-9, 1e-12
"""Margins for floats, far above their error: a billionth of a value, 10^-12 of a ratio near 1."""
ZERO, HUNDRED, TEN_THOUSAND = Decimal(0), Decimal(100), Decimal(10_000)
# Values are ratios: 28 digits are more than enough to compare them with a level of 18.
_ratio = decimal.Context(prec=28, traps=[decimal.InvalidOperation, decimal.DivisionByZero])


class Prices(NamedTuple):
    """The two prices that a value compares, for people."""

    first: Decimal
    second: Decimal

    @property
    def change(self) -> Decimal:
        """Return the change from the first to the second in percent."""
        return _ratio.multiply(_ratio.divide(_ratio.subtract(self.second, self.first), self.first), HUNDRED)


class Meter(abc.ABC):
    """Measures one rule on one pair. Without state, unless a subclass adds it."""

    @abc.abstractmethod
    def measure(self, quote: Quote) -> Decimal:
        """Return the value at this tick."""

    @abc.abstractmethod
    def prices(self, quote: Quote) -> Prices:
        """Return the prices that the value of this tick compares; the tick has just been measured."""

    @abc.abstractmethod
    def stays_below(self, run: TickRun, level: float) -> bool:
        """Return whether surely no value of these ticks exceeds the level; change nothing."""

    def skip(self, run: TickRun) -> None:  # noqa: B027  (most meters have no state)
        """Bring the state past ticks that stay below the level."""

    def resolved(self, quote: Quote) -> None:  # noqa: B027
        """Adjust the state to an alert that resolved at this tick."""

    def rewind(self, at: datetime) -> None:  # noqa: B027
        """Drop the state from `at` on."""

    def state(self) -> Any:
        """Return the state as JSON values, None if there is none."""
        return None

    def restore(self, state: Any) -> None:  # noqa: B027
        """Continue from the state of an earlier meter of the same rule."""


class Spread(Meter):
    """The spread in basis points of the mid price: 10,000 · (ask − bid) / mid."""

    def measure(self, quote: Quote) -> Decimal:
        """Return the spread of the tick in basis points."""
        return _ratio.divide(_ratio.multiply(quote.spread, TEN_THOUSAND), quote.mid)

    def prices(self, quote: Quote) -> Prices:
        """Return bid and ask."""
        return Prices(quote.bid, quote.ask)

    def stays_below(self, run: TickRun, level: float) -> bool:
        """Return whether the widest spread is surely below the level."""
        return run.widest < level * SURELY


class MidMove(Meter):
    """Distance of the mid price, in percent, from its lowest or highest within the time: the larger one."""

    def __init__(self, within: timedelta) -> None:
        self._width = within / BUCKETS
        self._buckets: deque[tuple[int, Decimal, Decimal]] = deque()
        """Number of the bucket since 1970, and the lowest and highest mid price in it."""
        self._low = self._high = self._middle = ZERO
        self._until = EPOCH
        """End of the newest bucket."""

    def measure(self, quote: Quote) -> Decimal:
        """Return the larger of rise and fall in percent; never negative."""
        mid, buckets = quote.mid, self._buckets
        if quote.time >= self._until:
            number = (quote.time - EPOCH) // self._width
            buckets.append((number, mid, mid))
            while buckets[0][0] <= number - BUCKETS:
                buckets.popleft()
            self._update_extremes()
        elif mid < (last := buckets[-1])[1] or mid > last[2]:
            buckets[-1] = last[0], min(last[1], mid), max(last[2], mid)
            self._update_extremes()
        if mid > self._middle:
            return _ratio.multiply(_ratio.divide(_ratio.subtract(mid, self._low), self._low), HUNDRED)
        return _ratio.multiply(_ratio.divide(_ratio.subtract(self._high, mid), self._high), HUNDRED)

    def prices(self, quote: Quote) -> Prices:
        """Return the extreme from which the move is measured, and the mid price."""
        return Prices(self._low if quote.mid > self._middle else self._high, quote.mid)

    def stays_below(self, run: TickRun, level: float) -> bool:
        """Return whether even the lowest and the highest of all are closer than the level."""
        buckets = [*self._buckets, *run.mids(self._width // MICROSECOND)]
        low, high = min(bucket[1] for bucket in buckets), max(bucket[2] for bucket in buckets)
        return float(high) / float(low) - 1 < level / 100 * SURELY - UNSURE

    def skip(self, run: TickRun) -> None:
        """Add the lowest and highest mid price of each bucket."""
        buckets = self._buckets
        for number, low, high in run.mids(self._width // MICROSECOND):
            if buckets and buckets[-1][0] == number:
                buckets[-1] = number, min(buckets[-1][1], low), max(buckets[-1][2], high)
            else:
                buckets.append((number, low, high))
        while buckets[0][0] <= buckets[-1][0] - BUCKETS:
            buckets.popleft()
        self._update_extremes()

    def _update_extremes(self) -> None:
        """Compute what stays valid until a bucket changes."""
        low, high = min(bucket[1] for bucket in self._buckets), max(bucket[2] for bucket in self._buckets)
        self._low, self._high = low, high
        # The rise from the lowest equals the fall from the highest at their harmonic mean.
        product, total = _ratio.multiply(low, high), _ratio.add(low, high)
        self._middle = _ratio.divide(_ratio.add(product, product), total)
        self._until = EPOCH + (self._buckets[-1][0] + 1) * self._width

    def rewind(self, at: datetime) -> None:
        """Drop the bucket of `at` and all later ones."""
        number = (at - EPOCH) // self._width
        self.restore([[n, str(low), str(high)] for n, low, high in self._buckets if n < number] or None)

    def state(self) -> list[list[Any]] | None:
        """Return the buckets."""
        return [[number, str(low), str(high)] for number, low, high in self._buckets] or None

    def restore(self, state: Any) -> None:
        """Load the buckets."""
        self._buckets = deque((number, Decimal(low), Decimal(high)) for number, low, high in state or ())
        self._until = EPOCH
        if self._buckets:
            self._update_extremes()


class SessionExtreme(Meter):
    """Distance, in percent, of a bid above the session's high, or of an ask below its low.

    The reference is the extreme at the session's first tick, and after each alert the extreme at which that
    alert resolved. With the newest extreme as reference, a rise in small steps would never show.
    """

    def __init__(self, *, high: bool) -> None:
        self._high = high
        self._session = ""
        self._reference = ZERO

    def measure(self, quote: Quote) -> Decimal:
        """Return the distance beyond the reference in percent, 0 if the price is not beyond it."""
        if quote.session != self._session:
            self._session = quote.session
            self.resolved(quote)
            return ZERO
        above, below = (quote.bid, self._reference) if self._high else (self._reference, quote.ask)
        beyond = _ratio.subtract(above, below)
        if beyond <= 0:
            return ZERO
        return _ratio.multiply(_ratio.divide(beyond, self._reference), HUNDRED)

    def prices(self, quote: Quote) -> Prices:
        """Return the reference, and the bid or ask that is compared with it."""
        return Prices(self._reference, quote.bid if self._high else quote.ask)

    def stays_below(self, run: TickRun, level: float) -> bool:
        """Return whether the session is known and no price goes as far beyond the reference as the level."""
        if run.session != self._session:
            return False
        reference = float(self._reference)
        if self._high:
            return run.highest_bid / reference - 1 < level / 100 * SURELY - UNSURE
        return 1 - run.lowest_ask / reference < level / 100 * SURELY - UNSURE

    def resolved(self, quote: Quote) -> None:
        """Make the session's current extreme the reference."""
        self._reference = quote.highest_bid if self._high else quote.lowest_ask

    def state(self) -> list[str] | None:
        """Return the session and its reference."""
        return [self._session, str(self._reference)] if self._session else None

    def restore(self, state: Any) -> None:
        """Load the session and its reference."""
        if state:
            self._session, self._reference = state[0], Decimal(state[1])


class RejectedShare:
    """Share of the records within the time that were rejected, in percent."""

    def __init__(self, within: timedelta, min_records: int) -> None:
        self._width = within / BUCKETS
        self._min_records = min_records
        self._buckets: deque[list[int]] = deque()
        """Number of the bucket since 1970, its records, and how many of them were rejected."""
        self._records = self._rejected = 0
        self._until = EPOCH
        """End of the newest bucket."""

    def count(self, at: datetime, *, rejected: bool) -> Decimal:
        """Add a record and return the share; 0 while there are too few records."""
        buckets = self._buckets
        if at >= self._until:
            number = (at - EPOCH) // self._width
            self._until = EPOCH + (number + 1) * self._width
            buckets.append([number, 0, 0])
            while buckets[0][0] <= number - BUCKETS:
                _, old_records, old_rejected = buckets.popleft()
                self._records -= old_records
                self._rejected -= old_rejected
        buckets[-1][1] += 1
        self._records += 1
        if rejected:
            buckets[-1][2] += 1
            self._rejected += 1
        if not self._rejected or self._records < self._min_records:
            return ZERO
        return _ratio.divide(Decimal(100 * self._rejected), Decimal(self._records))

    def rewind(self, at: datetime) -> None:
        """Drop the bucket of `at` and all later ones."""
        number = (at - EPOCH) // self._width
        self.restore([bucket for bucket in self._buckets if bucket[0] < number])

    def state(self) -> list[list[int]] | None:
        """Return the buckets."""
        return [list(bucket) for bucket in self._buckets] or None

    def restore(self, state: Any) -> None:
        """Load the buckets."""
        self._buckets = deque(list(bucket) for bucket in state or ())
        self._until = EPOCH + (self._buckets[-1][0] + 1) * self._width if self._buckets else EPOCH
        self._records = sum(bucket[1] for bucket in self._buckets)
        self._rejected = sum(bucket[2] for bucket in self._buckets)
