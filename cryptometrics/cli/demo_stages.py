"""The stages of `cryptometrics demo`: a day of history and live ticks, metrics, a portfolio, risk."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import click

from cryptometrics.cli import publish_report
from cryptometrics.cli.options import DEFAULT_PARTITIONS
from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.market.venues import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    import psycopg

    from cryptometrics.cli.progress import Progress
    from cryptometrics.config import Settings
    from cryptometrics.feeds.simulator import Simulation
    from cryptometrics.kafka.publisher import Published
    from cryptometrics.kafka.topic import Topic
    from cryptometrics.pipeline.worker import Worker
    from cryptometrics.pipeline.worker_report import WorkerTotals

GROUP = "demo"
"""Consumer group, session and portfolio."""
HISTORY, HISTORY_STEP = timedelta(hours=24, minutes=10), timedelta(seconds=1)
"""Risk over 24 hours needs every minute of every pair; the rarest pair has a tick every twelve seconds."""
RECENT, RECENT_STEP = timedelta(minutes=10), timedelta(milliseconds=20)
"""The end of the history has as many ticks as a busy market."""
LIVE_S, LIVE_RATE = 3.0, 100.0
"""Seconds of live ticks, and how many a second."""
BAD = 0.001
"""One tick in a thousand is invalid, so that there are rejects to look at."""
CATCH_UP = timedelta(hours=1)
"""How much of the past gets a row of risk figures for each minute."""
PATIENCE_S = 60.0
"""How long a stage may make no progress: nothing restarts a service of the demo that has died."""


class Account(NamedTuple):
    """What became of the ticks that were sent."""

    sent: int
    stored: int
    rejected: int
    duplicates: int

    @property
    def lost(self) -> int:
        """Ticks without an outcome; it must be 0."""
        return self.sent - self.stored - self.rejected - self.duplicates


def run_stages(settings: Settings, progress: Progress) -> Account:
    """Run all stages one after the other; the live ticks are sent while the worker processes the history."""
    from cryptometrics.store.connection import connect
    from cryptometrics.store.migrate import migrate

    with connect(settings) as connection:
        migrate(connection)
    topic = _topic(settings)
    took = _stopwatch()
    sent = [_publish(settings, topic, market) for market in _past(settings, topic)]
    _report(f"simulated {sum(each.sent for each in sent):,} ticks, a day of history, in {took():.1f} s")
    live, stored = _go_live(settings, topic, sum(each.sent for each in sent), progress)
    _report(f"processed {stored.offsets:,} ticks, {live.sent:,} of them live, in {took():.1f} s")
    with connect(settings) as connection:
        _load_portfolio(connection)
    rows = _follow_risk(settings, progress)
    _report(f"computed {rows:,} rows of risk figures in {took():.1f} s")
    in_all = sum(each.sent for each in (*sent, live))
    return Account(in_all, stored.metrics, stored.rejected, stored.duplicates)


def _topic(settings: Settings) -> Topic:
    from cryptometrics.kafka.topic import create_topic, describe_topic

    create_topic(settings, DEFAULT_PARTITIONS)
    return describe_topic(settings)


def _past(settings: Settings, topic: Topic) -> Iterator[Simulation]:
    """Yield the simulations of the past: a sparse day, then dense minutes that go on from its last quotes."""
    now = datetime.now(UTC)
    yield _simulation(settings, topic, now - HISTORY, HISTORY_STEP, (HISTORY - RECENT) // HISTORY_STEP)
    yield _simulation(settings, topic, now - RECENT, RECENT_STEP, RECENT // RECENT_STEP)


def _simulation(
    settings: Settings, topic: Topic, start: datetime, step: timedelta, count: int | None
) -> Simulation:
    """Return a simulation that goes on from the last quotes of the topic, if it has any."""
    from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation
    from cryptometrics.feeds.simulator.last_quotes import find_last_quotes

    return Simulation(
        pairs=DEFAULT_PAIRS,
        start=start,
        step=Fraction(step / timedelta(microseconds=1)),
        seed=time.time_ns(),
        bad=BAD,
        count=count,
        last=find_last_quotes(settings, topic, DEFAULT_PAIRS),
    )


def _publish(
    settings: Settings,
    topic: Topic,
    market: Simulation,
    *,
    rate: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> Published:
    """Publish a simulation; raise an error unless Kafka acknowledges all of it."""
    from cryptometrics.kafka import client
    from cryptometrics.kafka.publisher import publish

    patience = _Patience("sent")
    sent = publish(
        client.make_producer(settings),
        topic.name,
        market.blocks(),
        rate=rate,
        stop=lambda: stop() or patience.is_over(),
        progress=lambda state: patience.see(state.acknowledged),
    )
    patience.check()
    publish_report.check(sent)
    return sent


def _go_live(
    settings: Settings, topic: Topic, past: int, progress: Progress
) -> tuple[Published, WorkerTotals]:
    """Process the topic while live ticks arrive, until all of it is stored; past: ticks that it has already.

    Returns the counts of the live ticks, and the totals of the worker.
    """
    from cryptometrics.cli.process import ProgressLine
    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.start_worker import run_worker

    line, patience, ended = ProgressLine(), _Patience("processed"), Event()
    market = _simulation(
        settings, topic, datetime.now(UTC), timedelta(seconds=1 / LIVE_RATE), round(LIVE_S * LIVE_RATE)
    )
    done = 0

    def show(worker: Worker) -> None:
        nonlocal done
        done = worker.totals.offsets
        patience.see(done)
        if progress.due():
            progress.show(line(worker.totals, worker.lag()))

    def is_over(live: Future[Published]) -> bool:
        is_complete = live.done() and (live.exception() is not None or done >= past + live.result().sent)
        return is_complete or patience.is_over()

    with ThreadPoolExecutor(1) as pool:
        live = pool.submit(_publish, settings, topic, market, rate=LIVE_RATE, stop=ended.is_set)
        try:
            options = WorkerOptions(GROUP, session=GROUP)
            stored = run_worker(settings, options, stop=lambda: is_over(live), progress=show)
        finally:
            ended.set()
    patience.check()
    return live.result(), stored


def _load_portfolio(connection: psycopg.Connection) -> None:
    """Store the demo's portfolio as held since yesterday."""
    from cryptometrics.risk.portfolio.positions_file import example, parse_toml
    from cryptometrics.store import pin_portfolio, positions

    pinned = pin_portfolio.pin(connection, parse_toml(example("demo")), None)
    positions.load(connection, pinned.portfolio, datetime.now(UTC) - timedelta(days=1))


