"""Simulated market data: endless, plausible, and byte for byte the same for the same parameters."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.feeds.simulator.bad_ticks import spoiled
from cryptometrics.feeds.simulator.market import Market
from cryptometrics.times import EPOCH, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from cryptometrics.kafka.publisher import Message

DEFAULT_PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "ADA-USD", "DOGE-USD")
BLOCK = 1024
"""Messages in a block: enough to make the cost per block negligible."""
MAX_PAIRS = 128

_DRAWS = struct.Struct(f"<{BLOCK}Q")
_SECOND = 1_000_000


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
    """Number of ticks; None: endless."""

    def __post_init__(self) -> None:
        if len(self.pairs) > MAX_PAIRS:
            raise UserError(f"at most {MAX_PAIRS} pairs can be simulated at once, not {len(self.pairs)}")

    def blocks(self) -> Iterator[list[Message]]:
        """Yield the stream as (key, value) messages in blocks of BLOCK; the last may be shorter."""
        if self.count is None:
            yield from self._endless()
            return
        full, rest = divmod(self.count, BLOCK)
        blocks = self._endless()
        yield from itertools.islice(blocks, full)
        if rest:
            yield next(blocks)[:rest]

    def _endless(self) -> Iterator[list[Message]]:
        random = Random(self.seed)  # noqa: S311  (a simulation must be repeatable, not secret)
        chance_of_bad = Random(self.seed).random  # noqa: S311
        start = to_microseconds(self.start)
        markets = [Market(pair, random, start) for pair in self.pairs]
        shares = _shares(len(markets))
        bad, bad_ticks = self.bad, itertools.count()
        good: tuple[bytes, bytes] | None = None
        for first in itertools.count(0, BLOCK):
            draws = _DRAWS.unpack(random.randbytes(_DRAWS.size))
            times = _times(start, self.step, first)
            # A bad tick has its own position: the trade ids of the good ones stay consecutive.
            is_bad = (
                [bool(good or place) and chance_of_bad() < bad for place in range(BLOCK)] if bad else None
            )
            block: list[Message] = [(None, None)] * BLOCK
            for market, places in zip(markets, _places(draws, shares, len(markets), is_bad), strict=True):
                made = market.trades([draws[place] for place in places], [times[place] for place in places])
                for place, value in zip(places, made, strict=True):
                    block[place] = market.key, value
            if is_bad is not None:
                good = _spoil(block, is_bad, bad_ticks, good)
            yield block


def _shares(markets: int) -> list[int]:
    """Return the market for each of 256 draws: the first gets most, and each gets one (MAX_PAIRS)."""
    return [part * part * markets >> 16 for part in range(256)]


def _places(
    draws: Sequence[int], shares: list[int], markets: int, is_bad: list[bool] | None
) -> list[list[int]]:
    """Return the positions in the block of each market's trades."""
    places: list[list[int]] = [[] for _ in range(markets)]
    for place, draw in enumerate(draws):
        if is_bad is None or not is_bad[place]:
            places[shares[draw & 255]].append(place)
    return places


def _spoil(
    block: list[Message], is_bad: list[bool], turns: Iterator[int], good: tuple[bytes, bytes] | None
) -> tuple[bytes, bytes] | None:
    """Insert the bad ticks, each made from the good tick before it; return the last good tick."""
    for place, (key, value) in enumerate(block):
        if is_bad[place] and good is not None:
            block[place] = spoiled(next(turns), *good)
        elif key is not None and value is not None:
            good = key, value
    return good


def _times(start: int, step: Fraction, first: int) -> list[str]:
    """Return the event times of a block as RFC 3339 with microseconds.

    start: start of the stream, in microseconds since the epoch. first: number of the block's first tick.
    """
    texts = []
    begin, begin_text = -_SECOND, ""  # of the current second
    numerator, denominator = step.numerator, step.denominator
    for number in range(first, first + BLOCK):
        # Computed from the start: steps of a third of a microsecond would accumulate an error.
        time = start + number * numerator // denominator
        if not 0 <= time - begin < _SECOND:
            begin = time - time % _SECOND
            begin_text = _second_text(time // _SECOND)
        texts.append(f"{begin_text}.{time - begin:06d}Z")
    return texts


def _second_text(second: int) -> str:
    try:
        return (EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        raise UserError(
            "the simulated time is past the year 9999: start earlier or use smaller steps"
        ) from None
