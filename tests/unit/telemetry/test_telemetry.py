"""What is measured: histograms, several workers added up, and when the pipeline is not healthy."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from cryptometrics.alerts.rule_state import Transition
from cryptometrics.alerts.rules import parse
from cryptometrics.errors import UserError
from cryptometrics.feeds.quality import Quality
from cryptometrics.kafka.open_transactions import REPORT_AFTER_S
from cryptometrics.market.venues import Market
from cryptometrics.pipeline.calculator import CalculatedBatch
from cryptometrics.pipeline.worker_report import Histogram, Measurements, WorkerReport
from cryptometrics.store.batch_transaction import Batch, PairState, PartitionOutcome, RejectedOffset
from cryptometrics.store.latest_risk import LatestRisk
from cryptometrics.telemetry import risk_metrics
from cryptometrics.telemetry.endpoint import serving
from cryptometrics.telemetry.ingest_metrics import DEAF_S, IngestMetrics
from cryptometrics.telemetry.process_metrics import STALLED_S, ProcessMetrics
from cryptometrics.telemetry.risk_metrics import RiskMetrics
from cryptometrics.times import to_microseconds

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
FEED = {"BTC-USD": Quality(ticks=10, gaps=1, trades_missed=2, duplicates=3, reconnects=4, has_quote=True)}


@dataclass(frozen=True)
class Times:
    """What is used of a batch's columns here."""

    time: np.ndarray[Any, Any]


def work(ages: list[float], rejected: list[str]) -> CalculatedBatch:
    part = PartitionOutcome(1, 0, len(ages) + len(rejected), metrics=len(ages), rejected=len(rejected))
    messages = [RejectedOffset(0, n, reason, "", None, None, None) for n, reason in enumerate(rejected)]
    now = to_microseconds(NOW)
    columns: Any = Times(np.array([now - int(age * 1e6) for age in ages], np.int64))
    return CalculatedBatch(Batch(parts={0: part}, rejected=messages), [], columns)


def measured(ages: list[float], rejected: list[str]) -> Measurements:
    found = Measurements()
    found.observe(work(ages, rejected), 0.02, 0.5, NOW)
    return found


batches = st.tuples(
    st.lists(st.floats(-5, 1e5), max_size=60),
    st.lists(st.sampled_from(["bad_price", "not_json"]), max_size=5),
)


def test_alerts_that_fired_are_counted_by_severity() -> None:
    text = '[[rule]]\nname = "{0}"\nkind = "spread_bps"\nlevel = 1\nseverity = "{0}"\n'
    critical, info = parse(text.format("critical") + text.format("info"))
    batch = work([1.0], [])
    batch.batch.alerts = [
        Transition(rule, Market("coinbase", "BTC-USD"), firing, NOW, NOW, None, 0, 0, "words")
        for rule, firing in ((critical, True), (critical, False), (critical, True), (info, True))
    ]
    found = Measurements()
    for _ in range(2):
        found.observe(batch, 0.02, 0.5, NOW)
    assert found.alerts == {"critical": 4, "info": 2}


@given(st.lists(st.floats(-10, 1e6, allow_nan=False)))
def test_a_histogram_counts_each_value_under_every_bound_that_is_not_below_it(values: list[float]) -> None:
    histogram = Histogram((0.1, 1.0, 100.0))
    for value in values:
        histogram.observe(value)
    assert histogram.cumulative() == [
        *((str(bound), sum(max(v, 0) <= bound for v in values)) for bound in (0.1, 1.0, 100.0)),
        ("+Inf", len(values)),
    ]
    assert histogram.total == pytest.approx(sum(max(v, 0) for v in values))


@given(batches)
def test_the_sample_stands_for_every_tick_of_the_batch(batch: tuple[list[float], list[str]]) -> None:
    ages, rejected = batch
    found = measured(ages, rejected)
    assert found.latency.cumulative()[-1] == ("+Inf", len(ages))
    assert found.batch_ticks.total == len(ages) + len(rejected)
    assert sum(found.rejected.values()) == len(rejected)
    assert found.commit_seconds.total == 0.02
    assert found.batch_seconds.total == 0.5


def test_a_batch_of_one_age_has_that_latency() -> None:
    assert measured([3.0] * 1000, []).latency.total == pytest.approx(3000)


