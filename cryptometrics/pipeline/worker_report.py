"""What workers have done: counts of outcomes, measurements, and the report made of both.

Workers send reports to their supervisor, which adds them up. So one metrics endpoint serves all workers of a
machine, and the counts of a dead worker are kept.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cryptometrics.times import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptometrics.pipeline.calculator import CalculatedBatch

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
TICKS = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 50_000.0)
SAMPLES = 16
"""Ticks per batch whose latency is measured, each for its share: so a large batch costs no more."""


@dataclass
class Histogram:
    """The number of values up to each bound; the last count is for values above all bounds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value; negative ones (clocks differ) count as 0, because the sum may only grow."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def add(self, other: Histogram) -> None:
        """Add another one."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def cumulative(self) -> list[tuple[str, float]]:
        """Return each upper bound with the number of values up to it, as Prometheus expects."""
        so_far, buckets = 0, []
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            buckets.append((bound, float(so_far)))
        return buckets


def _counts(mine: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: mine.get(name, 0) + other.get(name, 0) for name in mine.keys() | other.keys()}


class NewestQuote(NamedTuple):
    """The newest quote of a market: decimals as text, the exchange's time in seconds since 1970."""

    bid: str
    ask: str
    spread: str
    time: float


def _newest(mine: Mapping[str, NewestQuote], other: Mapping[str, NewestQuote]) -> dict[str, NewestQuote]:
    """Return the newer quote of each market: a partition that moved leaves an old one behind."""
    newest = dict(mine)
    for name, quote in other.items():
        if name not in newest or quote.time >= newest[name].time:
            newest[name] = quote
    return newest


