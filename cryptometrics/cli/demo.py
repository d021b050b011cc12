"""`cryptometrics demo`: the whole way once, from nothing to metrics and charts."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cryptometrics.cli.progress import Progress
    from cryptometrics.config import Settings
    from cryptometrics.feeds.publish import Published
    from cryptometrics.pipeline.writer import Totals
    from cryptometrics.store.reads import SessionRow

GROUP = "demo"
PARTITIONS = 6
TICKS = 60_000
STEP = timedelta(milliseconds=20)
BAD = 0.001
"""One tick in a thousand is spoiled, so that there is a rejection to see."""


@click.command()
@click.option("--keep", is_flag=True, help="Leave Kafka and PostgreSQL running, with the data in them.")
def demo(keep: bool) -> None:
    """Show it all: a real Kafka and PostgreSQL, twenty minutes of simulated market, metrics, charts.

    It uses a folder of its own and touches nothing else; a demo that was kept before is replaced.

    \b
    Example:
      cryptometrics demo
    """
    from cryptometrics import config, log  # noqa: PLC0415
    from cryptometrics.cli.progress import Progress  # noqa: PLC0415
    from cryptometrics.cli.services import last_words  # noqa: PLC0415
    from cryptometrics.local import jars  # noqa: PLC0415
    from cryptometrics.local.services import Services  # noqa: PLC0415

    log.setup("auto", quiet=True)
    home = config.load().home
    services = Services(home / "demo", jars.folder(home), kafka_port=0)
    try:
        _say("starting Kafka and PostgreSQL")
        services.purge()
        with Progress() as progress, last_words():
            services.up(progress.show)
        settings = config.pinned(services.home, services.bootstrap_servers, services.postgres_uri)
        with Progress() as progress:
            sent, stored = _run_stages(settings, progress)
        charts = _show(settings)
        lost = sent.sent - stored.metrics - stored.rejected - stored.duplicates
        click.echo(
            f"\nsent {sent.sent:,} = stored {stored.metrics:,} + rejected {stored.rejected:,} "
            f"+ duplicate {stored.duplicates:,}, lost {lost:,}"
        )
        click.echo(f"charts: {charts[0]} and {len(charts) - 1} more")
    finally:
        if not keep:
            services.purge()
    if keep:
        click.echo(
            f"\nKafka and PostgreSQL go on running. To look around:\n"
            f"  export CRYPTOMETRICS_HOME={services.home}\n"
            f"  cryptometrics session\n"
            f"  cryptometrics down --purge   # when you have seen enough"
        )
    if lost:
        raise SystemExit(1)


def _run_stages(settings: Settings, progress: Progress) -> tuple[Published, Totals]:
    from cryptometrics import broker  # noqa: PLC0415
    from cryptometrics.cli.process import Line  # noqa: PLC0415
    from cryptometrics.feeds.publish import publish  # noqa: PLC0415
    from cryptometrics.feeds.simulate import DEFAULT_PAIRS, Simulation  # noqa: PLC0415
    from cryptometrics.pipeline.options import Options  # noqa: PLC0415
    from cryptometrics.pipeline.run import run  # noqa: PLC0415
    from cryptometrics.store.connection import connect  # noqa: PLC0415
    from cryptometrics.store.migrate import migrate  # noqa: PLC0415

    with connect(settings) as connection:
        migrate(connection)
    broker.make_topic(settings, PARTITIONS)
    took = _stopwatch()
    market = Simulation(
        pairs=DEFAULT_PAIRS,
        start=datetime.now(UTC) - TICKS * STEP,
        step=Fraction(STEP / timedelta(microseconds=1)),
        seed=int(time.time()),
        bad=BAD,
        count=TICKS,
    )
    sent = publish(broker.make_producer(settings), settings.kafka_topic, market.blocks())
    _say(f"simulated {sent.acknowledged:,} ticks of {len(DEFAULT_PAIRS)} pairs in {took():.1f} s")
    line = Line()
    stored = run(
        settings,
        Options(GROUP, session=GROUP, until_caught_up=True),
        stop=lambda: False,
        progress=lambda worker: progress.show(line(worker.totals, worker.lag())) if progress.due() else None,
    )
    _say(f"processed {stored.offsets:,} ticks in {took():.1f} s")
    return sent, stored


def _show(settings: Settings) -> list[Path]:
    """Print the table of all pairs and draw each one's chart; return the charts' paths."""
    from cryptometrics.cli import plot  # noqa: PLC0415
    from cryptometrics.plot.panels import panels_of  # noqa: PLC0415
    from cryptometrics.store import reads  # noqa: PLC0415
    from cryptometrics.store.connection import connect  # noqa: PLC0415
    from cryptometrics.store.series import load_series  # noqa: PLC0415

    panels = panels_of(())
    metrics = [line.metric for panel in panels for line in panel.lines]
    charts = []
    with connect(settings) as connection:
        rows = reads.sessions(connection, GROUP)
        _print_table(rows)
        for row in rows:
            series = load_series(
                connection,
                GROUP,
                row.pair,
                metrics,
                session=None,
                since=None,
                until=None,
                buckets=plot.POINTS_A_PAIR,
            )
            charts.append(plot.CHARTS / f"{row.pair}.png")
            plot.save(charts[-1], plot.figure_of([series], panels))
    return charts


def _print_table(rows: Sequence[SessionRow]) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    columns = ("ticks", "bid", "ask", "mid_price", "spread", "highest_bid", "lowest_ask", "max_spread")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("pair", no_wrap=True)
    for column in columns:
        table.add_column(column.replace("_", "\n"), justify="right", no_wrap=True)
    for row in rows:
        ticks, *prices = (getattr(row, column) for column in columns)
        table.add_row(row.pair, f"{ticks:,}", *(f"{price:f}" for price in prices))
    # A log file is no narrow terminal: nothing is cut there.
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def _stopwatch() -> Callable[[], float]:
    """Return a function that gives the seconds since it was last asked."""
    begun = time.monotonic()

    def lap() -> float:
        nonlocal begun
        begun, before = time.monotonic(), begun
        return begun - before

    return lap


def _say(text: str) -> None:
    click.echo(text, err=True)
