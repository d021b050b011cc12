"""Price positions at the market: long ones at the bid, short ones at the ask, where they could be closed.

All of it is exact: the arithmetic of money never rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

from cryptometrics.risk.portfolio.money import MONEY
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from cryptometrics.risk.portfolio.definition import Position

ONE, HALF = Decimal(1), Decimal("0.5")

MarkState: TypeAlias = Literal["marked", "par", "unverified", "stale", "missing"]
"""`par`: it counts as the currency, at 1. `unverified`: a gap overlaps the minute of the quote. With a mark
that is `stale` or `missing`, a position is *unmarked*: it has no value."""


@dataclass(frozen=True, slots=True)
class MarkQuote:
    """The newest quote of a pair at a moment: prices in the quote currency, sizes in the base currency."""

    bid: Decimal
    ask: Decimal
    quoted_at: datetime
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    kafka_partition: int | None = None
    kafka_offset: int | None = None
    in_gap: bool = False
    """Whether its minute is labelled `gap`."""

    @property
    def mid(self) -> Decimal:
        """(bid + ask) / 2, exact."""
        return MONEY.multiply(MONEY.add(self.bid, self.ask), HALF)

    @property
    def half_spread(self) -> Decimal:
        """(ask - bid) / 2, exact."""
        return MONEY.multiply(MONEY.subtract(self.ask, self.bid), HALF)

    def side(self, quantity: Decimal) -> Decimal:
        """Return the price at which a quantity could be closed: the bid if it is long, the ask if short."""
        return self.ask if quantity < 0 else self.bid


PAR = MarkQuote(ONE, ONE, EPOCH)
"""The price of what counts as the currency. Its time is not used."""


@dataclass(frozen=True, slots=True)
class PositionMark:
    """A position and what it is worth; None where that is not known. Money in the portfolio's currency."""

    position: Position
    pair: str | None
    quote: MarkQuote | None
    """Also if it is stale; None if it is missing, or if the asset counts as the currency."""
    state: MarkState
    age: timedelta | None
    mark: Decimal | None
    mid: Decimal | None
    value: Decimal | None
    value_at_mid: Decimal | None
    profit_and_loss: Decimal | None
    """Against cost; None also without a cost."""
    profit_and_loss_today: Decimal | None
    """Since 00:00 UTC, from the mark then."""
    closing_cost: Decimal | None
    """What closing at the touch costs against the mid price: half the spread of each unit."""
    touch_size: Decimal | None
    """How much the side of the quote that would close the position takes; None if the feed has no sizes."""

    @property
    def is_marked(self) -> bool:
        """Whether the position has a mark that counts."""
        return self.mark is not None

    @property
    def touch_is_too_small(self) -> bool:
        """Whether the touch is known to take less than the whole position: closing costs more than stated."""
        return self.touch_size is not None and self.touch_size < self.position.quantity.copy_abs()


def mark_position(
    position: Position,
    pair: str | None,
    quote: MarkQuote | None,
    quote_at_midnight: MarkQuote | None,
    *,
    as_of: datetime,
    stale_after: timedelta,
) -> PositionMark:
    """Return a position at its mark. Without a pair, it counts as the currency.

    `quote_at_midnight` is the newest quote at 00:00 UTC of the day; it must not be stale then.
    """
    quantity = position.quantity
    state: MarkState = "par"
    age = None
    used: MarkQuote | None = PAR
    before: MarkQuote | None = PAR
    if pair is not None:
        age = None if quote is None else as_of - quote.quoted_at
        state = _state(quote, age, stale_after)
        used = None if state in ("stale", "missing") else quote
        before = quote_at_midnight
        if before is not None and start_of_day(as_of) - before.quoted_at > stale_after:
            before = None
    touch = None
    if used is not None:
        touch = used.ask_size if quantity < 0 else used.bid_size
    mark = None if used is None else used.side(quantity)
    return PositionMark(
        position=position,
        pair=pair,
        quote=quote if pair is not None else None,
        state=state,
        age=age,
        mark=mark,
        mid=None if used is None else used.mid,
        value=_product(quantity, mark),
        value_at_mid=None if used is None else _product(quantity, used.mid),
        profit_and_loss=_change(quantity, position.cost, mark),
        profit_and_loss_today=_change(quantity, None if before is None else before.side(quantity), mark),
        closing_cost=None if used is None else _product(quantity.copy_abs(), used.half_spread),
        touch_size=touch,
    )


def start_of_day(moment: datetime) -> datetime:
    """Return 00:00 UTC of the day of a moment in UTC."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def mark_cash(
    amount: Decimal, pair: str | None, quote: MarkQuote | None, *, as_of: datetime, stale_after: timedelta
) -> Decimal | None:
    """Return cash in the portfolio's currency: at the mark of its pair, or at 1 without a pair."""
    if pair is None:
        return amount
    if quote is None or as_of - quote.quoted_at > stale_after:
        return None
    return _product(amount, quote.side(amount))


def _state(quote: MarkQuote | None, age: timedelta | None, stale_after: timedelta) -> MarkState:
    if quote is None or age is None:
        return "missing"
    if age > stale_after:
        return "stale"
    return "unverified" if quote.in_gap else "marked"


def _product(quantity: Decimal, price: Decimal | None) -> Decimal | None:
    return None if price is None else MONEY.multiply(quantity, price)


def _change(quantity: Decimal, before: Decimal | None, now: Decimal | None) -> Decimal | None:
    if before is None or now is None:
        return None
    return MONEY.multiply(quantity, MONEY.subtract(now, before))
