"""Show messages of unknown senders: complete for programs, readable and escaped for people."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from cryptometrics.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.store.rejects import RejectedMessage

SHOWN_BYTES = 4096
"""Bytes shown to people; programs get all of them."""


def as_dict(rejected: RejectedMessage) -> dict[str, Any]:
    """Return a rejected message for JSON."""
    from cryptometrics.cli.output import exact

    return {
        "id": rejected.id,
        "group": rejected.consumer_group,
        "topic": rejected.topic,
        "partition": rejected.kafka_partition,
        "offset": rejected.kafka_offset,
        "reason": rejected.reason,
        "detail": rejected.detail,
        **_raw("key", rejected.key),
        **_raw("value", rejected.value),
        "sent_at": exact(rejected.kafka_timestamp),
        "rejected_at": exact(rejected.recorded_at),
        "requeued_at": exact(rejected.requeued_at),
    }


def _raw(name: str, raw: bytes | None) -> dict[str, str | None]:
    """Return bytes under a key that names their encoding."""
    if raw is None:
        return {name: None}
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw).decode()}


def readable(raw: bytes | None) -> str:
    """Return bytes as escaped text if they are UTF-8, else as a hex dump."""
    if raw is None:
        return "(none)"
    if not raw:
        return "(empty)"
    shown = raw[:SHOWN_BYTES]
    try:
        raw.decode()
        # The cut may split a character.
        text = escape(shown.decode(errors="ignore"))
    except UnicodeDecodeError:
        text = "\n".join(_dumped(shown))
    more = len(raw) - len(shown)
    return text + (f"\n… and {more:,} more bytes; `rejects export` prints all" if more else "")


def _dumped(raw: bytes) -> Iterator[str]:
    for start in range(0, len(raw), 16):
        line = raw[start : start + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{start:08x}  {line[:8].hex(' '):<23}  {line[8:].hex(' '):<23}  |{text}|"
