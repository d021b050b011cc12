"""Read the ticks of a small batch one by one, without the columns that pay off only for many.

At the rates of a desk a batch has a few ticks, and making columns of them costs ten times what they need
themselves. This way takes ordinary batches only: every message is a valid tick with a new trade id, of a pair
and session in the cache. For any other it answers None, and has changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.market import tick_decoder
from cryptometrics.market.venues import Market
from cryptometrics.times import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptometrics.kafka.record import Record
    from cryptometrics.market.duplicates import TradeKey
    from cryptometrics.market.ticks import Tick
    from cryptometrics.pipeline.pair_cache import CachedPair, PairCache

MAX_MESSAGES = 64
"""With more messages, columns cost less."""


@dataclass(slots=True, eq=False)
class TickGroup:
    """The ticks of one pair, partition, session and day, in the order of the topic; at least one."""

    pair: CachedPair
    partition: int
    session: str
    day: str
    """The UTC day of their event times, as 2026-01-31."""
    ticks: list[Tick] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)


def read(
    messages: Sequence[Record], cache: PairCache, session: str | None, now: datetime
) -> list[TickGroup] | None:
    """Return the ticks of an ordinary small batch, and note their trade ids; None for any other batch.

    messages: of owned partitions. session: the name of the one session; None for one a UTC day.
    now: the time of reading, with its zone.
    """
    groups: dict[tuple[int, Market, str], TickGroup] = {}
    ids: dict[Market, list[int]] = {}
    for message in messages:
        try:
            tick = tick_decoder.decode(message.key(), message.value(), now)
        except tick_decoder.RejectedError:
            return None
        market, day, partition = (
            Market(tick.venue, tick.pair),
            tick.time.date().isoformat(),
            message.partition(),
        )
        group = groups.get((partition, market, day))
        if group is None:
            name = session or day
            pair = cache.ready(partition, market, name, day)
            if pair is None:
                return None
            group = groups[partition, market, day] = TickGroup(pair, partition, name, day)
        if tick.trade_id is not None:
            known = ids.setdefault(market, [group.pair.trade_ids.highest])
            if tick.trade_id <= known[-1]:
                return None  # it may be a duplicate, or late
            known.append(tick.trade_id)
        group.ticks.append(tick)
        group.offsets.append(message.offset())
    for group in groups.values():
        for trade_id in ids.pop(group.pair.market, [])[1:]:
            group.pair.trade_ids.extend(trade_id, trade_id + 1)
    return list(groups.values())


def keys_in(groups: Iterable[TickGroup]) -> set[TradeKey]:
    """Return the key of each tick that has a trade id."""
    return {
        (group.pair.market, tick.trade_id, to_microseconds(tick.time))
        for group in groups
        for tick in group.ticks
        if tick.trade_id is not None
    }
