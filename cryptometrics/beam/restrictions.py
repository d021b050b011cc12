"""Restrictions of the Kafka source: the offsets a reader has yet to read, and how it stops and resumes.

A restriction holds the offsets of each partition that are still to be read, and the memory of what was read.
It is split between polls, in time and never inside a partition: the runner may stop a reader at any moment
and resume elsewhere, from the same offsets with the same memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider

from cryptometrics.beam.folding import TradeMemory
from cryptometrics.beam.offset_ranges import NO_END, OffsetRange, TopicShare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.beam.folding import Poll, StoredTrades


class ReadRestriction(NamedTuple):
    """The offsets one reader has yet to read, and its memory of earlier ones."""

    ranges: tuple[OffsetRange, ...]
    memory: tuple[StoredTrades, ...] = ()


class PollClaim(NamedTuple):
    """One poll: its end in each partition, and the news to store in the memory."""

    next_offsets: dict[int, int]
    polls: list[Poll]


class PollTracker(RestrictionTracker):  # type: ignore[misc]  # Beam has no types
    """Claims polls. A split takes effect between two of them."""

    def __init__(self, restriction: ReadRestriction) -> None:
        self._ranges = {each.partition: each for each in restriction.ranges}
        self._next = {each.partition: each.start for each in restriction.ranges}
        self._memory = TradeMemory(restriction.memory)
        self._is_split = False

    def current_restriction(self) -> ReadRestriction:
        """Return the range of this reader and its memory."""
        return ReadRestriction(tuple(self._ranges.values()), self._memory.state())

    def try_claim(self, position: PollClaim) -> bool:
        """Accept a poll, unless a split has given its offsets to another reader."""
        if self._is_split:
            return False
        self._next |= position.next_offsets
        for poll in position.polls:
            poll.keep(self._memory)
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[ReadRestriction, ReadRestriction] | None:
        """Give up everything left; a part is not possible, as one reader reads a pair's ticks in order."""
        if fraction_of_remainder != 0 or self._is_split:
            return None
        left = tuple(each._replace(start=self._next[each.partition]) for each in self._ranges.values())
        if all(each.start >= each.end for each in left):
            return None
        self._is_split = True
        self._ranges = {
            each.partition: each._replace(end=self._next[each.partition]) for each in self._ranges.values()
        }
        memory = self._memory.state()
        return ReadRestriction(tuple(self._ranges.values())), ReadRestriction(left, memory)

    def check_done(self) -> bool:
        """Raise ValueError if offsets were left unread."""
        for each in self._ranges.values():
            if self._next[each.partition] < each.end < NO_END:
                raise ValueError(
                    f"partition {each.partition} was read only up to offset {self._next[each.partition]}"
                )
        return True

    def is_bounded(self) -> bool:
        """Return whether every range has an end."""
        return all(each.end != NO_END for each in self._ranges.values())

    def current_progress(self) -> RestrictionProgress:
        """Return the fraction read; from `completed` and `remaining` Beam would compute NaN."""
        done = sum(self._next[each.partition] - each.start for each in self._ranges.values())
        left = sum(
            each.end - self._next[each.partition] for each in self._ranges.values() if each.end != NO_END
        )
        return RestrictionProgress(fraction=done / (done + left) if done + left else 1.0)


class ShareRestrictionProvider(RestrictionProvider):  # type: ignore[misc]
    """Makes a restriction per share; it is not split at the start, as a reader owns its partitions."""

    def initial_restriction(self, element: TopicShare) -> ReadRestriction:
        """Return the whole share of a reader."""
        return ReadRestriction(element.ranges)

    def create_tracker(self, restriction: ReadRestriction) -> PollTracker:
        """Return the tracker of a restriction."""
        return PollTracker(restriction)

    def restriction_size(self, _element: TopicShare, restriction: ReadRestriction) -> float:
        """Return the number of offsets left."""
        return float(sum(1 if each.end == NO_END else each.end - each.start for each in restriction.ranges))

    def split(self, _element: TopicShare, restriction: ReadRestriction) -> Iterator[ReadRestriction]:
        """Yield it whole."""
        yield restriction

    def truncate(self, _element: TopicShare, _restriction: ReadRestriction) -> None:
        """Read nothing more when a pipeline is drained."""
