"""Print the lines of `cryptometrics risk`: a table that fits into a terminal, plain columns, or JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.text import Text

from cryptometrics.cli.output import NOTHING, exact, for_people, plain, print_table, short, stacked, width
from cryptometrics.market.venues import venue_label
from cryptometrics.risk.lines import RiskLine
from cryptometrics.risk.minutes import THIN_BELOW
from cryptometrics.text import percent
from cryptometrics.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptometrics.risk.volatility import Estimator

KEYS = tuple(field.name for field in fields(RiskLine))
FLAT_WIDTH = 120
"""From so many columns on, a pair takes one line."""


def as_text(lines: Sequence[RiskLine]) -> str:
    """Return a JSON list of objects: prices as exact strings, times as ISO 8601, other numbers as numbers."""
    return json.dumps([{key: exact(getattr(line, key)) for key in KEYS} for line in lines], indent=2)


def show(lines: Sequence[RiskLine], estimator: Estimator, bar: int) -> None:
    """Print the table: two values per column where it is narrow, all of them plain where nobody reads."""
    if not for_people():
        plain_keys = [key for key in KEYS if key not in ("volatility", "reasons")]
        heads = [*plain_keys, f"volatility_{estimator}"]
        rows = [
            [plain(getattr(line, key)) for key in plain_keys] + [plain(line.volatility[estimator])]
            for line in lines
        ]
        print_table(heads, rows)
        return
    first = lines[0]
    length = format_duration(timedelta(seconds=first.range_seconds))
    title = heading(first.venue, first.as_of, length)
    columns = _columns(lines, estimator)
    if (width() or 0) >= FLAT_WIDTH:
        rows_of_cells = [list(row) for row in zip(*columns.values(), strict=True)]
        heads = list(columns)
    else:
        pairs_of_columns = list(columns.items())
        stacks = list(zip(pairs_of_columns[::2], pairs_of_columns[1::2], strict=True))
        heads = [f"{above[0]}\n{below[0]}" for above, below in stacks]
        rows_of_cells = [
            [_two(above[1][place], below[1][place]) for above, below in stacks] for place in range(len(lines))
        ]
    print_table(
        heads,
        rows_of_cells,
        numbers=heads[1:],
        uncut=heads[:1],
        title=title,
        caption=_caption(lines, estimator, bar, length),
    )


def heading(venue: str, as_of: datetime, length: str) -> str:
    """Return the title of a table of risk; it says of simulated prices that they are."""
    return f"{venue_label(venue)}, {length} to {as_of:%Y-%m-%d %H:%M} UTC"


def ratio(value: float | None) -> str:
    """Return a number without a unit, to two places."""
    return NOTHING if value is None else f"{value:.2f}"


def is_thin(coverage: float) -> bool:
    """Return whether a figure rests on too few minutes to be shown without a warning."""
    return coverage < THIN_BELOW


def _columns(lines: Sequence[RiskLine], estimator: Estimator) -> dict[str, list[str | Text]]:
    """Return the cells of each column by its head; neighbours share a column where the table is narrow."""
    return {
        "pair": [line.pair for line in lines],
        "coverage": [_coverage(line.coverage) for line in lines],
        "mid": [short(line.mid_price) for line in lines],
        "spread bps": [NOTHING if line.spread_bps is None else f"{line.spread_bps:.3g}" for line in lines],
        "1h": [percent(line.return_1h, signed=True) for line in lines],
        "24h": [percent(line.return_24h, signed=True) for line in lines],
        "volatility": [percent(line.volatility[estimator]) for line in lines],
        "jumps": [percent(line.jump_share) for line in lines],
        "VaR": [percent(line.value_at_risk) for line in lines],
        "ES": [percent(line.expected_shortfall) for line in lines],
        "drawdown": [percent(line.drawdown) for line in lines],
        "max": [percent(line.max_drawdown) for line in lines],
        "corr": [ratio(line.correlation) for line in lines],
        "beta": [ratio(line.beta) for line in lines],
    }


def _coverage(coverage: float) -> str | Text:
    text = percent(coverage)
    return Text(f"{text} thin", "yellow") if is_thin(coverage) else text


def _two(above: str | Text, below: str | Text) -> Text:
    if isinstance(below, Text):  # a warning keeps its colour
        return Text.assemble(above, "\n", below)
    return stacked(str(above), below)


def _caption(lines: Sequence[RiskLine], estimator: Estimator, bar: int, length: str) -> str:
    first: Any = lines[0]
    horizon = format_duration(timedelta(seconds=first.horizon_seconds))
    notes = [
        f"volatility: {estimator}, annualised",
        f"VaR and ES: {first.confidence:.4g} over {horizon}, {first.method}",
        f"drawdown: over {length}",
        f"corr and beta: to {first.against}, {format_duration(timedelta(minutes=bar))} returns",
    ]
    if any(is_thin(line.coverage) for line in lines):
        notes.append(f"thin: less than {100 * THIN_BELOW:.0f} % of the minutes are known")
    return "; ".join(notes)
