"""The screen's queries: rows by key from small tables, never a scan of the ticks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from cryptometrics.store import stored_sessions
from cryptometrics.store.connection import snapshot
from cryptometrics.store.stored_sessions import SessionRow
from cryptometrics.watch.snapshot import FiringAlert, Partition, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    import psycopg

DISCOVERY_S = 5.0
"""Interval between two searches for new pairs and sessions."""
MAX_ALERTS = 50
SPARKLINE_MINUTES = 15

_NEWEST = """
SELECT DISTINCT ON (pair) pair, session FROM session_extremes
WHERE consumer_group = %(group)s AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
ORDER BY pair, last_at DESC, session
"""

_ROWS = """
SELECT pair, session, consumer_group, ticks, late, last_bid AS bid, last_ask AS ask, highest_bid,
       highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at, first_at, last_at
FROM session_extremes JOIN unnest(%(pairs)s::text[], %(sessions)s::text[]) AS newest (pair, session)
     USING (pair, session)
WHERE consumer_group = %(group)s ORDER BY pair
"""

_PARTITIONS = """
SELECT topic, kafka_partition AS partition, next_offset, metrics, rejected, gaps, duplicates, holes
FROM consumer_offsets WHERE consumer_group = %(group)s AND ended_at IS NULL ORDER BY kafka_partition
"""

_ALERTS = """
SELECT pair, rule, severity, message, fired_at FROM alerts
WHERE consumer_group = %(group)s AND resolved_at IS NULL ORDER BY fired_at DESC LIMIT %(limit)s
"""

# A minute's close is its last mid price.
_MINUTES = """
SELECT pair, window_end, close FROM crypto_windows
WHERE consumer_group = %(group)s AND name = '1m' AND pair = ANY(%(pairs)s)
  AND window_start > now() - make_interval(mins => %(minutes)s) AND window_end <= now()
ORDER BY pair, window_end
"""


class SnapshotReader:
    """Reads snapshots of one group over one connection."""

    def __init__(self, connection: psycopg.Connection, group: str, pairs: Sequence[str] = ()) -> None:
        """Read all pairs of `group`, or only `pairs`."""
        self._connection = connection
        self._group = group
        self._pairs = list(pairs) or None
        self._newest: list[tuple[str, str]] = []
        self._looked_at = float("-inf")
        self._has_alerts = self._has("alerts")

    def read(self) -> Snapshot:
        """Read a snapshot; raise psycopg's errors, and UserError if a pair has no ticks."""
        connection, names = self._connection, {"group": self._group, "pairs": self._pairs}
        with snapshot(connection):
            now = self._now()
            if time.monotonic() - self._looked_at > DISCOVERY_S:
                self._newest = connection.execute(_NEWEST, names).fetchall()
                self._looked_at = time.monotonic()
                if missing := set(self._pairs or ()) - {pair for pair, _ in self._newest}:
                    raise stored_sessions.no_ticks(connection, self._group, sorted(missing), None)
            pairs, sessions = [list(column) for column in zip(*self._newest, strict=True)] or ([], [])
            with connection.cursor(row_factory=class_row(SessionRow)) as cursor:
                cursor.execute(_ROWS, {"group": self._group, "pairs": pairs, "sessions": sessions})
                rows = cursor.fetchall()
            with connection.cursor(row_factory=class_row(Partition)) as cursor:
                partitions = cursor.execute(_PARTITIONS, names).fetchall()
            alerts: list[FiringAlert] = []
            if self._has_alerts:
                with connection.cursor(row_factory=class_row(FiringAlert)) as cursor:
                    alerts = cursor.execute(_ALERTS, names | {"limit": MAX_ALERTS}).fetchall()
        return Snapshot(self._group, now, rows, partitions, alerts)

    def recent_mids(self) -> dict[str, list[tuple[datetime, Decimal]]]:
        """Return the mid prices of the last minutes by pair, as far as windows of a minute are stored."""
        found: dict[str, list[tuple[datetime, Decimal]]] = {pair: [] for pair, _ in self._newest}
        if self._has("crypto_windows"):
            values = {"group": self._group, "pairs": list(found), "minutes": SPARKLINE_MINUTES}
            for pair, at, mid in self._connection.execute(_MINUTES, values):
                found[pair].append((at, mid))
        return found

    def _has(self, table: str) -> bool:
        row = self._connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
        return bool(row and row[0])

    def _now(self) -> datetime:
        row = self._connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None  # noqa: S101  (one row)
        now: datetime = row[0]
        return now
