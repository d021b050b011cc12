"""What the figures take: numbers in columns, and shares of losses."""

from __future__ import annotations

import pytest

from cryptometrics.risk.columns import require_confidence


@pytest.mark.parametrize(
    ("confidence", "beyond"),
    [
        (0.9, 0.1),
        (0.99, 0.01),
        (1 - 0.1234567890123, 0.123456789012),
        (1 - 0.12345678901249, 0.123456789012),
    ],
)
def test_the_share_beyond_the_value_at_risk_has_twelve_digits(confidence: float, beyond: float) -> None:
    assert require_confidence(confidence) == beyond


def test_a_share_of_less_than_twelve_digits_is_not_rounded_to_zero() -> None:
    assert require_confidence(1 - 1e-13) == pytest.approx(1e-13, rel=0.01)
