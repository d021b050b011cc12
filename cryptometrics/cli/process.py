"""`cryptometrics process`: from the topic to metrics in PostgreSQL, exactly once."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options as shared
from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.pipeline import GAVE_UP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.progress import OutcomeCounts, WorkerReport, WorkerTotals
    from cryptometrics.pipeline.supervisor import Supervisor
    from cryptometrics.pipeline.worker import Worker

    See = Callable[[WorkerReport], None]

REPORT_EVERY_S = 0.25
"""How often a worker reports to its supervisor, and a report reaches the metrics."""


@click.command()
@click.option(
    "--group",
    default="cryptometrics",
    callback=shared.name,
    metavar="NAME",
    help="The consumer group: groups read independently, workers of one group share the partitions.",
)
@click.option(
    "--session", callback=shared.name, metavar="NAME", help="One session of this name, not one a UTC day."
)
@click.option(
    "--until-caught-up",
    is_flag=True,
    help="End when everything that was in the topic at the start is stored.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    help="Processes on this machine; one that dies is started again.",
)
@click.option(
    "--batch", type=click.IntRange(1, 100_000), default=10_000, help="Ticks of one transaction at most."
)
@click.option(
    "--on-data-loss",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    help="What to do when Kafka no longer holds ticks that were not read; skip records them as lost.",
)
@click.option(
    "--alerts",
    "rules_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Alert rules; without it those that CRYPTOMETRICS_ALERTS names, else alerts.toml if it is here.",
)
@click.option(
    "--no-alerts",
    is_flag=True,
    help="Judge no rules, whatever there are: the past again, and nobody is called.",
)
@shared.metrics_port
@shared.metrics_host
@click.option("--reporting", is_flag=True, hidden=True, help="Be one of several: see _report.")
def process(
    *,
    group: str,
    session: str | None,
    until_caught_up: bool,
    workers: int,
    batch: int,
    on_data_loss: str,
    rules_file: Path | None,
    no_alerts: bool,
    metrics_port: int | None,
    metrics_host: str,
    reporting: bool,
) -> None:
    """Compute risk metrics of every tick and store them exactly once.

    A new group begins at the oldest record of the topic. Ctrl-C finishes the batch in hand. To use more
    machines, run the same command on each.

    \b
    Example:
      cryptometrics process --group g1
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import waiting
    from cryptometrics.cli.rule_file import Rules, rules_of
    from cryptometrics.cli.signals import stopping
    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.start_worker import wait_for_services

    if rules_file is not None and no_alerts:
        raise UserError("--alerts and --no-alerts: leave one out")
    settings = config.load()
    rules = Rules(None, ()) if no_alerts else rules_of(settings, rules_file)
    wait_for_services(settings, waiting)  # while nothing is in hand, Ctrl-C ends it at once
    asked = WorkerOptions(group, session, batch, until_caught_up, on_data_loss == "skip", rules.rules)
    with stopping() as stop, _measuring(group, metrics_host, None if reporting else metrics_port) as see:
        if reporting:
            _report(asked, stop)
        elif workers > 1:
            _supervise(asked, rules.path, workers, stop, see)
        else:
            _work(asked, stop, see)


@contextlib.contextmanager
def _measuring(group: str, host: str, port: int | None) -> Iterator[See]:
    """Serve the metrics within the block, if asked for; yield who is to be given each report."""
    if port is None:
        yield lambda _report: None
        return
    from cryptometrics.telemetry.endpoint import serving
    from cryptometrics.telemetry.process_metrics import ProcessMetrics

    metrics = ProcessMetrics(group)
    with serving(metrics.collect, metrics.health, host, port):
        yield metrics.update


def _work(options: WorkerOptions, stop: Callable[[], bool], see: See) -> None:
    """Be the only worker here."""
    from cryptometrics.cli.progress import Progress
    from cryptometrics.pipeline.progress import WorkerReport
    from cryptometrics.times import Interval

    with Progress() as progress:
        line, report_interval = Line(), Interval(REPORT_EVERY_S)

        def show(worker: Worker) -> None:
            if report_interval.elapsed():
                see(WorkerReport.of(worker.totals, worker.lags()))
            if progress.due():
                progress.show(line(worker.totals, worker.lag()))

        totals = _run(options, stop, show)
    click.echo(f"group {options.group}: {summary(totals)}")


