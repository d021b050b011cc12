"""`cryptometrics watch`: the market and the pipeline, live in the terminal."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options
from cryptometrics.errors import UserError
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    import psycopg
    from rich.console import Console

    from cryptometrics.store.live_snapshot import Partition
    from cryptometrics.watch.poller import Poller
    from cryptometrics.watch.screen_data import ScreenData

BETWEEN_S = 0.3
"""Seconds between the snapshots of `--once`; with the minutes before, their counts give ticks per second."""
UNLIMITED = 160
"""Columns of `--once` where nothing states a width: enough for everything."""
STEP_S = 0.05
"""Seconds between checks for Ctrl-C."""


@click.command()
@options.pairs
@options.reading_group
@options.only_venue
@click.option(
    "--refresh", type=click.FloatRange(0.1, 10), default=4, metavar="N", help="Frames per second, at most 10."
)
@click.option("--once", is_flag=True, help="Print one frame and exit.")
@options.as_json
@click.option("--follow", is_flag=True, help="With --json: print one object a line, --refresh a second.")
def watch(
    *,
    pairs: tuple[str, ...],
    group: str | None,
    venue: str | None,
    refresh: float,
    once: bool,
    as_json: bool,
    follow: bool,
) -> None:
    """Watch quotes, session extremes, lag and alerts live in the terminal.

    Tab goes through the pages market, portfolio, alerts and pipeline. The arrow keys mark a pair, / filters,
    s sorts, p pauses, ? shows all keys. q or Ctrl-C ends it and leaves the last frame on the terminal.
    --json prints one frame, and with --follow one frame a line until Ctrl-C.

    A pair appears once for each of its venues. Ages turn yellow after 5 s and red after 30 s; then the quote
    is dim and listed as old. Volatility (realized, annualised) and drawdown are over 24 hours, as
    `risk --follow` has stored them. Portfolios are those that the group prices.

    \b
    Example:
      cryptometrics watch --pair BTC-USD --pair ETH-USD
      cryptometrics watch --json --follow --refresh 1
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import waiting
    from cryptometrics.cli.signals import hang_up_as_terminate, stopping
    from cryptometrics.store.choose_source import check_venue, resolve_group
    from cryptometrics.watch.poller import Poller

    if follow and (once or not as_json):
        raise UserError("--follow goes with --json and without --once: use --json --follow")
    if not (once or as_json or is_live()):
        raise UserError("watch needs a terminal: use --once or --json instead")

    def choose(connection: psycopg.Connection) -> str:
        name = resolve_group(connection, group).name
        check_venue(connection, name, venue)
        return name

    with Poller(config.load(), choose, pairs, waiting("PostgreSQL"), venue=venue) as view:
        if follow:
            with stopping() as stop:
                print_frames(view, 1 / refresh, stop)
            return
        if once or as_json:
            frame = _second_look(view)
            if as_json:
                click.echo(json.dumps(as_dict(frame), indent=2))
            else:
                print_once(frame)
            return
        hang_up_as_terminate()
        with stopping() as stop:
            look(view, 1 / refresh, stop)


