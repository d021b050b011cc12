"""What a batch adds to the minutes of its pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market import table_windows as columns
from cryptometrics.market.windows import MINUTE, Aggregate, fixed_start, fold, merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptometrics.market.table_metrics import Measured
    from cryptometrics.market.text_columns import Flags, Ints
    from cryptometrics.market.tick_decoder import Tick

Minutes = dict[tuple[str, "datetime"], Aggregate]
"""(pair, minute) → what ticks amount to in it."""


def add_columns(
    minutes: Minutes, pair: str, measured: Measured, partition: int, offsets: Ints, times: Ints, late: Flags
) -> None:
    """Add ticks of one pair and partition that were measured at once."""
    _add(minutes, pair, columns.fold(measured, partition, offsets, times, late))


def add_ticks(
    minutes: Minutes, pair: str, ticks: Sequence[Tick], partition: int, offsets: Ints, late: Flags
) -> None:
    """Add ticks of one pair and partition, one by one."""
    groups: dict[datetime, list[int]] = {}
    for place, tick in enumerate(ticks):
        groups.setdefault(fixed_start(tick.time, MINUTE), []).append(place)
    _add(
        minutes,
        pair,
        (
            (
                minute,
                fold(
                    partition,
                    offsets[places].tolist(),
                    [ticks[place].time for place in places],
                    [ticks[place].bid for place in places],
                    [ticks[place].ask for place in places],
                    int(late[places].sum()),
                ),
            )
            for minute, places in groups.items()
        ),
    )


def _add(minutes: Minutes, pair: str, parts: Iterable[tuple[datetime, Aggregate]]) -> None:
    for minute, part in parts:
        known = minutes.get((pair, minute))
        minutes[pair, minute] = part if known is None else merge(known, part)
