"""The metrics and the health of `process`, from what its worker or its workers report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from cryptometrics.market.tick_decoder import Reason
from cryptometrics.telemetry.build_info import build_info
from cryptometrics.telemetry.endpoint import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from cryptometrics.pipeline.progress import Histogram, WorkerReport

STALLED_S = 30.0
"""`/healthz` is red when there was lag and no commit for so long, or no report for so long."""


class ProcessMetrics:
    """Keeps the newest report and answers from it: `see` is called by the loop, the rest by the endpoint."""

    def __init__(self, group: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._group = group
        self._clock = clock
        self._report: WorkerReport | None = None
        self._heard = self._moved = clock()

    def see(self, report: WorkerReport) -> None:
        """Take the newest report; it must not change any more."""
        now = self._clock()
        if self._report is None or report.lag == 0 or report.offsets != self._report.offsets:
            self._moved = now
        self._report, self._heard = report, now

    def health(self) -> Health:
        """Return whether ticks are stored while there are any."""
        now = self._clock()
        lag = self._report.lag if self._report is not None else 0
        silent, still = now - self._heard, now - self._moved
        ok = silent < STALLED_S and (still < STALLED_S or lag == 0)
        details = {"lag": lag, "seconds_without_commit_despite_lag": round(still if lag else 0.0, 1)}
        return Health(ok, details | {"seconds_since_report": round(silent, 1)})

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of the newest report."""
        yield build_info()
        report = self._report
        if report is None:
            return
        measured = report.measured
        yield self._counter("ticks", "Ticks stored with their metrics.", report.metrics)
        reasons = dict.fromkeys(map(str, Reason), 0) | measured.rejected
        rejected = CounterMetricFamily(
            "cryptometrics_rejected_ticks", "Messages that were no valid tick.", labels=["group", "reason"]
        )
        for reason, count in sorted(reasons.items()):
            rejected.add_metric([self._group, reason], count)
        yield rejected
        yield self._counter("duplicate_ticks", "Repetitions by the feed, counted only.", report.duplicates)
        yield self._counter("late_ticks", "Ticks stored out of the order of their trades.", report.late)
        yield self._counter("feed_gaps", "Gaps that the feed reported, stored.", report.gaps)
        alerts = CounterMetricFamily(
            "cryptometrics_alerts", "Alerts that fired, by severity.", labels=["group", "severity"]
        )
        for severity, count in sorted(measured.alerts.items()):
            alerts.add_metric([self._group, severity], count)
        yield alerts
        yield self._counter("retries", "Attempts made again because something failed.", measured.retries)
        yield self._counter(
            "reconnects", "Connections to PostgreSQL made after one was lost.", measured.reconnects
        )
        lag = GaugeMetricFamily(
            "cryptometrics_consumer_lag",
            "Messages of a partition not stored yet, of those assigned here.",
            labels=["group", "partition"],
        )
        for partition, messages in sorted(measured.lags.items()):
            lag.add_metric([self._group, partition], messages)
        yield lag
        yield self._histogram("batch_ticks", "Messages of a batch.", measured.batch_ticks)
        yield self._histogram(
            "batch_seconds", "From a batch's calculation to its commit.", measured.batch_seconds
        )
        yield self._histogram("commit_seconds", "The transaction of a batch.", measured.commit_seconds)
        yield self._histogram(
            "end_to_end_latency_seconds",
            "From a tick's own time to its commit; from a sample of each batch.",
            measured.latency,
        )

    def _counter(self, name: str, meaning: str, value: int) -> Metric:
        family = CounterMetricFamily(f"cryptometrics_{name}", meaning, labels=["group"])
        family.add_metric([self._group], value)
        return family

    def _histogram(self, name: str, meaning: str, values: Histogram) -> Metric:
        family = HistogramMetricFamily(f"cryptometrics_{name}", meaning, labels=["group"])
        family.add_metric([self._group], values.cumulative(), values.total)
        return family