def _follow_risk(settings: Settings, progress: Progress) -> int:
    """Compute the risk figures of the newest minutes as `risk --follow` does; return the rows written."""
    from cryptometrics.follow.figure_alerts import RuleSettings
    from cryptometrics.follow.risk_follower import FollowOptions, FollowTotals, RiskFollower

    patience, is_current = _Patience("computed"), False

    def show(totals: FollowTotals) -> None:
        nonlocal is_current
        patience.see(totals.rows)
        is_current = bool(totals.newest)
        if progress.due():
            progress.show(f"risk: {totals.rows:,} rows")

    options = FollowOptions(GROUP, SIMULATED, CATCH_UP, RuleSettings())
    totals = RiskFollower(
        settings,
        options,
        stop=lambda: is_current or patience.is_over(),
        progress=show,
        notice=lambda _error, _wait: None,
    ).run()
    patience.check()
    return totals.rows


class _Patience:
    """Stops a stage that has made no progress for PATIENCE_S."""

    def __init__(self, what: str) -> None:
        """Start the clock; what: the stage's participle in `nothing was sent`."""
        self._what = what
        self._done = 0
        self._moved = time.monotonic()
        self._over = False

    def see(self, done: int) -> None:
        """Note how far the stage is."""
        if done != self._done:
            self._done, self._moved = done, time.monotonic()

    def is_over(self) -> bool:
        """Return whether to stop; once True, it stays True."""
        self._over |= time.monotonic() - self._moved > PATIENCE_S
        return self._over

    def check(self) -> None:
        """Raise ServiceUnavailableError if the stage was stopped."""
        if self._over:
            raise ServiceUnavailableError(
                f"nothing was {self._what} for {PATIENCE_S:.0f} s: Kafka or PostgreSQL has stopped working; "
                "run the demo with --keep and read their logs"
            )


def _stopwatch() -> Callable[[], float]:
    """Return a function that returns the seconds since its last call."""
    begun = time.monotonic()

    def lap() -> float:
        nonlocal begun
        begun, before = time.monotonic(), begun
        return begun - before

    return lap


def _report(text: str) -> None:
    click.echo(text, err=True)
