"""Read what is stored of a group at one moment: rows by key from small tables, never a scan of the ticks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from cryptometrics.market.venues import Market
from cryptometrics.store import stored_sessions
from cryptometrics.store.connection import snapshot
from cryptometrics.store.latest_portfolios import latest_portfolios
from cryptometrics.store.latest_risk import latest_risk
from cryptometrics.store.stored_sessions import SessionRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import psycopg

    from cryptometrics.store.latest_portfolios import LatestPortfolio
    from cryptometrics.store.latest_risk import LatestRisk

DISCOVERY_S = 5.0
"""Interval between two searches for new markets, sessions, risk figures and portfolios."""
MAX_ALERTS = 50
SPARKLINE_MINUTES = 15

_NEWEST = """
SELECT DISTINCT ON (venue, pair) venue, pair, session FROM session_extremes
WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue = %(venue)s)
  AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
ORDER BY venue, pair, last_at DESC, session
"""

_ROWS = """
SELECT venue, pair, session, consumer_group, ticks, late, last_bid AS bid, last_ask AS ask, highest_bid,
       highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at, first_at, last_at,
       last_bid_size AS bid_size, last_ask_size AS ask_size
FROM session_extremes
JOIN unnest(%(venues)s::text[], %(pairs)s::text[], %(sessions)s::text[]) AS newest (venue, pair, session)
     USING (venue, pair, session)
WHERE consumer_group = %(group)s ORDER BY pair, venue
"""

_PARTITIONS = """
SELECT topic, kafka_partition AS partition, next_offset, metrics, rejected, gaps, duplicates, holes
FROM consumer_offsets WHERE consumer_group = %(group)s AND ended_at IS NULL ORDER BY kafka_partition
"""

_ALERTS = """
SELECT a.venue, a.pair, a.rule, a.severity, a.message, a.fired_at, a.silence_id IS NOT NULL AS silenced,
       k.acknowledged_by
FROM alerts a LEFT JOIN alert_acknowledgements k ON k.alert_id = a.id
WHERE consumer_group = %(group)s AND (%(venue)s::text IS NULL OR venue IN (%(venue)s, ''))
  AND resolved_at IS NULL
ORDER BY fired_at DESC LIMIT %(limit)s
"""

# A minute's close is its last mid price. The newest minute may not be over.
_MINUTES = """
SELECT venue, pair, window_start, window_end, ticks, close FROM crypto_windows
JOIN unnest(%(venues)s::text[], %(pairs)s::text[]) AS shown (venue, pair) USING (venue, pair)
WHERE consumer_group = %(group)s AND name = '1m'
  AND window_start > now() - make_interval(mins => %(minutes)s)
ORDER BY venue, pair, window_end
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the topic: its next offset and the outcomes so far."""

    topic: str
    partition: int
    next_offset: int
    metrics: int
    rejected: int
    gaps: int
    duplicates: int
    holes: int


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that fires now."""

    venue: str
    """Empty for a rule about rejected ticks."""
    pair: str | None
    rule: str
    severity: str
    message: str
    fired_at: datetime
    silenced: bool = False
    """Whether it is not sent because of a silence."""
    acknowledged_by: str | None = None


class RecentMinute(NamedTuple):
    """A stored minute of a market; the newest may not be over."""

    start: datetime
    end: datetime
    ticks: int
    close: Decimal
    """The last mid price."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is stored of a group at one moment."""

    group: str
    at: datetime
    """Time by the database's clock, so that every viewer sees the same age."""
    rows: list[SessionRow]
    """The newest session of each market, sorted by pair and venue."""
    partitions: list[Partition]
    alerts: list[FiringAlert]
    """Newest first; empty if alerts are not used."""
    risk: Mapping[Market, LatestRisk] = field(default_factory=dict)
    """Figures over 24 hours, of the markets that have any."""
    portfolios: Sequence[LatestPortfolio] = ()
    """The portfolios that the group, or the venue that is read, prices."""

    @property
    def next_offsets(self) -> dict[tuple[str, int], int]:
        """The next offset to be stored of each partition, by topic and number."""
        return {(part.topic, part.partition): part.next_offset for part in self.partitions}

    def total(self, outcome: str) -> int:
        """Return the number of offsets with an outcome, over all partitions."""
        return sum(getattr(partition, outcome) for partition in self.partitions)


class SnapshotReader:
    """Reads snapshots of one group over one connection."""

    def __init__(
        self,
        connection: psycopg.Connection,
        group: str,
        pairs: Sequence[str] = (),
        venue: str | None = None,
    ) -> None:
        """Read all markets of `group`, or only those of `pairs` or of `venue`."""
        self._connection = connection
        self._group = group
        self._venue = venue
        self._pairs = list(pairs) or None
        self._newest: list[tuple[str, str, str]] = []
        """Venue, pair and session."""
        self._looked_at = float("-inf")
        self._risk: dict[Market, LatestRisk] = {}
        self._portfolios: list[LatestPortfolio] = []
        self._has_alerts = self._has("alerts")
        self._has_portfolios = self._has("portfolio_risk")

    def read(self) -> Snapshot:
        """Read a snapshot; raise psycopg's errors, and UserError if a pair has no ticks."""
        connection = self._connection
        names = {"group": self._group, "venue": self._venue, "pairs": self._pairs}
        with snapshot(connection):
            now = self._now()
            discover = time.monotonic() - self._looked_at > DISCOVERY_S
            if discover:
                self._newest = connection.execute(_NEWEST, names).fetchall()
                self._looked_at = time.monotonic()
                if missing := set(self._pairs or ()) - {pair for _, pair, _ in self._newest}:
                    raise stored_sessions.no_ticks(
                        connection, self._group, sorted(missing), None, venue=self._venue
                    )
            with connection.cursor(row_factory=class_row(SessionRow)) as cursor:
                rows = cursor.execute(_ROWS, self._shown()).fetchall()
            if discover:
                self._risk = latest_risk(connection, self._group, rows)
                if self._has_portfolios:
                    self._portfolios = latest_portfolios(connection, self._group, self._venue)
            with connection.cursor(row_factory=class_row(Partition)) as cursor:
                partitions = cursor.execute(_PARTITIONS, names).fetchall()
            alerts: list[FiringAlert] = []
            if self._has_alerts:
                with connection.cursor(row_factory=class_row(FiringAlert)) as cursor:
                    alerts = cursor.execute(_ALERTS, names | {"limit": MAX_ALERTS}).fetchall()
        return Snapshot(self._group, now, rows, partitions, alerts, self._risk, self._portfolios)

    def recent_minutes(self) -> dict[Market, list[RecentMinute]]:
        """Return the last minutes of each market in order, as far as they are stored."""
        found: dict[Market, list[RecentMinute]] = {Market(venue, pair): [] for venue, pair, _ in self._newest}
        if self._has("crypto_windows"):
            values = self._shown() | {"minutes": SPARKLINE_MINUTES}
            for venue, pair, *minute in self._connection.execute(_MINUTES, values):
                found[Market(venue, pair)].append(RecentMinute(*minute))
        return found

    def _shown(self) -> dict[str, object]:
        """Return the parameters that name the group, its markets and their sessions."""
        columns: Sequence[list[str]] = [list(column) for column in zip(*self._newest, strict=True)] or (
            [],
            [],
            [],
        )
        return {"group": self._group} | dict(zip(("venues", "pairs", "sessions"), columns, strict=True))

    def _has(self, table: str) -> bool:
        row = self._connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
        return bool(row and row[0])

    def _now(self) -> datetime:
        row = self._connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None  # noqa: S101  (one row)
        now: datetime = row[0]
        return now
