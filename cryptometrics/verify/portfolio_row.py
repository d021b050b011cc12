"""Compare one row of `portfolio_risk` with what follows from its version, its quotes and the minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cryptometrics.verify.portfolio_drawdown import drawdown_again
from cryptometrics.verify.portfolio_figures import tail_figures, volatility
from cryptometrics.verify.portfolio_value import value_again

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cryptometrics.verify.portfolio_minutes import PortfolioMinutes, Version
    from cryptometrics.verify.portfolio_value import PositionAgain, ValueAgain

RELATIVE = 1e-7
"""How far two statistics may be apart, relative to the size of the portfolio's risk."""
SLOPES = 1e-4
"""The same for the parts of the modified method, which are differences."""


def first_problem(
    row: Mapping[str, Any],
    versions: Sequence[Version],
    version: Version,
    as_of: datetime,
    minutes: PortfolioMinutes,
) -> str | None:
    """Return the first thing in a row that does not follow, None if everything does."""
    definition = version.definition
    assert definition is not None  # noqa: S101  (the caller has looked)
    assets = [each["asset"] for each in definition["positions"]]
    stored = {each["asset"]: each for each in row["positions"]}
    cash = {each["currency"]: each for each in row["cash"]}
    if list(stored) != assets or cash.keys() != definition["cash"].keys():
        return "its positions are not those of the version"
    for name, mark in [*stored.items(), *cash.items()]:
        if problem := _quote_problem(mark, definition["pairs"][name], as_of, minutes):
            return f"{name}: {problem}"
    gaps = {
        asset: tick.has_gap
        for asset in assets
        if (pair := definition["pairs"][asset]) and (tick := minutes.tick(pair, as_of))
    }
    value = value_again(definition, stored, cash, gaps, as_of)
    risk = _risk(value, versions, version, as_of, minutes)
    return next(_differences(row, stored, value, version, risk), None)


def _quote_problem(
    mark: Mapping[str, Any], pair: str | None, as_of: datetime, minutes: PortfolioMinutes
) -> str | None:
    """Return what is wrong with a quote in a row: it must be the newest one at the end of the minute."""
    if mark["pair"] != pair:
        return f"it is priced by {pair}, not by {mark['pair']}"
    if pair is None:
        return None
    day = as_of.replace(hour=0, minute=0)
    for quote, moment in ((mark, as_of), (mark.get("midnight"), day)):
        if quote is mark or "midnight" in mark:
            tick = minutes.tick(pair, moment)
            if quote is None or quote["bid"] is None:
                if tick is not None and not minutes.was_pruned(tick):
                    return f"there is a quote of {pair}, and the row has none"
                continue
            place = (
                datetime.fromisoformat(quote["quoted_at"]),
                quote["kafka_partition"],
                quote["kafka_offset"],
            )
            if tick is None or place != (tick.at, tick.partition, tick.offset):
                return f"offset {quote['kafka_offset']} is not the newest quote of {pair}"
            if (Decimal(quote["bid"]) + Decimal(quote["ask"])) / 2 != tick.mid:
                return f"bid and ask are not those of offset {quote['kafka_offset']}"
    return None


def _differences(
    row: Mapping[str, Any],
    stored: Mapping[str, Mapping[str, Any]],
    value: ValueAgain,
    version: Version,
    risk: RiskAgain,
) -> Iterator[str]:
    """Yield what differs, the exact sums first."""
    for name in ("value", "value_at_mid", "profit_and_loss", "profit_and_loss_today", "gross", "net"):
        yield from _exact(name, row[name], getattr(value, name))
    unmarked = sum(each.value is None for each in value.held)
    if row["currency"] != version.currency or row["unmarked"] != unmarked:
        yield f"unmarked is {row['unmarked']}, not {unmarked}, or the currency is another one"
    for each in value.positions:
        yield from _position_differences(stored[each.asset], each, value.gross)
    gross = float(value.gross) if value.gross else None
    for name, found in risk.figures.items():
        yield from _close(name, row[name], found, risk.scale)
        per_cent = None if found is None or gross is None else 100 * found / gross
        yield from _close(f"{name}_pct", row[f"{name}_pct"], per_cent, 0)
    for asset, mark in stored.items():
        yield from _close(
            f"value_at_risk of {asset}", mark["value_at_risk"], risk.alone.get(asset), risk.scale
        )
        if asset in risk.components:
            component = mark["component_value_at_risk"]
            yield from _close(
                f"component of {asset}", component, risk.components[asset], risk.scale, risk.tolerance
            )
        yield from _close(f"volatility of {asset}", mark["volatility"], risk.volatility[asset], 0)
    yield from _limit_differences(row, version.definition or {}, value)


@dataclass
class RiskAgain:
    """The statistics of a row; figures and parts that are not known are None."""

    figures: dict[str, float | None]
    alone: dict[str, float]
    components: dict[str, float | None]
    """Without those that cannot be compared."""
    volatility: dict[str, float | None]
    scale: float
    tolerance: float


