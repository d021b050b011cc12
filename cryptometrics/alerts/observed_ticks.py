"""Ticks as rules see them: a single quote, or a run of quotes in columns. Pure.

Most ticks change nothing. A run therefore shows the extremes of its values, and is expanded into quotes only
if a rule may react to them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.market.venues import Market
from cryptometrics.times import from_microseconds

if TYPE_CHECKING:
    from datetime import datetime

    from cryptometrics.market.metrics import Session, TickMetrics
    from cryptometrics.market.table_metrics import PairMetrics
    from cryptometrics.market.ticks import Tick


class Quote(NamedTuple):
    """A tick as rules see it, with the extremes of its session that include it."""

    market: Market
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


def quote_of(tick: Tick, metrics: TickMetrics, session: str, state: Session, place: tuple[int, int]) -> Quote:
    """Return one tick as rules see it; state: of its session, the tick included."""
    return Quote(
        Market(tick.venue, tick.pair), tick.time, tick.bid, tick.ask, metrics.mid_price, metrics.spread,
        session, state.highest_bid, state.lowest_ask, *place,
    )  # fmt: skip


class TickRun:
    """Measured ticks of one pair and session, in the order of the topic."""

    def __init__(self, metrics: PairMetrics) -> None:
        self._metrics = metrics
        self.market = metrics.ticks.market
        self.session = str(metrics.ticks.session)
        self.partition = metrics.ticks.partition

    @property
    def in_order(self) -> bool:
        """Whether event times never decrease."""
        return bool((np.diff(self._metrics.ticks.time) >= 0).all())

    @property
    def first(self) -> datetime:
        """The time of the first tick."""
        return from_microseconds(int(self._metrics.ticks.time[0]))

    @property
    def last(self) -> datetime:
        """The time of the last tick."""
        return from_microseconds(int(self._metrics.ticks.time[-1]))

    @property
    def widest(self) -> float:
        """The largest spread in basis points of its mid price, to a float's precision."""
        metrics = self._metrics
        return float((metrics.spread.units / metrics.mid_price.units).max()) * 10_000

    @property
    def highest_bid(self) -> float:
        """The highest bid, to a float's precision."""
        return float(self._metrics.bid.units.max()) / 10.0**self._metrics.scale

    @property
    def lowest_ask(self) -> float:
        """The lowest ask, to a float's precision."""
        return float(self._metrics.ask.units.min()) / 10.0**self._metrics.scale

    def mids(self, width_us: int) -> list[tuple[int, Decimal, Decimal]]:
        """Return the number, lowest and highest mid price of each time slot; the ticks must be in order.

        width_us: of a slot, in microseconds; slots are numbered from 1970.
        """
        metrics = self._metrics
        numbers, mids = metrics.ticks.time // width_us, metrics.mid_price.units
        begins = np.flatnonzero(np.diff(numbers, prepend=-1))
        unit = Decimal(1).scaleb(-metrics.scale)
        lows, highs = (extreme.reduceat(mids, begins).tolist() for extreme in (np.minimum, np.maximum))
        return [
            (number, low * unit, high * unit)
            for number, low, high in zip(numbers[begins].tolist(), lows, highs, strict=True)
        ]

    def quotes(self) -> list[Quote]:
        """Return the ticks one by one."""
        metrics = self._metrics
        numbers = (
            metrics.bid, metrics.ask, metrics.mid_price, metrics.spread, metrics.highest_bid,
            metrics.lowest_ask,
        )  # fmt: skip
        unit = Decimal(1).scaleb(-metrics.scale)
        decimals = (_decimals(column.units.tolist(), unit) for column in numbers)
        times, offsets = metrics.ticks.time.tolist(), metrics.ticks.offset.tolist()
        market, session, partition = self.market, self.session, self.partition
        return [
            Quote(
                market, from_microseconds(time), bid, ask, mid, spread, session, high, low, partition, offset
            )
            for time, offset, bid, ask, mid, spread, high, low in zip(times, offsets, *decimals, strict=True)
        ]


def _decimals(units: list[int], unit: Decimal) -> list[Decimal]:
    """Return numbers as decimals; each once, as extremes seldom change and prices repeat."""
    known = {number: number * unit for number in set(units)}
    return [known[number] for number in units]
