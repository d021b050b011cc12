"""Gap records among the ticks: each is one more fate of an offset.

The record of a start says only which trade was heard first. What was missed before it follows from the ticks
that stand before it in the topic: those stored, and those of its own batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.market.gap_records import Gap, GapKind
from cryptometrics.market.table_decoder import moment
from cryptometrics.market.trade_ids import TradeIds
from cryptometrics.store.feed_gaps import StoredGap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from cryptometrics.market.table_decoder import Columns
    from cryptometrics.store.past import State


class FoundGap(NamedTuple):
    """A gap record of a batch."""

    partition: int
    offset: int
    gap: Gap
    before: int
    """How many valid ticks of the batch stand before it in the topic."""


class Known(NamedTuple):
    """What is known of a pair before a batch."""

    trade_id: int
    """The highest trade stored, -1 without one."""
    time: datetime | None
    """Of the newest quote stored."""


def settle(
    found: Iterable[FoundGap],
    columns: Columns,
    known: Callable[[str], Known | None],
    state: State | None,
) -> list[StoredGap]:
    """Return the gaps as they are stored.

    columns: the valid ticks of the batch, in order. known: what is in memory of a pair, from before it.
    state: where a pair is looked up that is not in memory.
    """
    stored: list[StoredGap] = []
    looked_up: dict[str, Known] = {}
    for partition, offset, gap, before in found:
        begins, first, missed = gap.begins, gap.first_trade_id, gap.trades_missed
        last = gap.last_trade_id
        if gap.kind is GapKind.START:
            past = known(gap.pair) or looked_up.get(gap.pair)
            if past is None:
                assert state is not None  # noqa: S101  (set before anything is owned)
                past = looked_up[gap.pair] = _look_up(state, gap.pair)
            highest, begins = _up_to(past, gap.pair, columns, before)
            first, missed = missed_before(highest, last)
        stored.append(StoredGap(partition, offset, gap.pair, gap.kind, begins, gap.time, first, last, missed))
    return stored


def missed_before(highest: int, last: int | None) -> tuple[int | None, int | None]:
    """Return the first trade that a start may have missed, and how many it has missed.

    highest: the highest trade stored before, -1 without one: then the feed begins there, and nothing is
    missed. last: the one before the first trade heard, None where none was.
    """
    if highest < 0:
        return None, 0
    return highest + 1, None if last is None else max(last - highest, 0)


def _look_up(state: State, pair: str) -> Known:
    found = state.pairs([pair]).get(pair)
    if found is None:
        return Known(-1, None)
    return Known(TradeIds(found.trade_ids, found.trade_ids_floor).highest, found.time)


def _up_to(past: Known, pair: str, columns: Columns, end: int) -> tuple[int, datetime | None]:
    """Return the highest trade and the newest time of a pair, the ticks before `end` included."""
    at = [place for place in range(end) if columns.pair[place] == pair]
    if not at:
        return past
    newest = moment(int(columns.time[at].max()))
    if past.time is not None:
        newest = max(newest, past.time)
    return max(past.trade_id, int(columns.trade_id[at].max())), newest
