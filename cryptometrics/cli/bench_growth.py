"""`make bench-growth`: whether speed falls as the table grows. Not a command of the command line."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

import click
from rich.filesize import decimal

from cryptometrics import config
from cryptometrics.bench.growth import measure
from cryptometrics.bench.scratch import scratch
from cryptometrics.cli.connections import wait_for_kafka
from cryptometrics.cli.output import print_table
from cryptometrics.cli.progress import Progress
from cryptometrics.store.database_errors import explaining

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.bench.growth import Growth


_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "process, ticks/s": statistics.median,
    "  lowest": min,
    "  highest": max,
}


@click.command(context_settings={"show_default": True})
@click.option("--rows", type=click.IntRange(100_000), default=5_000_000, help="Rows of the full table.")
@click.option("--ticks", type=click.IntRange(20_000), default=300_000, help="Ticks in the backlog.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="Measurements of each part.")
def main(rows: int, ticks: int, rounds: int) -> None:
    """Measure `process`, `session`, `plot` and `prune` with an empty table and with a full one."""
    settings = config.load()
    wait_for_kafka(settings)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress())
        stack.enter_context(explaining())
        empty, full = (stack.enter_context(scratch(settings)) for _ in range(2))
        growth = measure(rows, ticks, rounds, empty, full, progress.show)
    _show(growth)


def _show(growth: Growth) -> None:
    heads = ("", "empty", "full", "ratio")
    rates = [(name, each(growth.empty), each(growth.full)) for name, each in _STATISTICS.items()]
    rows = [(name, f"{empty:,.0f}", f"{full:,.0f}", f"{full / empty:.2f}") for name, empty, full in rates]
    rows += [
        (f"{name}, s", f"{empty:.2f}", f"{full:.2f}", f"{full / empty:.2f}")
        for name, (empty, full) in growth.seconds.items()
    ]
    title = f"{growth.rows:,} rows, {decimal(growth.bytes)}"
    print_table(heads, rows, numbers=heads[1:], title=title)
    pruned = [(name, f"{seconds:.3f}") for name, seconds in growth.pruned.items()]
    print_table(("prune", "s"), pruned, numbers=("s",))


if __name__ == "__main__":
    main()