@given(batches, batches)
def test_workers_add_up_through_a_line_of_json(
    one: tuple[list[float], list[str]], other: tuple[list[float], list[str]]
) -> None:
    first, second = measured(*one), measured(*other)
    first.lags, second.lags = {"0": 5}, {"1": 7}
    first.open_transactions, second.open_transactions = {"0": 12.5}, {"1": 0.0}
    first.retries, second.reconnects = 2, 3
    total = WorkerReport()
    for each in (first, second):
        line = json.dumps(WorkerReport(metrics=10, measured=each).as_dict())
        total.add(WorkerReport.from_dict(json.loads(line)))
    assert total.metrics == 20
    assert total.lag == 12
    assert total.measured.open_transactions == {"0": 12.5, "1": 0.0}
    assert (total.measured.retries, total.measured.reconnects) == (2, 3)
    assert total.measured.latency.counts == [
        a + b for a, b in zip(first.latency.counts, second.latency.counts, strict=True)
    ]
    reasons = [*one[1], *other[1]]
    assert total.measured.rejected == {reason: reasons.count(reason) for reason in set(reasons)}


def of_pairs(*quotes: tuple[str, str, str, datetime]) -> CalculatedBatch:
    """Return a batch after which these are the newest quotes of pairs at coinbase."""
    calculated = work([1.0], [])
    calculated.batch.pairs = [
        PairState(Market("coinbase", pair), Decimal(bid), Decimal(ask), at, "{}", 0, None)
        for pair, bid, ask, at in quotes
    ]
    return calculated


def test_the_newest_quote_of_a_pair_is_served_once_whoever_stored_it() -> None:
    later = NOW + timedelta(seconds=10)
    moved, owner = Measurements(), Measurements()
    moved.observe(of_pairs(("BTC-USD", "100", "100.5", NOW), ("ETH-USD", "10", "11", NOW)), 0.1, 0.1, NOW)
    owner.observe(of_pairs(("BTC-USD", "200", "200.25", later)), 0.1, 0.1, NOW)
    for order in ((moved, owner), (owner, moved)):
        total = WorkerReport()
        for each in order:
            line = json.dumps(WorkerReport(measured=each).as_dict())
            total.add(WorkerReport.from_dict(json.loads(line)))
        metrics = ProcessMetrics("g", Clock(), now=lambda: later.timestamp() + 5)
        metrics.update(total)
        samples = {
            (sample.name, sample.labels["venue"], sample.labels["pair"]): sample.value
            for family in metrics.collect()
            for sample in family.samples
            if "pair" in sample.labels
        }
        assert samples == {
            (f"cryptometrics_{name}", "coinbase", pair): value
            for pair, values in (("BTC-USD", (200, 200.25, 0.25, 5)), ("ETH-USD", (10, 11, 1, 15)))
            for name, value in zip(("bid", "ask", "spread", "quote_age_seconds"), values, strict=True)
        }


FIGURES = {
    Market("coinbase", "BTC-USD"): LatestRisk(NOW, 0.5, 0.01, 0.02, 1.0, 0),
    Market("coinbase", "ETH-USD"): LatestRisk(NOW, 0.7, None, None, 0.5, 3),
}


def risk_samples(metrics: RiskMetrics) -> dict[tuple[str, str | None], float]:
    return {
        (sample.name, sample.labels.get("pair")): sample.value
        for family in metrics.collect()
        for sample in family.samples
        if "group" in sample.labels
    }


def test_figures_are_served_by_the_follower_that_writes_them() -> None:
    clock = Clock()
    metrics = RiskMetrics("g", clock)
    metrics.update(FIGURES, active=True, rows=12, behind_seconds=60)
    assert risk_samples(metrics) == {
        ("cryptometrics_risk_active", None): 1,
        ("cryptometrics_risk_rows_total", None): 12,
        ("cryptometrics_risk_behind_seconds", None): 60,
        ("cryptometrics_volatility_ratio", "BTC-USD"): 0.5,
        ("cryptometrics_volatility_ratio", "ETH-USD"): 0.7,
        ("cryptometrics_drawdown_ratio", "BTC-USD"): 0.01,
        ("cryptometrics_value_at_risk_ratio", "BTC-USD"): 0.02,
    }
    metrics.update(FIGURES, active=False, rows=12, behind_seconds=0)
    assert not any(pair for _, pair in risk_samples(metrics))
    assert metrics.health() == (True, {"active": False, "seconds_behind": 0, "seconds_since_report": 0})
    clock.now += risk_metrics.STALLED_S
    assert not metrics.health().ok


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def report(metrics: int, lag: int) -> WorkerReport:
    return WorkerReport(metrics=metrics, measured=Measurements(lags={"0": lag}))


def test_lag_without_a_commit_is_red_and_a_commit_makes_it_green() -> None:
    clock = Clock()
    metrics = ProcessMetrics("g", clock)
    for _ in range(2):
        metrics.update(report(10, lag=500))
        assert metrics.health().ok
        clock.now += STALLED_S / 2
    metrics.update(report(10, lag=500))
    assert not metrics.health().ok
    assert metrics.health().details["lag"] == 500
    metrics.update(report(11, lag=499))
    assert metrics.health().ok


