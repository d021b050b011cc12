"""Revalue a portfolio after the price shocks of a stress test."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from cryptometrics.risk.portfolio.money import MONEY, total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptometrics.risk.portfolio.definition import Stress
    from cryptometrics.risk.portfolio.marks import PositionMark


@dataclass(frozen=True, slots=True)
class StressResult:
    """What a stress test would do to the portfolio; None where a mark is missing. A loss is negative."""

    test: Stress
    profit_and_loss: Decimal | None
    """Of revaluing every position at mid · (1 + shock), less the closing cost."""
    closing_cost: Decimal | None
    """Of closing every position afterwards, at half the present spread."""
    value: Decimal | None
    """The value at mid after it."""


def stress_result(
    test: Stress,
    positions: Sequence[PositionMark],
    shocked_as: Mapping[str, str],
    value_at_mid: Decimal | None,
) -> StressResult:
    """Return the result of a stress test.

    `shocked_as` is `treat_as` of the portfolio: a shock of BTC also meets what counts as BTC. What counts as
    the currency itself keeps its price, unless the test names it.
    """
    changes: list[Decimal | None] = []
    for each in positions:
        asset = each.position.asset
        if asset in test.shocks:
            shock = test.shocks[asset]
        elif each.state == "par":
            shock = Decimal(0)
        else:
            shock = test.shock(shocked_as.get(asset, asset))
        changes.append(None if each.value_at_mid is None else MONEY.multiply(each.value_at_mid, shock))
    change, cost = total(changes), total(each.closing_cost for each in positions)
    if change is None or cost is None:
        return StressResult(test, None, None, None)
    gain = MONEY.subtract(change, cost)
    return StressResult(test, gain, cost, None if value_at_mid is None else MONEY.add(value_at_mid, gain))
