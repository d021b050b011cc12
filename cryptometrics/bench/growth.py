"""Whether speed falls as the table grows: the same work beside an empty table and beside a full one.

    python -m cryptometrics.bench.growth --rows 5000000

Both tables are measured in turns, so that what else the machine does hits both. What counts is the ratio.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from cryptometrics.bench.scratch import Place

DAYS = 5
"""Days that the rows are spread over, today among them."""
AT_ONCE = 250_000
"""Rows of one INSERT: what the progress shows."""
COMMAND_TIMEOUT_S = 60.0

# As if `init-db` had been run days ago: without it all older days would share one partition.
_AGE = f"""
DROP TABLE crypto_metrics_before;
DO $$ BEGIN
    EXECUTE format('CREATE TABLE crypto_metrics_before PARTITION OF crypto_metrics '
                   'FOR VALUES FROM (MINVALUE) TO (%L)',
                   (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '{DAYS} days') AT TIME ZONE 'UTC');
END $$;
SELECT crypto_metrics_add_day((now() AT TIME ZONE 'UTC')::date - n) FROM generate_series(0, {DAYS}) AS n;
"""  # noqa: S608  (constants)

# Rows as a feed would have left them: in the order of time up to this moment, ten pairs, prices that wander.
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
    """What was measured: ticks a second beside each table, and the seconds of what else there is to do."""

    rows: int
    bytes: int = 0
    empty: list[float] = field(default_factory=list)
    full: list[float] = field(default_factory=list)
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of each command, beside the empty table and beside the full one."""
    pruned: dict[str, float] = field(default_factory=dict)
    """Seconds, by the piece that was dropped."""

    @property
    def ratio(self) -> float:
        """The median rate beside the full table as a share of that beside the empty one."""
        return statistics.median(self.full) / statistics.median(self.empty)


def measure(
    rows: int, ticks: int, rounds: int, empty: Place, full: Place, say: Callable[[str], None]
) -> Growth:
    """Fill one of the two places with rows, and do the same work at both.

    ticks: of the backlog; rounds: how often it is processed at each place.
    """
    from cryptometrics.bench.backlog import GROUP, workers
    from cryptometrics.bench.throughput import Throughput
    from cryptometrics.feeds.simulator import DEFAULT_PAIRS

    growth = Growth(rows)
    _fill(full, rows, say)
    growth.bytes = _one(full, _SIZE)
    say("making ticks")
    backlogs = {place: Throughput(place, ticks).backlog() for place in (empty, full)}
    with workers(empty, 1), workers(full, 1):
        for number in range(rounds):
            empty.connection.execute("TRUNCATE crypto_metrics")
            for name, place, rates in (("empty", empty, growth.empty), ("full", full, growth.full)):
                say(f"process, {name} table, round {number + 1} of {rounds}")
                rates.append(backlogs[place].measure(1))
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


def _fill(place: Place, rows: int, say: Callable[[str], None]) -> None:
    place.connection.execute(_AGE)
    step = timedelta(days=DAYS - 0.5) / rows
    values = {"rows": rows, "step": step, "end": datetime.now(UTC)}
    for first in range(0, rows, AT_ONCE):
        say(f"filling the table: {first:,} of {rows:,} rows")
        last = min(first + AT_ONCE, rows) - 1
        place.connection.execute(_FILL, values | {"first": first, "last": last})
    place.connection.execute(_COUNT)
    place.connection.execute("VACUUM ANALYZE crypto_metrics")


def _seconds(place: Place, arguments: list[str]) -> float:
    """Return what a command takes, Python's start and all; the best of three, as the first one warms up."""
    taken: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run(
            place.command(*arguments),
            env=place.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=True,
        )
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _prune(place: Place) -> dict[str, float]:
    """Drop all days but today and yesterday, and return how long each took."""
    from cryptometrics.store.connection import connect
    from cryptometrics.store.prune import first_kept_day, prune

    taken: dict[str, float] = {}
    with connect(place.settings) as connection:
        begun = time.perf_counter()
        for piece in prune(
            connection, first_kept_day(datetime.now(UTC), timedelta(days=1)), wait=COMMAND_TIMEOUT_S
        ):
            now = time.perf_counter()
            taken[f"{piece} ({piece.rows:,} rows)"] = now - begun
            begun = now
    return taken


def _one(place: Place, query: str) -> int:
    row = place.connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0


@click.command(context_settings={"show_default": True})
@click.option("--rows", type=click.IntRange(100_000), default=5_000_000, help="That the full table has.")
@click.option("--ticks", type=click.IntRange(20_000), default=300_000, help="Size of the backlog.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="How often each is measured.")
def main(rows: int, ticks: int, rounds: int) -> None:
    """Measure `process`, `session`, `plot` and `prune` beside an empty table and beside a full one."""
    from cryptometrics import config
    from cryptometrics.bench.scratch import place
    from cryptometrics.cli.connections import waiting
    from cryptometrics.cli.progress import Progress
    from cryptometrics.kafka.admin import wait_for_kafka
    from cryptometrics.store.database_errors import explaining

    settings = config.load()
    wait_for_kafka(settings, waiting("Kafka"))
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress())
        stack.enter_context(explaining())
        empty, full = (stack.enter_context(place(settings)) for _ in range(2))
        growth = measure(rows, ticks, rounds, empty, full, progress.show)
    _show(growth)


def _show(growth: Growth) -> None:
    from rich.console import Console
    from rich.filesize import decimal

    console = Console(highlight=False)
    table = _table(f"{growth.rows:,} rows, {decimal(growth.bytes)}", "", "empty", "full", "ratio")
    rates = [statistics.median(each) for each in (growth.empty, growth.full)]
    table.add_row("process, ticks/s", *(f"{rate:,.0f}" for rate in rates), f"{growth.ratio:.2f}")
    for name, each in (("lowest", min), ("highest", max)):
        table.add_row(f"  {name}", *(f"{each(rates):,.0f}" for rates in (growth.empty, growth.full)), "")
    for name, (empty, full) in growth.seconds.items():
        table.add_row(f"{name}, s", f"{empty:.2f}", f"{full:.2f}", f"{full / empty:.2f}")
    console.print(table)
    table = _table("", "prune", "s")
    for name, seconds in growth.pruned.items():
        table.add_row(name, f"{seconds:.3f}")
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title or None)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


if __name__ == "__main__":
    main()