@dataclass
class Measurements:
    """What a worker measured since its start, besides the outcomes."""

    rejected: dict[str, int] = field(default_factory=dict)
    """By reason."""
    alerts: dict[str, int] = field(default_factory=dict)
    """Fired with a batch, by severity: all but the alerts about stale feeds."""
    retries: int = 0
    """Repeated attempts: a service was unavailable, or the worker started over."""
    reconnects: int = 0
    """Connections to PostgreSQL after the first."""
    lags: dict[str, int] = field(default_factory=dict)
    """Messages not stored yet, per currently assigned partition."""
    open_transactions: dict[str, float] = field(default_factory=dict)
    """Seconds for which an open transaction has held back each assigned partition; 0 without one."""
    quotes: dict[str, NewestQuote] = field(default_factory=dict)
    """The newest quote of each market, by venue and pair with a space between them."""
    batch_ticks: Histogram = field(default_factory=lambda: Histogram(TICKS))
    batch_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """From the start of a batch's calculation to its commit."""
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """The transaction alone."""
    latency: Histogram = field(default_factory=lambda: Histogram(LATENCIES))
    """From a tick's event time to its commit."""

    def observe(self, work: CalculatedBatch, commit_s: float, batch_s: float, at: datetime) -> None:
        """Measure a batch that was just committed.

        commit_s: duration of its transaction; batch_s: time since its calculation began; at: the time now.
        """
        batch = work.batch
        self.batch_ticks.observe(sum(p.next_offset - p.expected for p in batch.parts.values()))
        self.batch_seconds.observe(batch_s)
        self.commit_seconds.observe(commit_s)
        if batch.rejected:  # a new dict, because another thread may be reading the old one
            self.rejected = _counts(self.rejected, Counter(str(each.reason) for each in batch.rejected))
        if batch.alerts:
            fired = Counter(str(alert.rule.severity) for alert in batch.alerts if alert.firing)
            self.alerts = _counts(self.alerts, fired)
        if batch.pairs:
            self.quotes = _newest(
                self.quotes,
                {
                    f"{state.market.venue} {state.market.pair}": NewestQuote(
                        str(state.bid), str(state.ask), str(state.ask - state.bid), state.time.timestamp()
                    )
                    for state in batch.pairs
                },
            )
        if times := work.event_times():
            stored = sum(part.metrics for part in batch.parts.values())
            now = to_microseconds(at)
            self._observe_latencies([now - time for time in _sample(times)], stored)

    def _observe_latencies(self, latencies: Sequence[int], stored: int) -> None:
        """Count sampled latencies, in microseconds, for all stored ticks."""
        for number, latency in enumerate(latencies):
            share = stored * (number + 1) // len(latencies) - stored * number // len(latencies)
            self.latency.observe(latency / 1e6, share)

    def add(self, other: Measurements) -> None:
        """Add another worker's measurements; the newest owner of a partition determines its state."""
        self.rejected = _counts(self.rejected, other.rejected)
        self.alerts = _counts(self.alerts, other.alerts)
        self.retries += other.retries
        self.reconnects += other.reconnects
        self.lags = self.lags | other.lags
        self.open_transactions = self.open_transactions | other.open_transactions
        self.quotes = _newest(self.quotes, other.quotes)
        for name in _HISTOGRAMS:
            getattr(self, name).add(getattr(other, name))

    def release_partitions(self) -> None:
        """Drop the state of the partitions: other workers own them now."""
        self.lags, self.open_transactions = {}, {}

    def as_dict(self) -> dict[str, Any]:
        """Return the contents for JSON."""
        histograms = {name: [getattr(self, name).counts, getattr(self, name).total] for name in _HISTOGRAMS}
        return {name: value for name, value in vars(self).items() if name not in _HISTOGRAMS} | histograms

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the object that `as_dict` described."""
        new = cls(**{name: value for name, value in data.items() if name not in _HISTOGRAMS})
        new.quotes = {name: NewestQuote(*values) for name, values in new.quotes.items()}
        for name in _HISTOGRAMS & data.keys():
            histogram = getattr(new, name)
            histogram.counts, histogram.total = data[name]
        return new


_HISTOGRAMS = {"batch_ticks", "batch_seconds", "commit_seconds", "latency"}


def _sample(times: Sequence[int]) -> list[int]:
    """Return at most SAMPLES of the times, evenly spread, including the first and the last."""
    last, most = len(times) - 1, SAMPLES - 1
    places = range(len(times)) if last < most else [last * n // most for n in range(SAMPLES)]
    return [times[place] for place in places]


@dataclass
class OutcomeCounts:
    """The number of offsets per outcome, and how many of the metrics were late."""

    metrics: int = 0
    rejected: int = 0
    gaps: int = 0
    duplicates: int = 0
    holes: int = 0
    late: int = 0

    @property
    def offsets(self) -> int:
        """The number of offsets with an outcome."""
        return self.metrics + self.rejected + self.gaps + self.duplicates + self.holes


@dataclass
class WorkerTotals(OutcomeCounts):
    """Everything that a worker committed since its start."""

    batches: int = 0
    next_offsets: dict[int, int] = field(default_factory=dict)
    newest: datetime | None = None
    measured: Measurements = field(default_factory=Measurements)

    def add(self, work: CalculatedBatch, commit_s: float) -> None:
        """Add a committed batch; commit_s: duration of its transaction."""
        for partition, part in work.batch.parts.items():
            self.metrics += part.metrics
            self.rejected += part.rejected
            self.gaps += part.gaps
            self.duplicates += part.duplicates
            self.holes += part.holes
            self.next_offsets[partition] = part.next_offset
        self.late += work.late
        self.batches += 1
        self.newest = work.newest or self.newest
        self.measured.observe(work, commit_s, time.monotonic() - work.begun, datetime.now(UTC))


_OUTCOMES = [each.name for each in fields(OutcomeCounts)]


@dataclass
class WorkerReport(OutcomeCounts):
    """What one or more workers committed and measured since their start."""

    measured: Measurements = field(default_factory=Measurements)

    @classmethod
    def of(
        cls, totals: WorkerTotals, lags: Mapping[int, int], open_transactions: Mapping[int, float]
    ) -> Self:
        """Return a snapshot of a worker's totals, with the state of each of its partitions."""
        report = cls(**{name: getattr(totals, name) for name in _OUTCOMES})
        report.measured.add(totals.measured)
        report.measured.lags = {str(partition): lag for partition, lag in lags.items()}
        report.measured.open_transactions = {str(n): seconds for n, seconds in open_transactions.items()}
        return report

    @property
    def lag(self) -> int:
        """The number of messages not stored yet, as far as known."""
        return sum(self.measured.lags.values())

    def add(self, other: WorkerReport) -> None:
        """Add another one."""
        for name in _OUTCOMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.measured.add(other.measured)

    def as_dict(self) -> dict[str, Any]:
        """Return the contents for JSON."""
        return {name: getattr(self, name) for name in _OUTCOMES} | {"measured": self.measured.as_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the object that `as_dict` described."""
        return cls(**data | {"measured": Measurements.from_dict(data["measured"])})