def _risk(
    value: ValueAgain,
    versions: Sequence[Version],
    version: Version,
    as_of: datetime,
    minutes: PortfolioMinutes,
) -> RiskAgain:
    """Return the risk of the positions that are held."""
    risk = (version.definition or {})["risk"]
    length = risk["range_s"] // 60
    risky = [(each, each.pair) for each in value.held if each.pair is not None]
    tail = drawdown = None
    if all(each.value is not None and minutes.has(pair, as_of) for each, pair in risky):
        tail = tail_figures(
            [minutes.closes(pair, as_of, length) for _, pair in risky],
            [float(each.value_at_mid or 0) for each, _ in risky],
            length=length,
            horizon=risk["horizon_s"] // 60,
            confidence=risk["confidence"],
            method=risk["method"],
        )
        drawdown = drawdown_again(versions, version, as_of, length, minutes)
    names, held = [each.asset for each in value.positions], [each.asset for each, _ in risky]
    none: dict[str, float] = dict.fromkeys(names, 0.0) if tail else {}
    components: dict[str, float | None] = dict.fromkeys(names)
    if tail is not None:
        parts = tail.components
        components = {} if parts is None else {**none, **dict(zip(held, parts, strict=True))}
    return RiskAgain(
        figures={
            "value_at_risk": tail.value_at_risk if tail else None,
            "expected_shortfall": tail.expected_shortfall if tail else None,
            "drawdown": drawdown,
        },
        alone=none | dict(zip(held, tail.alone, strict=True)) if tail else {},
        components=components,
        volatility={
            each.asset: volatility(minutes.closes(each.pair, as_of, length), length)
            if each.pair is not None and minutes.has(each.pair, as_of)
            else None
            for each in value.positions
        },
        scale=tail.expected_shortfall if tail else 0.0,
        tolerance=SLOPES if risk["method"] == "modified" else RELATIVE,
    )


def _position_differences(
    mark: Mapping[str, Any], each: PositionAgain, gross: Decimal | None
) -> Iterator[str]:
    if mark["state"] != each.state:
        yield f"{each.asset} is {mark['state']}, not {each.state}"
    if Decimal(mark["quantity"]) != each.quantity:
        yield f"the quantity of {each.asset} is {mark['quantity']}, not {each.quantity}"
    for name in ("value", "value_at_mid", "profit_and_loss", "profit_and_loss_today"):
        found = None if mark[name] is None else Decimal(mark[name])
        yield from _exact(f"{name} of {each.asset}", found, getattr(each, name))
    share = None
    if gross and each.value_at_mid is not None:
        share = abs(float(each.value_at_mid)) / float(gross)
    yield from _close(f"share of {each.asset}", mark["share"], share, 0)


def _limit_differences(
    row: Mapping[str, Any], definition: Mapping[str, Any], value: ValueAgain
) -> Iterator[str]:
    if [each["limit"] for each in row["limits"]] != [each["name"] for each in definition["limits"]]:
        yield "its limits are not those of the version"
        return
    for stored, limit in zip(row["limits"], definition["limits"], strict=True):
        found = _limited(limit, row, value)
        use = None if found is None else found / float(limit["level"])
        if use is None:
            state = "ok" if value.gross == 0 else "unknown"
        else:
            state = "breach" if use >= 1 else "warn" if use >= definition["risk"]["warn_at"] else "ok"
        yield from _close(limit["name"], stored["value"], found, 0)
        yield from _close(f"use of {limit['name']}", stored["use"], use, 0)
        # A statistic that is at its limit but for rounding may have either state.
        is_clear = use is None or min(abs(use - 1), abs(use - definition["risk"]["warn_at"])) > RELATIVE
        if is_clear and stored["state"] != state:
            yield f"{limit['name']} is {stored['state']}, not {state}"


def _limited(limit: Mapping[str, Any], row: Mapping[str, Any], value: ValueAgain) -> float | None:
    """Return the figure that a limit is about; those of the row have been compared."""
    if limit["figure"] in ("value_at_risk_pct", "expected_shortfall_pct", "drawdown_pct"):
        figure: float | None = row[limit["figure"]]
        return figure
    if limit["figure"] == "concentration_pct":
        shares = [each["share"] for each in row["positions"] if each["share"] is not None]
        return 100 * max(shares) if shares else None
    if limit["asset"] is None:
        return None if value.gross is None else float(value.gross)
    for each in value.positions:
        if each.asset == limit["asset"]:
            worth = each.value_at_mid if each.quantity else Decimal(0)
            return None if worth is None else abs(float(worth))
    return 0.0


def _exact(name: str, stored: Decimal | None, found: Decimal | None) -> Iterable[str]:
    if stored != found:
        yield f"{name} is {_text(stored)}, not {_text(found)}"


def _close(
    name: str, stored: float | None, found: float | None, scale: float, tolerance: float = RELATIVE
) -> Iterable[str]:
    """Yield a difference unless two statistics are equal but for rounding, which grows with scale."""
    if stored is None or found is None:
        if stored is not found:
            yield f"{name} is {_text(stored)}, not {_text(found)}"
    elif not math.isclose(stored, found, rel_tol=tolerance, abs_tol=max(tolerance * abs(scale), 1e-9)):
        yield f"{name} is {stored:.12g}, not {found:.12g}"


def _text(value: object) -> str:
    return "null" if value is None else str(value)
