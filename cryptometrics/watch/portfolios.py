"""Render the portfolios: a line of figures each with its limits, and a page with a bar per limit. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cryptometrics.watch.terminal_text import line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptometrics.store.latest_portfolios import LatestLimit, LatestPortfolio, LatestPosition

STATES = {"breach": "bold red", "unknown": "magenta", "warn": "yellow", "ok": "green"}
"""The states of a limit with their colours, the worst first."""
MAX_LIMIT = 24
"""Characters of the name of a limit."""
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
            line((f"{len(portfolios) - len(shown)} more portfolios: `cryptometrics portfolio`", "dim"))
        )
    return lines


def portfolio_page(
    portfolios: Sequence[LatestPortfolio], at: datetime, width: int, *, ascii_only: bool = False
) -> list[Text]:
    """Return the figures of each portfolio, its positions, and a bar of how far each limit is used."""
    lines = []
    for each in portfolios:
        lines += [_figures(each, at), *_more_figures(each), *_positions(each.positions)]
        lines += [_limit(limit, width, "#" if ascii_only else "█") for limit in _worst_first(each.limits)]
        if each.as_of is not None and not each.limits:
            lines.append(line(("  no limits", "dim")))
        lines.append(Text(""))
    return lines[:-1]


def _limit(limit: LatestLimit, width: int, bar: str) -> Text:
    """Return a limit, its use, and a bar that is full at twice the limit."""
    style = STATES.get(limit.state, "")
    half = max((width - MAX_LIMIT - 20) // 2, 0)
    filled = min(int((limit.use or 0) * half), 2 * half)
    return line(
        f"  {_name(limit):<{MAX_LIMIT}} {_use(limit):>7} ",
        (f"{limit.state:<8}", style),
        (bar * filled, style),
        (" " * (half - filled - 1) + "|" if filled < half else "", "dim"),
    )


def _figures(each: LatestPortfolio, at: datetime) -> Text:
    name = (each.name, "bold")
    if each.as_of is None:
        return line(name, ("  no figures stored: run `cryptometrics risk --follow`", "dim"))
    share = "" if each.value_at_risk_pct is None else f" {_percent(each.value_at_risk_pct / 100)}"
    seconds = max((at - each.as_of).total_seconds(), 0)
    age = f"{seconds:.0f}s" if seconds < 180 else f"{seconds / 60:.0f}m"
    worst = [limit.state for limit in _worst_first(each.limits)[:1]]
    return line(
        name,
        f"  {_money(each.value)} {each.currency}",
        ("  P&L ", "dim"),
        _money(each.profit_and_loss, sign="+"),
        ("  VaR ", "dim"),
        f"{_money(each.value_at_risk)}{share}",
        (f"  {age}", "red" if seconds >= STALE_S else "green"),
        *((f"  {state}", STATES.get(state, "")) for state in worst),
    )


def _more_figures(each: LatestPortfolio) -> list[Text]:
    """Return the figures for which a line below the quotes has no room."""
    if each.as_of is None:
        return []
    return [
        line(
            ("  today ", "dim"), _money(each.profit_and_loss_today, sign="+"),
            ("  gross ", "dim"), _money(each.gross), ("  net ", "dim"), _money(each.net),
            ("  shortfall ", "dim"), _money(each.expected_shortfall),
            ("  drawdown ", "dim"), _money(each.drawdown),
        )
    ]  # fmt: skip


def _positions(positions: Sequence[LatestPosition]) -> list[Text]:
    """Return a head, and a line per position: what matters most comes first, in case the end is cut."""
    if not positions:
        return []
    rows = [
        (
            each.asset,
            _money(each.value),
            _money(each.profit_and_loss, sign="+"),
            f"{each.quantity:,f}",
            _money(each.component),
            each.state,
        )
        for each in positions
    ]
    heads = ("position", "value", "P&L", "quantity", "of VaR", "mark")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        line(("  " + _aligned(row, widths), style))
        for row, style in ((heads, "dim"), *((row, "") for row in rows))
    ]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return the cells of a row: the first and the last aligned left, numbers right."""
    first, *numbers, last = row
    texts = [f"{number:>{width}}" for number, width in zip(numbers, widths[1:-1], strict=True)]
    return "  ".join([f"{first:<{widths[0]}}", *texts, last])


def _limits(limits: Sequence[LatestLimit]) -> Text:
    parts = []
    for limit in _worst_first(limits):
        state = "" if limit.state == "ok" else f" {limit.state}"
        parts += [
            (f"  {_name(limit)} ", "dim"),
            (f"{_use(limit)}{state}", STATES.get(limit.state, "")),
        ]
    return line(("  limits", "dim"), *parts)


def _name(limit: LatestLimit) -> str:
    return limit.name.removeprefix("limit.")


def _use(limit: LatestLimit) -> str:
    return "?" if limit.use is None else _percent(limit.use)


def _percent(share: float) -> str:
    # With the room of risk comes numpy, which nothing else here needs.
    from cryptometrics.risk.portfolio.money import percent

    return percent(share)


def _worst_first(limits: Sequence[LatestLimit]) -> list[LatestLimit]:
    order = list(STATES)
    return sorted(limits, key=lambda limit: (order.index(limit.state), -(limit.use or 0)))


def _money(amount: object, sign: str = "") -> str:
    return "-" if amount is None else f"{amount:{sign},.2f}"