def is_live() -> bool:
    """Return whether stdout is a terminal that can show a screen."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def look(
    view: Poller,
    every: float,
    stop: Callable[[], bool],
    complete: Callable[[ScreenData], ScreenData] = lambda frame: frame,
) -> None:
    """Show the view on the alternate screen, until a person quits or `stop` returns True.

    every: seconds between two frames. complete: adds to each frame what the view does not know. Leaves the
    last frame on the normal screen.
    """
    from cryptometrics.watch.app import WatchApp, show
    from cryptometrics.watch.pages import page

    console = _console()
    plain = console.options.ascii_only
    app = WatchApp(lambda: complete(view.poll()), every, stop, ascii_only=plain)
    try:
        show(app)
    finally:
        if app.frame is not None:
            width, height = console.size  # a line is left for the prompt
            console.print(page(app.frame, app.view, width, height - 1, ascii_only=plain))


def print_frames(view: Poller, every: float, stop: Callable[[], bool]) -> None:
    """Print a frame as a JSON object a line every `every` seconds, until `stop` returns True."""
    while not stop():
        until = time.monotonic() + every
        click.echo(json.dumps(as_dict(view.poll())))
        while not stop() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STEP_S))


def _console(width: int | None = None, height: int | None = None) -> Console:
    from cryptometrics.cli.output import console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without "…" shows "?"
    return console(width=width, height=height)


def _second_look(view: Poller) -> ScreenData:
    view.poll()
    time.sleep(BETWEEN_S)
    view.poll()
    view.wait_for_lag()
    return view.poll()


def print_once(frame: ScreenData) -> None:
    """Print a frame that fits into the width of stdout, by default wide enough for everything.

    Only LINES limits the height: the output may be longer than the window.
    """
    from cryptometrics.cli.output import stated_size, width
    from cryptometrics.watch.screen import render

    columns = width() or UNLIMITED
    lines = stated_size("LINES") or 4 + len(frame.snapshot.rows) * 2 + 12
    console = _console(columns, lines)
    console.print(render(frame, columns, lines, ascii_only=console.options.ascii_only))


def as_dict(frame: ScreenData) -> dict[str, Any]:
    """Return a frame for JSON: prices as exact strings, times as ISO 8601."""
    snapshot = frame.snapshot
    return {
        "group": snapshot.group,
        "at": iso(snapshot.at),
        "trouble": frame.trouble,
        "pairs": [
            {
                "venue": row.venue,
                "pair": row.pair,
                "session": row.session,
                "bid": f"{row.bid:f}",
                "ask": f"{row.ask:f}",
                "mid_price": f"{row.mid_price:f}",
                "spread": f"{row.spread:f}",
                "spread_bps": round(float(row.spread / row.mid_price) * 10_000, 4),
                "highest_bid": f"{row.highest_bid:f}",
                "lowest_ask": f"{row.lowest_ask:f}",
                "max_spread": f"{row.max_spread:f}",
                "last_at": iso(row.last_at),
                "quote_age_seconds": round((snapshot.at - row.last_at).total_seconds(), 3),
                "ticks": row.ticks,
                "ticks_per_second": _rounded(frame.history.rate(row.market)),
                "volatility": getattr(snapshot.risk.get(row.market), "volatility", None),
                "drawdown": getattr(snapshot.risk.get(row.market), "drawdown", None),
            }
            for row in snapshot.rows
        ],
        "portfolios": [
            {
                "portfolio": each.name,
                "currency": each.currency,
                "as_of": None if each.as_of is None else iso(each.as_of),
                "value": _money(each.value),
                "profit_and_loss": _money(each.profit_and_loss),
                "value_at_risk": each.value_at_risk,
                "value_at_risk_pct": each.value_at_risk_pct,
                "limits": [limit._asdict() for limit in each.limits],
            }
            for each in snapshot.portfolios
        ],
        "partitions": [
            {
                "topic": part.topic,
                "partition": part.partition,
                "next_offset": part.next_offset,
                "lag": frame.lags.get((part.topic, part.partition)),
                "open_transaction": _open_transaction(frame, part),
            }
            for part in snapshot.partitions
        ],
        **{
            outcome: snapshot.total(outcome)
            for outcome in ("metrics", "rejected", "gaps", "duplicates", "holes")
        },
        "alerts": [
            {
                "venue": alert.venue,
                "pair": alert.pair,
                "rule": alert.rule,
                "severity": alert.severity,
                "message": alert.message,
                "fired_at": iso(alert.fired_at),
                "silenced": alert.silenced,
                "acknowledged_by": alert.acknowledged_by,
            }
            for alert in snapshot.alerts
        ],
    }


def _open_transaction(frame: ScreenData, part: Partition) -> dict[str, Any] | None:
    found = frame.open_transactions.get((part.topic, part.partition))
    if found is None:
        return None
    return {"offset": found.offset, "messages": found.messages, "since": iso(found.since)}


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
