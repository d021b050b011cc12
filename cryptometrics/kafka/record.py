"""A record of the topic, as little of it as is used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Record(Protocol):
    """What is used of a message of the topic; confluent_kafka's `Message` is one."""

    def partition(self) -> int: ...  # noqa: D102
    def offset(self) -> int: ...  # noqa: D102
    def key(self) -> bytes | None: ...  # noqa: D102
    def value(self) -> bytes | None: ...  # noqa: D102
    def timestamp(self) -> tuple[int, int]: ...  # noqa: D102


def created(message: Record) -> datetime | None:
    """Return Kafka's own time of a message; None without one, or where the client put one no calendar has."""
    _, milliseconds = message.timestamp()
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None
