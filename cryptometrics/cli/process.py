"""`cryptometrics process`: from the topic to metrics in PostgreSQL, exactly once."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from dataclasses import fields
from typing import TYPE_CHECKING

import click

from cryptometrics.errors import CryptometricsError
from cryptometrics.pipeline import GAVE_UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.pipeline.options import Options
    from cryptometrics.pipeline.supervisor import Supervisor
    from cryptometrics.pipeline.worker import Worker
    from cryptometrics.pipeline.writer import Fates, Totals

REPORT_EVERY_S = 0.25
"""How often a worker reports to its supervisor."""


def _name(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    # What does not print could steer a terminal or read differently from what it is.
    if value is not None and not (0 < len(value) <= 100 and value.isprintable()):
        raise click.BadParameter("a name has 1 to 100 characters and no control characters")
    return value


@click.command()
@click.option(
    "--group",
    default="cryptometrics",
    callback=_name,
    metavar="NAME",
    help="The consumer group: groups read independently, workers of one group share the partitions.",
)
@click.option(
    "--session", callback=_name, metavar="NAME", help="One session of this name, not one a UTC day."
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
    "--batch", type=click.IntRange(1, 100_000), default=5_000, help="Ticks of one transaction at most."
)
@click.option(
    "--on-data-loss",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    help="What to do when Kafka no longer holds ticks that were not read; skip records them as lost.",
)
@click.option("--reporting", is_flag=True, hidden=True, help="Be one of several: see _report.")
def process(
    group: str,
    session: str | None,
    until_caught_up: bool,
    workers: int,
    batch: int,
    on_data_loss: str,
    reporting: bool,
) -> None:
    """Compute risk metrics of every tick and store them exactly once.

    A new group begins at the oldest record of the topic. Ctrl-C finishes the batch in hand. To use more
    machines, run the same command on each.

    \b
    Example:
      cryptometrics process --group g1
    """
    from cryptometrics import config  # noqa: PLC0415
    from cryptometrics.cli.notices import waiting  # noqa: PLC0415
    from cryptometrics.cli.stopping import stopping  # noqa: PLC0415
    from cryptometrics.pipeline.options import Options  # noqa: PLC0415
    from cryptometrics.pipeline.run import wait_for_services  # noqa: PLC0415

    wait_for_services(config.load(), waiting)  # while nothing is in hand, Ctrl-C ends it at once
    options = Options(group, session, batch, until_caught_up, skip_lost=on_data_loss == "skip")
    with stopping() as stop:
        if reporting:
            _report(options, stop)
        elif workers > 1:
            _supervise(options, workers, stop)
        else:
            _work(options, stop)


def _work(options: Options, stop: Callable[[], bool]) -> None:
    """Be the only worker here."""
    from cryptometrics.cli.progress import Progress  # noqa: PLC0415

    with Progress() as progress:
        line = Line()

        def show(worker: Worker) -> None:
            if progress.due():
                progress.show(line(worker.totals, worker.lag()))

        totals = _run(options, stop, show)
    click.echo(f"group {options.group}: {summary(totals)}")


def _report(options: Options, stop: Callable[[], bool]) -> None:
    """Be one worker of several: tell the supervisor on stdout how it goes, and end when its pipe ends."""
    from cryptometrics.pipeline.writer import Fates  # noqa: PLC0415

    orphaned = threading.Event()

    def watch() -> None:
        while os.read(0, 1024):  # unbuffered: a lock that is held while waiting would spoil the exit
            pass
        orphaned.set()

    threading.Thread(target=watch, daemon=True).start()
    next_report = 0.0

    def tell(totals: Totals, lag: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            click.echo(
                json.dumps({each.name: getattr(totals, each.name) for each in fields(Fates)} | {"lag": lag})
            )

    def now_and_then(worker: Worker) -> None:
        nonlocal next_report
        if time.monotonic() >= next_report:
            next_report = time.monotonic() + REPORT_EVERY_S
            tell(worker.totals, worker.lag())

    try:
        totals = _run(options, lambda: stop() or orphaned.is_set(), now_and_then)
    except CryptometricsError as error:
        if error.exit_code == 1:  # which a crash has, too, and that is worth another start
            error.exit_code = GAVE_UP
        raise
    tell(totals, 0)


def _supervise(options: Options, workers: int, stop: Callable[[], bool]) -> None:
    """Have several workers, each a process, and show them as one."""
    from cryptometrics.cli.progress import Progress  # noqa: PLC0415
    from cryptometrics.pipeline.supervisor import Supervisor  # noqa: PLC0415

    command = [sys.executable, "-m", "cryptometrics", "process", "--reporting"]
    command += ["--group", options.group, "--batch", str(options.batch)]
    command += ["--session", options.session] if options.session else []
    command += ["--until-caught-up"] if options.until_caught_up else []
    command += ["--on-data-loss", "skip"] if options.skip_lost else []
    supervisor = Supervisor(command, workers)
    with Progress() as progress:
        line = Line()

        def show(supervisor: Supervisor) -> None:
            if progress.due():
                report = supervisor.report()
                progress.show(f"{len(supervisor.alive())} workers: {line(report, report.lag)}")

        supervisor.run(stop, show)
    restarts = f"; workers that died and were restarted: {supervisor.restarts}" if supervisor.restarts else ""
    click.echo(f"group {options.group}: {summary(supervisor.report())}{restarts}")


def _run(options: Options, stop: Callable[[], bool], progress: Callable[[Worker], None]) -> Totals:
    from cryptometrics import config  # noqa: PLC0415
    from cryptometrics.pipeline.run import run  # noqa: PLC0415

    return run(config.load(), options, stop=stop, progress=progress)


class Line:
    """Makes the progress line: ticks a second since the last one, lag, what was not stored as metrics."""

    def __init__(self) -> None:
        self._at, self._offsets = time.monotonic(), 0

    def __call__(self, totals: Fates, lag: int) -> str:
        """Return the line as of now."""
        now = time.monotonic()
        rate = max(totals.offsets - self._offsets, 0) / max(now - self._at, 1e-9)
        self._at, self._offsets = now, totals.offsets
        return f"{rate:,.0f} ticks/s, lag {lag:,}, {summary(totals)}"


def summary(totals: Fates) -> str:
    """Return what was done, in words."""
    return (
        f"{totals.metrics:,} stored, {totals.rejected:,} rejected, "
        f"{totals.duplicates:,} duplicates, {totals.late:,} late"
    )
