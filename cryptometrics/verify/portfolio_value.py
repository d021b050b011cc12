"""Value a portfolio again from the definition of its version and the stored quotes. Exact, and pure.

It reads the stored documents as they are, so that it shares no code with what wrote them.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EXACT = decimal.Context(prec=300, traps=[decimal.Inexact, decimal.InvalidOperation])


@dataclass
class PositionAgain:
    """A position at its stored quote; None is not known."""

    asset: str
    pair: str | None
    quantity: Decimal
    state: str
    value: Decimal | None = None
    value_at_mid: Decimal | None = None
    profit_and_loss: Decimal | None = None
    profit_and_loss_today: Decimal | None = None
    has_cost: bool = False


@dataclass
class ValueAgain:
    """A portfolio at its stored quotes."""

    positions: list[PositionAgain] = field(default_factory=list)
    value: Decimal | None = None
    value_at_mid: Decimal | None = None
    profit_and_loss: Decimal | None = None
    profit_and_loss_today: Decimal | None = None
    gross: Decimal | None = None
    net: Decimal | None = None

    @property
    def held(self) -> list[PositionAgain]:
        """The positions that are not of quantity 0."""
        return [each for each in self.positions if each.quantity]


def value_again(
    definition: Mapping[str, Any],
    quotes: Mapping[str, Mapping[str, Any]],
    cash_quotes: Mapping[str, Mapping[str, Any]],
    gaps: Mapping[str, bool],
    as_of: datetime,
) -> ValueAgain:
    """Return the value by the quotes that a row has for each asset and each currency.

    gaps: by asset, whether the minute of the quote has a gap.
    """
    with decimal.localcontext(_EXACT):
        stale_after = timedelta(seconds=definition["risk"]["stale_after_s"])
        found = ValueAgain()
        for position in definition["positions"]:
            asset = position["asset"]
            found.positions.append(
                _position(
                    position,
                    definition["pairs"][asset],
                    quotes[asset],
                    as_of,
                    stale_after,
                    has_gap=gaps.get(asset, False),
                )
            )
        cash = [
            _cash(Decimal(amount), definition["pairs"][name], cash_quotes[name], as_of, stale_after)
            for name, amount in definition["cash"].items()
        ]
        held = found.held
        found.value = _sum([*(each.value for each in held), *cash])
        found.value_at_mid = _sum([*(each.value_at_mid for each in held), *cash])
        costed = [each.profit_and_loss for each in held if each.has_cost]
        found.profit_and_loss = _sum(costed) if costed else None
        found.profit_and_loss_today = _sum(each.profit_and_loss_today for each in held)
        found.gross = _sum(None if each.value_at_mid is None else abs(each.value_at_mid) for each in held)
        found.net = _sum(each.value_at_mid for each in held)
    return found


def _position(
    position: Mapping[str, Any],
    pair: str | None,
    stored: Mapping[str, Any],
    as_of: datetime,
    stale_after: timedelta,
    *,
    has_gap: bool,
) -> PositionAgain:
    quantity = Decimal(position["quantity"])
    found = PositionAgain(position["asset"], pair, quantity, "par", has_cost=position["cost"] is not None)
    now = Decimal(1), Decimal(1)
    before: tuple[Decimal, Decimal] | None = now
    if pair is not None:
        bid_and_ask = _prices(stored)
        if bid_and_ask is None:
            found.state = "missing"
            return found
        if as_of - datetime.fromisoformat(stored["quoted_at"]) > stale_after:
            found.state = "stale"
            return found
        found.state = "unverified" if has_gap else "marked"
        now = bid_and_ask
        midnight = stored["midnight"]
        day = as_of.replace(hour=0, minute=0)
        is_fresh = midnight and day - datetime.fromisoformat(midnight["quoted_at"]) <= stale_after
        before = _prices(midnight) if is_fresh else None
    side = 1 if quantity < 0 else 0
    mark = now[side]
    found.value = quantity * mark
    found.value_at_mid = quantity * (now[0] + now[1]) * Decimal("0.5")
    if position["cost"] is not None:
        found.profit_and_loss = quantity * (mark - Decimal(position["cost"]))
    if before is not None:
        found.profit_and_loss_today = quantity * (mark - before[side])
    return found


def _cash(
    amount: Decimal, pair: str | None, stored: Mapping[str, Any], as_of: datetime, stale_after: timedelta
) -> Decimal | None:
    if pair is None:
        return amount
    prices = _prices(stored)
    if prices is None or as_of - datetime.fromisoformat(stored["quoted_at"]) > stale_after:
        return None
    return amount * prices[1 if amount < 0 else 0]


def _prices(stored: Mapping[str, Any]) -> tuple[Decimal, Decimal] | None:
    return None if stored["bid"] is None else (Decimal(stored["bid"]), Decimal(stored["ask"]))


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    found = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        found += amount
    return found
