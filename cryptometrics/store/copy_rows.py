"""Encode rows of `crypto_metrics` in COPY's binary format, with the columns of COPY_COLUMNS.

The format is PostgreSQL's (the manual's page on COPY, and numeric_recv for decimals). A decimal is a sign,
the number of displayed decimal places, and digits of base 10,000 with the weight of the first. Zero digits
are allowed at both ends, so all decimals of many rows can have equally many digits, and the rows one layout.
"""

from __future__ import annotations

import functools
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from cryptometrics.market.table import NO_TRADE
from cryptometrics.market.venues import Market

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from numpy.typing import NDArray

    from cryptometrics.market.metrics import Session, TickMetrics
    from cryptometrics.market.table_metrics import NumberColumn, PairMetrics
    from cryptometrics.market.ticks import Tick

COPY_COLUMNS = (
    "pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread, timestamp, consumer_group, "
    "venue, session, kind, trade_id, kafka_partition, kafka_offset, bid_size, ask_size"
)
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
"""The beginning of the stream."""
TRAILER = struct.pack("!h", -1)
"""The end of the stream."""

Names = tuple[bytes, bytes, bytes, bytes, bytes]
"""Pair, consumer group, venue, session and kind."""
Fields = tuple[bytes, ...]
"""One row taken apart: each field of COPY_COLUMNS, with its size in front."""

_NULL = b"\xff\xff\xff\xff"
_SIZED_LONG = struct.Struct("!iq").pack
_SIZED_INT = struct.Struct("!ii").pack
_FIELDS = len(COPY_COLUMNS.split(", "))
_COUNT = struct.pack("!h", _FIELDS)
_NUMBERS = 7
_BASE = 10_000
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_POSTGRES_EPOCH_US = 946_684_800_000_000
_MICROSECOND = timedelta(microseconds=1)


def encode(metrics: PairMetrics, group: str) -> Iterator[bytes]:
    """Yield the rows of some measured ticks of a consumer group, in one piece for each form of tick."""
    for kind, ticks, mask in metrics.ticks.by_form():
        names = _names(ticks.market, group, str(ticks.session), kind)
        yield _encode_form(metrics if mask is None else metrics.only(ticks, mask), names)


def fields(
    tick: Tick, metrics: TickMetrics, state: Session, names: tuple[str, str], place: tuple[int, int]
) -> Fields:
    """Return the fields of the row of one tick.

    state: of the session as of this tick. names: consumer group and session. place: partition and offset.
    """
    group, session = names
    pair, *others = _texts(_names(Market(tick.venue, tick.pair), group, session, tick.kind))
    numbers = (
        tick.bid, tick.ask, metrics.mid_price, metrics.spread, state.highest_bid, state.lowest_ask,
        state.max_spread,
    )  # fmt: skip
    time = (tick.time - _POSTGRES_EPOCH) // _MICROSECOND
    return (
        pair,
        *[_number(f"{number:f}") for number in numbers],
        _SIZED_LONG(8, time),
        *others,
        _NULL if tick.trade_id is None else _SIZED_LONG(8, tick.trade_id),
        _SIZED_INT(4, place[0]),
        _SIZED_LONG(8, place[1]),
        _optional_number(tick.bid_size),
        _optional_number(tick.ask_size),
    )


def one_row(fields: Fields) -> bytes:
    """Return the row of these fields."""
    return b"".join((_COUNT, *fields))


