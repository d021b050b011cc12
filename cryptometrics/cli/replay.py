"""`cryptometrics replay`: recorded market data, once more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from cryptometrics.feeds.recording import Recording
    from cryptometrics.kafka.publisher import Published
    from cryptometrics.market.gap_records import Gap


def _number(_context: click.Context, _option: click.Parameter, value: float) -> float:
    if math.isnan(value):  # which is in every range, to Click
        raise click.BadParameter("nan is not a number")
    return value


@click.command()
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
)
@options.pairs
@click.option(
    "--book", is_flag=True, help="Quotes from the order book, at each change of the best bid or ask."
)
@click.option(
    "--speed",
    type=click.FloatRange(0, 1_000_000),
    default=0,
    callback=_number,
    help="How many times as fast as recorded; 0 is as fast as it goes.",
)
@click.option(
    "--shift-to-now",
    is_flag=True,
    help="Let it begin now (at speed 0: end now) instead of when it was recorded.",
)
@options.as_json
def replay(
    files: tuple[Path, ...],
    pairs: tuple[str, ...],
    book: bool,
    speed: float,
    shift_to_now: bool,
    as_json: bool,
) -> None:
    """Put recorded market data on the topic, through the same code as live data.

    Reads what `record` and `ingest --record` write, compressed or not. Without --pair: every pair.

    \b
    Example:
      cryptometrics replay btc.jsonl.gz --speed 10
    """
    from cryptometrics import config
    from cryptometrics.cli.feed_report import as_text, show, totals
    from cryptometrics.cli.ingest import noting
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.signals import stopping
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.errors import CryptometricsError
    from cryptometrics.feeds.coinbase.feed import CoinbaseFeed
    from cryptometrics.feeds.recording import Recording
    from cryptometrics.feeds.replay import replay as blocks
    from cryptometrics.kafka import client
    from cryptometrics.kafka.admin import wait_for_kafka
    from cryptometrics.kafka.publisher import publish
    from cryptometrics.kafka.topic import describe_topic

    recording = Recording(files)
    settings = config.load()
    wait_for_kafka(settings, waiting("Kafka"))
    topic = describe_topic(settings)
    found: list[Gap] = []
    feed = CoinbaseFeed(pairs or None, book=book, on_gap=noting(found))
    with stopping() as asked, Progress() as progress:

        def show_progress(state: Published) -> None:
            if progress.due():
                share = recording.read / max(recording.bytes, 1)
                rate = feed.frames / state.seconds if state.seconds else 0.0
                progress.show(f"{share:.0%}, {rate:,.0f} frames/s, {totals(feed)}")

        published = publish(
            client.make_producer(settings),
            topic.name,
            blocks(feed, recording, speed=speed, shift_to_now=shift_to_now, stop=asked),
            stop=asked,
            progress=show_progress,
        )
    click.echo(as_text(feed, found, published)) if as_json else show(feed, published)
    _tell_damage(recording)
    if published.acknowledged != published.sent:
        raise CryptometricsError(
            f"Kafka has not acknowledged {published.sent - published.acknowledged} of {published.sent} "
            f"messages ({published.failure or 'stopped before it answered'}): see whether it is up"
        )


def _tell_damage(recording: Recording) -> None:
    """Say on stderr what of the files could not be read."""
    for path in recording.truncated:
        click.echo(f"{path} ends in the middle of a block: its last moment is missing", err=True)
    if recording.unreadable:
        click.echo(
            f"{recording.unreadable:,} lines are no part of a recording and were passed over", err=True
        )
