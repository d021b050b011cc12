"""`cryptometrics run`: a feed, process and watch in one terminal."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.children import Children
    from cryptometrics.config import Settings
    from cryptometrics.watch.poller import Poller

PARTITIONS = 6
LOOK_S = 0.25
"""How often what runs is looked after."""


@click.command()
@click.option(
    "--simulate", "feed", flag_value="simulate", default="simulate", help="A simulated market. [default]"
)
@click.option("--live", "feed", flag_value="ingest", help="The exchange's live feed.")
@options.pairs
@click.option(
    "--rate", type=click.IntRange(1, 1_000_000), default=100, help="Simulated ticks a second, over all pairs."
)
@click.option(
    "--group",
    default="cryptometrics",
    callback=options.name,
    metavar="NAME",
    help="The consumer group of process.",
)
def run(feed: str, pairs: tuple[str, ...], rate: int, group: str) -> None:
    """Run it all in one terminal: a feed, process and watch. Ctrl-C ends it all.

    Uses the local Kafka and PostgreSQL unless others are configured: starts them where they do not run, and
    stops at the end what it has started. The data stays.

    \b
    Example:
      cryptometrics run --simulate --pair BTC-USD
    """
    from cryptometrics import config, log
    from cryptometrics.children import Children
    from cryptometrics.cli.connections import waiting
    from cryptometrics.cli.signals import stopping
    from cryptometrics.watch.poller import Poller

    log.setup("auto", quiet=True)
    # A terminal that is closed ends it as Ctrl-C does: nothing may go on unseen.
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    settings = config.load()
    with _services(settings):
        _prepare(settings)
        with stopping() as stop, Children() as children:
            chosen = [part for pair in pairs for part in ("--pair", pair)]
            children.start(feed, [feed, *chosen, *(["--rate", str(rate)] if feed == "simulate" else [])])
            children.start("process", ["process", "--group", group])
            with Poller(settings, lambda _connection: group, notice=waiting("PostgreSQL")) as view:
                _look(view, children, stop)
            _say("ending: what is in hand is finished")
            for line in children.end():
                click.echo(line)
            children.check_ends()


def _look(view: Poller, children: Children, stop: Callable[[], bool]) -> None:
    """Show the view until it is to end, or a child has ended."""
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.watch import is_live, look

    next_look = 0.0

    def over() -> bool:
        nonlocal next_look
        if time.monotonic() >= next_look:
            children.check()
            next_look = time.monotonic() + LOOK_S
        return stop()

    if is_live():
        look(view, LOOK_S, over)
        return
    with Progress() as progress:
        while not over():
            if progress.due():
                snapshot = view.poll().snapshot
                progress.show(
                    f"{snapshot.total('metrics'):,} stored, {snapshot.total('rejected'):,} rejected"
                )
            time.sleep(LOOK_S)


@contextlib.contextmanager
def _services(settings: Settings) -> Iterator[None]:
    """Have the local services that are needed running within the block; end those that were begun here."""
    if not (settings.uses_local_kafka or settings.uses_local_postgres):
        yield
        return
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.services import last_words, named
    from cryptometrics.local.services import Services

    services = Services(settings.home)
    missing = [name for name, state in services.status().items() if not state.running]
    if not missing:
        yield
        return
    _say(f"starting {named(missing)}: not running here yet")
    with Progress() as progress, last_words():
        started = services.up(progress.show)
    try:
        yield
    finally:
        # Somebody else may have started the other one, or both, and may be at work with it.
        if stopped := services.down(started):
            _say(f"stopped {named(stopped)}; the data in {services.home} was kept")


def _prepare(settings: Settings) -> None:
    """Make the schema and the topic where they are missing."""
    from cryptometrics.cli.connections import database, wait_for_kafka
    from cryptometrics.kafka.topic import create_topic
    from cryptometrics.store.migrate import migrate

    with database(settings) as connection:
        if made := migrate(connection):
            _say(f"schema: applied {', '.join(made)}")
    wait_for_kafka(settings)
    if create_topic(settings, PARTITIONS):
        _say(f"topic {settings.kafka_topic}: made with {PARTITIONS} partitions")


def _say(text: str) -> None:
    click.echo(text, err=True)
