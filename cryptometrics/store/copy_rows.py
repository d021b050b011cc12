"""Rows of `crypto_metrics` in COPY's binary format, the columns in the order of COPY_COLUMNS.

The format is PostgreSQL's own (the manual's page of COPY, and numeric_recv for decimals): a decimal is a
sign, how many places it shows, and digits of base 10,000 with the weight of the first one. Zero digits on
both ends are allowed, so that all decimals of some rows can have equally many, and those rows one layout.
"""

from __future__ import annotations

import functools
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from cryptometrics.market.table_decoder import NO_TRADE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cryptometrics.market.metrics import Measured as Metrics
    from cryptometrics.market.metrics import Session
    from cryptometrics.market.table_decoder import Columns
    from cryptometrics.market.table_metrics import Column, Measured
    from cryptometrics.market.tick_decoder import Tick

COPY_COLUMNS = (
    "pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread, timestamp, consumer_group, "
    "session, kind, trade_id, kafka_partition, kafka_offset"
)
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
"""What the stream begins with."""
TRAILER = struct.pack("!h", -1)
"""What it ends with."""

_NULL = b"\xff\xff\xff\xff"
_SIZED_LONG = struct.Struct("!iq").pack
_PLACE = struct.Struct("!iiiq").pack
_FIELDS = len(COPY_COLUMNS.split(", "))
_NUMBERS = 7
_BASE = 10_000
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_POSTGRES_EPOCH_US = 946_684_800_000_000
_MICROSECOND = timedelta(microseconds=1)


def encode(
    measured: Measured, columns: Columns, at: NDArray[np.intp], names: tuple[bytes, bytes, bytes, bytes],
    partition: int, offsets: NDArray[np.int64],
) -> bytes:  # fmt: skip
    """Return the rows of the ticks at these places, all of one kind, all or none with a trade.

    names: pair, consumer group, session and kind; offsets: of these ticks, in Kafka.
    """
    trade_ids = columns.trade_id[at]
    numbers = measured.numbers
    most = max(int(column.units.max()) for column in numbers)
    digits = max(-(-len(str(most)) // 4), 1)
    has_trade = bool(trade_ids[0] != NO_TRADE)
    template = _layout(names, partition, digits, digits - 1 - measured.scale // 4, has_trade)
    rows = np.repeat(template, len(at))
    for place, column in enumerate(numbers):
        _put_numbers(rows[f"number_{place}"], column, digits)
    rows["timestamp"] = columns.time[at] - _POSTGRES_EPOCH_US
    if has_trade:
        rows["trade_id"] = trade_ids
    rows["kafka_offset"] = offsets
    return rows.tobytes()


def encode_one(
    tick: Tick, metrics: Metrics, session: Session, names: tuple[bytes, bytes, bytes, bytes],
    partition: int, offset: int,
) -> bytes:  # fmt: skip
    """Return the row of one tick; `session` as of this tick."""
    head, middle = _texts(names)
    numbers = (
        tick.bid, tick.ask, metrics.mid_price, metrics.spread, session.highest_bid, session.lowest_ask,
        session.max_spread,
    )  # fmt: skip
    time = (tick.time - _POSTGRES_EPOCH) // _MICROSECOND
    return b"".join(
        (
            head,
            *[_number(f"{number:f}") for number in numbers],
            _SIZED_LONG(8, time),
            middle,
            _NULL if tick.trade_id is None else _SIZED_LONG(8, tick.trade_id),
            _PLACE(4, partition, 8, offset),
        )
    )


@functools.lru_cache(maxsize=1024)
def _texts(names: tuple[bytes, bytes, bytes, bytes]) -> tuple[bytes, bytes]:
    """Return what stands before the numbers of a row, and after the time that follows them."""
    pair, *others = (struct.pack("!i", len(text)) + text for text in names)
    return struct.pack("!h", _FIELDS) + pair, b"".join(others)


@functools.lru_cache(maxsize=1024)
def _layout(
    names: tuple[bytes, bytes, bytes, bytes], partition: int, digits: int, weight: int, has_trade: bool
) -> NDArray[Any]:
    """Return a row of these names, with all that is the same in each."""
    pair, group, session, kind = names
    number = [("size", ">i4"), ("digits", ">i2"), ("weight", ">i2"), ("sign", ">i2"), ("places", ">i2")]
    number += [(f"digit_{place}", ">i2") for place in range(digits)]
    fields: list[tuple[str, Any]] = [("fields", ">i2"), *_sized("pair", f"V{len(pair)}")]
    fields += [(f"number_{place}", number) for place in range(_NUMBERS)]
    fields += _sized("timestamp", ">i8")
    for name, value in (("group", group), ("session", session), ("kind", kind)):
        fields += _sized(name, f"V{len(value)}")
    fields += _sized("trade_id", ">i8") if has_trade else [("trade_id_size", ">i4")]
    fields += _sized("kafka_partition", ">i4") + _sized("kafka_offset", ">i8")
    layout = np.dtype(fields)
    row = np.zeros(1, layout)
    row["fields"] = _FIELDS
    for name in ("pair", "timestamp", "group", "session", "kind", "kafka_partition", "kafka_offset"):
        row[f"{name}_size"] = layout[name].itemsize
    for name, value in (("pair", pair), ("group", group), ("session", session), ("kind", kind)):
        row[name] = np.void(value)
    for place in range(_NUMBERS):
        number_field = row[f"number_{place}"]
        number_field["size"], number_field["digits"] = 8 + 2 * digits, digits
        number_field["weight"] = weight
    row["trade_id_size"] = 8 if has_trade else -1
    row["kafka_partition"] = partition
    return row


def _sized(name: str, form: str) -> list[tuple[str, Any]]:
    """Return a field and the length that stands before it."""
    return [(f"{name}_size", ">i4"), (name, form)]


def _put_numbers(field: NDArray[Any], column: Column, digits: int) -> None:
    rest = column.units
    for place in range(digits - 1, 0, -1):
        higher = rest // _BASE
        field[f"digit_{place}"] = rest - higher * _BASE
        rest = higher
    field["digit_0"] = rest
    field["places"] = column.places


@functools.lru_cache(maxsize=16_384)
def _number(text: str) -> bytes:
    """Return the decimal of this text, which is not negative, with its size before it."""
    whole, _, fraction = text.partition(".")
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    digits = whole + fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    values = [int(digits[begin : begin + 4]) for begin in range(0, len(digits), 4)]
    head = 8 + 2 * len(values), len(values), len(whole) // 4 - 1, 0, len(fraction)
    return struct.pack(f"!ihhhh{len(values)}h", *head, *values)
