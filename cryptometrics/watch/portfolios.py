"""Render the portfolios of the screen: a line of figures each, and their limits below. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cryptometrics.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptometrics.store.latest_portfolios import LatestLimit, LatestPortfolio

STATES = {"breach": "bold red", "unknown": "magenta", "warn": "yellow", "ok": "green"}
"""The states of a limit with their colours, the worst first."""
STALE_S = 180.0
"""From this age on, figures are red: the newest complete minute is at most two minutes old."""


def portfolio_lines(portfolios: Sequence[LatestPortfolio], at: datetime, room: int) -> list[Text]:
    """Return at most `room` lines: the figures of each portfolio, and below them its limits if all fit.

    at: the moment of the screen, for the age of the figures.
    """
    with_limits = len(portfolios) + sum(bool(each.limits) for each in portfolios) <= room
    shown = portfolios if len(portfolios) <= room else portfolios[: max(room - 1, 0)]
    lines = []
    for each in shown:
        lines.append(_figures(each, at))
        if with_limits and each.limits:
            lines.append(_limits(each.limits))
    if len(shown) < len(portfolios) and room > 0:
        lines.append(
            Text(f"{len(portfolios) - len(shown)} more portfolios: `cryptometrics portfolio`", "dim")
        )
    return lines


def _figures(each: LatestPortfolio, at: datetime) -> Text:
    line = _empty()
    line.append(escape(each.name), "bold")
    if each.as_of is None:
        return line.append("  no figures stored: run `cryptometrics risk --follow`", "dim")
    share = "" if each.value_at_risk_pct is None else f" {each.value_at_risk_pct:.3g}%"
    for title, text in (
        ("", f"{_money(each.value)} {each.currency}"),
        ("P&L ", _money(each.profit_and_loss, sign="+")),
        ("VaR ", f"{_money(each.value_at_risk)}{share}"),
    ):
        line.append(f"  {title}", "dim").append(text)
    seconds = max((at - each.as_of).total_seconds(), 0)
    age = f"{seconds:.0f}s" if seconds < 180 else f"{seconds / 60:.0f}m"
    line.append(f"  {age}", "red" if seconds >= STALE_S else "green")
    if worst := _worst_first(each.limits)[:1]:
        line.append(f"  {worst[0].state}", STATES.get(worst[0].state, ""))
    return line


def _limits(limits: Sequence[LatestLimit]) -> Text:
    line = _empty()
    line.append("  limits", "dim")
    for limit in _worst_first(limits):
        use = "?" if limit.use is None else f"{100 * limit.use:.0f}%"
        state = "" if limit.state == "ok" else f" {limit.state}"
        line.append(f"  {escape(limit.name.removeprefix('limit.'))} ", "dim")
        line.append(f"{use}{state}", STATES.get(limit.state, ""))
    return line


def _worst_first(limits: Sequence[LatestLimit]) -> list[LatestLimit]:
    order = list(STATES)
    return sorted(limits, key=lambda limit: (order.index(limit.state), -(limit.use or 0)))


def _money(amount: object, sign: str = "") -> str:
    return "-" if amount is None else f"{amount:{sign},.2f}"


def _empty() -> Text:
    return Text(no_wrap=True, overflow="ellipsis")
