"""The ticks of a batch as alert rules see them: one by one, or a run of a pair's ticks still in columns.

Most ticks change nothing: a run tells how far its values go, and is taken apart only where that may matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cryptometrics.alerts.meters import Quote
from cryptometrics.market.table_decoder import moment

if TYPE_CHECKING:
    from datetime import datetime

    from cryptometrics.alerts.evaluator import ObservedGap
    from cryptometrics.market.metrics import Measured as Metrics
    from cryptometrics.market.metrics import Session
    from cryptometrics.market.table_metrics import Measured
    from cryptometrics.market.text_columns import Ints
    from cryptometrics.market.tick_decoder import Tick

Seen: TypeAlias = "Quote | ObservedGap | Run"


@dataclass(slots=True)
class Run:
    """Ticks of one pair and session, in the order of the topic."""

    measured: Measured
    pair: str
    times: Ints
    """Microseconds since 1970 UTC."""
    session: str
    partition: int
    offsets: Ints

    @property
    def in_order(self) -> bool:
        """Whether none of them is older than one before it."""
        return bool((np.diff(self.times) >= 0).all())

    @property
    def first(self) -> datetime:
        """The time of the first tick."""
        return moment(int(self.times[0]))

    @property
    def last(self) -> datetime:
        """The time of the last tick."""
        return moment(int(self.times[-1]))

    @property
    def widest(self) -> float:
        """The largest spread in basis points of its mid price, as nearly as a float can tell."""
        return float((self.measured.spread.units / self.measured.mid_price.units).max()) * 10_000

    @property
    def highest_bid(self) -> float:
        """The highest bid, as nearly as a float can tell."""
        return float(self.measured.bid.units.max()) / 10.0**self.measured.scale

    @property
    def lowest_ask(self) -> float:
        """The lowest ask, as nearly as a float can tell."""
        return float(self.measured.ask.units.min()) / 10.0**self.measured.scale

    def mids(self, width_us: int) -> list[tuple[int, Decimal, Decimal]]:
        """Return the lowest and highest mid price of each part of the time; of ticks in order.

        width_us: of a part, in microseconds; parts are numbered since 1970.
        """
        numbers, mids = self.times // width_us, self.measured.mid_price.units
        begins = np.flatnonzero(np.diff(numbers, prepend=-1))
        unit = Decimal(1).scaleb(-self.measured.scale)
        lows, highs = (extreme.reduceat(mids, begins).tolist() for extreme in (np.minimum, np.maximum))
        return [
            (number, low * unit, high * unit)
            for number, low, high in zip(numbers[begins].tolist(), lows, highs, strict=True)
        ]

    def quotes(self) -> list[Quote]:
        """Return them one by one."""
        measured = self.measured
        numbers = (
            measured.bid, measured.ask, measured.mid_price, measured.spread, measured.highest_bid,
            measured.lowest_ask,
        )  # fmt: skip
        unit = Decimal(1).scaleb(-measured.scale)
        decimals = (_decimals(each.units.tolist(), unit) for each in numbers)
        pair, session, partition = self.pair, self.session, self.partition
        return [
            Quote(pair, moment(time), bid, ask, mid, spread, session, high, low, partition, offset)
            for time, offset, bid, ask, mid, spread, high, low in zip(
                self.times.tolist(), self.offsets.tolist(), *decimals, strict=True
            )
        ]


def quote_of(
    tick: Tick, measured: Metrics, name: str, session: Session, partition: int, offset: int
) -> Quote:
    """Return a single tick as the rules see it; session: of this name, brought forward by the tick."""
    return Quote(
        tick.pair,
        tick.time,
        tick.bid,
        tick.ask,
        measured.mid_price,
        measured.spread,
        name,
        session.highest_bid,
        session.lowest_ask,
        partition,
        offset,
    )


def in_turn(seen: list[Seen]) -> list[Quote | ObservedGap]:
    """Return what was seen of a pair one by one, in the order of the topic."""
    single: list[Quote | ObservedGap] = []
    for each in seen:
        if isinstance(each, Run):
            single += each.quotes()
        else:
            single.append(each)
    single.sort(key=lambda each: each.offset)  # ticks are measured day by day
    return single


def _decimals(units: list[int], unit: Decimal) -> list[Decimal]:
    """Return numbers as decimals; each once, as extremes seldom change and prices come again."""
    known = {number: number * unit for number in set(units)}
    return [known[number] for number in units]
