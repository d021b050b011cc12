"""Render the pipeline: the outcomes and the lag of each partition, and what runs beside the screen. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cryptometrics.watch.fitted_table import FittedColumn, fitted_table
from cryptometrics.watch.status_lines import HIGH_LAG, OUTCOMES, PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from cryptometrics.store.live_snapshot import Partition
    from cryptometrics.watch.screen_data import ScreenData

DROP = {"holes": 4, "duplicates": 3, "gaps": 2}
"""Outcomes that a narrow terminal leaves out, the one with the highest number first."""


def partition_table(data: ScreenData, partitions: Sequence[Partition], width: int) -> Table:
    """Return a row per partition: the lag, the next offset to be stored, and the outcomes before it."""
    columns = [
        FittedColumn("partition", [str(part.partition) for part in partitions]),
        FittedColumn("lag", [_lag(data, part) for part in partitions]),
        FittedColumn("held back", [_held_back(data, part) for part in partitions], drop=5),
        FittedColumn("next offset", [f"{part.next_offset:,}" for part in partitions], drop=1),
    ]
    for outcome, title in OUTCOMES.items():
        cells = [_count(outcome, getattr(part, outcome)) for part in partitions]
        columns.append(FittedColumn(title, cells, drop=DROP.get(outcome, 0)))
    return fitted_table(columns, [""] * len(partitions), width)


def _lag(data: ScreenData, part: Partition) -> Text:
    lag = data.lags.get((part.topic, part.partition))
    if lag is None:
        return Text("?", "dim")
    return Text(f"{lag:,}", "yellow" if lag > HIGH_LAG else "bold" if lag else "")


def _held_back(data: ScreenData, part: Partition) -> Text:
    """Return the messages that an open transaction holds back."""
    found = data.open_transactions.get((part.topic, part.partition))
    return Text("-", "dim") if found is None else Text(f"{found.messages:,}", "yellow")


def _count(outcome: str, count: int) -> Text:
    return Text(f"{count:,}", "yellow" if count and outcome in PROBLEMS else "")
