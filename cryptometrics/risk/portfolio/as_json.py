"""Return a valuation as JSON can hold it. Money is exact text; risk in money is text with eight digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptometrics.risk.portfolio.money import exact_text
from cryptometrics.times import iso

if TYPE_CHECKING:
    from decimal import Decimal

    from cryptometrics.risk.portfolio.limits import LimitUse
    from cryptometrics.risk.portfolio.stress_tests import StressResult
    from cryptometrics.risk.portfolio.valuation import PositionRisk, Valuation


def as_json(valuation: Valuation) -> dict[str, Any]:
    """Return a valuation as an object: its keys are an interface, and what is not known is None."""
    totals = valuation.totals
    return {
        "portfolio": valuation.portfolio.name,
        "version": valuation.version,
        "as_of": iso(valuation.as_of),
        "currency": valuation.portfolio.currency,
        "value": money(totals.value),
        "value_at_mid": money(totals.value_at_mid),
        "profit_and_loss": money(totals.profit_and_loss),
        "profit_and_loss_today": money(totals.profit_and_loss_today),
        "gross": money(totals.gross),
        "net": money(totals.net),
        "value_at_risk": money(valuation.value_at_risk),
        "expected_shortfall": money(valuation.expected_shortfall),
        "value_at_risk_pct": valuation.per_cent_of_gross(valuation.value_at_risk),
        "expected_shortfall_pct": valuation.per_cent_of_gross(valuation.expected_shortfall),
        "drawdown": money(valuation.drawdown),
        "positions": [_position(each) for each in valuation.positions],
        "stress": [_stress(each) for each in valuation.stress],
        "limits": [_limit(each) for each in valuation.limits],
        "assumptions": [
            *valuation.assumptions,
            *(f"{name} is not known: {why}" for name, why in valuation.reasons.items()),
        ],
    }


def money(amount: Decimal | float | None) -> str | None:
    """Return exact money without needless zeros; a statistic with eight digits after the point."""
    if amount is None:
        return None
    if isinstance(amount, float):
        return f"{amount:.8f}"
    return exact_text(amount)


def _position(each: PositionRisk) -> dict[str, Any]:
    marked, quote = each.marked, each.marked.quote
    return {
        "asset": marked.position.asset,
        "pair": marked.pair,
        "quantity": money(marked.position.quantity),
        "cost": money(marked.position.cost),
        "state": marked.state,
        "bid": money(quote.bid) if quote else None,
        "ask": money(quote.ask) if quote else None,
        "bid_size": money(quote.bid_size) if quote else None,
        "ask_size": money(quote.ask_size) if quote else None,
        "quoted_at": iso(quote.quoted_at) if quote else None,
        "kafka_partition": quote.kafka_partition if quote else None,
        "kafka_offset": quote.kafka_offset if quote else None,
        "age_s": marked.age.total_seconds() if marked.age is not None else None,
        "mark": money(marked.mark),
        "value": money(marked.value),
        "value_at_mid": money(marked.value_at_mid),
        "share": each.share,
        "profit_and_loss": money(marked.profit_and_loss),
        "profit_and_loss_today": money(marked.profit_and_loss_today),
        "volatility": each.volatility,
        "value_at_risk": money(each.value_at_risk),
        "component_value_at_risk": money(each.component),
        "closing_cost": money(marked.closing_cost),
        "touch_size": money(marked.touch_size),
        "notes": list(each.notes),
    }


def _stress(each: StressResult) -> dict[str, Any]:
    return {
        "name": each.test.name,
        "shocks": {asset: float(shock) for asset, shock in each.test.shocks.items()},
        "profit_and_loss": money(each.profit_and_loss),
        "closing_cost": money(each.closing_cost),
        "value": money(each.value),
    }


def _limit(each: LimitUse) -> dict[str, Any]:
    return {
        "name": each.limit.name,
        "limit": money(each.limit.level),
        "value": each.value,
        "use": each.use,
        "state": each.state,
    }
