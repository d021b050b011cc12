"""`cryptometrics ingest` and `record`: live market data of an exchange, to the topic and into files."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from cryptometrics.cli import options, publish_report
from cryptometrics.feeds.interface import DEFAULT_FEED
from cryptometrics.feeds.registry import DEFAULT_PAIRS, URLS, make_live_feed
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.feeds.interface import Feed, FeedClient
    from cryptometrics.feeds.publish_queue import PublishQueue
    from cryptometrics.kafka.publisher import Published
    from cryptometrics.market.gap_records import Gap

    See = Callable[[Feed, bool, Published | None], None]

QUALITY_EVERY_S = 60.0
"""Seconds between two log events about data quality."""
REPORT_EVERY_S = 0.25
"""Seconds between two updates of the metrics."""
MAX_KEPT_GAPS = 100_000
"""Gaps kept for the report; further ones are only counted."""


def _address(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not re.fullmatch(r"wss?://[^\s/@]+(/\S*)?", value) or not _is_host(value):
        raise click.BadParameter(f"{value!r} is not an address: addresses look like wss://host/path")
    return value


def _is_host(url: str) -> bool:
    """Return whether the host of an address, and its port if it has one, are well-formed."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a port
        return bool((parts.hostname or "").encode("idna"))
    except ValueError:
        return False


_url = click.option(
    "--url", callback=_address, help="Address of another endpoint, such as the sandbox. [default: the feed's]"
)
_feed = click.option(
    "--feed",
    "name",
    type=click.Choice(list(URLS)),
    default=DEFAULT_FEED,
    help="Coinbase Exchange or Coinbase Advanced Trade; also the venue of the quotes.",
)


