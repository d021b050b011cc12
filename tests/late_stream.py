"""A simulated stream with late, duplicate and invalid ticks."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING

from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation
from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import publish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings

    Message = tuple[bytes | None, bytes | None]

LATEST = 2_000
"""Ticks that a late one lets pass at most."""


def late_blocks(
    count: int,
    start: datetime,
    step: timedelta,
    *,
    late: float = 0.01,
    twice: float = 0.001,
    bad: float = 0.001,
) -> Iterator[list[Message]]:
    """Yield `count` simulated messages; the given shares are late, repeated later, or invalid."""
    random = Random(7)
    micros = Fraction(step // timedelta(microseconds=1))
    simulation = Simulation(DEFAULT_PAIRS, start, micros, 7, bad, count)
    held: list[tuple[int, Message]] = []
    number = 0
    for block in simulation.blocks():
        out: list[Message] = []
        for message in block:
            number += 1
            draw = random.random()
            if draw < late + twice:
                heapq.heappush(held, (number + random.randint(1, LATEST), message))
            if draw >= late:
                out.append(message)
            while held and held[0][0] <= number:
                out.append(heapq.heappop(held)[1])
        yield out
    yield [message for _, message in sorted(held)]


def publish_late(settings: Settings, count: int, start: datetime, step: timedelta, *, rate: float = 0) -> int:
    """Put such a stream on the topic, at so many a second or as fast as it goes; return the number sent."""
    published = publish(
        client.make_producer(settings),
        settings.kafka_topic,
        late_blocks(count, start, step),
        rate=rate,
        stop=lambda: False,
        progress=lambda _: None,
    )
    assert published.sent == published.acknowledged
    return published.sent
