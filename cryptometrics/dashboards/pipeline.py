"""The dashboard *Pipeline*: throughput, lag and latency, and the outcomes other than metrics."""

from __future__ import annotations

from cryptometrics.dashboards.parts import (
    Json,
    annotation,
    dashboard,
    field,
    panel,
    promql,
    query_variable,
    sql,
)

GROUP = query_variable("group", "group", "SELECT DISTINCT consumer_group FROM crypto_progress ORDER BY 1")
ALERTS = annotation(
    "alerts",
    """SELECT fired_at AS time, resolved_at AS timeend,
    concat_ws(' ', nullif(venue, ''), pair, rule) || ': ' || message AS text, severity AS tags FROM alerts
    WHERE $__timeFilter(fired_at) AND consumer_group = ${group:sqlstring} ORDER BY fired_at""",
    "red",
)
_OF = '{group="$group"}'
_SINCE = "[$__rate_interval]"
_INGEST = "cryptometrics_ingest"


def _rate(name: str, by: str = "") -> str:
    """Return a counter's rate per second over all processes, grouped by a label if given."""
    return f"sum{f' by ({by}) ' if by else ''}(rate(cryptometrics_{name}{_OF}{_SINCE}))"


def _quantiles(name: str) -> list[Json]:
    buckets = _rate(f"{name}_bucket", "le")
    return [
        promql(f"histogram_quantile({share}, {buckets})", label, ref)
        for ref, share, label in (("A", 0.5, "median"), ("B", 0.95, "95 %"), ("C", 0.99, "99 %"))
    ]


def _chart(title: str, targets: list[Json], about: str, unit: str = "short", width: int = 8) -> Json:
    return panel(
        "timeseries",
        title,
        targets,
        (width, 8),
        about,
        fieldConfig=field(unit=unit, lineWidth=1, fillOpacity=10),
    )


def build() -> Json:
    """Return the dashboard."""
    rates = _chart(
        "ticks per second",
        [
            promql(_rate("ticks_total"), "stored", "A"),
            promql(_rate("duplicate_ticks_total"), "duplicates", "B"),
            promql(_rate("late_ticks_total"), "late", "C"),
        ],
        "Late ticks are stored, too.",
        "ops",
    )
    rejected = _chart(
        "rejected per second, by reason",
        [promql(f"{_rate('rejected_ticks_total', 'reason')} > 0", "{{reason}}")],
        "`cryptometrics rejects list` shows the messages.",
        "ops",
    )
    gaps = _chart(
        "feed gaps and alerts",
        [
            promql(f"sum(increase(cryptometrics_feed_gaps_total{_OF}[5m]))", "gaps", "A"),
            promql(
                f"sum by (severity) (increase(cryptometrics_alerts_total{_OF}[5m]))",
                "alerts {{severity}}",
                "B",
            ),
        ],
        "Number within 5 minutes.",
    )
    lag = _chart(
        "lag by partition",
        [promql(f"sum by (partition) (cryptometrics_consumer_lag{_OF})", "{{partition}}")],
        "Messages in Kafka that are not stored yet. It should return to 0.",
    )
    latency = _chart(
        "latency from event time to commit",
        _quantiles("end_to_end_latency_seconds"),
        "Sampled from each batch. After a pause it shows the backlog.",
        "s",
    )
    commits = _chart(
        "duration of a commit",
        _quantiles("commit_seconds"),
        "The transaction of a batch. If it grows, PostgreSQL is the bottleneck.",
        "s",
    )
    batches = _chart(
        "batches",
        [
            promql(f"{_rate('batch_ticks_sum')} / {_rate('batch_ticks_count')}", "messages per batch", "A"),
            promql(_rate("batch_ticks_count"), "batches per second", "B"),
        ],
        "Small and frequent at low load, large at high load.",
    )
    durations = _chart(
        "duration of a batch",
        _quantiles("batch_seconds"),
        "From calculation to commit, including the wait for the batch before.",
        "s",
    )
    troubles = _chart(
        "retries and reconnects within 5 minutes",
        [
            promql(f"sum(increase(cryptometrics_retries_total{_OF}[5m]))", "retries", "A"),
            promql(f"sum(increase(cryptometrics_reconnects_total{_OF}[5m]))", "reconnects", "B"),
        ],
        "If it stays above 0, look for service_unavailable and starting_over in the log.",
    )
    feed = _chart(
        "live feed: ticks per second, by venue and pair",
        [
            promql(
                f"sum by (venue, pair) (rate(cryptometrics_ingest_ticks_total{_SINCE}))", "{{venue}} {{pair}}"
            )
        ],
        "Ticks received by `ingest`; empty for simulated data.",
        "ops",
        12,
    )
    losses = _chart(
        "live feed: missed trades and reconnects within 5 minutes",
        [
            promql(
                "sum by (venue, pair) (increase(cryptometrics_ingest_missed_trades_total[5m]))",
                "missed {{venue}} {{pair}}",
                "A",
            ),
            promql("max(increase(cryptometrics_ingest_reconnects_total[5m]))", "reconnects", "B"),
            promql(
                f"sum({_INGEST}_sent_messages_total) - sum({_INGEST}_acknowledged_messages_total)",
                "not acknowledged by Kafka",
                "C",
            ),
        ],
        "Every missed trade is stored as a gap: `cryptometrics gaps`.",
        width=12,
    )
    progress = panel(
        "table",
        "offsets and their outcomes",
        [
            sql(
                """SELECT kafka_partition AS partition, next_offset, metrics, rejected, gaps, duplicates,
                holes, seconds_since_commit, owner
                FROM crypto_progress WHERE consumer_group = ${group:sqlstring} ORDER BY kafka_partition"""
            )
        ],
        (14, 8),
        "Outcomes of the offsets of each partition; `cryptometrics verify` proves them.",
    )
    rejections = panel(
        "table",
        "last rejected ticks",
        [
            sql(
                """SELECT recorded_at, reason, detail, kafka_partition AS partition, kafka_offset AS "offset"
                FROM crypto_rejections WHERE consumer_group = ${group:sqlstring}
                AND $__timeFilter(recorded_at) ORDER BY id DESC LIMIT 100"""
            )
        ],
        (10, 8),
        "In the time range, newest first.",
    )
    versions = panel(
        "table",
        "running versions",
        [
            promql("cryptometrics_build_info", "{{instance}}")
            | {"format": "table", "instant": True, "range": False}
        ],
        (24, 4),
        "One row per process that Prometheus scrapes.",
    )
    return dashboard(
        "cryptometrics-pipeline",
        "Pipeline",
        rows=[
            [rates, rejected, gaps],
            [lag, latency, troubles],
            [batches, durations, commits],
            [feed, losses],
            [progress, rejections],
            [versions],
        ],
        variables=[GROUP],
        annotations=[ALERTS],
        refresh="10s",
        since="now-1h",
    )
