"""Which ticks of a batch the feed has sent before, and which merely come late.

A trade id that is not known was never here. Only the others are looked up: in this batch, in the batches in
flight, in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market.table_decoder import NO_TRADE, moment
from cryptometrics.market.trade_ids import MOST_RANGES
from cryptometrics.times import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cryptometrics.market.table_decoder import Columns
    from cryptometrics.market.table_metrics import Places
    from cryptometrics.market.text_columns import Flags
    from cryptometrics.market.trade_ids import TradeIds
    from cryptometrics.pipeline.groups import Group
    from cryptometrics.store.past import TickKey

Key = tuple[str, int, int]
"""What makes a tick of the feed the same tick: pair, trade id, time in microseconds since 1970."""


def find(
    columns: Columns,
    groups: Iterable[Group],
    in_flight: Sequence[Columns],
    stored: Callable[[Iterable[TickKey]], set[TickKey]],
) -> tuple[Flags, Flags]:
    """Return which ticks are duplicates of the feed, and which others come late; note all their trades.

    in_flight: earlier batches that may not be stored yet.
    stored: returns which of some ticks have a row.
    """
    count = len(columns)
    duplicate, late = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    suspects: list[int] = []
    pairs: set[str] = set()
    for group in groups:
        trades = group.owned.pairs[group.name].trade_ids
        if not _add_new(columns, group.at, trades):
            known = _add_each(columns, group.at, trades, late)
            if known:
                suspects += known
                pairs.add(group.name)
    if not suspects:
        return duplicate, late
    suspected = set(suspects)
    seen = {key for place, key in _keys(columns, pairs) if place not in suspected}
    for earlier in in_flight:
        seen.update(key for _, key in _keys(earlier, pairs))
    keys = {place: _key(columns, place) for place in suspects}
    # The batch's own first: what is found there need not be looked for in the table.
    unseen = ((pair, trade_id, moment(time)) for pair, trade_id, time in set(keys.values()) - seen)
    seen.update((pair, trade_id, to_microseconds(time)) for pair, trade_id, time in stored(unseen))
    for place, key in keys.items():
        duplicate[place] = key in seen
        seen.add(key)
    late &= ~duplicate
    return duplicate, late


def _add_new(columns: Columns, at: Places, trades: TradeIds) -> bool:
    """Note trades that all are above those known, in rising order: nearly always. Return whether they are."""
    ids = columns.trade_id[at]
    steps = np.diff(ids)
    if ids[0] < trades.next or (steps <= 0).any():
        return bool((ids == NO_TRADE).all())
    breaks = np.flatnonzero(steps != 1)
    most = MOST_RANGES + 1  # the earlier ones would not be kept
    firsts = ids[np.append(0, breaks + 1)][-most:]
    lasts = ids[np.append(breaks, len(ids) - 1)][-most:]
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        trades.extend(first, last + 1)
    return True


def _add_each(columns: Columns, at: Places, trades: TradeIds, late: Flags) -> list[int]:
    """Note trades one by one, mark those that come late, and return where they may be repetitions."""
    suspects: list[int] = []
    for place, trade_id in zip(at.tolist(), columns.trade_id[at].tolist(), strict=True):
        if trade_id == NO_TRADE:
            continue
        if trade_id < trades.next:
            if trade_id in trades or trades.unknown(trade_id):
                suspects.append(place)
            late[place] = trade_id < trades.highest
        trades.add(trade_id)
    return suspects


def _keys(columns: Columns, pairs: set[str]) -> Iterable[tuple[int, Key]]:
    for place, pair in enumerate(columns.pair):
        if pair in pairs and columns.trade_id[place] != NO_TRADE:
            yield place, _key(columns, place)


def _key(columns: Columns, place: int) -> Key:
    return columns.pair[place], int(columns.trade_id[place]), int(columns.time[place])
