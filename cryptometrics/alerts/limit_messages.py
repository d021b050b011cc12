"""How a limit stands, in words a person can act on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.risk.portfolio.money import percent, readable

if TYPE_CHECKING:
    from decimal import Decimal

    from cryptometrics.risk.portfolio.definition import Limit
    from cryptometrics.risk.portfolio.limits import LimitUse


def in_words(portfolio: str, use: LimitUse, *, currency: str, warn_at: float) -> str:
    """Return in one line how a limit of a portfolio stands.

    For example `treasury gross 2,104,311.20 USD is above its limit of 2,000,000.00 (105 %)`.
    """
    limit = use.limit
    what = " ".join(filter(None, (portfolio, limit.asset, _figure(limit))))
    level = _amount(limit, limit.level)
    if use.state == "unknown":
        unit = _unit(limit, currency)
        return f"{what} is unknown, its limit of {level}{unit} cannot be checked: {use.reason or 'no data'}"
    if use.value is None or use.use is None:
        return f"{what}: nothing is held"
    warns_at = f"{percent(warn_at)} of its limit of {level}"
    stands = {
        "breach": f"is {'above' if use.use > 1 else 'at'} its limit of {level}",
        "warn": f"is {'above' if use.use > warn_at else 'at'} {warns_at}",
        "ok": f"is below {warns_at}",
    }[use.state]
    value = f"{_amount(limit, use.value)}{_unit(limit, currency)}"
    return f"{what} {value} {stands} ({percent(use.use)})"


def _figure(limit: Limit) -> str:
    return limit.figure.removesuffix("_pct").replace("_", " ")


def _is_money(limit: Limit) -> bool:
    return not limit.figure.endswith("_pct")


def _amount(limit: Limit, amount: Decimal | float) -> str:
    return readable(amount) if _is_money(limit) else percent(float(amount) / 100)


def _unit(limit: Limit, currency: str) -> str:
    return f" {currency}" if _is_money(limit) else " of gross"
