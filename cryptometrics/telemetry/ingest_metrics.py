"""The metrics and the health of `ingest`, from the reports of its feed.

metrics = IngestMetrics()
with serving(metrics.collect, metrics.health, host, port):
    …  # metrics.update(…) a few times a second
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from cryptometrics.telemetry.build_info import build_info
from cryptometrics.telemetry.endpoint import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

DEAF_S = 30.0
"""`/healthz` fails after this long without a connection, an acknowledgement from Kafka, a report, or a quote
of some pair."""

_COUNTERS = {
    "ticks": ("ticks", "Ticks received from the exchange."),
    "gaps": ("gaps", "Gap records published."),
    "missed_trades": ("trades_missed", "Trades in these gaps, as far as known."),
    "duplicate_ticks": (
        "duplicates",
        "Ticks that the exchange sent again; `ingest` passes them on and `process` drops them.",
    ),
    "reconnects": ("reconnects", "Connections made after one was lost."),
}
"""Name of the metric → attribute of PairCounts, help text."""


class PairCounts(Protocol):
    """What a feed has counted for a pair since its start."""

    ticks: int
    gaps: int
    trades_missed: int
    duplicates: int
    reconnects: int
    has_quote: bool


class IngestMetrics:
    """Holds the newest report: the feed's loop calls `update`, the endpoint `health` and `collect`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._venue = ""
        self._pairs: Mapping[str, PairCounts] = {}
        self._sent = self._acknowledged = 0
        self._is_connected = False
        self._kafka_silence = 0.0
        self._reported_at = self._connected_at = clock()
        self._without_quote: dict[str, float] = {}
        """Pair without a current quote → since when."""

    def update(
        self,
        pairs: Mapping[str, PairCounts],
        *,
        venue: str,
        connected: bool,
        sent: int,
        acknowledged: int,
        kafka_silence: float,
    ) -> None:
        """Replace the report; the caller must not change the mapping afterwards.

        venue: of the feed. sent, acknowledged: messages passed to Kafka, and confirmed by it.
        kafka_silence: seconds since Kafka's last confirmation while messages wait for one.
        """
        self._reported_at = self._clock()
        if connected:
            self._connected_at = self._reported_at
        self._venue, self._pairs, self._is_connected = venue, pairs, connected
        self._without_quote = {
            pair: self._without_quote.get(pair, self._reported_at)
            for pair, counts in pairs.items()
            if not counts.has_quote
        }
        self._sent, self._acknowledged, self._kafka_silence = sent, acknowledged, kafka_silence

    def health(self) -> Health:
        """Return whether the feed receives data of each pair and Kafka accepts it."""
        now = self._clock()
        disconnected, unreported = now - self._connected_at, now - self._reported_at
        silent = {pair: now - since for pair, since in self._without_quote.items()}
        ok = max(disconnected, unreported, self._kafka_silence, *silent.values()) < DEAF_S
        details = {
            "connected": self._is_connected,
            "seconds_without_connection": 0.0 if self._is_connected else round(disconnected, 1),
            "seconds_without_kafka": round(self._kafka_silence, 1),
            "seconds_since_report": round(unreported, 1),
            "seconds_without_quote": {pair: round(seconds, 1) for pair, seconds in sorted(silent.items())},
        }
        return Health(ok, details)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the newest report."""
        yield build_info()
        pairs = sorted(self._pairs.items())
        for name, (attribute, meaning) in _COUNTERS.items():
            family = CounterMetricFamily(f"cryptometrics_ingest_{name}", meaning, labels=["venue", "pair"])
            for pair, counts in pairs:
                family.add_metric([self._venue, pair], getattr(counts, attribute))
            yield family
        quoted = GaugeMetricFamily(
            "cryptometrics_ingest_has_quote",
            "1 while the pair's newest quote holds; 0 before the first one, and without an order book.",
            labels=["venue", "pair"],
        )
        for pair, counts in pairs:
            quoted.add_metric([self._venue, pair], int(counts.has_quote))
        yield quoted
        yield CounterMetricFamily(
            "cryptometrics_ingest_sent_messages", "Messages passed to Kafka.", value=self._sent
        )
        yield CounterMetricFamily(
            "cryptometrics_ingest_acknowledged_messages",
            "Messages confirmed by Kafka.",
            value=self._acknowledged,
        )
        yield GaugeMetricFamily(
            "cryptometrics_ingest_connected",
            "1 while connected to the exchange.",
            value=int(self._is_connected),
        )