def _report(options: WorkerOptions, stop: Callable[[], bool]) -> None:
    """Be one worker of several: tell the supervisor on stdout how it goes, and end when its pipe ends."""
    from cryptometrics.pipeline.progress import WorkerReport
    from cryptometrics.times import Interval

    orphaned = threading.Event()

    def watch() -> None:
        while os.read(0, 1024):  # unbuffered: a lock that is held while waiting would spoil the exit
            pass
        orphaned.set()

    threading.Thread(target=watch, daemon=True).start()
    interval = Interval(REPORT_EVERY_S)

    def tell(totals: WorkerTotals, lags: dict[int, int]) -> None:
        with contextlib.suppress(BrokenPipeError):
            click.echo(json.dumps(WorkerReport.of(totals, lags).as_dict()))

    def now_and_then(worker: Worker) -> None:
        if interval.elapsed():
            tell(worker.totals, worker.lags())

    try:
        totals = _run(options, lambda: stop() or orphaned.is_set(), now_and_then)
    except CryptometricsError as error:
        if error.exit_code == 1:  # which a crash has, too, and that is worth another start
            error.exit_code = GAVE_UP
        raise
    tell(totals, {})


def _supervise(
    options: WorkerOptions, rules_file: Path | None, workers: int, stop: Callable[[], bool], see: See
) -> None:
    """Have several workers, each a process, and show them as one."""
    from cryptometrics.cli.progress import Progress
    from cryptometrics.pipeline.supervisor import Supervisor

    command = [sys.executable, "-m", "cryptometrics", "process", "--reporting"]
    command += ["--group", options.group, "--batch", str(options.batch)]
    command += ["--session", options.session] if options.session else []
    command += ["--until-caught-up"] if options.until_caught_up else []
    command += ["--on-data-loss", "skip"] if options.skip_lost else []
    command += ["--alerts", str(rules_file)] if rules_file else ["--no-alerts"]
    supervisor = Supervisor(command, workers, may_end=options.until_caught_up)
    with Progress() as progress:
        line, seen = Line(), 0

        def show(supervisor: Supervisor) -> None:
            nonlocal seen
            if supervisor.reports_received != seen:
                seen = supervisor.reports_received
                see(supervisor.report())
            if progress.due():
                report = supervisor.report()
                progress.show(f"{len(supervisor.alive())} workers: {line(report, report.lag)}")

        supervisor.run(stop, show)
    restarts = f"; workers that died and were restarted: {supervisor.restarts}" if supervisor.restarts else ""
    click.echo(f"group {options.group}: {summary(supervisor.report())}{restarts}")


def _run(
    options: WorkerOptions, stop: Callable[[], bool], progress: Callable[[Worker], None]
) -> WorkerTotals:
    from cryptometrics import config
    from cryptometrics.pipeline.start_worker import run_worker

    return run_worker(config.load(), options, stop=stop, progress=progress)


class Line:
    """Makes the progress line: ticks a second since the last one, lag, what was not stored as metrics."""

    def __init__(self) -> None:
        self._at, self._offsets = time.monotonic(), 0

    def __call__(self, totals: OutcomeCounts, lag: int) -> str:
        """Return the line as of now."""
        now = time.monotonic()
        rate = max(totals.offsets - self._offsets, 0) / max(now - self._at, 1e-9)
        self._at, self._offsets = now, totals.offsets
        return f"{rate:,.0f} ticks/s, lag {lag:,}, {summary(totals)}"


def summary(totals: OutcomeCounts) -> str:
    """Return what was done, in words."""
    gaps = f", {totals.gaps:,} gap records" if totals.gaps else ""
    return (
        f"{totals.metrics:,} stored, {totals.rejected:,} rejected, "
        f"{totals.duplicates:,} duplicates, {totals.late:,} late{gaps}"
    )
