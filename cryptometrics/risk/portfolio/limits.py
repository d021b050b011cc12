"""Compare figures of a portfolio with its limits, and revalue it in stress tests."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

from cryptometrics.risk.portfolio.money import MONEY, total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptometrics.risk.portfolio.definition import Limit, Stress
    from cryptometrics.risk.portfolio.marks import PositionMark

LimitState: TypeAlias = Literal["ok", "warn", "breach", "unknown"]


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit, and how much of it is used."""

    limit: Limit
    value: float | None
    """The figure, in the unit of the limit; None if it is not known, or if nothing is held to measure."""
    use: float | None
    """value / limit: 1 at the limit."""
    state: LimitState
    reason: str | None = None
    """Why the state is `unknown`."""


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


def use_of_limit(
    limit: Limit, value: float | None, *, warn_at: float, nothing_held: bool, reason: str | None = None
) -> LimitUse:
    """Return the use of a limit: it warns from `warn_at` on and is breached at 1.

    A figure that is not known makes it `unknown`, unless nothing is held: then nothing can be lost.
    `reason` says why the figure is not known.
    """
    if value is None:
        if nothing_held:
            return LimitUse(limit, None, None, "ok")
        return LimitUse(limit, None, None, "unknown", reason)
    use = value / float(limit.level)
    state: LimitState = "breach" if use >= 1 else "warn" if use >= warn_at else "ok"
    return LimitUse(limit, value, use, state)


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
