"""The metrics and the health of `ingest`, from what its feed says of itself now and then.

metrics = IngestMetrics()
with serving(metrics.collect, metrics.health, host, port):
…  # metrics.see(…) a few times a second
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from cryptometrics.telemetry.build_info import build_info
from cryptometrics.telemetry.endpoint import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from cryptometrics.feeds.coinbase.continuity import Quality

DEAF_S = 30.0
"""`/healthz` is red when for so long there was no connection, no word from Kafka, or no report."""

_COUNTERS = {
    "ticks": "Ticks that came from the exchange.",
    "gaps": "Gaps of the feed that were put on the topic.",
    "missed_trades": "Trades that these gaps hold, as far as known.",
    "duplicate_ticks": "Duplicate ticks: `ingest` sends them, `process` drops them.",
    "reconnects": "Connections made after one was lost.",
}


@dataclass(frozen=True, slots=True)
class PairNumbers:
    """What came of a pair since the start."""

    ticks: int
    gaps: int
    missed_trades: int
    duplicate_ticks: int
    reconnects: int

    @classmethod
    def of(cls, quality: Quality) -> Self:
        """Return them from what a feed keeps of a pair."""
        return cls(quality.ticks, quality.gaps, quality.trades_missed, quality.duplicates, quality.reconnects)


class IngestMetrics:
    """Keeps the newest report and answers from it: `see` is called by the loop, the rest by the endpoint."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pairs: Mapping[str, PairNumbers] = {}
        self._sent = self._acknowledged = 0
        self._is_connected = False
        self._kafka_silence = 0.0
        self._heard = self._connected_at = clock()

    def see(
        self,
        pairs: Mapping[str, PairNumbers],
        *,
        connected: bool,
        sent: int,
        acknowledged: int,
        kafka_silence: float,
    ) -> None:
        """Take the newest numbers; `pairs` must not change any more.

        sent, acknowledged: messages handed to Kafka, and confirmed by it. kafka_silence: seconds for which
        Kafka has confirmed nothing although something was sent.
        """
        self._heard = self._clock()
        if connected:
            self._connected_at = self._heard
        self._pairs, self._is_connected = pairs, connected
        self._sent, self._acknowledged, self._kafka_silence = sent, acknowledged, kafka_silence

    def health(self) -> Health:
        """Return whether the exchange is heard and Kafka takes it."""
        now = self._clock()
        deaf, silent = now - self._connected_at, now - self._heard
        ok = max(deaf, silent, self._kafka_silence) < DEAF_S
        details = {
            "connected": self._is_connected,
            "seconds_without_connection": 0.0 if self._is_connected else round(deaf, 1),
            "seconds_without_kafka": round(self._kafka_silence, 1),
            "seconds_since_report": round(silent, 1),
        }
        return Health(ok, details)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of the newest report."""
        yield build_info()
        pairs = sorted(self._pairs.items())
        for name, meaning in _COUNTERS.items():
            family = CounterMetricFamily(f"cryptometrics_ingest_{name}", meaning, labels=["pair"])
            for pair, numbers in pairs:
                family.add_metric([pair], getattr(numbers, name))
            yield family
        yield CounterMetricFamily(
            "cryptometrics_ingest_sent_messages", "Messages handed to Kafka.", value=self._sent
        )
        yield CounterMetricFamily(
            "cryptometrics_ingest_acknowledged_messages",
            "Messages that Kafka has confirmed.",
            value=self._acknowledged,
        )
        yield GaugeMetricFamily(
            "cryptometrics_ingest_connected",
            "1 while there is a connection to the exchange.",
            value=int(self._is_connected),
        )
