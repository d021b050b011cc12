"""`cryptometrics replay`: recorded market data, sent to the topic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options, publish_report
from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.text import listed

if TYPE_CHECKING:
    from cryptometrics.feeds.interface import Feed
    from cryptometrics.feeds.recording import Recording
    from cryptometrics.kafka.publisher import Published
    from cryptometrics.market.gap_records import Gap


MAX_SHOWN = 10
"""Damaged places listed on stderr."""


@click.command()
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
)
@options.pairs
@options.book
@click.option(
    "--speed",
    type=click.FloatRange(0, 1_000_000),
    default=0,
    callback=options.number,
    help="Multiple of the recorded speed; 0 means as fast as possible.",
)
@click.option(
    "--shift-to-now",
    is_flag=True,
    help="Shift event times so that the replay starts now (at speed 0: ends now); the venue gets -replay.",
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
    """Replay recorded market data to the topic, through the same code as live data.

    Reads the files of `record` and `ingest --record`, compressed or not. Without --pair it sends all pairs.

    \b
    Example:
      cryptometrics replay btc.jsonl.gz --speed 10
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import find_topic
    from cryptometrics.cli.feed_report import as_text, show, totals
    from cryptometrics.cli.ingest import noting
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.signals import stopping
    from cryptometrics.feeds.recording import Recording
    from cryptometrics.feeds.registry import make_feed
    from cryptometrics.feeds.replay import replay as blocks
    from cryptometrics.kafka import client
    from cryptometrics.kafka.publisher import publish

    recording = Recording(files)
    settings = config.load()
    topic = find_topic(settings)
    found: list[Gap] = []
    feed = make_feed(recording.feed(), pairs or None, book=book, on_gap=noting(found))
    with stopping() as asked, Progress() as progress:

        def show_progress(state: Published) -> None:
            if progress.due():
                share = recording.read / max(recording.bytes, 1)
                rate = feed.frames / state.seconds if state.seconds else 0.0
                progress.show(f"{100 * share:.0f} %, {rate:,.0f} frames/s, {totals(feed)}")

        published = publish(
            client.make_producer(settings),
            topic.name,
            blocks(feed, recording, speed=speed, shift_to_now=shift_to_now, stop=asked),
            stop=asked,
            progress=show_progress,
        )
    click.echo(as_text(feed, found, published)) if as_json else show(feed, published)
    publish_report.check(published)
    _check_complete(recording)
    if not (published.sent or asked()):
        raise _nothing_sent(files, feed)


def _nothing_sent(files: tuple[Path, ...], feed: Feed) -> UserError:
    """Return the error for a recording without a frame that leads to a message."""
    names = listed(map(str, files))
    if not feed.frames:
        return UserError(f"nothing was sent: {names} has no frames")
    return UserError(
        f"nothing was sent: none of the {feed.frames:,} frames of {names} leads to a quote: "
        "check --pair and --book"
    )


def _check_complete(recording: Recording) -> None:
    """Report on stderr what could not be read; raise CryptometricsError if a file is damaged."""
    for path in recording.truncated:
        click.echo(f"{path} is cut off: its last moments are missing", err=True)
    for damage in recording.damage[:MAX_SHOWN]:
        click.echo(str(damage), err=True)
    if count := len(recording.damage):
        size = sum(damage.end - damage.begin for damage in recording.damage)
        places = "one place" if count == 1 else f"{count:,} places"
        raise CryptometricsError(
            f"{size:,} bytes in {places} could not be read: each pair has a gap record of kind unreadable "
            "there, and everything else was sent"
        )
