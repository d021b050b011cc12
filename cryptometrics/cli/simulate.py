"""`cryptometrics simulate`: market data like Coinbase's, on the topic."""

from __future__ import annotations

import math
import secrets
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options, publish_report
from cryptometrics.market.ticks import MAX_AHEAD
from cryptometrics.times import iso, parse_seconds, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptometrics.config import Settings
    from cryptometrics.feeds.simulator.currencies import LastQuote
    from cryptometrics.feeds.simulator.scenarios import Scheduled
    from cryptometrics.kafka.publisher import Published
    from cryptometrics.kafka.topic import Topic

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


def _scenarios(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> tuple[Scheduled, ...]:
    """Read `NAME@TIME` as a scenario and the moment when it begins."""
    if not values:
        return ()
    from cryptometrics.feeds.simulator.scenarios import schedule

    found = []
    for value in values:
        name, at, time_text = value.partition("@")
        if not at:
            raise click.BadParameter(f"{value!r} has no time: write NAME@TIME, such as flash-crash@5m")
        try:
            found.append(schedule(name, parse_seconds(time_text)))
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return tuple(found)


def _print_scenarios() -> None:
    from cryptometrics.cli.output import print_table
    from cryptometrics.feeds.simulator.scenarios import SCENARIOS

    rows = [(each.name, each.depth, each.duration, each.recovery) for each in SCENARIOS.values()]
    print_table(["scenario", "depth", "duration", "recovery"], rows, uncut=["scenario"])


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
    help="Seed of the random numbers; with --start, it repeats a stream byte for byte. [default: random]",
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
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME@TIME",
    callback=_scenarios,
    help="Let something happen this long after the first tick, such as flash-crash@5m; repeatable.",
)
@click.option(
    "--list-scenarios",
    is_flag=True,
    help="Print the scenarios with their depth, duration and recovery, and exit.",
)
def simulate(
    *,
    pairs: tuple[str, ...],
    rate: float,
    count: int | None,
    duration: Fraction | None,
    seed: int | None,
    start: datetime | None,
    step: Fraction,
    bad: float,
    scenarios: tuple[Scheduled, ...],
    list_scenarios: bool,
) -> None:
    """Send simulated market data to the topic, in the format of Coinbase's ticker.

    Without --count and --duration it runs until Ctrl-C. Without --seed and --start it goes on from the last
    simulated quotes of the topic.

    \b
    Example:
      cryptometrics simulate --rate 200
      cryptometrics simulate --pair BTC-USD --scenario flash-crash@5m
    """
    if list_scenarios:
        _print_scenarios()
        return
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
    pairs = pairs or DEFAULT_PAIRS
    last = _last_quotes(settings, topic, pairs) if seed is None and start is None else {}
    simulation = Simulation(
        pairs=pairs,
        start=start or _default_start(datetime.now(UTC), step, count, live=rate > 0, last=last),
        step=step * 1_000_000,
        seed=secrets.randbits(32) if seed is None else seed,
        bad=bad,
        count=count,
        scenarios=scenarios,
        last=last,
    )
    _check_scenarios(scenarios, step, count)
    end = math.inf if duration is None else time.monotonic() + float(duration)
    with stopping() as asked, Progress() as progress:
        result = publish(
            client.make_producer(settings),
            topic.name,
            simulation.slots(),
            rate=rate,
            stop=lambda: asked() or time.monotonic() >= end,
            progress=lambda state: progress.show(_line(state)) if progress.due() else None,
        )
    click.echo(publish_report.summary(result))
    publish_report.check(result)


def _last_quotes(settings: Settings, topic: Topic, pairs: Sequence[str]) -> Mapping[str, LastQuote]:
    """Return the quotes to go on from; none, with a note on stderr, if the topic may not be read."""
    from confluent_kafka import KafkaException

    from cryptometrics.feeds.simulator.last_quotes import find_last_quotes
    from cryptometrics.kafka import errors

    try:
        return find_last_quotes(settings, topic, pairs)
    except KafkaException as error:
        if not errors.is_forbidden(error):
            raise errors.explained(settings, error) from None
        click.echo(
            f"the last quotes of the topic may not be read ({errors.text(error)}): "
            "prices begin at their usual level",
            err=True,
        )
        return {}


def _default_start(
    now: datetime, step: Fraction, count: int | None, *, live: bool, last: Mapping[str, LastQuote]
) -> datetime:
    """Return the default start, which is not before the last quotes.

    step: seconds of event time between ticks. live: whether ticks are sent in real time.
    """
    start = now if live else _start_of_past(now, step, count)
    quoted = max((quote.time for quote in last.values()), default=None)
    if quoted is None or quoted < start:
        return start
    start = quoted + _span(step)
    if count is not None and not live and start + _span(step * (count - 1)) > now + MAX_AHEAD:
        raise click.UsageError(
            f"the topic's simulated quotes reach to {iso(quoted)}, and {count:,} more with this --step would "
            "end more than a day after now: use a smaller --step, or --start for a new beginning"
        )
    click.echo(f"going on after the topic's last simulated quotes, from {iso(quoted)}", err=True)
    return start


def _start_of_past(now: datetime, step: Fraction, count: int | None) -> datetime:
    """Return the start of a stream whose last tick is now."""
    if count is None:
        return now - UNKNOWN_END
    try:
        start = now - _span(step * (count - 1))
    except OverflowError:
        start = datetime.min.replace(tzinfo=UTC)
    if start.year < 1970:
        raise click.UsageError(f"{count:,} ticks with this --step would begin before 1970: set --start")
    return start


def _span(seconds: Fraction) -> timedelta:
    return timedelta(microseconds=math.ceil(seconds * 1_000_000))


def _check_scenarios(scenarios: Iterable[Scheduled], step: Fraction, count: int | None) -> None:
    """Report the scenarios that a stream of this length does not reach."""
    for scenario, at in scenarios:
        if count is not None and at > step * (count - 1) * 1_000_000:
            click.echo(f"{scenario.name} would begin after the last tick: nothing happens", err=True)


def _line(state: Published) -> str:
    counts = f"{state.sent:,} sent, {state.acknowledged:,} acknowledged, {state.rate:,.0f}/s"
    return counts + publish_report.silence(state)
