"""`cryptometrics simulate`: market data like Coinbase's, on the topic."""

from __future__ import annotations

import math
import secrets
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options
from cryptometrics.times import parse_seconds, parse_time

if TYPE_CHECKING:
    from cryptometrics.kafka.publisher import Published

UNKNOWN_END = timedelta(days=30)
"""How long ago a stream begins that runs as fast as it goes to no known end: that soon it is not ahead."""
SILENCE_S = 2.0
"""Seconds without a word from the broker after which the progress line says so."""


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
        raise click.BadParameter(f"{value!r} is before 1970")
    return start


def _number(_context: click.Context, _option: click.Parameter, value: float) -> float:
    if math.isnan(value):  # which is in every range, to Click
        raise click.BadParameter("nan is not a number")
    return value


@click.command()
@options.pairs
@click.option(
    "--rate",
    type=click.FloatRange(0, 10_000_000),
    default=100,
    callback=_number,
    help="Ticks a second over all pairs; 0 is as fast as it goes.",
)
@click.option("--count", type=click.IntRange(1), help="Stop after so many ticks.")
@click.option("--duration", metavar="TIME", callback=_seconds, help="Stop after so long, such as 10s or 2m.")
@click.option("--seed", type=click.IntRange(0), help="With --start: the same ticks again, byte for byte.")
@click.option(
    "--start",
    metavar="TIME",
    callback=_start,
    help="Event time of the first tick. [default: now; with --rate 0 such that the last one is now]",
)
@click.option(
    "--step",
    metavar="TIME",
    default="10ms",
    callback=_seconds,
    help="Event time between ticks with --rate 0.",
)
@click.option(
    "--bad",
    type=click.FloatRange(0, 1),
    default=0,
    metavar="SHARE",
    callback=_number,
    help="Mix in bad ticks of every kind; 0.01 is one of a hundred.",
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
    """Put simulated market data on the topic, in the shape of Coinbase's ticker.

    Without --count or --duration it goes on until Ctrl-C.

    \b
    Example:
      cryptometrics simulate --rate 200
    """
    from cryptometrics import config
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.signals import stopping
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.errors import CryptometricsError
    from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation
    from cryptometrics.kafka import client
    from cryptometrics.kafka.admin import wait_for_kafka
    from cryptometrics.kafka.publisher import publish
    from cryptometrics.kafka.topic import describe_topic

    if rate:
        step = 1 / Fraction(str(rate))
        if duration is not None:
            count = min(count or math.inf, math.ceil(duration / step))  # type: ignore[assignment]
            duration = None
    settings = config.load()
    wait_for_kafka(settings, waiting("Kafka"))
    topic = describe_topic(settings)
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
    click.echo(f"sent {result.sent}, acknowledged {result.acknowledged}")
    if result.acknowledged != result.sent:
        missing = result.sent - result.acknowledged
        raise CryptometricsError(
            f"Kafka has not acknowledged {missing} of {result.sent} ticks "
            f"({result.failure or 'stopped before it answered'}): "
            "see whether it is up and how much disk it has left"
        )


def _default_start(now: datetime, step: Fraction | None, count: int | None) -> datetime:
    """Return when a stream starts that was given no start; `step` in seconds, None for one in real time."""
    if step is None:
        return now
    if count is None:
        return now - UNKNOWN_END
    try:
        start = now - timedelta(microseconds=math.ceil(step * 1_000_000 * (count - 1)))
    except OverflowError:
        start = datetime.min.replace(tzinfo=UTC)
    if start.year < 1970:
        raise click.UsageError(f"{count} ticks of --step each would have begun before 1970: give a --start")
    return start


def _line(state: Published) -> str:
    line = f"{state.sent:,} sent, {state.acknowledged:,} acknowledged, {state.rate:,.0f}/s"
    if state.silence > SILENCE_S:
        line += f", waiting for Kafka for {state.silence:.0f} s"
    return line
