"""A simulated stream with late, duplicate and invalid ticks."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING, Any

from cryptometrics.feeds.simulator import DEFAULT_PAIRS, MAX_PAIRS, Simulation
from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import publish
from cryptometrics.market.venues import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptometrics.config import Settings

    Message = tuple[bytes | None, bytes | None]

_VENUE = b'"venue":"simulated"'
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
    pairs: Sequence[str] = DEFAULT_PAIRS,
    venues: Sequence[str] = (SIMULATED,),
) -> Iterator[list[Message]]:
    """Yield `count` simulated messages; the given shares are late, repeated later, or invalid."""
    random = Random(7)
    held: list[tuple[int, Message]] = []
    number = 0
    for block in _blocks(count, start, step, bad, pairs, venues):
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


def _blocks(
    count: int, start: datetime, step: timedelta, bad: float, pairs: Sequence[str], venues: Sequence[str]
) -> Iterator[list[Message]]:
    """Yield `count` messages in the order of their times: a simulation for each venue and so many pairs."""
    parts = [
        (venue, tuple(pairs[first : first + MAX_PAIRS]))
        for venue in venues
        for first in range(0, len(pairs), MAX_PAIRS)
    ]
    micros = Fraction(step // timedelta(microseconds=1) * len(parts))
    simulations = [
        Simulation(some, start + number * step, micros, 7 + number, bad, count // len(parts)).slots()
        for number, (_, some) in enumerate(parts)
    ]
    for blocks in zip(*simulations, strict=True):
        yield [
            (key, value and value.replace(_VENUE, f'"venue":"{venue}"'.encode()))
            for messages in zip(*blocks, strict=True)
            for (venue, _), message in zip(parts, messages, strict=True)
            if message is not None
            for key, value in [message]
        ]


def publish_late(
    settings: Settings, count: int, start: datetime, step: timedelta, *, rate: float = 0, **more: Any
) -> int:
    """Put such a stream on the topic, at so many a second or as fast as it goes; return the number sent.

    more: of `late_blocks`.
    """
    published = publish(
        client.make_producer(settings),
        settings.kafka_topic,
        late_blocks(count, start, step, **more),
        rate=rate,
        stop=lambda: False,
        progress=lambda _: None,
    )
    assert published.sent == published.acknowledged
    return published.sent
