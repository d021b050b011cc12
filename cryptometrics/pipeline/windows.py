"""What a batch adds to the minutes of its pairs."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptometrics.windows import Aggregate, fold, merge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from cryptometrics.ticks import Tick

_MINUTE_LENGTH = len("2026-01-01T00:00")


def of_batch(
    runs: Sequence[tuple[int, int]],
    ticks: Sequence[Tick],
    offsets: Sequence[int],
    late: Collection[tuple[int, int]],
) -> dict[tuple[str, datetime], Aggregate]:
    """Return (pair, minute) → what these ticks amount to in it.

    runs: where ticks of one partition in a row begin, and the partition. late: (partition, offset) of those
    that came late.
    """
    windows: dict[tuple[str, datetime], Aggregate] = {}
    for (begin, partition), (end, _) in pairwise([*runs, (len(ticks), -1)]):
        late_here = {offset for of, offset in late if of == partition}
        for (pair, minute), (members, places) in _grouped(ticks[begin:end], offsets[begin:end]).items():
            part = fold(
                partition,
                places,
                [tick.time for tick in members],
                [tick.bid for tick in members],
                [tick.ask for tick in members],
                sum(offset in late_here for offset in places) if late_here else 0,
            )
            key = pair, datetime.fromisoformat(f"{minute}Z")
            known = windows.get(key)
            windows[key] = part if known is None else merge(known, part)
    return windows


def _grouped(
    ticks: Iterable[Tick], offsets: Iterable[int]
) -> dict[tuple[str, str], tuple[list[Tick], list[int]]]:
    """Return the ticks and offsets of each pair and minute, with which the wire's text begins."""
    groups: dict[tuple[str, str], tuple[list[Tick], list[int]]] = {}
    for tick, offset in zip(ticks, offsets, strict=True):
        key = tick.pair, tick.time_text[:_MINUTE_LENGTH]
        group = groups.get(key)
        if group is None:
            group = groups[key] = [], []
        group[0].append(tick)
        group[1].append(offset)
    return groups
