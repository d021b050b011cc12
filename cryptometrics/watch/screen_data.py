"""The data of one frame of the live view: a value, which a paused screen can keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cryptometrics.kafka.open_transactions import OpenTransaction
    from cryptometrics.store.live_snapshot import Snapshot
    from cryptometrics.store.stored_sessions import SessionRow
    from cryptometrics.watch.history import History

SLOW_S, STALE_S = 5.0, 30.0
"""Ages from which a quote is yellow, or red and old."""


class ScreenData(NamedTuple):
    """The data of one frame. Later polls do not change it."""

    snapshot: Snapshot
    history: History
    lags: Mapping[tuple[str, int], int]
    """(topic, partition) → messages that are not stored yet; only known ones."""
    trouble: str | None = None
    """Why something is not up to date, for the viewer."""
    parts: Sequence[tuple[str, str]] = ()
    """What runs beside the screen: name and state."""
    since: datetime | None = None
    """When the feed beside the screen began: older quotes are not its own."""
    open_transactions: Mapping[tuple[str, int], OpenTransaction | None] = {}
    """(topic, partition) → the open transaction that holds back its readers, or None; only known ones."""

    def quote_age(self, row: SessionRow) -> float:
        """Return the seconds since the newest quote of a market."""
        return (self.snapshot.at - row.last_at).total_seconds()

    def is_old(self, row: SessionRow) -> bool:
        """Return whether a quote is not the market of this moment."""
        return self.quote_age(row) >= STALE_S or (self.since is not None and row.last_at < self.since)

    @property
    def venues(self) -> list[str]:
        """The venues that have a quote, by name."""
        return sorted({row.venue for row in self.snapshot.rows})
