"""The metrics and the health of `process`, from the reports of its worker or workers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from cryptometrics.kafka.open_transactions import REPORT_AFTER_S
from cryptometrics.market.tick_decoder import Reason
from cryptometrics.telemetry.build_info import build_info
from cryptometrics.telemetry.endpoint import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

STALLED_S = 30.0
"""`/healthz` fails after this long without a report, or with lag and without a commit."""


_QUOTES = {
    "bid": "Best bid of the newest quote, in the quote currency.",
    "ask": "Best ask of the newest quote, in the quote currency.",
    "spread": "Ask - bid of the newest quote, in the quote currency.",
    "quote_age_seconds": "Time since the exchange's time of the newest quote.",
}


class Distribution(Protocol):
    """A histogram as Prometheus counts it."""

    total: float

    def cumulative(self) -> list[tuple[str, float]]:
        """Return each upper bound with the number of values up to it."""


class QuoteReport(Protocol):
    """The newest quote of a market."""

    @property
    def bid(self) -> str:
        """Return the exact decimal; so do ask and spread."""

    @property
    def ask(self) -> str:
        """Return the exact decimal."""

    @property
    def spread(self) -> str:
        """Return ask - bid."""

    @property
    def time(self) -> float:
        """Return the exchange's time in seconds since 1970."""


class ProcessMeasurements(Protocol):
    """What workers measured since their start."""

    rejected: dict[str, int]
    alerts: dict[str, int]
    retries: int
    reconnects: int
    lags: dict[str, int]
    open_transactions: dict[str, float]

    @property
    def quotes(self) -> Mapping[str, QuoteReport]:
        """Return the newest quote of each market, by venue and pair with a space between them."""

    @property
    def batch_ticks(self) -> Distribution:
        """Return the messages per batch."""

    @property
    def batch_seconds(self) -> Distribution:
        """Return the seconds from a batch's calculation to its commit."""

    @property
    def commit_seconds(self) -> Distribution:
        """Return the seconds of the transactions."""

    @property
    def latency(self) -> Distribution:
        """Return the seconds from event time to commit."""


class ProcessReport(Protocol):
    """What workers committed and measured since their start."""

    metrics: int
    gaps: int
    duplicates: int
    late: int

    @property
    def offsets(self) -> int:
        """Return how many offsets have an outcome."""

    @property
    def lag(self) -> int:
        """Return how many messages are not stored yet."""

    @property
    def measured(self) -> ProcessMeasurements:
        """Return the measurements."""


class ProcessMetrics:
    """Holds the newest report: the worker's loop calls `update`, the endpoint `health` and `collect`."""

    def __init__(
        self,
        group: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """now: the time of day in seconds since 1970, for the age of quotes."""
        self._group = group
        self._clock, self._now = clock, now
        self._report: ProcessReport | None = None
        self._reported_at = self._moved_at = clock()

    def update(self, report: ProcessReport) -> None:
        """Replace the report; the caller must not change it afterwards."""
        now = self._clock()
        if self._report is None or report.lag == 0 or report.offsets != self._report.offsets:
            self._moved_at = now
        self._report, self._reported_at = report, now

    def health(self) -> Health:
        """Return whether ticks are stored as long as there are any."""
        now = self._clock()
        lag = self._report.lag if self._report is not None else 0
        unreported, stalled = now - self._reported_at, now - self._moved_at
        ok = unreported < STALLED_S and (stalled < STALLED_S or lag == 0)
        details: dict[str, Any] = {
            "lag": lag,
            "seconds_without_commit_despite_lag": round(stalled if lag else 0.0, 1),
            "seconds_since_report": round(unreported, 1),
        }
        if held_back := self._held_back():
            details["open_transaction_seconds"] = held_back
            details["hint"] = (
                "open Kafka transactions hold back these partitions: see open_transaction in the log"
            )
        return Health(ok, details)

    def _held_back(self) -> dict[str, float]:
        """Return the age of each transaction that has been open for so long that the log reports it."""
        ages = {} if self._report is None else self._report.measured.open_transactions
        return {n: round(seconds, 1) for n, seconds in sorted(ages.items()) if seconds >= REPORT_AFTER_S}

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the newest report."""
        yield build_info()
        report = self._report
        if report is None:
            return
        measured = report.measured
        yield self._counter("ticks", "Ticks stored with their metrics.", report.metrics)
        yield self._counters(
            "rejected_ticks",
            "Messages that are not valid ticks, by reason.",
            "reason",
            dict.fromkeys(map(str, Reason), 0) | measured.rejected,
        )
        yield self._counter("duplicate_ticks", "Duplicates from the feed, dropped.", report.duplicates)
        yield self._counter("late_ticks", "Ticks stored although a later trade came first.", report.late)
        yield self._counter("feed_gaps", "Gap records of the feed stored.", report.gaps)
        yield self._counters("alerts", "Alerts that fired, by severity.", "severity", measured.alerts)
        yield self._counter("retries", "Attempts repeated after a failure.", measured.retries)
        yield self._counter(
            "reconnects", "Connections to PostgreSQL made after one was lost.", measured.reconnects
        )
        lag = GaugeMetricFamily(
            "cryptometrics_consumer_lag",
            "Messages not stored yet, of the partitions assigned here.",
            labels=["group", "partition"],
        )
        for partition, messages in sorted(measured.lags.items()):
            lag.add_metric([self._group, partition], messages)
        yield lag
        held_back = GaugeMetricFamily(
            "cryptometrics_open_transaction_seconds",
            "How long an open Kafka transaction has held back the partition; 0 without one.",
            labels=["group", "partition"],
        )
        for partition, seconds in sorted(measured.open_transactions.items()):
            held_back.add_metric([self._group, partition], seconds)
        yield held_back
        yield from self._quotes(measured.quotes)
        yield self._histogram("batch_ticks", "Messages per batch.", measured.batch_ticks)
        yield self._histogram(
            "batch_seconds", "From the start of a batch's calculation to its commit.", measured.batch_seconds
        )
        yield self._histogram("commit_seconds", "A batch's transaction.", measured.commit_seconds)
        yield self._histogram(
            "end_to_end_latency_seconds",
            "From a tick's event time to its commit, sampled from each batch.",
            measured.latency,
        )

    def _quotes(self, quotes: Mapping[str, QuoteReport]) -> Iterator[Metric]:
        """Yield the newest quote of each market: one series per venue and pair."""
        now = self._now()
        for name, meaning in _QUOTES.items():
            family = GaugeMetricFamily(f"cryptometrics_{name}", meaning, labels=["group", "venue", "pair"])
            for market, quote in sorted(quotes.items()):
                value = now - quote.time if name == "quote_age_seconds" else float(getattr(quote, name))
                family.add_metric([self._group, *market.split(" ")], value)
            yield family

    def _counter(self, name: str, meaning: str, value: int) -> Metric:
        family = CounterMetricFamily(f"cryptometrics_{name}", meaning, labels=["group"])
        family.add_metric([self._group], value)
        return family

    def _counters(self, name: str, meaning: str, label: str, values: Mapping[str, int]) -> Metric:
        family = CounterMetricFamily(f"cryptometrics_{name}", meaning, labels=["group", label])
        for key, value in sorted(values.items()):
            family.add_metric([self._group, key], value)
        return family

    def _histogram(self, name: str, meaning: str, values: Distribution) -> Metric:
        family = HistogramMetricFamily(f"cryptometrics_{name}", meaning, labels=["group"])
        family.add_metric([self._group], values.cumulative(), values.total)
        return family
