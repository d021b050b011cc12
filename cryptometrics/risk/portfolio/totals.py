"""Sum the positions and the cash of a portfolio, exactly; a sum is None if a part of it is not known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.risk.portfolio.marks import start_of_day
from cryptometrics.risk.portfolio.money import total

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from cryptometrics.risk.portfolio.marks import PositionMark


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums in the currency of a portfolio, with the reason for each that is None, by its name."""

    value: Decimal | None
    """Positions at their marks, and cash."""
    value_at_mid: Decimal | None
    """Positions at the mid price, and cash."""
    profit_and_loss: Decimal | None
    """Against cost, of the positions that have one."""
    profit_and_loss_today: Decimal | None
    """Of the present positions, since 00:00 UTC."""
    gross: Decimal | None
    """The sum of the sizes of the positions at mid: long and short add up."""
    net: Decimal | None
    """The sum of the positions at mid: long and short offset."""
    reasons: dict[str, str] = field(default_factory=dict)


def totals(held: Sequence[PositionMark], cash: Sequence[Decimal | None], as_of: datetime) -> Totals:
    """Return the sums of the positions that are held, and of cash at its marks."""
    with_cost = [each for each in held if each.position.cost is not None]
    found = Totals(
        value=total([*(each.value for each in held), *cash]),
        value_at_mid=total([*(each.value_at_mid for each in held), *cash]),
        profit_and_loss=total(each.profit_and_loss for each in with_cost) if with_cost else None,
        profit_and_loss_today=total(each.profit_and_loss_today for each in held),
        gross=total(None if each.value_at_mid is None else each.value_at_mid.copy_abs() for each in held),
        net=total(each.value_at_mid for each in held),
    )
    unmarked = without_mark(held)
    if unmarked:
        found.reasons.update(dict.fromkeys(("value", "value_at_mid", "gross", "net"), unmarked))
    elif found.value is None:
        found.reasons.update(dict.fromkeys(("value", "value_at_mid"), "cash has no mark that counts"))
    if found.profit_and_loss is None:
        found.reasons["profit_and_loss"] = without_mark(with_cost) or "no position has a cost"
    if found.profit_and_loss_today is None:
        lacking = [each.position.asset for each in held if each.profit_and_loss_today is None]
        found.reasons["profit_and_loss_today"] = unmarked or (
            f"{_have(lacking)} no mark that counts at {start_of_day(as_of):%Y-%m-%d %H:%M} UTC"
        )
    return found


def without_mark(held: Sequence[PositionMark]) -> str:
    """Return which positions have no mark that counts, as a reason; empty if all have one."""
    unmarked = [each.position.asset for each in held if not each.is_marked]
    return f"{_have(unmarked)} no mark that counts" if unmarked else ""


def _have(assets: Sequence[str]) -> str:
    return f"{', '.join(assets)} {'has' if len(assets) == 1 else 'have'}"
