"""Measure whether speed falls as the table grows: the same work with an empty table and with a full one.

Both are measured in turns, so that other load on the machine affects both. Compare the ratios.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptometrics.bench.backlog import GROUP, workers
from cryptometrics.bench.throughput import Throughput
from cryptometrics.feeds.simulator import DEFAULT_PAIRS
from cryptometrics.store.connection import connect
from cryptometrics.store.prune import first_kept_day, prune

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.bench.scratch import Scratch

DAYS = 5
"""Days the rows are spread over, including today."""
ROWS_PER_INSERT = 250_000
COMMAND_TIMEOUT_S = 60.0

# As if `init-db` had run days ago: otherwise all older days would share one partition.
_AGE = f"""
DROP TABLE crypto_metrics_before;
DO $$ BEGIN
    EXECUTE format('CREATE TABLE crypto_metrics_before PARTITION OF crypto_metrics '
                   'FOR VALUES FROM (MINVALUE) TO (%L)',
                   (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '{DAYS} days') AT TIME ZONE 'UTC');
END $$;
SELECT crypto_metrics_add_day((now() AT TIME ZONE 'UTC')::date - n) FROM generate_series(0, {DAYS}) AS n;
"""  # noqa: S608  (constants)

# Rows as a feed leaves them: ordered by time up to now, ten pairs, drifting prices.
_FILL = """
WITH tick AS (
    SELECT n, at, n %% 10 AS pair, 1000 * (n %% 10 + 1) + round((400 * sin(n / 50000.0))::numeric, 2) AS bid,
           (1 + n %% 7) * 0.01 AS spread
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
         LATERAL (SELECT %(end)s - (%(rows)s - n) * %(step)s::interval AS at) AS moment
)
INSERT INTO crypto_metrics (pair, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread, timestamp,
                            consumer_group, session, kind, trade_id, kafka_partition, kafka_offset)
SELECT 'P' || pair || '-USD', bid, bid + spread, bid + spread * 0.5, spread, 1000 * (pair + 1) + 400,
       1000 * (pair + 1) - 400, 0.07, at, 'filler', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'ticker', n,
       pair %% 6, n
FROM tick
"""
_COUNT = """
INSERT INTO metric_days
SELECT consumer_group, 'filler', kafka_partition, (timestamp AT TIME ZONE 'UTC')::date, count(*),
       min(kafka_offset), max(kafka_offset)
FROM crypto_metrics WHERE consumer_group = 'filler' GROUP BY 1, 2, 3, 4
"""
_SIZE = """
SELECT sum(pg_total_relation_size(inhrelid))::bigint
FROM pg_inherits WHERE inhparent = 'crypto_metrics'::regclass
"""


@dataclass
class Growth:
    """Measured with each table: ticks per second, and the seconds that other commands take."""

    rows: int
    bytes: int = 0
    empty: list[float] = field(default_factory=list)
    full: list[float] = field(default_factory=list)
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By command: with the empty table and with the full one."""
    pruned: dict[str, float] = field(default_factory=dict)
    """Seconds by dropped partition."""

    @property
    def ratio(self) -> float:
        """The median rate with the full table divided by that with the empty one."""
        return statistics.median(self.full) / statistics.median(self.empty)


def measure(
    rows: int, ticks: int, rounds: int, empty: Scratch, full: Scratch, say: Callable[[str], None]
) -> Growth:
    """Fill one of the two schemas with rows, and do the same work in both.

    ticks: size of the backlog; rounds: how often it is processed in each schema.
    """
    growth = Growth(rows)
    _fill(full, rows, say)
    growth.bytes = _one(full, _SIZE)
    say("making ticks")
    backlogs = {scratch: Throughput(scratch, ticks).backlog() for scratch in (empty, full)}
    with workers(empty, 1), workers(full, 1):
        for number in range(rounds):
            empty.connection.execute("TRUNCATE crypto_metrics")
            for name, scratch, rates in (("empty", empty, growth.empty), ("full", full, growth.full)):
                say(f"process, {name} table, round {number + 1} of {rounds}")
                rates.append(backlogs[scratch].measure(1))
    last = ["--group", GROUP]
    with tempfile.TemporaryDirectory() as folder:
        chart = str(Path(folder, "chart.png"))
        for name, arguments in {
            "session": ["session", *last],
            "plot --since 15m": ["plot", *last, "--pair", DEFAULT_PAIRS[0], "--since", "15m", "--out", chart],
        }.items():
            say(name)
            growth.seconds[name] = _seconds(empty, arguments), _seconds(full, arguments)
    say("prune")
    growth.pruned = _prune(full)
    return growth


def _fill(scratch: Scratch, rows: int, say: Callable[[str], None]) -> None:
    scratch.connection.execute(_AGE)
    step = timedelta(days=DAYS - 0.5) / rows
    values = {"rows": rows, "step": step, "end": datetime.now(UTC)}
    for first in range(0, rows, ROWS_PER_INSERT):
        say(f"filling the table: {first:,} of {rows:,} rows")
        last = min(first + ROWS_PER_INSERT, rows) - 1
        scratch.connection.execute(_FILL, values | {"first": first, "last": last})
    scratch.connection.execute(_COUNT)
    scratch.connection.execute("VACUUM ANALYZE crypto_metrics")


def _seconds(scratch: Scratch, arguments: list[str]) -> float:
    """Return the seconds a command takes with Python's start: the best of three, as the first warms up."""
    taken: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run(
            scratch.command(*arguments),
            env=scratch.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=True,
        )
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _prune(scratch: Scratch) -> dict[str, float]:
    """Drop all days but today and yesterday; return the seconds for each."""
    taken: dict[str, float] = {}
    with connect(scratch.settings) as connection:
        begun = time.perf_counter()
        for piece in prune(
            connection, first_kept_day(datetime.now(UTC), timedelta(days=1)), wait=COMMAND_TIMEOUT_S
        ):
            now = time.perf_counter()
            taken[f"{piece} ({piece.rows:,} rows)"] = now - begun
            begun = now
    return taken


def _one(scratch: Scratch, query: str) -> int:
    row = scratch.connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
