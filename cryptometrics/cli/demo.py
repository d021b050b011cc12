"""`cryptometrics demo`: everything once, from an empty machine to metrics and charts."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import publish_report
from cryptometrics.cli.options import DEFAULT_PARTITIONS
from cryptometrics.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cryptometrics.cli.progress import Progress
    from cryptometrics.config import Settings
    from cryptometrics.kafka.publisher import Published
    from cryptometrics.local.services import Services
    from cryptometrics.pipeline.worker import Worker
    from cryptometrics.pipeline.worker_report import WorkerTotals
    from cryptometrics.store.stored_sessions import SessionRow

GROUP = "demo"
TICKS = 60_000
STEP = timedelta(milliseconds=20)
BAD = 0.001
"""One tick in a thousand is invalid, so that there are rejects to look at."""
PATIENCE_S = 60.0
"""How long a stage may make no progress: nothing restarts a service of the demo that has died."""


@click.command()
@click.option("--keep", is_flag=True, help="Leave Kafka and PostgreSQL running, with their data.")
def demo(keep: bool) -> None:
    """Run everything once: Kafka, PostgreSQL, 20 simulated minutes, metrics and charts.

    The demo has its own data folder and deletes it at the end; a demo kept earlier is replaced. In the
    working folder it writes only the charts, charts/PAIR.png, over existing ones.

    \b
    Example:
      cryptometrics demo
    """
    from cryptometrics import config, log
    from cryptometrics.local import jars
    from cryptometrics.local.services import Services

    log.setup("auto", quiet=True)
    home = config.load().home
    services = Services(home / "demo", jars.folder(home), kafka_port=0)
    with services.reserved("demo"):
        lost = _demonstrate(services, keep=keep)
    if lost:
        raise click.exceptions.Exit(1)


def _demonstrate(services: Services, *, keep: bool) -> int:
    """Run all stages and return how many ticks were lost; it must be 0."""
    from cryptometrics import config
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.services import last_words

    try:
        _report("starting Kafka and PostgreSQL")
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
            f"\nKafka and PostgreSQL keep running. To look around:\n"
            f"  export CRYPTOMETRICS_HOME={services.home}\n"
            f"  cryptometrics session\n"
            f"  cryptometrics down --purge   # when you are done"
        )
    return lost


def _run_stages(settings: Settings, progress: Progress) -> tuple[Published, WorkerTotals]:
    from cryptometrics.cli.process import ProgressLine
    from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation
    from cryptometrics.kafka import client
    from cryptometrics.kafka.publisher import publish
    from cryptometrics.kafka.topic import create_topic
    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.start_worker import run_worker
    from cryptometrics.store.connection import connect
    from cryptometrics.store.migrate import migrate

    with connect(settings) as connection:
        migrate(connection)
    create_topic(settings, DEFAULT_PARTITIONS)
    took = _stopwatch()
    market = Simulation(
        pairs=DEFAULT_PAIRS,
        start=datetime.now(UTC) - TICKS * STEP,
        step=Fraction(STEP / timedelta(microseconds=1)),
        seed=int(time.time()),
        bad=BAD,
        count=TICKS,
    )
    patience = _Patience("sent")
    sent = publish(
        client.make_producer(settings),
        settings.kafka_topic,
        market.blocks(),
        stop=patience.is_over,
        progress=lambda state: patience.see(state.acknowledged),
    )
    patience.check()
    publish_report.check(sent)
    _report(f"simulated {sent.acknowledged:,} ticks of {len(DEFAULT_PAIRS)} pairs in {took():.1f} s")
    line, patience = ProgressLine(), _Patience("processed")

    def show(worker: Worker) -> None:
        patience.see(worker.totals.offsets)
        if progress.due():
            progress.show(line(worker.totals, worker.lag()))

    options = WorkerOptions(GROUP, session=GROUP, until_caught_up=True)
    stored = run_worker(settings, options, stop=patience.is_over, progress=show)
    patience.check()
    _report(f"processed {stored.offsets:,} ticks in {took():.1f} s")
    return sent, stored


def _show(settings: Settings) -> list[Path]:
    """Print a table of all pairs and draw a chart of each; return the paths of the charts."""
    from cryptometrics.cli import plot
    from cryptometrics.plot.panels import panels_of
    from cryptometrics.store import stored_sessions
    from cryptometrics.store.connection import connect
    from cryptometrics.store.tick_series import load_series

    panels = panels_of(())
    metrics = [line.metric for panel in panels for line in panel.lines]
    charts = []
    with connect(settings) as connection:
        rows = stored_sessions.sessions(connection, GROUP)
        _print_table(rows)
        for row in rows:
            series = load_series(
                connection,
                GROUP,
                row.market,
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
    from cryptometrics.cli.output import print_table, short
    from cryptometrics.market.venues import venue_label

    columns = ("ticks", "bid", "ask", "mid_price", "spread", "highest_bid", "lowest_ask", "max_spread")
    heads = [column.replace("_", "\n") for column in columns]
    cells = [[row.pair, *(short(getattr(row, column)) for column in columns)] for row in rows]
    venue = venue_label(rows[0].venue)
    print_table(
        ["pair", *heads], cells, numbers=heads, caption=f"venue {venue}; prices in the quote currency"
    )


class _Patience:
    """Stops a stage that has made no progress for PATIENCE_S."""

    def __init__(self, what: str) -> None:
        """Start the clock; what: the stage's participle in `nothing was sent`."""
        self._what = what
        self._done = 0
        self._moved = time.monotonic()
        self._over = False

    def see(self, done: int) -> None:
        """Note how far the stage is."""
        if done != self._done:
            self._done, self._moved = done, time.monotonic()

    def is_over(self) -> bool:
        """Return whether to stop; once True, it stays True."""
        self._over |= time.monotonic() - self._moved > PATIENCE_S
        return self._over

    def check(self) -> None:
        """Raise ServiceUnavailableError if the stage was stopped."""
        if self._over:
            raise ServiceUnavailableError(
                f"nothing was {self._what} for {PATIENCE_S:.0f} s: Kafka or PostgreSQL has stopped working; "
                "run the demo with --keep and read their logs"
            )


def _stopwatch() -> Callable[[], float]:
    """Return a function that returns the seconds since its last call."""
    begun = time.monotonic()

    def lap() -> float:
        nonlocal begun
        begun, before = time.monotonic(), begun
        return begun - before

    return lap


def _report(text: str) -> None:
    click.echo(text, err=True)
