"""Metrics of many ticks at once: `metrics.measure` on columns.

Prices are whole numbers, counted in units of 10^-scale with one scale for all of them, so every number is
exact. Where 64 bits are too few, nothing is measured here, and the ticks are measured one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from cryptometrics.market.ticks import EXACT
from cryptometrics.times import from_microseconds

if TYPE_CHECKING:
    from cryptometrics.market.metrics import Session
    from cryptometrics.market.table import PairTicks, Rows
    from cryptometrics.market.text_columns import Flags, Ints

MAX_DIGITS = 18
"""Digits that surely fit into 64 bits, and so does the sum of two such numbers."""
MIN_COLUMN_TICKS = 16
"""With fewer ticks of a pair it is quicker to measure them one by one."""


class NumberColumn(NamedTuple):
    """Numbers of one meaning: units of 10^-scale, and the decimal places that each is written with."""

    units: Ints
    places: Ints


@dataclass(slots=True)
class PairQuotes:
    """Bid, ask and what follows from them alone, of each tick of a pair."""

    ticks: PairTicks
    scale: int
    bid: NumberColumn
    ask: NumberColumn
    mid_price: NumberColumn
    spread: NumberColumn
    size_scale: int
    """The scale of both sizes."""
    bid_size: NumberColumn
    """Below 0 where there is none."""
    ask_size: NumberColumn

    def only(self, ticks: PairTicks, keep: Flags | Rows) -> Self:
        """Return the same of `ticks`, which a mask or an array of positions selects."""
        columns: dict[str, Any] = {
            each.name: NumberColumn(column.units[keep], column.places[keep])
            for each in fields(self)
            if isinstance(column := getattr(self, each.name), NumberColumn)
        }
        return replace(self, ticks=ticks, **columns)


@dataclass(slots=True)
class PairMetrics(PairQuotes):
    """All numbers of `crypto_metrics`, of each tick of a pair and session."""

    highest_bid: NumberColumn
    lowest_ask: NumberColumn
    max_spread: NumberColumn

    @property
    def numbers(self) -> tuple[NumberColumn, ...]:
        """The columns in the order of the table."""
        return (
            self.bid, self.ask, self.mid_price, self.spread,
            self.highest_bid, self.lowest_ask, self.max_spread,
        )  # fmt: skip


def quotes_of(ticks: PairTicks, min_places: int = 0) -> PairQuotes | None:
    """Return the quotes of some ticks, None where 64 bits are too few.

    min_places: decimal places that the scale has room for, beside those of the prices.
    """
    table, rows = ticks.table, ticks.rows
    if table.is_wide[rows].any():
        return None
    bid_places, ask_places = table.bid_places[rows], table.ask_places[rows]
    places = np.maximum(bid_places, ask_places)
    scale = -(-(max(int(places.max()), min_places) + 1) // 4) * 4
    bid = _scaled(table.bid[rows], bid_places, scale)
    ask = _scaled(table.ask[rows], ask_places, scale)
    bid_size_places, ask_size_places = table.bid_size_places[rows], table.ask_size_places[rows]
    size_scale = -(-max(int(bid_size_places.max()), int(ask_size_places.max())) // 4) * 4
    bid_size = _scaled(table.bid_size[rows], bid_size_places, size_scale)
    ask_size = _scaled(table.ask_size[rows], ask_size_places, size_scale)
    if bid is None or ask is None or bid_size is None or ask_size is None:
        return None
    return PairQuotes(
        ticks=ticks,
        scale=scale,
        bid=NumberColumn(bid, bid_places),
        ask=NumberColumn(ask, ask_places),
        mid_price=NumberColumn((bid + ask) // 2, places + 1),
        spread=NumberColumn(ask - bid, places),
        size_scale=size_scale,
        bid_size=NumberColumn(bid_size, bid_size_places),
        ask_size=NumberColumn(ask_size, ask_size_places),
    )


def measure(ticks: PairTicks, session: Session) -> PairMetrics | None:
    """Return the metrics of some ticks and update their session with them.

    Return None, and leave the session alone, where 64 bits are too few.
    """
    extremes = session.highest_bid, session.lowest_ask, session.max_spread
    quotes = quotes_of(ticks, max(map(_places, extremes)))
    if quotes is None or max(map(Decimal.adjusted, extremes)) + 1 + quotes.scale > MAX_DIGITS:
        return None
    scale, bid, ask, spread = quotes.scale, quotes.bid, quotes.ask, quotes.spread
    metrics = PairMetrics(
        ticks, scale, bid, ask, quotes.mid_price, spread,
        quotes.size_scale, quotes.bid_size, quotes.ask_size,
        highest_bid=_running(bid, scale, session.highest_bid, 1),
        lowest_ask=_running(ask, scale, session.lowest_ask, -1),
        max_spread=_running(spread, scale, session.max_spread, 1),
    )  # fmt: skip
    time = ticks.time
    for name in ("highest_bid", "lowest_ask", "max_spread"):
        _advance(session, name, getattr(metrics, name), scale, time)
    newest = len(time) - 1 - int(time[::-1].argmax())  # the last of those at the same moment
    if (newest_at := from_microseconds(int(time[newest]))) >= session.last_at:
        session.last_bid = decimal(bid, newest, scale)
        session.last_ask = decimal(ask, newest, scale)
        session.last_bid_size = _optional(quotes.bid_size, newest, quotes.size_scale)
        session.last_ask_size = _optional(quotes.ask_size, newest, quotes.size_scale)
        session.last_at = newest_at
    session.first_at = min(session.first_at, from_microseconds(int(time.min())))
    session.ticks += len(time)
    return metrics


def scaled_trades(ticks: PairTicks) -> tuple[Ints, int, Ints, int] | None:
    """Return prices and sizes of trades, each with its scale; None where 64 bits are too few.

    A size is 0 where there is no trade, and NOTHING where that is not known.
    """
    table, rows = ticks.table, ticks.rows
    price_places, size_places = table.trade_price_places[rows], table.trade_size_places[rows]
    price_scale, size_scale = int(price_places.max()), int(size_places.max())
    price = _scaled(table.trade_price[rows], price_places, price_scale)
    size = _scaled(table.trade_size[rows], size_places, size_scale)
    return None if price is None or size is None else (price, price_scale, size, size_scale)


def decimal(column: NumberColumn, row: int, scale: int) -> Decimal:
    """Return one number of a column, with the decimal places that it is written with."""
    places = int(column.places[row])
    return Decimal(int(column.units[row]) // 10 ** (scale - places)).scaleb(-places, EXACT)


def _optional(column: NumberColumn, row: int, scale: int) -> Decimal | None:
    return None if column.units[row] < 0 else decimal(column, row, scale)


def _scaled(digits: Ints, places: Ints, scale: int) -> Ints | None:
    """Return numbers in units of 10^-scale, None if one does not fit."""
    if int(places.min()) == int(places.max()):
        factor = 10 ** (scale - int(places[0]))
        return digits * factor if int(digits.max()) * factor < 10**MAX_DIGITS else None
    shift = scale - places
    if (digits >= 10 ** np.maximum(MAX_DIGITS - shift, 0)).any() or int(shift.max()) > MAX_DIGITS:
        return None
    scaled: Ints = digits * 10**shift
    return scaled


def _running(column: NumberColumn, scale: int, before: Decimal, sign: int) -> NumberColumn:
    """Return the running extreme, `before` included: the maximum with sign 1, the minimum with -1."""
    start = sign * _units(before, scale)
    signed = column.units if sign > 0 else -column.units
    units = np.maximum(np.maximum.accumulate(signed), start)
    previous = np.empty_like(units)
    previous[0], previous[1:] = start, units[:-1]
    # An extreme is written with the decimal places of the tick that set it first.
    setter = np.maximum.accumulate(np.where(units > previous, np.arange(len(units)), -1))
    places = np.where(setter < 0, _places(before), column.places[setter])
    return NumberColumn(units if sign > 0 else -units, places)


def _advance(session: Session, name: str, running: NumberColumn, scale: int, time: Ints) -> None:
    """Set one extreme of the session to the end of its column, with the time of the tick that set it."""
    last = decimal(running, -1, scale)
    if last != getattr(session, name):
        setattr(session, name, last)
        first = int((running.units == running.units[-1]).argmax())
        setattr(session, f"{name}_at", from_microseconds(int(time[first])))


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101  (prices are finite)
    return -exponent


def _units(number: Decimal, scale: int) -> int:
    return int(number.scaleb(scale, EXACT))