def _encode_form(metrics: PairMetrics, names: Names) -> bytes:
    ticks, numbers = metrics.ticks, metrics.numbers
    digits = _digits(*numbers)
    has_trade = bool(ticks.trade_id[0] != NO_TRADE)
    sizes = [
        (f"size_{side}", column)
        for side, column in (("bid", metrics.bid_size), ("ask", metrics.ask_size))
        if column.units[0] >= 0
    ]
    size_digits = max([_digits(column) for _, column in sizes], default=1)
    template = _layout(
        *(names, ticks.partition, digits, digits - 1 - metrics.scale // 4, has_trade),
        *(tuple(name for name, _ in sizes), size_digits, size_digits - 1 - metrics.size_scale // 4),
    )
    rows = np.repeat(template, len(ticks))
    for number, column in enumerate(numbers):
        _put_numbers(rows[f"number_{number}"], column, digits)
    for name, column in sizes:
        _put_numbers(rows[name], column, size_digits)
    rows["timestamp"] = ticks.time - _POSTGRES_EPOCH_US
    if has_trade:
        rows["trade_id"] = ticks.trade_id
    rows["kafka_offset"] = ticks.offset
    return rows.tobytes()


def _digits(*columns: NumberColumn) -> int:
    """Return how many digits of base 10,000 the largest number has."""
    largest = max(int(column.units.max()) for column in columns)
    return max(-(-len(str(largest)) // 4), 1)


@functools.lru_cache(maxsize=4096)
def _names(market: Market, group: str, session: str, kind: str) -> Names:
    return market.pair.encode(), group.encode(), market.venue.encode(), session.encode(), kind.encode()


@functools.lru_cache(maxsize=1024)
def _texts(names: Names) -> Fields:
    return tuple(struct.pack("!i", len(text)) + text for text in names)


@functools.lru_cache(maxsize=1024)
def _layout(
    names: Names,
    partition: int,
    digits: int,
    weight: int,
    has_trade: bool,
    sizes: tuple[str, ...],
    size_digits: int,
    size_weight: int,
) -> NDArray[Any]:
    """Return a row with these names and everything else that is the same in each.

    sizes: the names of the sizes that are not NULL.
    """
    pair, group, venue, session, kind = names
    number, size = _number_fields(digits), _number_fields(size_digits)
    fields: list[tuple[str, Any]] = [("fields", ">i2"), *_sized("pair", f"V{len(pair)}")]
    fields += [(f"number_{place}", number) for place in range(_NUMBERS)]
    fields += _sized("timestamp", ">i8")
    texts = (("group", group), ("venue", venue), ("session", session), ("kind", kind))
    for name, value in texts:
        fields += _sized(name, f"V{len(value)}")
    fields += _sized("trade_id", ">i8") if has_trade else [("trade_id_size", ">i4")]
    fields += _sized("kafka_partition", ">i4") + _sized("kafka_offset", ">i8")
    fields += [(name, size if name in sizes else ">i4") for name in ("size_bid", "size_ask")]
    layout = np.dtype(fields)
    row = np.zeros(1, layout)
    row["fields"] = _FIELDS
    fixed = "timestamp", "kafka_partition", "kafka_offset"
    for name in ("pair", *(name for name, _ in texts), *fixed):
        row[f"{name}_size"] = layout[name].itemsize
    for name, value in (("pair", pair), *texts):
        row[name] = np.void(value)
    for place in range(_NUMBERS):
        _fill_number(row[f"number_{place}"], digits, weight)
    for name in ("size_bid", "size_ask"):
        if name in sizes:
            _fill_number(row[name], size_digits, size_weight)
        else:
            row[name] = -1
    row["trade_id_size"] = 8 if has_trade else -1
    row["kafka_partition"] = partition
    return row


def _number_fields(digits: int) -> list[tuple[str, str]]:
    number = [("size", ">i4"), ("digits", ">i2"), ("weight", ">i2"), ("sign", ">i2"), ("places", ">i2")]
    return number + [(f"digit_{place}", ">i2") for place in range(digits)]


def _fill_number(field: NDArray[Any], digits: int, weight: int) -> None:
    field["size"], field["digits"], field["weight"] = 8 + 2 * digits, digits, weight


def _sized(name: str, form: str) -> list[tuple[str, Any]]:
    """Return a field, preceded by its length."""
    return [(f"{name}_size", ">i4"), (name, form)]


def _put_numbers(field: NDArray[Any], column: NumberColumn, digits: int) -> None:
    rest = column.units
    for place in range(digits - 1, 0, -1):
        higher = rest // _BASE
        field[f"digit_{place}"] = rest - higher * _BASE
        rest = higher
    field["digit_0"] = rest
    field["places"] = column.places


def _optional_number(number: Decimal | None) -> bytes:
    return _NULL if number is None else _number(f"{number:f}")


@functools.lru_cache(maxsize=16_384)
def _number(text: str) -> bytes:
    """Return a decimal from its text, preceded by its size; it is not negative."""
    whole, _, fraction = text.partition(".")
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    digits = whole + fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    values = [int(digits[begin : begin + 4]) for begin in range(0, len(digits), 4)]
    head = 8 + 2 * len(values), len(values), len(whole) // 4 - 1, 0, len(fraction)
    return struct.pack(f"!ihhhh{len(values)}h", *head, *values)
