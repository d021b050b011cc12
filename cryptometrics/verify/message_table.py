"""The quotes of many messages as columns, for those whose layout is known. Pure."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.message_decoder import DEFAULT_VENUE
from cryptometrics.verify.message_layout import KINDS, MessageLayout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cryptometrics.verify.copy_blocks import Integers

MAX_LAYOUTS = 8
"""Layouts that are tried on a message, and failures in a row after which no new one is looked for."""
MAX_DIGITS = 18
_ZERO, _POINT = ord("0"), ord(".")
_TIME_LENGTH = 26
_TIME_MARKS = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":"}
_DAY_US, _HOUR_US, _MINUTE_US, _SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000


@dataclass(frozen=True, slots=True)
class WrittenNumbers:
    """Numbers as written in messages: all digits as a whole number, and how many follow the point."""

    digits: Integers
    decimals: Integers
    is_there: NDArray[np.bool_]

    def __getitem__(self, rows: Integers) -> WrittenNumbers:
        return WrittenNumbers(self.digits[rows], self.decimals[rows], self.is_there[rows])


@dataclass(frozen=True, slots=True)
class MessageTable:
    """The columns of some messages; only rows with `is_read` mean something."""

    is_read: NDArray[np.bool_]
    """Whether the message is laid out as others, its key is its pair, and its values fit into the columns."""
    kind: Integers
    """Index in KINDS."""
    pair: NDArray[np.bytes_]
    venue: NDArray[np.bytes_]
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


class MessageReader:
    """Reads messages as columns, and learns their layouts."""

    def __init__(self) -> None:
        self._layouts: list[MessageLayout] = []
        self._failures = 0

    def read(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> MessageTable:
        """Return the columns of some messages."""
        table = _empty(len(values))
        left = np.arange(len(values))
        for layout in self._layouts:
            left = self._read(table, layout, left, keys, values)
        while len(left) and self._failures < MAX_LAYOUTS and len(self._layouts) < MAX_LAYOUTS:
            layout_of_next = MessageLayout.of(values[left[0]] or b"")
            if layout_of_next is None:
                self._failures += 1
                left = left[1:]
                continue
            self._failures = 0
            self._layouts.append(layout_of_next)
            left = self._read(table, layout_of_next, left, keys, values)
        return table

    @staticmethod
    def _read(
        table: MessageTable,
        layout: MessageLayout,
        rows: Integers,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> Integers:
        """Fill in the messages with this layout, of those in some rows; return the rows without it."""
        places = rows.tolist()
        found = layout.read([values[row] for row in places])
        if not len(found):
            return rows
        has_layout = np.fromiter(map(operator.is_not, found, [None] * len(found)), np.bool_, len(found))
        at, left = rows[has_layout], rows[~has_layout]
        matched = [each for each in found if each is not None]
        if not matched:
            return rows
        columns = dict(zip(layout.fields, zip(*matched, strict=True), strict=True))
        pairs = columns["product_id"]
        has_key = map(operator.eq, pairs, [keys[row] for row in at.tolist()])
        is_read = np.fromiter(has_key, np.bool_, len(at))
        time, is_time = _times(columns["time"])
        is_read &= is_time
        table.time[at] = time
        table.pair[at] = pairs
        table.kind[at] = KINDS.index(layout.kind)
        table.venue[at] = columns.get("venue", DEFAULT_VENUE.encode())
        if "trade_id" in columns:
            table.trade_id[at] = np.array(columns["trade_id"], np.bytes_).astype(np.int64)
            table.has_trade_id[at] = True
        for name, written in (
            ("best_bid", table.bid),
            ("best_ask", table.ask),
            ("best_bid_size", table.bid_size),
            ("best_ask_size", table.ask_size),
            ("price", table.price),
            ("last_size", table.size),
        ):
            if name in columns:
                digits, decimals, fits = _numbers(columns[name])
                written.digits[at], written.decimals[at], written.is_there[at] = digits, decimals, True
                is_read &= fits
        if "side" in columns:
            table.taker_bought[at] = np.array(columns["side"], np.bytes_) == b"buy"
        table.is_read[at] = is_read
        return left


def _empty(count: int) -> MessageTable:
    def integers() -> Integers:
        return np.zeros(count, np.int64)

    def flags() -> NDArray[np.bool_]:
        return np.zeros(count, np.bool_)

    def written() -> WrittenNumbers:
        return WrittenNumbers(integers(), integers(), flags())

    return MessageTable(
        is_read=flags(),
        kind=integers(),
        pair=np.zeros(count, "S41"),
        venue=np.zeros(count, "S32"),
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
    )


def _characters(texts: Sequence[bytes]) -> NDArray[np.uint8]:
    """Return the characters of some texts, a row for each place; 0 behind the end."""
    column = np.array(texts, np.bytes_)
    return column.view(np.uint8).reshape(len(texts), -1).T.copy()


def _numbers(texts: Sequence[bytes]) -> tuple[Integers, Integers, NDArray[np.bool_]]:
    """Return digits and decimals of some numbers, and whether their digits fit into 64 bits."""
    characters = _characters(texts)
    fits = np.ones(len(texts), np.bool_)
    if len(characters) > MAX_DIGITS + 1:
        fits = characters[MAX_DIGITS + 1] == 0
        characters = characters[: MAX_DIGITS + 1]
    count = len(texts)
    digits, decimals, points = (np.zeros(count, np.int64) for _ in range(3))
    for row in characters:
        is_digit = row >= _ZERO
        digits = np.where(is_digit, digits * 10 + row - _ZERO, digits)
        decimals += is_digit & (points > 0)
        points += row == _POINT
    fits &= ((characters >= _ZERO).sum(axis=0) <= MAX_DIGITS) & (characters[0] >= _ZERO)
    return digits, decimals, fits & ((points == 0) | ((points == 1) & (decimals > 0)))


def _times(texts: Sequence[bytes]) -> tuple[Integers, NDArray[np.bool_]]:
    """Return times of the form 2026-07-01T12:00:00.123456 in microseconds, and whether they exist."""
    characters = np.zeros((_TIME_LENGTH, len(texts)), np.int32)
    found = _characters(texts)
    characters[: len(found)] = found
    is_digit = (characters >= _ZERO) & (characters <= _ZERO + 9)
    digits = np.where(is_digit, characters - _ZERO, 0)
    exists = np.logical_and.reduce([characters[place] == ord(mark) for place, mark in _TIME_MARKS.items()])
    exists &= np.logical_and.reduce([is_digit[place] for place in range(19) if place not in _TIME_MARKS])
    # The fraction is absent, or a point and at least one digit.
    exists &= (characters[19] == 0) | ((characters[19] == _POINT) & is_digit[20])
    exists &= np.logical_and.reduce(is_digit[20:] | (characters[20:] == 0))
    year, month, day, hour, minute, second, fraction = (
        sum(digits[begin + n] * 10 ** (length - n - 1) for n in range(length)).astype(np.int64)
        for begin, length in ((0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2), (20, 6))
    )
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first, after = ((months + more).astype("M8[M]").astype("M8[D]").astype(np.int64) for more in (0, 1))
    exists &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= after - first)
    exists &= (hour < 24) & (minute < 60) & (second < 60)
    time = (first + day - 1) * _DAY_US + hour * _HOUR_US + minute * _MINUTE_US + second * _SECOND_US
    return time + fraction, exists
