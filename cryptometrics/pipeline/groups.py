"""The ticks of a batch, partition by partition and pair by pair: what is measured together."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market.text_columns import DAY_US
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptometrics.market.table_decoder import Columns
    from cryptometrics.market.table_metrics import Places
    from cryptometrics.market.text_columns import Ints
    from cryptometrics.pipeline.pair_cache import Owned

_SMALL = 2**15


@dataclass(slots=True, eq=False)
class Group:
    """The ticks of one pair in one partition, as places in the columns, in the order of the topic."""

    owned: Owned
    name: str
    at: Places
    days: list[tuple[str, Places]]
    """The same by the UTC day of their time, as 2026-01-31."""


def group(columns: Columns, partitions: Ints, owned: dict[int, Owned]) -> list[Group]:
    """Return the ticks in groups; partitions: of each tick."""
    if not len(columns):
        return []
    names = list(dict.fromkeys(columns.pair))
    number_of = {name: number for number, name in enumerate(names)}
    numbers = np.fromiter(map(number_of.__getitem__, columns.pair), np.int64, len(columns))
    numbers += partitions * len(names)
    if int(numbers.max()) < _SMALL:
        numbers = numbers.astype(np.int16)  # numpy sorts these without comparing
    order = np.argsort(numbers, kind="stable")
    bounds = np.flatnonzero(np.diff(numbers[order])) + 1
    days = columns.time // DAY_US
    groups: list[Group] = []
    for at in np.split(order, bounds):
        partition, number = divmod(int(numbers[at[0]]), len(names))
        groups.append(Group(owned[partition], names[number], at, _by_day(days[at], at)))
    return groups


def _by_day(days: Ints, at: Places) -> list[tuple[str, Places]]:
    first = days[0]
    if (days == first).all():
        return [(_day(int(first)), at)]
    return [(_day(day), at[days == day]) for day in dict.fromkeys(days.tolist())]


@functools.lru_cache(maxsize=1024)
def _day(number: int) -> str:
    day: date = EPOCH.date() + timedelta(days=number)
    return day.isoformat()


def runs(partitions: Ints, offsets: Ints) -> Iterable[tuple[int, int]]:
    """Yield begin and end of messages of one partition without a gap between them."""
    breaks = np.flatnonzero((np.diff(partitions) != 0) | (np.diff(offsets) != 1)) + 1
    if len(partitions):
        yield from pairwise([0, *breaks.tolist(), len(partitions)])
