"""Print a valuation for people, and whole and uncut for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.text import Text

from cryptometrics.cli.output import NOTHING, for_people, print_table, short, stacked, width
from cryptometrics.cli.table_layout import wrapped
from cryptometrics.risk.portfolio.money import percent, readable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from cryptometrics.risk.portfolio.limits import LimitState, LimitUse
    from cryptometrics.risk.portfolio.valuation import PositionRisk, Valuation

OVERVIEW_HEADS = (
    "portfolio",
    "value",
    "in",
    "P&L",
    "today",
    "VaR",
    "of gross",
    "worst limit",
    "use",
    "state",
)
BAR = 10
"""Characters of the bar of a limit that is used in full."""
COLOURS: dict[LimitState, str] = {"ok": "green", "warn": "yellow", "breach": "bold red", "unknown": "magenta"}
SEVERITY: tuple[LimitState, ...] = ("ok", "warn", "unknown", "breach")
"""The states of a limit, the worst last."""
WIDE = 110
"""Columns from which on each figure of a position has its own."""
POSITION_HEADS = (
    *("asset", "quantity", "mark", "age", "value", "share", "P&L", "volatility", "VaR alone", "component"),
    "closing",
)


def show(valuation: Valuation) -> None:
    """Print a valuation: its totals, positions, stress tests, limits, and what it rests on."""
    held = valuation.portfolio
    click.echo(
        f"{held.name}, version {valuation.version}, as of {short(valuation.as_of)} UTC, in {held.currency}"
    )
    _totals(valuation)
    _positions(valuation)
    if valuation.stress:
        _stress(valuation)
    if valuation.limits:
        _limits(valuation)
    _notes(valuation)


def show_overview(valuations: Sequence[Valuation]) -> None:
    """Print a line for each of several portfolios, with the limit that is nearest to trouble."""
    print_table(
        OVERVIEW_HEADS,
        map(_overview, valuations),
        numbers=("value", "P&L", "today", "VaR", "of gross", "use"),
    )
    if for_people():
        click.echo("`cryptometrics portfolio NAME` shows its positions, stress tests and notes.")


def _overview(valuation: Valuation) -> list[str | Text]:
    sums, worst = valuation.totals, worst_limit(valuation.limits)
    limit: list[str | Text] = [NOTHING, NOTHING, NOTHING]
    if worst is not None:
        use = share(worst.use)
        state = Text(worst.state, COLOURS[worst.state] if for_people() else "")
        limit = [worst.limit.name.removeprefix("limit."), use, state]
    return [
        valuation.portfolio.name,
        money(sums.value),
        valuation.portfolio.currency,
        money(sums.profit_and_loss),
        money(sums.profit_and_loss_today),
        money(valuation.value_at_risk),
        points(valuation.per_cent_of_gross(valuation.value_at_risk)),
        *limit,
    ]


def worst_limit(limits: Sequence[LimitUse]) -> LimitUse | None:
    """Return the limit in the worst state, of several the most used; None if there is no limit."""
    return max(limits, key=lambda each: (SEVERITY.index(each.state), each.use or 0), default=None)


def money(amount: Decimal | float | None, *, places: int = 2) -> str:
    """Return money for people, or a dash if it is not known."""
    return NOTHING if amount is None else readable(amount, places=places)


def share(part: float | None) -> str:
    """Return a share in per cent, or a dash if it is not known."""
    return NOTHING if part is None else percent(part)


def points(number: float | None) -> str:
    """Return a figure that is stored in per cent, or a dash if it is not known."""
    return share(None if number is None else number / 100)


def quantity(number: Decimal) -> str:
    """Return a quantity exactly."""
    return f"{number:,f}"


def _totals(valuation: Valuation) -> None:
    sums = valuation.totals
    at_risk, shortfall = valuation.value_at_risk, valuation.expected_shortfall
    rows = [
        ("value", money(sums.value), "at mid", money(sums.value_at_mid)),
        (
            *("profit and loss", money(sums.profit_and_loss)),
            *("today", money(sums.profit_and_loss_today)),
        ),
        ("gross", money(sums.gross), "net", money(sums.net)),
        (
            *("value at risk", money(at_risk)),
            *("of gross", points(valuation.per_cent_of_gross(at_risk))),
        ),
        (
            *("expected shortfall", money(shortfall)),
            *("of gross", points(valuation.per_cent_of_gross(shortfall))),
        ),
        (
            *("drawdown", money(valuation.drawdown)),
            *("of gross", points(valuation.per_cent_of_gross(valuation.drawdown))),
        ),
    ]
    if for_people():
        for name, value, beside, other in rows:
            click.echo(f"  {name:<19}{value:>18}   {beside:<9}{other:>18}")
    else:
        print_table(("figure", "value", "beside", "other"), rows)


def _positions(valuation: Valuation) -> None:
    if not valuation.positions:
        return
    columns = width()
    if columns is None or columns >= WIDE:
        print_table(POSITION_HEADS, map(_cells, valuation.positions), numbers=POSITION_HEADS[1:])
        return
    heads = (
        "asset\nage",
        "quantity\nmark",
        "value\nshare",
        "P&L\nvolatility",
        "VaR alone\ncomponent",
        "closing",
    )
    rows_of_two: list[list[str | Text]] = []
    for each in valuation.positions:
        asset, held, mark, age, value, share, gain, volatility, alone, component, closing = _cells(each)
        rows_of_two.append(
            [
                stacked(asset, age),
                stacked(held, mark),
                stacked(value, share),
                stacked(gain, volatility),
                stacked(alone, component, dim=False),
                closing,
            ]
        )
    print_table(heads, rows_of_two, numbers=heads[1:])


def _cells(each: PositionRisk) -> tuple[str, ...]:
    marked = each.marked
    if marked.state == "par":
        age = "at par"
    elif marked.state in ("stale", "missing"):
        age = marked.state
    else:
        age = f"{marked.age.total_seconds():.0f} s" if marked.age is not None else NOTHING
    return (
        marked.position.asset,
        quantity(marked.position.quantity),
        NOTHING if marked.mark is None else f"{marked.mark:,f}",
        age,
        money(marked.value),
        share(each.share),
        money(marked.profit_and_loss),
        share(each.volatility),
        money(each.value_at_risk),
        money(each.component),
        money(marked.closing_cost),
    )


def _stress(valuation: Valuation) -> None:
    heads = ("stress test", "P&L", "of gross", "closing", "value after")
    rows = []
    for each in valuation.stress:
        gain = None if each.profit_and_loss is None else float(each.profit_and_loss)
        of_gross = points(valuation.per_cent_of_gross(gain))
        after = money(each.value)
        rows.append([each.test.name, money(each.profit_and_loss), of_gross, money(each.closing_cost), after])
    print_table(heads, rows, numbers=heads[1:])


def _limits(valuation: Valuation) -> None:
    heads = ("limit", "value", "limit at", "use", "", "state")
    rows: list[list[str | Text]] = []
    for each in valuation.limits:
        is_money = each.limit.figure == "gross"
        value = money(each.value) if is_money else points(each.value)
        level = money(each.limit.level) if is_money else points(float(each.limit.level))
        use = share(each.use)
        colour = COLOURS[each.state] if for_people() else ""
        bar = Text(bar_of(each), colour)
        rows.append(
            [each.limit.name.removeprefix("limit."), value, level, use, bar, Text(each.state, colour)]
        )
    print_table(heads, rows, numbers=heads[1:4])


def bar_of(use: LimitUse) -> str:
    """Return the use of a limit as a bar; a breach fills it."""
    if use.use is None:
        return "?" * BAR if use.state == "unknown" else "·" * BAR
    full = min(BAR, max(0, int(use.use * BAR)))
    return "█" * full + "·" * (BAR - full)


def _notes(valuation: Valuation) -> None:
    columns = width()
    notes = [f"{each.marked.position.asset}: {note}" for each in valuation.positions for note in each.notes]
    notes += [f"{name.replace('_', ' ')} is not known: {why}" for name, why in valuation.reasons.items()]
    notes += valuation.assumptions
    for note in notes:
        click.echo(wrapped(note, columns, indent="  ") if columns else note)
    click.echo()
