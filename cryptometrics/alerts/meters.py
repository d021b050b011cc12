"""What a rule measures on a tick, with what it has to remember for that. Pure.

A value is in the unit of the rule's kind. What is remembered is small and of a fixed size, as it is stored
with every batch that changes it: moves and shares are measured in twentieths of their time.
"""

from __future__ import annotations

import decimal
from collections import deque
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from cryptometrics.alerts.rules import Rule

STEPS = 20
"""Parts of the time that a move or a share is measured over; the last 20 count, the one begun included."""
SURELY, UNSURE = 1 - 1e-9, 1e-12
"""What floats lose at most is far less: of a value a billionth, of a ratio near 1 a million millionth."""
ZERO, HUNDRED, TEN_THOUSAND = Decimal(0), Decimal(100), Decimal(10_000)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Values are ratios: 28 digits of them are more than enough to compare with a level of 18.
_ratio = decimal.Context(prec=28, traps=[decimal.InvalidOperation, decimal.DivisionByZero])


class Quote(NamedTuple):
    """A tick as the rules see it, after its session was brought forward by it; prices as in `metrics`."""

    pair: str
    time: datetime
    bid: Decimal
    ask: Decimal
    mid: Decimal
    spread: Decimal
    session: str
    highest_bid: Decimal
    lowest_ask: Decimal
    partition: int
    offset: int


class Run(Protocol):
    """Ticks of one pair and session in the order of the topic, and how far they go as floats can tell."""

    pair: str
    session: str

    @property
    def in_order(self) -> bool:
        """Whether none is older than one before it."""

    @property
    def first(self) -> datetime:
        """The time of the first."""

    @property
    def last(self) -> datetime:
        """The time of the last."""

    @property
    def widest(self) -> float:
        """The largest spread, in bps."""

    @property
    def highest_bid(self) -> float:
        """The highest bid."""

    @property
    def lowest_ask(self) -> float:
        """The lowest ask."""

    def mids(self, width_us: int) -> list[tuple[int, Decimal, Decimal]]:
        """Return the number, lowest and highest mid price of each part of the time."""


class Meter(Protocol):
    """Measures one rule on one pair."""

    def measure(self, quote: Quote) -> Decimal:
        """Return the value with this tick."""

    def calm(self, run: Run, level: float) -> bool:
        """Whether no value of these ticks is above the level, for sure; nothing is noted."""

    def pass_over(self, run: Run) -> None:
        """Take note of ticks that are calm."""

    def resolved(self, quote: Quote) -> None:
        """Take note that an alert has ended with this tick."""

    def turn_back(self, at: datetime) -> None:
        """Forget what lies after `at`."""

    def memory(self) -> Any:
        """Return what it remembers as JSON has it, None where that is nothing."""

    def restore(self, memory: Any) -> None:
        """Go on from what an earlier one of the same rule remembered."""


class Spread:
    """The spread in basis points of the mid price: 10,000 · (ask − bid) / mid."""

    def measure(self, quote: Quote) -> Decimal:
        """Return the spread of the tick in bps."""
        return _ratio.divide(_ratio.multiply(quote.spread, TEN_THOUSAND), quote.mid)

    def calm(self, run: Run, level: float) -> bool:
        """Whether the widest is surely not above the level."""
        return run.widest < level * SURELY

    def pass_over(self, run: Run) -> None:
        """Nothing to note."""

    def resolved(self, quote: Quote) -> None:
        """Nothing to note."""

    def turn_back(self, at: datetime) -> None:
        """Nothing to forget."""

    def memory(self) -> None:
        """Nothing to remember."""

    def restore(self, memory: Any) -> None:
        """Nothing to go on from."""


