"""Simulated market data: endless, plausible, and byte for byte the same for the same parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.feeds.simulator.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from fractions import Fraction

    from cryptometrics.feeds.simulator.currencies import LastQuote
    from cryptometrics.feeds.simulator.scenarios import Scheduled
    from cryptometrics.kafka.publisher import Message

DEFAULT_PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "ADA-USD", "DOGE-USD")
MAX_PAIRS = 128
"""So that each pair has a share of the ticks."""


@dataclass(frozen=True)
class Simulation:
    """The parameters of a simulated stream; they determine every byte."""

    pairs: tuple[str, ...]
    start: datetime
    """Event time of the first tick, with zone; in microseconds it is also each pair's first `trade_id`."""
    step: Fraction
    """Microseconds of event time from one tick to the next."""
    seed: int
    bad: float = 0.0
    """Share of bad ticks, from 0 to 1."""
    count: int | None = None
    """Number of ticks, with those that scenarios leave out; None: endless."""
    scenarios: tuple[Scheduled, ...] = ()
    last: Mapping[str, LastQuote] = field(default_factory=dict)
    """Pair → the quote from whose price it goes on."""

    def __post_init__(self) -> None:
        if len(self.pairs) > MAX_PAIRS:
            raise UserError(f"at most {MAX_PAIRS} pairs can be simulated at once, not {len(self.pairs)}")

    def blocks(self) -> Iterator[list[Message]]:
        """Yield the stream as (key, value) messages, of BLOCK slots at a time."""
        for slots in self.slots():
            yield [message for message in slots if message is not None]

    def slots(self) -> Iterator[list[Message | None]]:
        """Yield the stream with a slot for each step of time, BLOCK at a time; the last may be fewer.

        A slot is None while a scenario keeps its message back.
        """
        stream = Stream(
            self.pairs,
            self.start,
            self.step,
            self.seed,
            count=self.count,
            bad=self.bad,
            scenarios=self.scenarios,
            last=self.last,
        )
        yield from stream.blocks()
