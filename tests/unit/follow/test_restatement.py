"""What `positions load --restate` says of the rows that it changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cryptometrics.follow.restatement import compared

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def values(*amounts: str | None) -> dict[datetime, Decimal | None]:
    """Return values of consecutive minutes."""
    return {
        NOON + timedelta(minutes=minute): None if amount is None else Decimal(amount)
        for minute, amount in enumerate(amounts)
    }


def test_the_largest_change_is_that_of_a_value_known_before_and_after() -> None:
    found = compared(values("100", None, "100", "100"), values("101", "99999", "98", "100"))
    assert (found.rows, found.first, found.changed) == (4, NOON, 3)
    assert (found.largest_change, found.largest_at) == (Decimal(-2), NOON + timedelta(minutes=2))


def test_equal_values_are_no_change() -> None:
    found = compared(values("100.0", "5"), values("100", "5.00"))
    assert (found.rows, found.changed, found.largest_change, found.largest_at) == (2, 0, None, None)


def test_rows_may_have_gone_or_be_new() -> None:
    assert compared(values("1", "2"), {}) == (0, None, 2, None, None)
    assert compared({}, values("1", "2")) == (2, NOON, 2, None, None)
