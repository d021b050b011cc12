"""Exact arithmetic with money, where rounding is an error, and the text of amounts and shares."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MONEY = decimal.Context(prec=200, traps=[decimal.Inexact, decimal.InvalidOperation])
"""A quantity, a price and a shock have at most 39 digits each, and sums of their products some more."""


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return an exact sum, None if one of the amounts is not known."""
    found = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        found = MONEY.add(found, amount)
    return found


def readable(amount: Decimal | float, *, places: int = 2) -> str:
    """Return money for people, rounded to the cent; small amounts have three digits that count."""
    if amount and -1 < amount < 1:
        return f"{float(amount):.3g}"
    return f"{amount:,.{places}f}"


def percent(share: float) -> str:
    """Return a share in per cent: three significant digits at most, from 100 % on no fraction.

    Unlike a column of ratios, it keeps the digits of a small limit: 0.00125 is 0.125 %.
    """
    number = 100 * share
    return f"{number:,.0f} %" if abs(number) >= 99.95 else f"{number:.3g} %"


def exact_text(number: Decimal) -> str:
    """Return a decimal without needless zeros, so that equal numbers have the same text."""
    return f"{number.normalize(MONEY):f}" if number else "0"
