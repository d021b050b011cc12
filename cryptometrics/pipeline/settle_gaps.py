"""Settle the gap records of a batch: each is one more outcome of an offset.

A start record only names the first trade that the feed heard. What it missed before follows from the ticks
that precede it in the topic: those stored, and those of its own batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.market.gap_records import Gap, GapKind
from cryptometrics.market.venues import Market
from cryptometrics.pipeline.pair_cache import LastTrade
from cryptometrics.store.feed_gaps import StoredGap
from cryptometrics.times import from_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptometrics.market.table import TickTable


class FoundGap(NamedTuple):
    """A gap record of a batch."""

    partition: int
    offset: int
    gap: Gap
    before: int
    """The number of valid ticks of the batch that precede it in the topic."""


def settle(
    found: Iterable[FoundGap], table: TickTable, last_trade: Callable[[Market], LastTrade]
) -> list[StoredGap]:
    """Return the gaps as they are stored.

    table: the valid ticks of the batch. last_trade: returns the last trade of a market before the batch.
    """
    stored: list[StoredGap] = []
    known: dict[Market, LastTrade] = {}
    for partition, offset, gap, before in found:
        begins, first, missed = gap.begins, gap.first_trade_id, gap.trades_missed
        last = gap.last_trade_id
        if gap.kind is GapKind.START:
            market = Market(gap.venue, gap.pair)
            if market not in known:
                known[market] = last_trade(market)
            past = _up_to(known[market], market, table, before)
            begins = past.time
            first, missed = missed_before(past, last)
        stored.append(
            StoredGap(
                partition, offset, gap.venue, gap.pair, gap.kind, begins, gap.time, first, last, missed,
                gap.proves,
            )
        )  # fmt: skip
    return stored


def missed_before(past: LastTrade, last: int | None) -> tuple[int | None, int | None]:
    """Return the first trade that a feed missed before its start, and how many it missed.

    past: what was stored before; without anything the market begins here, and nothing was missed.
    last: the trade before the first one heard; None if none was heard.
    """
    if past.trade_id < 0:
        return None, 0 if past.time is None else None
    return past.trade_id + 1, None if last is None else max(last - past.trade_id, 0)


def _up_to(past: LastTrade, market: Market, table: TickTable, end: int) -> LastTrade:
    """Return the last trade of a market, the first `end` ticks of the table included."""
    rows = [row for row in range(end) if (table.venue[row], table.pair[row]) == market]
    if not rows:
        return past
    newest = from_microseconds(int(table.time[rows].max()))
    if past.time is not None:
        newest = max(newest, past.time)
    return LastTrade(max(past.trade_id, int(table.trade_id[rows].max())), newest)
