"""Insert few rows of `crypto_metrics` by a statement, which shares its round trip with others; COPY cannot.

The bytes are those of COPY: PostgreSQL writes a field of its binary format and an element of a binary array
alike, as a length and a value. So the fields of a column, one after another, are an array.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.store.copy_rows import COPY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptometrics.store.copy_rows import Fields
    from cryptometrics.store.prepared_statements import RoundTrip

MAX_ROWS = 64
"""More rows are cheaper by COPY: a row in arrays costs more than its share of the round trips."""

_TYPE_OF = {
    **dict.fromkeys(("pair", "consumer_group", "venue", "session", "kind"), "text"),
    **dict.fromkeys(("bid", "ask", "mid_price", "spread", "highest_bid", "lowest_ask"), "numeric"),
    **dict.fromkeys(("max_spread", "bid_size", "ask_size"), "numeric"),
    **dict.fromkeys(("trade_id", "kafka_offset"), "int8"),
    "timestamp": "timestamptz",
    "kafka_partition": "int4",
}
_TYPES = [_TYPE_OF[name] for name in COPY_COLUMNS.split(", ")]
_INSERT = (
    f"INSERT INTO crypto_metrics ({COPY_COLUMNS}) "  # noqa: S608  (constants)
    f"SELECT * FROM unnest({', '.join(f'%b::{name}[]' for name in _TYPES)})"
)
_OIDS = {name: psycopg.adapters.types[name].oid for name in set(_TYPES)}
_HEAD = struct.Struct("!iiIii").pack
"""Of an array: dimensions, whether it has nulls, the type of its elements, their number, the first index."""


def insert(trip: RoundTrip, rows: Iterable[Fields]) -> None:
    """Add the statement that inserts rows, at least one."""
    columns = zip(*rows, strict=True)
    trip.execute(_INSERT, [_array(*each) for each in zip(_TYPES, columns, strict=True)])


def _array(name: str, fields: Sequence[bytes]) -> bytes:
    return _HEAD(1, 1, _OIDS[name], len(fields), 1) + b"".join(fields)
