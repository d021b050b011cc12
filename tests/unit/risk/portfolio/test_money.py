"""Amounts and shares as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cryptometrics.risk.portfolio.money import percent, readable


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.00125, "0.125 %"),
        (0.01, "1 %"),
        (0.93333, "93.3 %"),
        (0.994, "99.4 %"),
        (0.9994, "99.9 %"),
        (0.9996, "100 %"),
        (11.7, "1,170 %"),
        (-0.5, "-50 %"),
        (0.0, "0 %"),
    ],
)
def test_a_share_has_three_digits_at_most(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (1234567.891, "1,234,567.89"),
        (-1234.5, "-1,234.50"),
        (1, "1.00"),
        (-1, "-1.00"),
        (0.99999, "1"),
        (0.0123456, "0.0123"),
        (-0.5, "-0.5"),
        (0, "0.00"),
    ],
)
def test_money_has_cents_and_small_amounts_three_digits(amount: float, text: str) -> None:
    assert readable(amount) == text
    assert readable(Decimal(str(amount))) == text


def test_money_has_as_many_places_as_are_asked_for() -> None:
    assert readable(Decimal("1234.5678"), places=0) == "1,235"
