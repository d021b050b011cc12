"""Amounts and shares as people read them."""

from __future__ import annotations

import pytest

from cryptometrics.risk.portfolio.money import percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.00125, "0.125 %"),
        (0.01, "1 %"),
        (0.93333, "93.3 %"),
        (0.9996, "100 %"),
        (11.7, "1,170 %"),
        (-0.5, "-50 %"),
        (0.0, "0 %"),
    ],
)
def test_a_share_has_three_digits_at_most(share: float, text: str) -> None:
    assert percent(share) == text
