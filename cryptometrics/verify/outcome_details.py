"""What the tables keep of a message that is not a row, in one form for the database and for a message."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptometrics.times import to_microseconds

if TYPE_CHECKING:
    from confluent_kafka import Message

    from cryptometrics.verify.message_decoder import GapMessage

NONE = "-"

# A rejected message may have megabytes, so hashes are compared.
REJECTED = f"""
concat_ws(' ', coalesce(encode(sha256(key), 'hex'), '{NONE}'),
    coalesce(encode(sha256(value), 'hex'), '{NONE}'),
    coalesce((extract(epoch FROM kafka_timestamp) * 1000000)::bigint::text, '{NONE}'), reason)
"""
"""The hashes of key and value, Kafka's time, and the reason."""

# The fields of a gap that are in its message; those of a start lack its beginning.
GAP = f"""
array_to_string(ARRAY[venue, pair, kind, (extract(epoch FROM ends_at) * 1000000)::bigint::text,
    CASE WHEN kind <> 'start' THEN (extract(epoch FROM begins_at) * 1000000)::bigint::text END,
    CASE WHEN kind <> 'start' THEN first_trade_id::text END, last_trade_id::text,
    CASE WHEN kind <> 'start' THEN trades_missed::text END, proves::text], ' ', '{NONE}')
"""


def digest(raw: bytes | None) -> str:
    """Return the hash of a key or a value."""
    return NONE if raw is None else hashlib.sha256(raw).hexdigest()


def created_at(message: Message) -> str:
    """Return Kafka's time of a message in microseconds from the epoch."""
    _, milliseconds = message.timestamp()
    return str(milliseconds * 1000) if milliseconds > 0 else NONE


def gap_fingerprint(gap: GapMessage) -> str:
    """Return the fields of a gap record."""
    missed: int | None = None if gap.kind in {"start", "missed"} else 0
    if gap.first_trade_id is not None and gap.last_trade_id is not None:
        missed = gap.last_trade_id - gap.first_trade_id + 1
    parts = (
        gap.venue,
        gap.pair,
        gap.kind,
        to_microseconds(gap.ends),
        None if gap.begins is None else to_microseconds(gap.begins),
        gap.first_trade_id,
        gap.last_trade_id,
        missed,
        None if gap.proves is None else str(gap.proves).lower(),
    )
    return " ".join(NONE if part is None else str(part) for part in parts)