def test_health_names_the_transactions_that_the_log_reports() -> None:
    metrics = ProcessMetrics("g", Clock())
    ages = {"0": REPORT_AFTER_S + 2.5, "1": REPORT_AFTER_S - 1, "2": 0.0}
    metrics.update(WorkerReport(measured=Measurements(open_transactions=ages)))
    details = metrics.health().details
    assert details["open_transaction_seconds"] == {"0": 12.5}
    assert "open_transaction" in details["hint"]
    metrics.update(report(10, lag=0))
    assert "hint" not in metrics.health().details


def test_a_worker_that_ended_no_longer_holds_partitions() -> None:
    measured = Measurements(lags={"0": 5}, open_transactions={"0": 12.5}, retries=1)
    measured.release_partitions()
    assert (measured.lags, measured.open_transactions, measured.retries) == ({}, {}, 1)


def test_nothing_to_do_is_no_failure() -> None:
    clock = Clock()
    metrics = ProcessMetrics("g", clock)
    for _ in range(10):
        metrics.update(report(10, lag=0))
        clock.now += STALLED_S * 0.9
        assert metrics.health().ok
    # The first lag after a long rest is not taken for an old one.
    metrics.update(report(10, lag=100))
    assert metrics.health().ok


def test_a_loop_that_says_nothing_any_more_is_red() -> None:
    clock = Clock()
    metrics = ProcessMetrics("g", clock)
    metrics.update(report(10, lag=0))
    clock.now += STALLED_S + 1
    assert not metrics.health().ok


def test_a_feed_that_hears_nothing_or_cannot_send_is_red() -> None:
    clock = Clock()
    metrics = IngestMetrics(clock)

    def see(*, connected: bool = True, kafka_silence: float = 0.0) -> bool:
        metrics.update(
            FEED,
            venue="coinbase",
            connected=connected,
            sent=10,
            acknowledged=9,
            kafka_silence=kafka_silence,
        )
        return metrics.health().ok

    assert see()
    clock.now += DEAF_S - 1
    assert see(connected=False)
    clock.now += 2
    assert not see(connected=False)
    assert see()
    assert not see(kafka_silence=DEAF_S + 1)
    assert see()
    clock.now += DEAF_S + 1
    assert not metrics.health().ok


def test_a_pair_without_a_quote_is_red() -> None:
    clock = Clock()
    metrics = IngestMetrics(clock)
    pairs = FEED | {"ZRQ-BTC": Quality()}
    for _ in range(4):
        metrics.update(pairs, venue="coinbase", connected=True, sent=1, acknowledged=1, kafka_silence=0)
        clock.now += DEAF_S / 3
    metrics.update(pairs, venue="coinbase", connected=True, sent=1, acknowledged=1, kafka_silence=0)
    health = metrics.health()
    assert not health.ok
    assert list(health.details["seconds_without_quote"]) == ["ZRQ-BTC"]
    pairs["ZRQ-BTC"].quote(0, 1)
    metrics.update(pairs, venue="coinbase", connected=True, sent=1, acknowledged=1, kafka_silence=0)
    assert metrics.health().ok


def test_a_feeds_numbers_are_served_by_venue_and_pair() -> None:
    metrics = IngestMetrics()
    metrics.update(
        FEED | {"ZRQ-BTC": Quality()},
        venue="coinbase-advanced",
        connected=True,
        sent=11,
        acknowledged=9,
        kafka_silence=0,
    )
    with serving(metrics.collect, metrics.health, "127.0.0.1", 0) as address:
        text = urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read().decode()
    samples = {
        (sample.name, sample.labels.get("pair")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["cryptometrics_ingest_ticks_total", "BTC-USD"] == 10
    assert samples["cryptometrics_ingest_missed_trades_total", "BTC-USD"] == 2
    assert samples["cryptometrics_ingest_acknowledged_messages_total", None] == 9
    assert samples["cryptometrics_ingest_connected", None] == 1
    assert samples["cryptometrics_ingest_has_quote", "BTC-USD"] == 1
    assert samples["cryptometrics_ingest_has_quote", "ZRQ-BTC"] == 0
    assert 'cryptometrics_ingest_ticks_total{pair="BTC-USD",venue="coinbase-advanced"} 10.0' in text


def test_a_port_that_is_taken_is_the_users_to_change() -> None:
    metrics = IngestMetrics()
    with (
        serving(metrics.collect, metrics.health, "127.0.0.1", 0) as address,
        pytest.raises(UserError, match="choose another port"),
        serving(metrics.collect, metrics.health, "127.0.0.1", int(address.split(":")[1])),
    ):
        pass
