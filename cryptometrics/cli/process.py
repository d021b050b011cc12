"""`cryptometrics process`: from the topic to metrics in PostgreSQL, exactly once."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cryptometrics.pipeline.worker import Worker
    from cryptometrics.pipeline.writer import Totals


def _name(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[^\x00-\x1f\x7f]{1,100}", value):
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
    "--batch", type=click.IntRange(1, 100_000), default=10_000, help="Ticks of one transaction at most."
)
def process(group: str, session: str | None, until_caught_up: bool, batch: int) -> None:
    """Compute risk metrics of every tick and store them exactly once.

    A new group begins at the oldest record of the topic. Ctrl-C finishes the batch in hand.

    \b
    Example:
      cryptometrics process --group g1
    """
    from cryptometrics import config  # noqa: PLC0415
    from cryptometrics.cli.notices import waiting  # noqa: PLC0415
    from cryptometrics.cli.progress import Progress  # noqa: PLC0415
    from cryptometrics.cli.stopping import stopping  # noqa: PLC0415
    from cryptometrics.pipeline.run import run  # noqa: PLC0415
    from cryptometrics.pipeline.worker import Options  # noqa: PLC0415

    options = Options(group, session, batch, until_caught_up)
    with stopping() as stop, Progress() as progress:
        line = Line()
        totals = run(
            config.load(),
            options,
            stop=stop,
            progress=lambda worker: progress.show(line(worker)) if progress.due() else None,
            notice_of=waiting,
        )
    click.echo(f"group {group}: {summary(totals)}")


class Line:
    """Makes the progress line: ticks a second since the last one, lag, what was not stored as metrics."""

    def __init__(self) -> None:
        self._at, self._offsets = time.monotonic(), 0

    def __call__(self, worker: Worker) -> str:
        """Return the line as of now."""
        totals, now = worker.totals, time.monotonic()
        rate = (totals.offsets - self._offsets) / max(now - self._at, 1e-9)
        self._at, self._offsets = now, totals.offsets
        return f"{rate:,.0f} ticks/s, lag {worker.lag():,}, {summary(totals)}"


def summary(totals: Totals) -> str:
    """Return what was done, in words."""
    return (
        f"{totals.metrics:,} stored, {totals.rejected:,} rejected, "
        f"{totals.duplicates:,} duplicates, {totals.late:,} late"
    )
