"""What a person states about a portfolio: positions, cash, limits, stress tests, how its risk is measured.

Money and quantities are exact decimals. A portfolio becomes *pinned* when it is loaded: then it names the
group and the venue whose quotes price it, and the pair that prices each asset.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cryptometrics.risk.figures import FigureSettings
from cryptometrics.risk.portfolio.money import exact_text
from cryptometrics.risk.tail_risk import METHODS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cryptometrics.risk.tail_risk import Method

MINUTE = timedelta(minutes=1)
EVERY_ASSET = "*"
"""In a stress test: the shock of assets that it does not name."""
MONEY_LIMITS = ("gross",)
PERCENT_LIMITS = ("value_at_risk_pct", "expected_shortfall_pct", "drawdown_pct", "concentration_pct")
"""Limits in per cent of gross; the figures of their names are defined in `limits`."""


@dataclass(frozen=True, slots=True)
class Position:
    """A quantity of an asset: negative if it is short."""

    asset: str
    quantity: Decimal
    cost: Decimal | None = None
    """Per unit, in the currency of the portfolio; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a figure may be: money, or per cent of gross."""

    name: str
    """As in alerts: `limit.gross`, `limit.value_at_risk_pct`, `limit.of.BTC.gross`."""
    figure: str
    level: Decimal
    asset: str | None = None
    """None: a limit of the whole portfolio."""


@dataclass(frozen=True, slots=True)
class Stress:
    """Relative changes of prices that are assumed to happen at once: -0.4 is a fall by 40 %."""

    name: str
    shocks: Mapping[str, Decimal]

    def shock(self, asset: str) -> Decimal:
        """Return the shock of an asset: 0 if the test names neither it nor `*`."""
        return self.shocks.get(asset, self.shocks.get(EVERY_ASSET, Decimal(0)))


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """How the risk of a portfolio is measured."""

    confidence: float = 0.99
    horizon: timedelta = timedelta(hours=1)
    range: timedelta = timedelta(hours=24)
    method: Method = METHODS[0]
    stale_after: timedelta = timedelta(seconds=60)
    """A mark older than this does not count."""
    warn_at: float = 0.8
    """The use of a limit from which it warns."""

    @property
    def horizon_minutes(self) -> int:
        """The horizon in minutes."""
        return self.horizon // MINUTE

    @property
    def range_minutes(self) -> int:
        """The range in minutes."""
        return self.range // MINUTE

    @property
    def figures(self) -> FigureSettings:
        """The settings for the figures of one pair."""
        return FigureSettings(self.confidence, self.horizon_minutes, self.method)


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Everything that a person states about one portfolio."""

    name: str
    currency: str
    positions: tuple[Position, ...]
    group: str | None = None
    venue: str | None = None
    treat_as: Mapping[str, str] = field(default_factory=dict)
    """Assets that count as another one at 1, such as USDT as USD."""
    cash: Mapping[str, Decimal] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    risk: RiskSettings = field(default_factory=RiskSettings)
    stress: tuple[Stress, ...] = ()
    pairs: Mapping[str, str | None] = field(default_factory=dict)
    """Once pinned: the pair that prices each asset and currency; None where it counts as the currency."""

    @property
    def assets(self) -> tuple[str, ...]:
        """All assets and currencies that need a price, in order."""
        return tuple(dict.fromkeys([*(position.asset for position in self.positions), *self.cash]))

    @property
    def used_pairs(self) -> tuple[str, ...]:
        """The pairs that price something, in order."""
        return tuple(dict.fromkeys(pair for pair in self.pairs.values() if pair))

    def pinned(self, group: str, venue: str, pairs: Mapping[str, str | None]) -> Portfolio:
        """Return the portfolio as it is stored: with the market and the pairs that price it."""
        return replace(self, group=group, venue=venue, pairs=dict(pairs))


def limit_name(figure: str, asset: str | None) -> str:
    """Return the name of a limit, as alerts show it."""
    return f"limit.{figure}" if asset is None else f"limit.of.{asset}.{figure}"


def pricing_pairs(portfolio: Portfolio, known: Collection[str]) -> dict[str, str | None]:
    """Return the pair that prices each asset of a portfolio, None where it counts as the currency.

    Assets that no known pair prices are left out. `treat_as` comes first: what counts as the currency is 1,
    whatever its own pair says. A pair in a currency that counts as the portfolio's also prices an asset.
    """
    as_currency = [asset for asset, other in portfolio.treat_as.items() if other == portfolio.currency]
    found: dict[str, str | None] = {}
    for asset in portfolio.assets:
        priced_as = portfolio.treat_as.get(asset, asset)
        if priced_as == portfolio.currency:
            found[asset] = None
            continue
        candidates = [f"{priced_as}-{currency}" for currency in (portfolio.currency, *as_currency)]
        pair = next((pair for pair in candidates if pair in known), None)
        if pair is not None:
            found[asset] = pair
    return found


def as_document(portfolio: Portfolio) -> dict[str, Any]:
    """Return a portfolio as JSON can hold it: decimals as exact text, durations in whole seconds."""
    risk = portfolio.risk
    return {
        "portfolio": portfolio.name,
        "currency": portfolio.currency,
        "group": portfolio.group,
        "venue": portfolio.venue,
        "treat_as": dict(portfolio.treat_as),
        "cash": _texts(portfolio.cash.items()),
        "positions": [
            {
                "asset": position.asset,
                "quantity": exact_text(position.quantity),
                "cost": None if position.cost is None else exact_text(position.cost),
            }
            for position in portfolio.positions
        ],
        "limits": [
            {
                "name": limit.name,
                "figure": limit.figure,
                "level": exact_text(limit.level),
                "asset": limit.asset,
            }
            for limit in portfolio.limits
        ],
        "risk": {
            "confidence": risk.confidence,
            "horizon_s": int(risk.horizon.total_seconds()),
            "range_s": int(risk.range.total_seconds()),
            "method": risk.method,
            "stale_after_s": int(risk.stale_after.total_seconds()),
            "warn_at": risk.warn_at,
        },
        "stress": [{"name": test.name, "shocks": _texts(test.shocks.items())} for test in portfolio.stress],
        "pairs": dict(portfolio.pairs),
    }


def from_document(document: Mapping[str, Any]) -> Portfolio:
    """Return the portfolio that `as_document` wrote."""
    risk = document["risk"]
    return Portfolio(
        name=document["portfolio"],
        currency=document["currency"],
        positions=tuple(
            Position(
                each["asset"],
                Decimal(each["quantity"]),
                None if each["cost"] is None else Decimal(each["cost"]),
            )
            for each in document["positions"]
        ),
        group=document["group"],
        venue=document["venue"],
        treat_as=document["treat_as"],
        cash=_decimals(document["cash"]),
        limits=tuple(
            Limit(each["name"], each["figure"], Decimal(each["level"]), each["asset"])
            for each in document["limits"]
        ),
        risk=RiskSettings(
            confidence=risk["confidence"],
            horizon=timedelta(seconds=risk["horizon_s"]),
            range=timedelta(seconds=risk["range_s"]),
            method=risk["method"],
            stale_after=timedelta(seconds=risk["stale_after_s"]),
            warn_at=risk["warn_at"],
        ),
        stress=tuple(Stress(each["name"], _decimals(each["shocks"])) for each in document["stress"]),
        pairs=document["pairs"],
    )


def _texts(numbers: Iterable[tuple[str, Decimal]]) -> dict[str, str]:
    return {name: exact_text(number) for name, number in numbers}


def _decimals(texts: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(text) for name, text in texts.items()}
