"""Exact arithmetic with money, and its text. Rounding is an error."""

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


def exact_text(number: Decimal) -> str:
    """Return a decimal without needless zeros, so that equal numbers have the same text."""
    return f"{number.normalize(MONEY):f}" if number else "0"
