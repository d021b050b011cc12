"""The one poller of all viewers: read a snapshot a few times a second, and publish what has changed.

While PostgreSQL is away the last view stays, and `database` says since when.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg

from cryptometrics import log, retry
from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka.lag import Lag
from cryptometrics.market.tick_rates import TickRates
from cryptometrics.store.alert_overview import firing_alerts
from cryptometrics.store.database_errors import explaining, is_transient, one_line
from cryptometrics.store.live_snapshot import SnapshotReader
from cryptometrics.store.portfolio_overview import newest_portfolios
from cryptometrics.store.reader_session import connect_reader_once
from cryptometrics.times import Interval, iso
from cryptometrics.web.rows import alert_row, pair_rows, pipeline_summary, portfolio_summary
from cryptometrics.web.view import View

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from cryptometrics.store.live_snapshot import Snapshot
    from cryptometrics.web.hub import Hub
    from cryptometrics.web.shapes import PortfolioSummary

POLL_S = 0.2
"""Interval between two snapshots while somebody reads the stream."""
IDLE_S = 1.0
"""The same while nobody does."""
PORTFOLIOS_S = 2.0
"""Interval between two looks at the stored figures of portfolios, which change once a minute."""
STALE_S = 3.0
"""A database that has not answered for so long counts as lost."""
STATEMENT_TIMEOUT_S = 5.0
MAX_WAIT_S = 1.0
"""Between two attempts to connect, so that the page heals soon after PostgreSQL's return."""


class ViewPoller:
    """Reads on a thread of its own, from `start` to `stop`."""

    def __init__(
        self, settings: Settings, connection: psycopg.Connection, group: str, venue: str | None, hub: Hub
    ) -> None:
        """Make a poller that owns the connection, one of `connect_reader`."""
        self._settings = settings
        self._connection = connection
        self._group, self._venue = group, venue
        self._hub = hub
        self._reader: SnapshotReader | None = None
        self._lag = Lag(settings)
        self._rates = TickRates()
        self._snapshot: Snapshot | None = None
        self._snapshot_at = 0.0
        self._portfolios: list[PortfolioSummary] | None = None
        self._portfolios_interval = Interval(PORTFOLIOS_S)
        self._failures = 0
        self._lost_since: datetime | None = None
        self._read_at = time.monotonic()
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="web-poller", daemon=True)
        hub.on_reader = self._wake.set

    def start(self) -> None:
        """Publish the first view, and begin to poll; raise an error for the user if nothing can be read."""
        with explaining():
            self._hub.publish(self._read())
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the poller; give up after `timeout` seconds, in which PostgreSQL may not answer."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def database(self) -> str:
        """`ok`, or `lost since` a moment."""
        silence = time.monotonic() - self._read_at
        lost = self._lost_since
        if lost is None and silence > STALE_S:
            lost = datetime.fromtimestamp(time.time() - silence, UTC)
        return "ok" if lost is None else f"lost since {iso(lost, timespec='seconds')}"

    def now(self) -> datetime | None:
        """Return the present moment by the database's clock, as the newest view had it; None before that."""
        if self._snapshot is None:
            return None
        return self._snapshot.at + timedelta(seconds=time.monotonic() - self._snapshot_at)

    @property
    def lags(self) -> dict[tuple[str, int], int]:
        """The lag of each partition, as far as Kafka has answered."""
        return dict(self._lag.known)

    @property
    def kafka_trouble(self) -> str | None:
        """Why the lag is not known; None while it is."""
        return self._lag.trouble

    @property
    def pair_rates(self) -> dict[str, float | None]:
        """Ticks per second by venue and pair, such as `coinbase BTC-USD`."""
        rows = self._snapshot.rows if self._snapshot is not None else []
        rates = {row.market: self._rates.rate(row.market) for row in rows}
        return {str(market): None if rate is None else round(rate, 1) for market, rate in rates.items()}

    @property
    def rates(self) -> TickRates:
        """Ticks per second of each market."""
        return self._rates

    def _run(self) -> None:
        while not self._stopped:
            begun = time.monotonic()
            wait = self._poll()
            interval = POLL_S if self._hub.readers else IDLE_S
            self._wake.wait(wait if wait is not None else max(begun + interval - time.monotonic(), 0.01))
            self._wake.clear()
        self._connection.close()

    def _poll(self) -> float | None:
        """Read and publish; return the seconds until the next attempt if that failed."""
        try:
            view = self._read()
        except (psycopg.Error, CryptometricsError) as error:
            self._failures += 1
            if self._lost_since is None:
                self._lost_since = datetime.now(UTC)
                reason = one_line(error) if isinstance(error, psycopg.Error) else str(error)
                log.get_logger().warning("database_lost", error=reason)
            if not is_transient(error):
                log.get_logger().debug("poll_failed", exc_info=error)
            return min(retry.wait_after(self._failures), MAX_WAIT_S)
        if self._lost_since is not None:
            log.get_logger().info("database_returned")
        self._failures, self._lost_since, self._read_at = 0, None, time.monotonic()
        self._hub.publish(view)
        return None

    def _read(self) -> View:
        if self._failures:
            self._connection.close()
            self._reader = None
            self._connection = connect_reader_once(self._settings, statement_timeout_s=STATEMENT_TIMEOUT_S)
        if self._reader is None:
            self._reader = SnapshotReader(self._connection, self._group, venue=self._venue)
        self._lag.listen()
        asked = self._lag.ask(list(self._snapshot.next_offsets) if self._snapshot else [])
        snapshot = self._reader.read()
        if asked:
            self._lag.compare(snapshot.next_offsets)
        for row in snapshot.rows:
            self._rates.add(snapshot.at.timestamp(), row.market, row.session, row.ticks)
        self._snapshot, self._snapshot_at = snapshot, time.monotonic()
        if self._portfolios_interval.elapsed() or self._portfolios is None:
            self._portfolios = [portfolio_summary(row) for row in newest_portfolios(self._connection)]
        alerts = firing_alerts(self._connection, self._group, self._venue)
        return View(
            as_of=iso(snapshot.at),
            group=snapshot.group,
            pairs=pair_rows(snapshot, self._rates),
            alerts=[alert_row(alert) for alert in alerts],
            portfolios=self._portfolios,
            pipeline=pipeline_summary(snapshot, self._lag.known, self._lag.trouble, self._rates),
        )
