"""The metrics of many ticks of one pair and session, in the order of the topic: `metrics.measure` on columns.

Prices are whole numbers here: how many units of 10^-scale. The scale is the pair's own, a multiple of four
(PostgreSQL keeps decimals as digits of base 10,000) and wide enough that half of a sum is whole, too. So
every number is exact; where 64 bits are too few for that, nothing is measured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market.table_decoder import Columns, moment
from cryptometrics.market.tick_decoder import EXACT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.market.metrics import Session
    from cryptometrics.market.text_columns import Flags, Ints

    Places = NDArray[np.intp]

MOST_DIGITS = 18
"""Digits that surely fit into 64 bits, and so does a sum of two."""


@dataclass(slots=True)
class Column:
    """Numbers of one meaning: units of 10^-scale, and how many decimal places each is written with."""

    units: Ints
    places: Ints


@dataclass(slots=True)
class Measured:
    """What `crypto_metrics` holds of ticks of one pair and session, a column each."""

    scale: int
    bid: Column
    ask: Column
    mid_price: Column
    spread: Column
    highest_bid: Column
    lowest_ask: Column
    max_spread: Column

    def only(self, keep: Flags) -> Measured:
        """Return those of the ticks for which `keep` is true."""
        return Measured(self.scale, *(Column(c.units[keep], c.places[keep]) for c in self.numbers))

    @property
    def numbers(self) -> tuple[Column, ...]:
        """Return all of them in the order of the table."""
        return (
            self.bid, self.ask, self.mid_price, self.spread,
            self.highest_bid, self.lowest_ask, self.max_spread,
        )  # fmt: skip


def measure(columns: Columns, at: Places, session: Session) -> Measured | None:
    """Return the metrics of the ticks at these places and bring their session forward by them, in place.

    Return None, and leave the session alone, where 64 bits are too few.
    """
    if columns.is_wide[at].any():
        return None
    bid_places, ask_places = columns.bid_places[at], columns.ask_places[at]
    places = np.maximum(bid_places, ask_places)
    extremes = session.highest_bid, session.lowest_ask, session.max_spread
    most_places = max(int(places.max()), *map(_places, extremes))
    scale = -(-(most_places + 1) // 4) * 4
    bid = _scaled(columns.bid[at], bid_places, scale)
    ask = _scaled(columns.ask[at], ask_places, scale)
    if bid is None or ask is None or max(map(Decimal.adjusted, extremes)) + 1 + scale > MOST_DIGITS:
        return None
    spread = ask - bid
    time = columns.time[at]
    bids, asks, spreads = Column(bid, bid_places), Column(ask, ask_places), Column(spread, places)
    measured = Measured(
        scale=scale,
        bid=bids,
        ask=asks,
        mid_price=Column((bid + ask) // 2, places + 1),
        spread=spreads,
        highest_bid=_running(bids, scale, session.highest_bid, 1),
        lowest_ask=_running(asks, scale, session.lowest_ask, -1),
        max_spread=_running(spreads, scale, session.max_spread, 1),
    )
    for name in ("highest_bid", "lowest_ask", "max_spread"):
        _advance(session, name, getattr(measured, name), scale, time)
    newest = len(time) - 1 - int(time[::-1].argmax())  # of those at the same moment the last
    if (newest_at := moment(int(time[newest]))) >= session.last_at:
        session.last_bid = decimal(bids, newest, scale)
        session.last_ask = decimal(asks, newest, scale)
        session.last_at = newest_at
    session.first_at = min(session.first_at, moment(int(time.min())))
    session.ticks += len(time)
    return measured


def _scaled(digits: Ints, places: Ints, scale: int) -> Ints | None:
    """Return prices in units of 10^-scale, None where one does not fit."""
    if int(places.min()) == int(places.max()):
        factor = 10 ** (scale - int(places[0]))
        return digits * factor if int(digits.max()) * factor < 10**MOST_DIGITS else None
    shift = scale - places
    if (digits >= 10 ** np.maximum(MOST_DIGITS - shift, 0)).any() or int(shift.max()) > MOST_DIGITS:
        return None
    scaled: Ints = digits * 10**shift
    return scaled


def _running(column: Column, scale: int, before: Decimal, sign: int) -> Column:
    """Return the running extreme, `before` included: the greatest with sign 1, the least with -1."""
    start = sign * _units(before, scale)
    signed = column.units if sign > 0 else -column.units
    units = np.maximum(np.maximum.accumulate(signed), start)
    previous = np.empty_like(units)
    previous[0], previous[1:] = start, units[:-1]
    # An extreme is written as the tick that set it first wrote it.
    setter = np.maximum.accumulate(np.where(units > previous, np.arange(len(units)), -1))
    places = np.where(setter < 0, _places(before), column.places[setter])
    return Column(units if sign > 0 else -units, places)


def _advance(session: Session, name: str, running: Column, scale: int, time: Ints) -> None:
    """Bring one extreme of the session forward to the end of its column, and the moment that set it."""
    last = decimal(running, -1, scale)
    if last != getattr(session, name):
        setattr(session, name, last)
        first = int((running.units == running.units[-1]).argmax())
        setattr(session, f"{name}_at", moment(int(time[first])))


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101  (prices are finite)
    return -exponent


def _units(number: Decimal, scale: int) -> int:
    return int(number.scaleb(scale, EXACT))


def decimal(column: Column, at: int, scale: int) -> Decimal:
    """Return one number of a column with as many decimal places as it is written with."""
    places = int(column.places[at])
    return Decimal(int(column.units[at]) // 10 ** (scale - places)).scaleb(-places, EXACT)
