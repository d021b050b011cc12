"""Keep the consumers of a worker process between the turns of its partitions.

Runners give a partition's turns to whichever copy of the DoFn is free, and several copies live in one
process. So what a turn leaves behind is kept by the process: a consumer with the messages that it has fetched
ahead, and the decoded form of the partition's state. Nothing depends on it: a turn that finds nothing starts
from the state.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Consumer

    from cryptometrics.beam.trade_memory import TradeMemory
    from cryptometrics.beam.watermark import Watermark

MAX_UNUSED_S = 60.0
"""Seconds after which a partition that has had no turn here is taken to be read elsewhere."""

Place = tuple[str, int]  # topic and partition


@dataclass(slots=True)
class PartitionFeed:
    """What one turn of a partition leaves to the next one in the same process."""

    consumer: Consumer
    address: str
    """Of Kafka when the consumer was made; the local one may be started again at another."""
    watermark: Watermark
    memory: TradeMemory
    offset: int
    turn: str = ""
    """Of the turn that used it last: the state must be of the same turn, or it was rolled back meanwhile."""


class PartitionFeeds:
    """The feeds of a process; each is given out to one turn at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._feeds: dict[Place, PartitionFeed] = {}
        self._used_at: dict[Place, float] = {}

    def take(self, place: Place, turn: str, address: str) -> PartitionFeed | None:
        """Return the feed that this turn of a partition left; close one of another turn or another Kafka."""
        with self._lock:
            feed = self._feeds.pop(place, None)
            self._used_at[place] = time.monotonic()
        if feed is None or (feed.turn, feed.address) == (turn, address):
            return feed
        feed.consumer.close()
        return None

    def keep(self, place: Place, feed: PartitionFeed) -> None:
        """Keep a feed for the next turn, and close those of partitions that are read elsewhere by now."""
        now = time.monotonic()
        with self._lock:
            self._used_at[place] = now
            unused = [at for at, used in self._used_at.items() if now - used > MAX_UNUSED_S]
            closed = [self._feeds.pop(at) for at in unused if at in self._feeds]
            for at in unused:
                del self._used_at[at]
            replaced = self._feeds.pop(place, None)
            self._feeds[place] = feed
        for other in (*closed, replaced):
            if other is not None:
                other.consumer.close()
