"""A running simulation: slot after slot, the next message of one of the pairs. Pure."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.errors import UserError
from cryptometrics.feeds.simulator.bad_ticks import BadTicks
from cryptometrics.feeds.simulator.currencies import levels_of
from cryptometrics.feeds.simulator.outages import Outages
from cryptometrics.feeds.simulator.quotes import QuoteMaker
from cryptometrics.feeds.simulator.scenarios import Conditions, Effect
from cryptometrics.feeds.simulator.tickers import TickerWriter
from cryptometrics.times import EPOCH, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

    from numpy.typing import NDArray

    from cryptometrics.feeds.simulator.currencies import LastQuote
    from cryptometrics.feeds.simulator.fixed_point import Whole
    from cryptometrics.feeds.simulator.scenarios import Scheduled
    from cryptometrics.kafka.publisher import Message

    Slots = list[Message | None]
    Draws = NDArray[np.uint64]

BLOCK = 1024
"""Slots in a block: enough to make the cost per block small."""
NO_PAIR = -1
"""The pair of a slot that has no good tick."""

_SECOND = 1_000_000
_END_OF_TIME = to_microseconds(datetime.max.replace(tzinfo=UTC))
_THREE_DIGITS = [f"{number:03d}" for number in range(1000)]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""The golden ratio in 2^-64: its multiples are spread evenly, and so are the ticks of each pair."""
_UNEVEN_BITS = np.uint64(53)
"""Bits above the lowest byte of a draw: chance moves a slot's place by up to an eighth."""
_LOWEST_BYTE = np.uint64(0xFF)
_PART_BITS = np.uint64(56)


class Stream:
    """Makes the slots of one simulation; its parameters are those of `Simulation`."""

    def __init__(
        self,
        pairs: Sequence[str],
        start: datetime,
        step: Fraction,
        seed: int,
        *,
        count: int | None,
        bad: float,
        scenarios: Sequence[Scheduled],
        last: Mapping[str, LastQuote],
    ) -> None:
        self._random = Random(seed)  # noqa: S311  (a simulation must be repeatable, not secret)
        self._start = to_microseconds(start)
        self._step = step
        self._count = count
        self._shares = _shares(len(pairs))
        self._phase = np.uint64(self._random.getrandbits(64))
        self._conditions = Conditions(scenarios, pairs)
        levels = levels_of(pairs, last)
        self._maker = QuoteMaker(seed, pairs, levels, self._conditions)
        self._writers = [
            TickerWriter(pair, levels[pair], self._random, self._first_trade_id(last.get(pair)))
            for pair in pairs
        ]
        self._outages = Outages(pairs, self._start, self._conditions)
        self._bad_ticks = BadTicks(seed, bad) if bad else None
        self._second_texts = _SecondTexts()

    def blocks(self) -> Iterator[Slots]:
        """Yield the slots, BLOCK at a time; the last may be fewer."""
        for first in itertools.count(0, BLOCK) if self._count is None else range(0, self._count, BLOCK):
            slots = BLOCK if self._count is None else min(BLOCK, self._count - first)
            # As many draws for a short block: a longer stream begins like a shorter one.
            draws = np.frombuffer(self._random.randbytes(8 * BLOCK), "<u8")[:slots]
            offsets = self._offsets(first, slots)
            pairs = self._pick(first, draws)
            silent = self._conditions.holds(Effect.SILENT, offsets)
            if silent is not None:
                pairs[silent & (pairs == 0)] = NO_PAIR
            # A bad tick has its own slot: the trade ids of the good ones stay consecutive.
            is_bad = self._bad_ticks.pick(slots) if self._bad_ticks else None
            if is_bad is not None:
                pairs[is_bad] = NO_PAIR
            block: Slots = [None] * slots
            trades = self._write(block, offsets, pairs, draws)
            if self._bad_ticks is not None and is_bad is not None:
                self._bad_ticks.insert(block, np.flatnonzero(is_bad).tolist())
            self._outages.apply(block, offsets, trades)
            yield block

    def _first_trade_id(self, last: LastQuote | None) -> int:
        return self._start if last is None else max(self._start, last.trade_id + 1)

    def _offsets(self, first: int, slots: int) -> Whole:
        """Return the times of a block, in microseconds since the start."""
        # Computed from the start: steps of a third of a microsecond would accumulate an error.
        numerator, denominator = self._step.numerator, self._step.denominator
        offsets = [number * numerator // denominator for number in range(first, first + slots)]
        if self._start + offsets[-1] >= _END_OF_TIME:
            raise _calendar_error()
        return np.array(offsets, np.int64)

    def _pick(self, first: int, draws: Draws) -> Whole:
        """Return the pair of each slot."""
        numbers = np.arange(first, first + len(draws), dtype=np.uint64)
        places = numbers * _GOLDEN + self._phase + ((draws & _LOWEST_BYTE) << _UNEVEN_BITS)
        pairs: Whole = self._shares[places >> _PART_BITS]
        return pairs

    def _write(self, block: Slots, offsets: Whole, pairs: Whole, draws: Draws) -> list[tuple[int, list[int]]]:
        """Put the good ticks into a block; return each pair's first trade id and the places of its ticks."""
        ticks = self._maker.ticks(pairs, offsets, draws.view("<i8"))
        ahead = self._conditions.at(Effect.CLOCK, offsets)
        times = self._start + offsets if ahead is None else self._start + offsets + ahead
        order = np.argsort(pairs, kind="stable")
        bounds = np.searchsorted(pairs[order], np.arange(len(self._writers) + 1)).tolist()
        places = order.tolist()
        texts = self._time_texts(times[order])
        trades = list(zip(texts, *(column[order].tolist() for column in ticks), strict=True))
        written = []
        for writer, (begin, end) in zip(self._writers, itertools.pairwise(bounds), strict=True):
            own = places[begin:end]
            written.append((writer.next_trade_id, own))
            key = writer.key
            for place, value in zip(own, writer.write(trades[begin:end]), strict=True):
                block[place] = key, value
        return written

    def _time_texts(self, times: Whole) -> list[str]:
        """Return times as RFC 3339 with microseconds."""
        seconds, rest = np.divmod(times, _SECOND)
        thousandths, millionths = np.divmod(rest, 1000)
        texts, digits = self._second_texts, _THREE_DIGITS
        columns = seconds.tolist(), thousandths.tolist(), millionths.tolist()
        return [f"{texts[a]}.{digits[b]}{digits[c]}Z" for a, b, c in zip(*columns, strict=True)]


class _SecondTexts(dict[int, str]):
    """The texts of seconds since the epoch as RFC 3339, without a zone."""

    def __missing__(self, second: int) -> str:
        if len(self) >= BLOCK:
            self.clear()
        try:
            text = self[second] = (EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        except OverflowError:
            raise _calendar_error() from None
        return text


def _calendar_error() -> UserError:
    return UserError("the simulated time is past the year 9999: start earlier or use smaller steps")


def _shares(pairs: int) -> Whole:
    """Return the pair for each of 256 draws: the first gets most, and each gets one (MAX_PAIRS)."""
    return np.array([part * part * pairs >> 16 for part in range(256)], np.int64)
