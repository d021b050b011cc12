"""A record of the topic: the part of confluent_kafka's `Message` that is used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Record(Protocol):
    """The used methods of a message; confluent_kafka's `Message` has them."""

    def partition(self) -> int: ...  # noqa: D102
    def offset(self) -> int: ...  # noqa: D102
    def key(self) -> bytes | None: ...  # noqa: D102
    def value(self) -> bytes | None: ...  # noqa: D102
    def timestamp(self) -> tuple[int, int]: ...  # noqa: D102


def created(message: Record) -> datetime | None:
    """Return Kafka's timestamp of a message; None if it has none, or one outside the calendar."""
    _, milliseconds = message.timestamp()
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None
