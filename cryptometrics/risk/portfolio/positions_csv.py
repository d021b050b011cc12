"""Read positions from CSV: `asset,quantity,cost`, the columns in any order, `cost` optional.

A CSV file states only positions. Everything else stays as it is in the portfolio that they belong to.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptometrics.risk.portfolio.file_problems import FileProblem, RowLines
from cryptometrics.risk.portfolio.positions_file import (
    POSITION_KEYS,
    PositionsError,
    PositionsFile,
    asset_places,
    read_positions,
)
from cryptometrics.risk.portfolio.values import ValueReader, shown

if TYPE_CHECKING:
    from cryptometrics.risk.portfolio.definition import Portfolio


def parse_csv(text: str, base: Portfolio) -> PositionsFile:
    """Return `base` with the positions of a CSV file instead of its own.

    Raises PositionsError if the first line does not name the columns.
    """
    rows = csv.reader(text.splitlines())
    head = [name.strip() for name in next(rows, [])]
    if {*head} - {*POSITION_KEYS} or not {"asset", "quantity"} <= {*head} or len({*head}) < len(head):
        what = f"the first line must be {','.join(POSITION_KEYS)}, not {shown(','.join(head))}"
        raise PositionsError((FileProblem(1, "", what),))
    tables: list[dict[str, str]] = []
    lines: list[int] = []
    too_long: list[tuple[int, int]] = []
    for row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) > len(head):
            too_long.append((len(tables), len(cells)))
        tables.append({name: cell for name, cell in zip(head, cells, strict=False) if cell})
        lines.append(rows.line_num)
    read = ValueReader(RowLines(lines))
    for number, count in too_long:
        read.wrong(("position", number), f"has {count} values, the first line names {len(head)}")
    positions = read_positions(read, tables)
    held = {position.asset for position in positions}
    for limit in base.limits:
        if limit.asset is not None and limit.asset not in held:
            what = f"{limit.name} needs a position in {limit.asset}: add one, if need be of quantity 0"
            read.problems.append(FileProblem(1, "", what))
    problems = tuple(sorted(read.problems, key=lambda problem: problem.line))
    portfolio = replace(base, positions=positions, pairs={})
    return PositionsFile(portfolio, problems, asset_places(tables, base.cash), read.lines)
