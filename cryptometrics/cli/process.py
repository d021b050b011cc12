"""`cryptometrics process`: turn the topic's ticks into metrics in PostgreSQL, exactly once."""

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

from cryptometrics.cli import completion
from cryptometrics.cli import options as shared
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.pipeline import GAVE_UP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.config import Settings
    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.supervisor import Supervisor
    from cryptometrics.pipeline.worker import Worker
    from cryptometrics.pipeline.worker_report import OutcomeCounts, WorkerReport

    Publish = Callable[[WorkerReport], None]

REPORT_EVERY_S = 0.25
"""Time between two reports of a worker, to its supervisor or to the metrics."""


def _latency(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    from cryptometrics.config.latency import parse_latency

    try:
        return None if value is None else parse_latency(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option(
    "--group",
    default="cryptometrics",
    callback=shared.name,
    shell_complete=completion.groups,
    metavar="NAME",
    help="Consumer group. Groups read independently; the workers of a group share the partitions.",
)
@click.option(
    "--session",
    callback=shared.name,
    metavar="NAME",
    help="Run one session of this name instead of a session per UTC day.",
)
@click.option(
    "--until-caught-up",
    is_flag=True,
    help="End once everything that the topic held at the start is stored.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    help="Worker processes on this machine; one that dies is restarted.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 100_000),
    default=10_000,
    help="Maximum number of ticks per transaction.",
)
@click.option(
    "--latency",
    callback=_latency,
    metavar="DURATION",
    help="How long a tick may wait for company, from its arrival in Kafka: 0, or 5ms to 1s. Default: "
    "CRYPTOMETRICS_LATENCY, else 25ms.",
)
@click.option(
    "--on-data-loss",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    help="If Kafka has deleted unread ticks: fail, or skip them and record them as lost.",
)
@click.option(
    "--alerts",
    "rules_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Alert rules. Default: the file in CRYPTOMETRICS_ALERTS, else alerts.toml in this folder.",
)
@click.option(
    "--no-alerts",
    is_flag=True,
    help="Evaluate no alert rules: read old ticks again without alerting anybody.",
)
@shared.metrics_port
@shared.metrics_host
@click.option("--reporting", is_flag=True, hidden=True, help="Run as a child of a supervisor.")
def process(
    *,
    group: str,
    session: str | None,
    until_caught_up: bool,
    workers: int,
    batch: int,
    latency: float | None,
    on_data_loss: str,
    rules_file: Path | None,
    no_alerts: bool,
    metrics_port: int | None,
    metrics_host: str,
    reporting: bool,
) -> None:
    """Calculate the metrics of every tick and store them exactly once.

    A new group begins at the oldest record of the topic. Ctrl-C finishes the current batch. To use more
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
        raise UserError("--alerts and --no-alerts exclude each other: leave one out")
    settings = config.load()
    rules = Rules(None, (), ()) if no_alerts else rules_of(settings, rules_file)
    try:
        wait_for_services(settings, waiting)  # before `stopping`: Ctrl-C ends the wait at once
    except config.NotRunningError as error:
        if reporting:  # the services ran when the supervisor started, so they may come back
            error.exit_code = ServiceUnavailableError.exit_code
        raise
    options = WorkerOptions(
        group,
        session,
        batch,
        until_caught_up,
        on_data_loss == "skip",
        rules.rules,
        rules.channels,
        settings.latency if latency is None else latency,
    )
    port = None if reporting else metrics_port
    with stopping() as stop, _metrics_served(group, metrics_host, port) as publish:
        if reporting:
            _run_child(settings, options, stop)
        elif workers > 1:
            _supervise(options, rules.path, workers, stop, publish)
        else:
            _run_alone(settings, options, stop, publish)


@contextlib.contextmanager
def _metrics_served(group: str, host: str, port: int | None) -> Iterator[Publish]:
    """Serve the metrics within the block if there is a port; yield the function that takes each report."""
    if port is None:
        yield lambda _report: None
        return
    from cryptometrics.telemetry.endpoint import serving
    from cryptometrics.telemetry.process_metrics import ProcessMetrics

    metrics = ProcessMetrics(group)
    with serving(metrics.collect, metrics.health, host, port):
        yield metrics.update


def _run_alone(
    settings: Settings, options: WorkerOptions, stop: Callable[[], bool], publish: Publish
) -> None:
    """Run the only worker of this command."""
    from cryptometrics.cli.progress import Progress
    from cryptometrics.pipeline.start_worker import run_worker
    from cryptometrics.times import Interval

    with Progress() as progress:
        line, report_interval = ProgressLine(), Interval(REPORT_EVERY_S)

        def show(worker: Worker) -> None:
            if report_interval.elapsed():
                publish(worker.report())
            if progress.due():
                trouble = f", waiting: {worker.trouble}" if worker.trouble else ""
                progress.show(line(worker.totals, worker.lag()) + trouble)

        totals = run_worker(settings, options, stop=stop, progress=show)
    click.echo(f"group {options.group}: {summary(totals)}")


def _run_child(settings: Settings, options: WorkerOptions, stop: Callable[[], bool]) -> None:
    """Run one of a supervisor's workers: report to it on stdout, and end when the pipe to stdin closes."""
    from cryptometrics.pipeline.start_worker import run_worker
    from cryptometrics.pipeline.worker_report import WorkerReport
    from cryptometrics.times import Interval

    orphaned = threading.Event()

    def watch_stdin() -> None:
        while os.read(0, 1024):  # unbuffered: a lock held by a waiting read would block the exit
            pass
        orphaned.set()

    threading.Thread(target=watch_stdin, daemon=True).start()
    interval = Interval(REPORT_EVERY_S)

    def send(report: WorkerReport) -> None:
        with contextlib.suppress(BrokenPipeError):
            click.echo(json.dumps(report.as_dict()))

    def report_regularly(worker: Worker) -> None:
        if interval.elapsed():
            send(worker.report())

    try:
        totals = run_worker(
            settings, options, stop=lambda: stop() or orphaned.is_set(), progress=report_regularly
        )
    except CryptometricsError as error:
        if error.exit_code == 1:  # the code of a crash, too, after which a restart may help
            error.exit_code = GAVE_UP
        raise
    send(WorkerReport.of(totals, {}, {}))


def _supervise(
    options: WorkerOptions, rules_file: Path | None, workers: int, stop: Callable[[], bool], publish: Publish
) -> None:
    """Run several workers, each in its own process, and show their sum."""
    from cryptometrics.cli.progress import Progress
    from cryptometrics.pipeline.supervisor import Supervisor

    supervisor = Supervisor(
        _child_command(options, rules_file),
        workers,
        may_end=options.until_caught_up,
        # Not by Click, which would write past the live line that has replaced stderr.
        show=lambda line: _write(f"{line}\n"),
    )
    with Progress() as progress:
        line, published = ProgressLine(), 0

        def show(supervisor: Supervisor) -> None:
            nonlocal published
            if supervisor.reports_received != published:
                published = supervisor.reports_received
                publish(supervisor.report())
            if progress.due():
                report = supervisor.report()
                progress.show(f"{len(supervisor.alive())} workers: {line(report, report.lag)}")

        supervisor.run(stop, show)
    restarts = f"; workers that died and were restarted: {supervisor.restarts}" if supervisor.restarts else ""
    click.echo(f"group {options.group}: {summary(supervisor.report())}{restarts}")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _child_command(options: WorkerOptions, rules_file: Path | None) -> list[str]:
    from cryptometrics import log

    given = click.get_current_context().find_root().params
    # A worker logs into a pipe, so it cannot see for whom.
    command = [sys.executable, "-m", "cryptometrics", "--log-format", log.resolve(given["log_format"])]
    command += ["--verbose"] if given["verbose"] else []
    command += ["process", "--reporting"]
    command += [
        "--group",
        options.group,
        "--batch",
        str(options.batch),
        "--latency",
        f"{options.latency:.6f}",
    ]
    command += ["--session", options.session] if options.session else []
    command += ["--until-caught-up"] if options.until_caught_up else []
    command += ["--on-data-loss", "skip"] if options.skip_lost else []
    command += ["--alerts", str(rules_file)] if rules_file else ["--no-alerts"]
    return command


class ProgressLine:
    """Formats the progress line: ticks per second since the last line, lag, and the outcomes so far."""

    def __init__(self) -> None:
        self._at, self._offsets = time.monotonic(), 0

    def __call__(self, counts: OutcomeCounts, lag: int) -> str:
        """Return the line for these counts."""
        now = time.monotonic()
        rate = max(counts.offsets - self._offsets, 0) / max(now - self._at, 1e-9)
        self._at, self._offsets = now, counts.offsets
        return f"{rate:,.0f} ticks/s, lag {lag:,}, {summary(counts)}"


def summary(counts: OutcomeCounts) -> str:
    """Return the outcomes as text."""
    gaps = f", {counts.gaps:,} gap records" if counts.gaps else ""
    return (
        f"{counts.metrics:,} stored, {counts.rejected:,} rejected, "
        f"{counts.duplicates:,} duplicates, {counts.late:,} late{gaps}"
    )
