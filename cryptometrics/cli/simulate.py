"""`cryptometrics simulate`: market data like Coinbase's, on the topic."""

from __future__ import annotations

import math
import secrets
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import delivery, options
from cryptometrics.times import parse_seconds, parse_time

if TYPE_CHECKING:
    from cryptometrics.kafka.publisher import Published

UNKNOWN_END = timedelta(days=30)
"""Start of an unbounded stream at full speed, before now: it takes long to overtake the clock."""


def _seconds(_context: click.Context, _option: click.Parameter, value: str | None) -> Fraction | None:
    """Read `10`, `10s`, `2m`, `1.5h` or `10ms` as an exact number of seconds above 0."""
    if value is None:
        return None
    try:
        seconds = parse_seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not seconds:
        raise click.BadParameter(f"{value!r} is not longer than 0")
    return seconds


def _start(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        start = parse_time(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if start.year < 1970:
        raise click.BadParameter(f"{value!r} is before 1970: choose a later time")
    return start


@click.command()
@options.pairs
@click.option(
    "--rate",
    type=click.FloatRange(0, 10_000_000),
    default=100,
    callback=options.number,
    help="Ticks per second over all pairs; 0 means as fast as possible.",
)
@click.option("--count", type=click.IntRange(1), help="Stop after this many ticks.")
@click.option("--duration", metavar="TIME", callback=_seconds, help="Stop after this time: 10s, 2m.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Seed of the random numbers; with --start, it repeats a stream byte for byte.",
)
@click.option(
    "--start",
    metavar="TIME",
    callback=_start,
    help="Event time of the first tick. [default: now; with --rate 0, so that the last tick is now]",
)
@click.option(
    "--step",
    metavar="TIME",
    default="10ms",
    callback=_seconds,
    help="With --rate 0: event time between two ticks.",
)
@click.option(
    "--bad",
    type=click.FloatRange(0, 1),
    default=0,
    metavar="SHARE",
    callback=options.number,
    help="Share of invalid ticks, of every kind; 0.01 is 1 %.",
)
def simulate(
    pairs: tuple[str, ...],
    rate: float,
    count: int | None,
    duration: Fraction | None,
    seed: int | None,
    start: datetime | None,
    step: Fraction,
    bad: float,
) -> None:
    """Send simulated market data to the topic, in the format of Coinbase's ticker.

    Without --count and --duration it runs until Ctrl-C.

    \b
    Example:
      cryptometrics simulate --rate 200
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import find_topic
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.signals import stopping
    from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation
    from cryptometrics.kafka import client
    from cryptometrics.kafka.publisher import publish

    if rate:
        step = 1 / Fraction(str(rate))
        if duration is not None:
            count = min(count or math.inf, math.ceil(duration / step))  # type: ignore[assignment]
            duration = None
    settings = config.load()
    topic = find_topic(settings)
    simulation = Simulation(
        pairs=pairs or DEFAULT_PAIRS,
        start=start or _default_start(datetime.now(UTC), None if rate else step, count),
        step=step * 1_000_000,
        seed=secrets.randbits(32) if seed is None else seed,
        bad=bad,
        count=count,
    )
    end = math.inf if duration is None else time.monotonic() + float(duration)
    with stopping() as asked, Progress() as progress:
        result = publish(
            client.make_producer(settings),
            topic.name,
            simulation.blocks(),
            rate=rate,
            stop=lambda: asked() or time.monotonic() >= end,
            progress=lambda state: progress.show(_line(state)) if progress.due() else None,
        )
    click.echo(delivery.summary(result))
    delivery.check(result)


def _default_start(now: datetime, step: Fraction | None, count: int | None) -> datetime:
    """Return the default start; step: seconds of event time between ticks, None in real time."""
    if step is None:
        return now
    if count is None:
        return now - UNKNOWN_END
    try:
        start = now - timedelta(microseconds=math.ceil(step * 1_000_000 * (count - 1)))
    except OverflowError:
        start = datetime.min.replace(tzinfo=UTC)
    if start.year < 1970:
        raise click.UsageError(f"{count:,} ticks with this --step would begin before 1970: set --start")
    return start


def _line(state: Published) -> str:
    counts = f"{state.sent:,} sent, {state.acknowledged:,} acknowledged, {state.rate:,.0f}/s"
    return counts + delivery.silence(state)