class Move:
    """How far the mid price is, in per cent, from its lowest or highest within the time: the larger one."""

    def __init__(self, rule: Rule) -> None:
        self._width = rule.within / STEPS
        self._parts: deque[tuple[int, Decimal, Decimal]] = deque()
        """Number of the part since 1970, lowest and highest mid price in it."""
        self._low = self._high = self._middle = ZERO
        self._until = _EPOCH
        """When the newest part ends."""

    def measure(self, quote: Quote) -> Decimal:
        """Return the larger of rise and fall in per cent; never negative."""
        mid, parts = quote.mid, self._parts
        if quote.time >= self._until:
            number = (quote.time - _EPOCH) // self._width
            parts.append((number, mid, mid))
            while parts[0][0] <= number - STEPS:
                parts.popleft()
            self._see_parts()
        elif mid < (last := parts[-1])[1] or mid > last[2]:
            parts[-1] = last[0], min(last[1], mid), max(last[2], mid)
            self._see_parts()
        if mid > self._middle:
            return _ratio.multiply(_ratio.divide(_ratio.subtract(mid, self._low), self._low), HUNDRED)
        return _ratio.multiply(_ratio.divide(_ratio.subtract(self._high, mid), self._high), HUNDRED)

    def calm(self, run: Run, level: float) -> bool:
        """Whether lowest and highest of all are so near to each other."""
        parts = [*self._parts, *run.mids(self._width // _MICROSECOND)]
        low, high = min(p[1] for p in parts), max(p[2] for p in parts)
        return float(high) / float(low) - 1 < level / 100 * SURELY - UNSURE

    def pass_over(self, run: Run) -> None:
        """Take the lowest and highest of each part."""
        parts = self._parts
        for number, low, high in run.mids(self._width // _MICROSECOND):
            if parts and parts[-1][0] == number:
                parts[-1] = number, min(parts[-1][1], low), max(parts[-1][2], high)
            else:
                parts.append((number, low, high))
        while parts[0][0] <= parts[-1][0] - STEPS:
            parts.popleft()
        self._see_parts()

    def _see_parts(self) -> None:
        """Work out once what holds until a part changes."""
        low, high = min(p[1] for p in self._parts), max(p[2] for p in self._parts)
        self._low, self._high = low, high
        # Where the rise from the lowest is as large as the fall from the highest: the harmonic mean.
        product, total = _ratio.multiply(low, high), _ratio.add(low, high)
        self._middle = _ratio.divide(_ratio.add(product, product), total)
        self._until = _EPOCH + (self._parts[-1][0] + 1) * self._width

    def resolved(self, quote: Quote) -> None:
        """Nothing to note."""

    def turn_back(self, at: datetime) -> None:
        """Forget the parts after `at`."""
        number = (at - _EPOCH) // self._width
        self.restore([[n, str(low), str(high)] for n, low, high in self._parts if n < number] or None)

    def memory(self) -> list[list[Any]] | None:
        """Return the parts."""
        return [[number, str(low), str(high)] for number, low, high in self._parts] or None

    def restore(self, memory: Any) -> None:
        """Take the parts as they were."""
        self._parts = deque((number, Decimal(low), Decimal(high)) for number, low, high in memory or ())
        self._until = _EPOCH
        if self._parts:
            self._see_parts()


class Extreme:
    """How far, in per cent, a bid is above a session's high, or an ask below its low.

    The extreme compared with is the session's as of the first tick seen of it, and after each alert that of
    the moment at which the alert ended. Were it the newest one, a rise in small steps would never show.
    """

    def __init__(self, *, high: bool) -> None:
        self._high = high
        self._session = ""
        self._reference = ZERO

    def measure(self, quote: Quote) -> Decimal:
        """Return the distance beyond the reference in per cent, 0 where it is not beyond."""
        if quote.session != self._session:
            self._session = quote.session
            self.resolved(quote)
            return ZERO
        above, below = (quote.bid, self._reference) if self._high else (self._reference, quote.ask)
        beyond = _ratio.subtract(above, below)
        if beyond <= 0:
            return ZERO
        return _ratio.multiply(_ratio.divide(beyond, self._reference), HUNDRED)

    def calm(self, run: Run, level: float) -> bool:
        """Whether it is a session that is known, and none of them is so far beyond its reference."""
        if run.session != self._session:
            return False
        reference = float(self._reference)
        if self._high:
            return run.highest_bid / reference - 1 < level / 100 * SURELY - UNSURE
        return 1 - run.lowest_ask / reference < level / 100 * SURELY - UNSURE

    def pass_over(self, run: Run) -> None:
        """Nothing to note: the reference stays."""

    def resolved(self, quote: Quote) -> None:
        """Compare with the extreme of this moment from now on."""
        self._reference = quote.highest_bid if self._high else quote.lowest_ask

    def turn_back(self, at: datetime) -> None:
        """Nothing in it has a time."""

    def memory(self) -> list[str] | None:
        """Return the session and its reference."""
        return [self._session, str(self._reference)] if self._session else None

    def restore(self, memory: Any) -> None:
        """Compare with what was compared with before."""
        if memory:
            self._session, self._reference = memory[0], Decimal(memory[1])


class Share:
    """Which share of the records within the time was rejected, in per cent."""

    def __init__(self, rule: Rule) -> None:
        self._width = rule.within / STEPS
        self._least = rule.ticks
        self._parts: deque[list[int]] = deque()
        """Number of the part since 1970, records in it, rejected ones among them."""
        self._records = self._rejected = 0
        self._until = _EPOCH
        """When the newest part ends."""

    def count(self, at: datetime, *, rejected: bool) -> Decimal:
        """Return the share with one record more; 0 while there are too few."""
        parts = self._parts
        if at >= self._until:
            number = (at - _EPOCH) // self._width
            self._until = _EPOCH + (number + 1) * self._width
            parts.append([number, 0, 0])
            while parts[0][0] <= number - STEPS:
                _, records, bad = parts.popleft()
                self._records -= records
                self._rejected -= bad
        parts[-1][1] += 1
        self._records += 1
        if rejected:
            parts[-1][2] += 1
            self._rejected += 1
        if not self._rejected or self._records < self._least:
            return ZERO
        return _ratio.divide(Decimal(100 * self._rejected), Decimal(self._records))

    def turn_back(self, at: datetime) -> None:
        """Forget the parts after `at`."""
        number = (at - _EPOCH) // self._width
        self.restore([part for part in self._parts if part[0] < number])

    def memory(self) -> list[list[int]] | None:
        """Return the parts."""
        return [list(part) for part in self._parts] or None

    def restore(self, memory: Any) -> None:
        """Take the parts as they were."""
        self._parts = deque(list(part) for part in memory or ())
        self._until = _EPOCH + (self._parts[-1][0] + 1) * self._width if self._parts else _EPOCH
        self._records = sum(part[1] for part in self._parts)
        self._rejected = sum(part[2] for part in self._parts)


def meter_of(rule: Rule) -> Meter:
    """Return a new meter for a rule about quotes."""
    if rule.kind == "spread_bps":
        return Spread()
    if rule.kind == "mid_move_pct":
        return Move(rule)
    return Extreme(high=rule.kind == "session_high_pct")
