"""`cryptometrics run`: a feed, process, risk and watch in one terminal."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import completion, options
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.children import Children
    from cryptometrics.config import Settings

POLL_S = 0.25
"""Time between two checks of the child processes."""


@click.command()
@click.option(
    "--simulate",
    "feed",
    flag_value="simulate",
    default="simulate",
    show_default=False,
    help="Use a simulated market (the default).",
)
@click.option("--live", "feed", flag_value="ingest", help="Use the live feed of the exchange.")
@options.pairs
@click.option(
    "--rate",
    type=click.IntRange(1, 1_000_000),
    default=100,
    help="Simulated ticks per second over all pairs.",
)
@click.option(
    "--group",
    default="cryptometrics",
    callback=options.name,
    shell_complete=completion.groups,
    metavar="NAME",
    help="Consumer group of `process` and `risk`.",
)
@click.option(
    "--web", "with_page", is_flag=True, help="Also serve the page in the browser, at the address of `web`."
)
def run(feed: str, pairs: tuple[str, ...], rate: int, group: str, *, with_page: bool) -> None:
    """Run a feed, process, risk --follow and watch in one terminal, until Ctrl-C.

    Has the keys of `watch`. Shows what each part does, and marks quotes from before this run as old. Fails
    with the reason if the feed receives nothing.

    Uses the local Kafka and PostgreSQL unless others are configured. Starts them if they are not running, and
    stops at the end the ones it started. The data is kept.

    \b
    Example:
      cryptometrics run --simulate --pair BTC-USD
    """
    from cryptometrics import config, log
    from cryptometrics.children import Children
    from cryptometrics.cli.signals import hang_up_as_terminate, stopping

    log.setup("auto", quiet=True)
    hang_up_as_terminate()
    settings = config.load()
    with _services(settings):
        _prepare(settings, group)
        with stopping() as stop, Children() as children:
            chosen = [part for pair in pairs for part in ("--pair", pair)]
            children.start(feed, [feed, *chosen, *(["--rate", str(rate)] if feed == "simulate" else [])])
            children.start("process", ["process", "--group", group])
            children.start("risk", ["risk", "--follow", "--group", group])
            if with_page:
                children.start("web", ["web", "--group", group])
            _watch(settings, group, children, stop)
            _report("ending: finishing the current batch")
            for line in children.end():
                click.echo(line)
            children.check_ends()


def _watch(settings: Settings, group: str, children: Children, stop: Callable[[], bool]) -> None:
    """Show what the children do until `stop` returns True, on a terminal below the stored quotes.

    Raises an error if a child ends by itself.
    """
    from cryptometrics.cli.connections import waiting
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.watch import is_live, look
    from cryptometrics.watch.poller import Poller

    children_check, begun = Interval(POLL_S), datetime.now(UTC)

    def over() -> bool:
        if children_check.elapsed():
            children.check()
        return stop()

    if is_live():
        with Poller(settings, lambda _connection: group, notice=waiting("PostgreSQL")) as view:
            look(view, POLL_S, over, lambda frame: frame._replace(parts=children.states(), since=begun))
        return
    with Progress() as progress:
        while not over():
            if progress.due():
                progress.show("; ".join(f"{name}: {state}" for name, state in children.states()))
            time.sleep(POLL_S)


@contextlib.contextmanager
def _services(settings: Settings) -> Iterator[None]:
    """Keep the needed local services running within the block; stop the ones started here."""
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
    _report(f"starting {named(missing)}")
    with Progress() as progress, last_words():
        started = services.up(progress.show)
    try:
        yield
    finally:
        # Only these: another command may have started the others and may still use them.
        if stopped := services.down(started):
            _report(f"stopped {named(stopped)}; the data in {services.home} was kept")


def _prepare(settings: Settings, group: str) -> None:
    """Create the schema and the topic if they are missing, and report when the group was last verified."""
    from cryptometrics.cli.connections import database, wait_for_kafka
    from cryptometrics.kafka.topic import create_topic
    from cryptometrics.store.migrate import migrate
    from cryptometrics.store.verified_groups import last_verified

    with database(settings) as connection:
        if applied := migrate(connection, lambda text: click.echo(text, err=True)):
            _report(f"schema: applied {', '.join(applied)}")
        if last := last_verified(connection, group):
            _report(f"group {group}: {last.text()}")
    wait_for_kafka(settings)
    if create_topic(settings, options.DEFAULT_PARTITIONS):
        _report(f"topic {settings.kafka_topic}: created with {options.DEFAULT_PARTITIONS} partitions")


def _report(text: str) -> None:
    click.echo(text, err=True)