@click.command()
@_feed
@options.pairs
@options.book
@_url
@click.option(
    "--record",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also save every received frame; see `record`.",
)
@options.metrics_port
@options.metrics_host
@options.as_json
def ingest(
    *,
    name: str,
    pairs: tuple[str, ...],
    book: bool,
    url: str | None,
    file: Path | None,
    metrics_port: int | None,
    metrics_host: str,
    as_json: bool,
) -> None:
    """Send live market data of Coinbase to the topic.

    Needs no API key. Without --pair it subscribes to BTC-USD and ETH-USD. It runs until Ctrl-C, reconnects
    whenever the connection ends, and sends a gap record for everything that it missed.

    \b
    Example:
      cryptometrics ingest --pair BTC-USD,ETH-USD
      cryptometrics ingest --feed coinbase-advanced --book
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import find_topic
    from cryptometrics.feeds.publish_queue import PublishQueue
    from cryptometrics.kafka import client

    settings = config.load()
    topic = find_topic(settings)
    outbox = PublishQueue(client.make_producer(settings, patient=True), topic.name)
    with _measuring(metrics_host, metrics_port) as see:
        _listen(name, pairs, book, url, file, outbox, as_json=as_json, see=see)


@contextlib.contextmanager
def _measuring(host: str, port: int | None) -> Iterator[See]:
    """Serve metrics within the block if there is a port; yield a function that updates them."""
    if port is None:
        yield lambda _feed, _connected, _published: None
        return
    from cryptometrics.telemetry import ingest_metrics as telemetry
    from cryptometrics.telemetry.endpoint import serving

    metrics = telemetry.IngestMetrics()

    def see(feed: Feed, connected: bool, published: Published | None) -> None:
        metrics.update(
            feed.quality,
            venue=feed.venue,
            connected=connected,
            sent=published.sent if published else 0,
            acknowledged=published.acknowledged if published else 0,
            kafka_silence=published.silence if published else 0.0,
        )

    with serving(metrics.collect, metrics.health, host, port):
        yield see


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_feed
@options.pairs
@options.book
@_url
@options.as_json
def record(file: Path, name: str, pairs: tuple[str, ...], book: bool, url: str | None, as_json: bool) -> None:
    """Save live market data in compressed files, for `replay`; needs no Kafka.

    Each line is a JSON object: the time of receipt and the frame as received. A file of 256 MiB is followed
    by FILE-2 and so on. Existing files are never overwritten.

    \b
    Example:
      cryptometrics record btc.jsonl.gz --pair BTC-USD
    """
    _listen(name, pairs, book, url, file, None, as_json=as_json)


def _listen(
    name: str,
    pairs: tuple[str, ...],
    book: bool,
    url: str | None,
    file: Path | None,
    outbox: PublishQueue | None,
    *,
    as_json: bool,
    see: See = lambda _feed, _connected, _published: None,
) -> None:
    import asyncio

    from cryptometrics import config
    from cryptometrics.cli.feed_report import as_text, show
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.signals import stopping
    from cryptometrics.feeds.recording import Recorder

    found: list[Gap] = []
    recorder = Recorder(file, feed=name) if file is not None else None
    feed, client = make_live_feed(
        name,
        pairs or DEFAULT_PAIRS,
        book=book,
        on_gap=noting(found),
        url=url,
        outbox=outbox,
        recorder=recorder,
        wait=config.load().wait,
    )
    published = outbox.state if outbox is not None else None
    try:
        with stopping() as asked, Progress() as progress:
            line, report_interval = _FeedProgress(feed, client, outbox), Interval(REPORT_EVERY_S)

            def tend() -> None:
                line.log_quality()
                if report_interval.elapsed():
                    see(feed, client.connectivity.open > 0, published)
                if progress.due():
                    progress.show(line())

            asyncio.run(client.run(asked, tend))
            if outbox is not None:
                outbox.drain()
    finally:
        if recorder is not None:
            recorder.close()
            if recorder.files:
                click.echo("recorded into " + ", ".join(map(str, recorder.files)), err=True)
    click.echo(as_text(feed, found, published)) if as_json else show(feed, published)
    if published is not None:
        publish_report.check(
            published,
            "check that it is running; the next start of the feed records the missing ones as a gap",
        )


def noting(found: list[Gap]) -> Callable[[Gap], None]:
    """Return a function that logs each gap and appends it to the list."""
    from cryptometrics import log
    from cryptometrics.market.gap_records import GapKind

    logger = log.get_logger()

    def note(gap: Gap) -> None:
        if len(found) < MAX_KEPT_GAPS:
            found.append(gap)
        if gap.kind is GapKind.START:
            logger.info("feed_started", pair=gap.pair, trade_before=gap.last_trade_id, proves=gap.proves)
        elif gap.kind is GapKind.END:
            logger.info("feed_ended", pair=gap.pair, heard_until=gap.time.isoformat())
        else:
            logger.warning(
                "feed_gap",
                pair=gap.pair,
                kind=gap.kind,
                trades_missed=gap.trades_missed,
                first_trade_id=gap.first_trade_id,
                last_trade_id=gap.last_trade_id,
                seconds=round(gap.seconds or 0.0, 3),
            )

    return note


class _FeedProgress:
    """Formats the progress line, and regularly logs the quality of the data."""

    def __init__(self, feed: Feed, client: FeedClient, outbox: PublishQueue | None) -> None:
        self._feed = feed
        self._client = client
        self._outbox = outbox
        self._log_interval = Interval(QUALITY_EVERY_S)

    def __call__(self) -> str:
        from cryptometrics.cli.feed_report import totals

        line = f"{self._client.connectivity}, {totals(self._feed)}"
        if self._outbox is not None:
            state = self._outbox.state
            line += f", {state.acknowledged:,} acknowledged" + publish_report.silence(state)
        return line

    def log_quality(self) -> None:
        if not self._log_interval.elapsed():
            return
        from cryptometrics import log
        from cryptometrics.cli.feed_report import quality_totals

        log.get_logger().info("feed_quality", **quality_totals(self._feed))
