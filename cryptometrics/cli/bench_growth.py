"""`make bench-growth`: speed and answers with a large table. Not a command of the command line."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

import click
from rich.filesize import decimal

from cryptometrics import config
from cryptometrics.bench.growth import measure
from cryptometrics.bench.scratch import scratch
from cryptometrics.bench.stored_days import DAYS, GROUPS, PAIRS, VENUES
from cryptometrics.cli.connections import wait_for_kafka
from cryptometrics.cli.output import NOTHING, print_table
from cryptometrics.cli.progress import Progress
from cryptometrics.store.database_errors import explaining

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptometrics.bench.growth import Growth


_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "process, ticks/s": statistics.median,
    "  lowest": min,
    "  highest": max,
}
_WANTED_S = {
    "session": 0.35,
    "plot --since 15m": 1.4,
    "watch --once": 0.9,
    "process, first row": 1.5,
    "up, warm": 4,
}
"""Most seconds of each answer, on a slow machine with 20 million rows."""
_WANTED_US = {"verify": 8, "verify --topic": 12}
"""Most microseconds per offset."""
_WANTED_RATIO = 0.6
"""Least rate of an export, as a part of the server's own COPY."""


@click.command(context_settings={"show_default": True})
@click.option("--rows", type=click.IntRange(100_000), default=5_000_000, help="Rows of the full table.")
@click.option("--ticks", type=click.IntRange(20_000), default=300_000, help="Ticks in the backlog.")
@click.option(
    "--rounds", type=click.IntRange(1), default=3, help="Measurements of `process` with each table."
)
def main(rows: int, ticks: int, rounds: int) -> None:
    """Measure commands with a full table, and `process` also with an empty one."""
    settings = config.load()
    wait_for_kafka(settings)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress())
        stack.enter_context(explaining())
        empty, full = (stack.enter_context(scratch(settings)) for _ in range(2))
        growth = measure(rows, ticks, rounds, empty, full, progress.show)
    _show(growth)


def _show(growth: Growth) -> None:
    click.echo(
        f"{growth.rows:,} rows, {decimal(growth.bytes)}: "
        f"{DAYS} days, {len(PAIRS)} pairs, {len(GROUPS)} groups, {len(VENUES)} venues"
    )
    rates = [(name, each(growth.empty), each(growth.full)) for name, each in _STATISTICS.items()]
    _print(
        ("", "empty table", "full table", "ratio"),
        [(name, f"{empty:,.0f}", f"{full:,.0f}", f"{full / empty:.2f}") for name, empty, full in rates],
    )
    answers = [
        (f"{name}, s", f"{taken:.2f}", f"{_WANTED_S[name]:g}") for name, taken in growth.answers.items()
    ]
    answers += [
        (f"{name}, µs per offset ({proof.offsets:,})", f"{proof.us_per_offset:.1f}", f"{_WANTED_US[name]:g}")
        for name, proof in growth.proofs.items()
    ]
    answers += [(f"prune, s: {name}", f"{taken:.3f}", NOTHING) for name, taken in growth.pruned.items()]
    _print(("with the full table", "measured", "at most"), answers)
    _print(
        ("export", "rows", "rows/s", "server's COPY, rows/s", "ratio", "at least"),
        [
            (
                *(form, f"{each.rows:,}", f"{each.per_second:,.0f}", f"{each.copy_per_second:,.0f}"),
                *(f"{each.ratio:.2f}", f"{_WANTED_RATIO:g}"),
            )
            for form, each in growth.exports.items()
        ],
    )


def _print(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    print_table(heads, rows, numbers=heads[1:])


if __name__ == "__main__":
    main()
