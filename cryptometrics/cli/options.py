"""Options that several commands share, each defined once."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import completion
from cryptometrics.market.ticks import parse_pairs
from cryptometrics.market.venues import MAX_VENUE_CHARS, is_venue
from cryptometrics.text import check_name
from cryptometrics.times import parse_time

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PARTITIONS = 6
"""Partitions of a new topic."""
CHARTS, PAGE = (".png", ".svg", ".pdf"), ".html"
"""Suffixes that a chart's file may have."""
MIN_SIDE, MAX_SIDE = 300, 10_000
"""Dots of a side of a chart."""


def time(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    """Parse a time; a callback for Click."""
    if value is None:
        return None
    try:
        return parse_time(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def name(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Validate the name of a group, a session, a portfolio or windows; a callback for Click."""
    if value is None:
        return None
    try:
        return check_name(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def names(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str | None, ...]:
    """Validate each name of a repeatable option; a callback for Click."""
    return tuple(name(context, option, value) for value in values)


def venue(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Validate the name of a venue; a callback for Click."""
    if value is not None and not is_venue(value):
        raise click.BadParameter(
            f"{value[: 2 * MAX_VENUE_CHARS]!r} is not a valid name: "
            f"names of venues have 1 to {MAX_VENUE_CHARS} of the characters a-z, 0-9 and -"
        )
    return value


def number(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Refuse NaN, which Click accepts in every range; a callback for Click."""
    if math.isnan(value):
        raise click.BadParameter("nan is not allowed")
    return value


def _pairs(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(pair for value in values for pair in parse_pairs(value)))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def chart(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Check the suffix of a chart's file; a callback for Click."""
    if path is not None and path.suffix.lower() not in CHARTS:
        raise click.BadParameter(f"{str(path)!r} must end in .png, .svg or .pdf")
    return path


def chart_or_page(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Check the suffix of a chart's file, which may also be a page; a callback for Click."""
    if path is not None and path.suffix.lower() not in (*CHARTS, PAGE):
        raise click.BadParameter(f"{str(path)!r} must end in .png, .svg, .pdf or .html")
    return path


def size(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Parse the size of a chart, `1600x900`; a callback for Click."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise click.BadParameter(f"{text!r} is not a size: write WIDTHxHEIGHT in dots, such as 1600x900")
    width, height = map(int, sides)
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        raise click.BadParameter(f"{text!r} must have sides of {MIN_SIDE:,} to {MAX_SIDE:,} dots")
    return width, height


pairs = click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="BASE-QUOTE",
    callback=_pairs,
    shell_complete=completion.pairs,
    help="Pair such as BTC-USD, or several with commas; repeatable.",
)

book = click.option(
    "--book", is_flag=True, help="Rebuild quotes from the order book: one per change of the best bid or ask."
)

reading_group = click.option(
    "--group",
    callback=name,
    shell_complete=completion.groups,
    metavar="NAME",
    help="Consumer group to read. [default: the only one, else the one with the newest row]",
)

one_venue = click.option(
    "--venue",
    callback=venue,
    shell_complete=completion.venues,
    metavar="NAME",
    help="Venue to read. [default: the only one, else the one with the newest row]",
)
only_venue = click.option(
    "--venue",
    callback=venue,
    shell_complete=completion.venues,
    metavar="NAME",
    help="Only this venue. [default: all]",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

metrics_port = click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve /metrics (Prometheus) and /healthz on this port; 0 picks a free one and logs it.",
)

metrics_host = click.option(
    "--metrics-host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Address to serve metrics on; 0.0.0.0 allows other machines.",
)
