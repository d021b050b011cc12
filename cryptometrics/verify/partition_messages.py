"""Hold the messages of a partition that its outcomes are compared with: those of some offsets at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from confluent_kafka import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.message_table import MessageReader, MessageTable
    from cryptometrics.verify.offset_books import OffsetBook
    from cryptometrics.verify.topic_reader import PartitionReader


@dataclass(slots=True)
class PartitionMessages:
    """The messages at hand, of those in [begin, end) that Kafka still holds."""

    book: OffsetBook
    begin: int
    end: int
    reader: PartitionReader
    columns: MessageReader
    messages: list[Message] = field(default_factory=list)
    offsets: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    table: MessageTable = field(init=False)
    """The columns of the messages."""

    def __post_init__(self) -> None:
        self.table = self.columns.read([], [])

    def read(self, first: int, last: int) -> None:
        """Receive the messages up to an offset; those before `first` may be left out."""
        self.reader.skip_to(first)
        received = self.reader.read_through(last)
        self.messages += received
        new = np.fromiter(map(Message.offset, received), np.int64, len(received))
        self.offsets = np.concatenate((self.offsets, new))
        self.table = self.columns.read(
            [*map(Message.key, self.messages)], [*map(Message.value, self.messages)]
        )

    def drop_before(self, offset: int) -> None:
        """Forget the messages before an offset, and the columns of all."""
        count = int(np.searchsorted(self.offsets, offset))
        del self.messages[:count]
        self.offsets = self.offsets[count:]
        self.table = self.columns.read([], [])

    def places(self, offsets: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Return where the message of each offset is, and whether there is one."""
        if not len(self.offsets):
            return np.zeros(len(offsets), np.int64), np.zeros(len(offsets), np.bool_)
        places = np.minimum(np.searchsorted(self.offsets, offsets), len(self.offsets) - 1)
        return places, self.offsets[places] == offsets

    def between(self, first: int, last: int) -> tuple[range, int]:
        """Return where the messages of a range of offsets are, and how many are missing in [begin, end)."""
        first, last = max(first, self.begin), min(last, self.end - 1)
        if first > last:
            return range(0), 0
        begin, end = np.searchsorted(self.offsets, [first, last + 1]).tolist()
        return range(begin, end), last + 1 - first - (end - begin)
