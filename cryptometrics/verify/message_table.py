"""The quotes of many messages as columns, for those whose layout is known. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.joined_messages import JoinedMessages
from cryptometrics.verify.message_decoder import DEFAULT_VENUE
from cryptometrics.verify.message_layout import KINDS, MessageLayout
from cryptometrics.verify.seen_texts import NOT_SEEN, SeenTexts
from cryptometrics.verify.written_numbers import WrittenNumbers, read_integers, read_numbers
from cryptometrics.verify.written_times import read_times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import ByteWords, Integers
    from cryptometrics.verify.message_layout import Places

MAX_LAYOUTS = 8
"""Layouts that are tried on a message."""
MAX_FAILURES = 8
"""Messages without a layout in a row, after which a block is searched no further for a new one."""
BLOCK_MESSAGES = 4096
"""Messages that are read at once: few enough to stay in the processor's cache."""
MAX_PAIRS, MAX_VENUES = 10_000, 100
"""Pairs and venues that get a number."""
_is_pair = re.compile(rb"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}").fullmatch
_is_venue = re.compile(rb"[a-z0-9-]{1,32}").fullmatch
_VENUES = (DEFAULT_VENUE.encode(),)
"""The venue of a message without the field has the number 0."""
_SIDES = (b"sell", b"buy")
_NUMBERS = {
    "best_bid": "bid",
    "best_ask": "ask",
    "best_bid_size": "bid_size",
    "best_ask_size": "ask_size",
    "price": "price",
    "last_size": "size",
}
"""The columns of the fields that hold a number."""


@dataclass(frozen=True, slots=True)
class MessageTable:
    """The columns of some messages; only rows with `is_read` mean something."""

    is_read: NDArray[np.bool_]
    """Whether the message is laid out as others, its key is its pair, and its values fit into the columns."""
    kind: Integers
    """Index in KINDS."""
    pair: Integers
    """Number in `pairs`, as `venue` is one in `venues`."""
    venue: Integers
    time: Integers
    """In microseconds from the epoch."""
    trade_id: Integers
    has_trade_id: NDArray[np.bool_]
    bid: WrittenNumbers
    ask: WrittenNumbers
    bid_size: WrittenNumbers
    ask_size: WrittenNumbers
    price: WrittenNumbers
    """The price and the size of the trade."""
    size: WrittenNumbers
    taker_bought: NDArray[np.bool_]
    pairs: SeenTexts
    venues: SeenTexts

    def __len__(self) -> int:
        return len(self.is_read)


class MessageReader:
    """Reads messages as columns, and learns their layouts."""

    def __init__(self) -> None:
        self._pairs, self._venues = SeenTexts(_is_pair, MAX_PAIRS), SeenTexts(_is_venue, MAX_VENUES, _VENUES)
        self._sides = SeenTexts(_SIDES.__contains__, len(_SIDES), _SIDES)
        self._layouts: list[MessageLayout] = []

    def read(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> MessageTable:
        """Return the columns of some messages."""
        table = _empty(len(values), self._pairs, self._venues)
        for begin in range(0, len(values), BLOCK_MESSAGES):
            end = begin + BLOCK_MESSAGES
            self._read_block(table, begin, keys[begin:end], values[begin:end])
        return table

    def _read_block(
        self, table: MessageTable, begin: int, keys: Sequence[bytes | None], values: Sequence[bytes | None]
    ) -> None:
        """Fill in the messages of a table from the row `begin`."""
        messages, pairs = JoinedMessages(values), self._pairs.numbers(keys)
        left = np.arange(len(values))
        for layout in self._layouts:
            left = self._read(table, begin, layout, messages, left, pairs)
        failures = 0
        while len(left) and failures < MAX_FAILURES and len(self._layouts) < MAX_LAYOUTS:
            layout_of_next = MessageLayout.of(values[left[0]] or b"")
            if layout_of_next is None:
                failures += 1
                left = left[1:]
                continue
            failures = 0
            self._layouts.append(layout_of_next)
            left = self._read(table, begin, layout_of_next, messages, left, pairs)

    def _read(
        self,
        table: MessageTable,
        begin: int,
        layout: MessageLayout,
        messages: JoinedMessages,
        rows: Integers,
        pairs: Integers,
    ) -> Integers:
        """Fill in the messages with this layout, of those in some rows; return the rows without it."""
        found, places = layout.find(messages, rows)
        if not len(found):
            return rows
        is_all = len(found) == len(pairs)
        at = slice(begin, begin + len(pairs)) if is_all else found + begin
        is_read = self._fill(table, at, layout, messages.words, places)
        pairs_found = pairs[found]
        table.pair[at] = pairs_found
        table.is_read[at] = is_read & self._pairs.equal(pairs_found, messages.words, *places["product_id"])
        is_left = np.ones(len(pairs), np.bool_)
        is_left[found] = False
        return rows[is_left[rows]]

    def _fill(
        self,
        table: MessageTable,
        at: Integers | slice,
        layout: MessageLayout,
        words: ByteWords,
        places: Mapping[str, Places],
    ) -> NDArray[np.bool_]:
        """Fill in all columns but the pair; return whether the values of each row fit into them."""
        table.kind[at] = KINDS.index(layout.kind)
        table.time[at], fits = read_times(words, *places["time"])
        for field in layout.integers:
            integers = read_integers(words, *places[field])
            fits &= integers.is_there
            if field == "trade_id":
                table.trade_id[at], table.has_trade_id[at] = integers.digits, True
        for field, column in _NUMBERS.items():
            if field in places:
                numbers, written = read_numbers(words, *places[field]), getattr(table, column)
                fits &= numbers.is_there
                written.digits[at], written.decimals[at], written.is_there[at] = (
                    numbers.digits,
                    numbers.decimals,
                    True,
                )
        if "venue" in places:
            venues = self._venues.read(words, *places["venue"])
            fits &= venues != NOT_SEEN
            table.venue[at] = venues
        if "side" in places:
            sides = self._sides.read(words, *places["side"])
            fits &= sides != NOT_SEEN
            table.taker_bought[at] = sides == _SIDES.index(b"buy")
        return fits


def _empty(count: int, pairs: SeenTexts, venues: SeenTexts) -> MessageTable:
    def integers() -> Integers:
        return np.zeros(count, np.int64)

    def flags() -> NDArray[np.bool_]:
        return np.zeros(count, np.bool_)

    def written() -> WrittenNumbers:
        return WrittenNumbers(integers(), integers(), flags())

    return MessageTable(
        is_read=flags(),
        kind=integers(),
        pair=integers(),
        venue=integers(),
        time=integers(),
        trade_id=integers(),
        has_trade_id=flags(),
        bid=written(),
        ask=written(),
        bid_size=written(),
        ask_size=written(),
        price=written(),
        size=written(),
        taker_bought=flags(),
        pairs=pairs,
        venues=venues,
    )
