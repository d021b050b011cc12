"""The one rule for duplicates and late ticks of the feed.

A tick is a duplicate if an earlier tick of the topic has the same market (venue and pair), trade id and time.
It is late if its trade id is below one that came earlier. A tick whose trade id is new cannot be a duplicate,
so only ticks with a known trade id, the suspects, are compared with earlier ticks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market.table import NO_TRADE
from cryptometrics.market.trade_ids import MAX_RANGES
from cryptometrics.market.venues import Market

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from cryptometrics.market.table import PairTicks, TickTable
    from cryptometrics.market.text_columns import Flags
    from cryptometrics.market.trade_ids import TradeIds

TradeKey = tuple[Market, int, int]
"""Market, trade id, and time in microseconds since 1970: what identifies a tick of the feed."""


def mark(
    pairs: Iterable[PairTicks],
    trades_of: Callable[[PairTicks], TradeIds],
    seen_before: Callable[[Collection[TradeKey]], set[TradeKey]],
) -> None:
    """Mark the duplicates and the late ticks of a table in its columns, and note all trade ids.

    pairs: all ticks of one table. trades_of: returns the known trade ids of a market, which are updated.
    seen_before: returns which of some ticks an earlier table held.
    """
    suspects: list[PairTicks] = []
    certain: list[PairTicks] = []
    for ticks in pairs:
        trades = trades_of(ticks)
        if _add_ascending(ticks, trades):
            certain.append(ticks)
            continue
        is_known = _add_each(ticks, trades)
        certain.append(ticks.only(~is_known))
        if is_known.any():
            suspects.append(ticks.only(is_known))
    if not suspects:
        return
    names = {ticks.market for ticks in suspects}
    seen = {key for ticks in certain if ticks.market in names for key in keys(ticks)}
    # Earlier tables are asked only for what this one does not hold itself.
    seen |= seen_before({key for ticks in suspects for key in keys(ticks)} - seen)
    for ticks in suspects:
        table = ticks.table
        for row, key in zip(ticks.rows.tolist(), keys(ticks), strict=True):
            if key in seen:
                table.duplicate[row], table.late[row] = True, False
            seen.add(key)


def keys(ticks: PairTicks) -> list[TradeKey]:
    """Return the key of each tick that has a trade id."""
    known = zip(ticks.trade_id.tolist(), ticks.time.tolist(), strict=True)
    return [(ticks.market, trade_id, time) for trade_id, time in known if trade_id != NO_TRADE]


def keys_in(tables: Iterable[TickTable], wanted: Collection[TradeKey]) -> set[TradeKey]:
    """Return which of some keys these tables hold."""
    markets = {market for market, _, _ in wanted}
    held = (keys(ticks) for table in tables for ticks in table.by_pair() if ticks.market in markets)
    return {key for some in held for key in some}.intersection(wanted)


def _add_ascending(ticks: PairTicks, trades: TradeIds) -> bool:
    """Add trade ids that all ascend from the highest known one, as nearly always; return whether they do."""
    ids = ticks.trade_id
    steps = np.diff(ids)
    if ids[0] < trades.next or (steps <= 0).any():
        return bool((ids == NO_TRADE).all())
    breaks = np.flatnonzero(steps != 1)
    most = MAX_RANGES + 1  # earlier ranges would be dropped again
    firsts = ids[np.append(0, breaks + 1)][-most:]
    lasts = ids[np.append(breaks, len(ids) - 1)][-most:]
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        trades.extend(first, last + 1)
    return True


def _add_each(ticks: PairTicks, trades: TradeIds) -> Flags:
    """Add trade ids one by one, mark the late ticks, and return which ids may have been known before."""
    is_known = np.zeros(len(ticks), np.bool_)
    late = ticks.table.late
    for position, trade_id in enumerate(ticks.trade_id.tolist()):
        if trade_id == NO_TRADE:
            continue
        if trade_id < trades.next:
            is_known[position] = trade_id in trades or trades.unknown(trade_id)
            late[ticks.rows[position]] = trade_id < trades.highest
        trades.add(trade_id)
    return is_known
