"""Compare the rows of a pair with their messages, many at once. Pure.

Nothing is reported here: a row that does not match is compared once more by itself, value by value.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from cryptometrics.times import MICROSECOND, from_microseconds, to_microseconds
from cryptometrics.verify.exact_numbers import as_decimal
from cryptometrics.verify.message_decoder import FIRST_TIME, MAX_AHEAD
from cryptometrics.verify.stored_outcomes import NO_TRADE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.exact_numbers import Exact
    from cryptometrics.verify.message_table import MessageTable
    from cryptometrics.verify.pair_rows import PairRows
    from cryptometrics.verify.written_numbers import WrittenNumbers

MAX_CLOCK_DIFFERENCE = timedelta(minutes=10)
"""Between the worker's clock when it decoded a message, and `recorded_at`."""
QUOTE_COLUMNS = ("pair", "kind", "bid", "ask", "timestamp", "trade_id", "venue", "bid_size", "ask_size")
"""The columns that hold a message's fields, in the order of `QuoteMessage`."""

_FIRST_US = to_microseconds(FIRST_TIME)
_AHEAD_US = (MAX_AHEAD + MAX_CLOCK_DIFFERENCE) // MICROSECOND
_PLACES = 18
_POWERS = np.array([10**n for n in range(_PLACES + 1)], np.int64)


def matching_rows(rows: PairRows, table: MessageTable, at: Integers) -> NDArray[np.bool_]:
    """Return whether each row has the values of a valid message; at: where the messages are in the table."""
    match: NDArray[np.bool_] = (
        table.is_read[at]
        & (table.pair[at] == table.pairs.number(rows.market.pair.encode()))
        & (table.venue[at] == table.venues.number(rows.market.venue.encode()))
        & (table.kind[at] == rows.kinds)
        & (table.time[at] == rows.times)
        & (rows.times >= _FIRST_US)
        & (rows.times <= rows.recorded + _AHEAD_US)
        & (np.where(table.has_trade_id[at], table.trade_id[at], NO_TRADE) == rows.trade_ids)
        & _equals(rows.bid, rows.places, table.bid[at])
        & _equals(rows.ask, rows.places, table.ask[at])
        & (rows.bid > 0)
        & (rows.bid <= rows.ask)
    )
    for sizes, has, written in (
        (rows.bid_size, rows.has_bid_size, table.bid_size[at]),
        (rows.ask_size, rows.has_ask_size, table.ask_size[at]),
    ):
        is_equal = (has == written.is_there) & (~has | _equals(sizes, rows.size_places, written))
        match &= np.where(rows.is_before_sizes, ~has, is_equal)
    return match


def valid_quotes(table: MessageTable, at: Integers, recorded: Integers) -> NDArray[np.bool_]:
    """Return whether some messages hold a valid quote; recorded: `recorded_at` of their outcomes."""
    time, bid = table.time[at], table.bid[at]
    valid: NDArray[np.bool_] = (
        table.is_read[at]
        & (time >= _FIRST_US)
        & (time <= recorded + _AHEAD_US)
        & (bid.digits > 0)
        & _is_at_most(bid, table.ask[at])
    )
    return valid


def stored_quote(rows: PairRows, row: int) -> tuple[Any, ...]:
    """Return the values of QUOTE_COLUMNS of a row, as `message_decoder` returns them."""
    trade_id = int(rows.trade_ids[row])
    try:
        time = from_microseconds(int(rows.times[row]))
    except OverflowError:
        time = None
    return (
        rows.market.pair,
        rows.names[rows.series[row]].kind,
        as_decimal(int(rows.bid[row]), rows.places),
        as_decimal(int(rows.ask[row]), rows.places),
        time,
        None if trade_id == NO_TRADE else trade_id,
        rows.market.venue,
        as_decimal(int(rows.bid_size[row]), rows.size_places) if rows.has_bid_size[row] else None,
        as_decimal(int(rows.ask_size[row]), rows.size_places) if rows.has_ask_size[row] else None,
    )


def _equals(stored: Exact, places: int, written: WrittenNumbers) -> NDArray[np.bool_]:
    """Return whether stored numbers are those written in messages."""
    # Both sides become whole numbers of the smaller unit.
    shift = 4 * places - written.decimals
    up, down = np.clip(shift, 0, _PLACES), np.clip(-shift, 0, _PLACES)
    left, right = written.digits, stored
    if right.dtype == object or int(shift.max()) > _PLACES or _is_large(left, up) or _is_large(right, down):
        tens = np.array([10**n for n in range(max(int(np.abs(shift).max()), 0) + 1)], object)
        equal: NDArray[np.bool_] = (
            left.astype(object) * tens[np.maximum(shift, 0)]
            == right.astype(object) * tens[np.maximum(-shift, 0)]
        ).astype(np.bool_)
        return equal
    same: NDArray[np.bool_] = left * _POWERS[up] == right * _POWERS[down]
    return same


def _is_large(numbers: Integers, powers: Integers) -> bool:
    """Whether a product with a power of ten may not fit into 64 bits."""
    return bool(int(np.abs(numbers).max()) * 10 ** int(powers.max()) >= 2**63)


def _is_at_most(left: WrittenNumbers, right: WrittenNumbers) -> NDArray[np.bool_]:
    """Return whether numbers written in messages are not greater than others."""
    if not len(left.digits):
        return np.zeros(0, np.bool_)
    shift = left.decimals - right.decimals
    up, down = np.clip(-shift, 0, _PLACES), np.clip(shift, 0, _PLACES)
    one, other = left.digits, right.digits
    if _is_large(one, up) or _is_large(other, down):
        one, other = one.astype(object), other.astype(object)
    at_most: NDArray[np.bool_] = one * _POWERS[up] <= other * _POWERS[down]
    return at_most
