"""Read when a group was last proved by `verify --since-last`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

_LAST = "SELECT verified_at, with_topic FROM verified_groups WHERE consumer_group = %s"


@dataclass(frozen=True, slots=True)
class LastVerified:
    """The last time that a verification found nothing wrong."""

    verified_at: datetime
    with_topic: bool
    """Whether it compared each offset with its message."""

    def text(self) -> str:
        """Return it for a person."""
        how = "with the topic" if self.with_topic else "without the topic"
        return f"every offset was last verified on {self.verified_at:%Y-%m-%d %H:%M:%S} UTC, {how}"


def last_verified(connection: psycopg.Connection, group: str) -> LastVerified | None:
    """Return when a group was last verified; None if it never was."""
    with connection.cursor(row_factory=class_row(LastVerified)) as cursor:
        return cursor.execute(_LAST, [group]).fetchone()
