"""Say in words what the figures of a portfolio rest on, and what is doubtful about a position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.risk.minutes import THIN_BELOW
from cryptometrics.risk.portfolio.money import percent
from cryptometrics.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptometrics.risk.pair_minutes import RangeMinutes
    from cryptometrics.risk.portfolio.definition import Portfolio
    from cryptometrics.risk.portfolio.marks import PositionMark


def position_notes(marked: PositionMark, ranged: RangeMinutes | None, portfolio: Portfolio) -> Iterable[str]:
    """Yield what is doubtful about a position."""
    asset = marked.position.asset
    if asset in portfolio.treat_as:
        yield f"counts as {portfolio.treat_as[asset]} at 1"
    if marked.state == "missing":
        yield "unmarked: no quote"
    if marked.state == "stale" and marked.age is not None:
        stale_after = format_duration(portfolio.risk.stale_after)
        yield f"unmarked: the quote is {format_duration(marked.age)} old, more than {stale_after}"
    if marked.state == "unverified":
        yield "the feed has a gap in the minute of the mark"
    if marked.touch_is_too_small:
        side = "ask" if marked.position.quantity < 0 else "bid"
        yield f"the {side} takes only {marked.touch_size:f}: closing costs more"
    if ranged is not None and ranged.coverage < THIN_BELOW:
        yield f"thin: {percent(ranged.coverage)} of the minutes are known"


def assumptions(
    portfolio: Portfolio,
    held: Sequence[PositionMark],
    ranges: Mapping[str, RangeMinutes],
    *,
    knows_holdings: bool,
) -> Iterable[str]:
    """Yield what the figures of a portfolio rest on.

    knows_holdings: whether drawdown is that of what was held, also by earlier versions.
    """
    risk, currency = portfolio.risk, portfolio.currency
    for asset, other in portfolio.treat_as.items():
        yield f"{asset} counts as {other} at 1"
    for asset, pair in portfolio.pairs.items():
        if pair and not pair.endswith(f"-{currency}"):
            yield f"{asset} is priced by {pair}"
    if foreign := [name for name in portfolio.cash if portfolio.pairs.get(name)]:
        yield f"cash in {', '.join(foreign)} is at its mark and not in the risk"
    horizon, length = format_duration(risk.horizon), format_duration(risk.range)
    yield (
        f"value at risk and expected shortfall: {risk.method}, {risk.confidence:.6g}, over {horizon}, "
        f"from the last {length} of {portfolio.venue}"
    )
    if risk.method != "historical" and risk.horizon_minutes > 1:
        yield f"from 1m to {horizon}: mean times time, deviation times its root, which understates trends"
    used = [found for each in held if (found := ranges.get(each.pair or ""))]
    if used:
        yield f"known minutes: at least {percent(min(each.coverage for each in used))} of each pair"
    if knows_holdings:
        yield "drawdown: of what was held; today's profit and loss: of the present positions"
    else:
        yield "drawdown and today's profit and loss: of the present positions, not of earlier ones"
    yield "closing costs are those of the touch; volatility counts 525,600 minutes a year"
