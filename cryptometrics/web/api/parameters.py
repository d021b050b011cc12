"""Parameters that several routes share, each checked in one place."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple

import psycopg
from fastapi import Depends, Query
from pydantic import AfterValidator

from cryptometrics.errors import UserError
from cryptometrics.market.ticks import PAIR_PATTERN
from cryptometrics.market.venues import VENUE_PATTERN, Market
from cryptometrics.store.choose_source import resolve_group, resolve_venue, stored_venues
from cryptometrics.store.stored_sessions import no_ticks
from cryptometrics.text import MAX_NAME_CHARACTERS, check_name
from cryptometrics.times import parse_time
from cryptometrics.web.site import Site

MAX_RANGE = timedelta(days=31)
RANGES = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
RangeName = Literal["15m", "1h", "6h", "24h", "7d"]


def _name(text: str | None) -> str | None:
    return None if text is None else check_name(text)


Group = Annotated[
    str | None,
    Query(max_length=MAX_NAME_CHARACTERS, description="Consumer group to read. Default: the server's."),
    AfterValidator(_name),
]
Venue = Annotated[
    str | None, Query(pattern=f"^{VENUE_PATTERN}$", description="Only this venue. Default: the server's.")
]
Pair = Annotated[str, Query(pattern=f"^{PAIR_PATTERN}$", description="Such as BTC-USD.")]
_Moment = Annotated[
    str | None,
    Query(max_length=40, description="An ISO 8601 time (UTC), or 15m, 2h or 7d for that long ago."),
]


class TimeRange(NamedTuple):
    """From when to when a route reads."""

    since: datetime
    until: datetime
    is_open: bool
    """Whether it ends now, so that the stream can go on from it."""


def _time_range(range: RangeName = "1h", since: _Moment = None, until: _Moment = None) -> TimeRange:  # noqa: A002
    """Read a range by its length until now, or by its ends; raise UserError if it is not one."""
    now = datetime.now(UTC)
    try:
        end = now if until is None else parse_time(until, now)
        begin = end - RANGES[range] if since is None else parse_time(since, now)
    except (ValueError, OverflowError) as error:
        raise UserError(str(error)) from None
    if begin >= end:
        raise UserError("`since` must be before `until`")
    if end - begin > MAX_RANGE:
        raise UserError(f"a range has at most {MAX_RANGE.days} days")
    return TimeRange(begin, end, until is None)


Range = Annotated[TimeRange, Depends(_time_range)]


def chosen_group(connection: psycopg.Connection, site: Site, group: str | None) -> str:
    """Return the group that a request names, else the server's own; raise NotFoundError if it is unknown."""
    return site.group if group in (None, site.group) else resolve_group(connection, group).name


def chosen_market(
    connection: psycopg.Connection, site: Site, group: str, venue: str | None, pair: str
) -> Market:
    """Return the market that a request names; without a venue the server's, else the pair's newest one.

    Raises NotFoundError if the venue or the pair is unknown.
    """
    at = venue or site.venue
    if not stored_venues(connection, group, [pair]):
        raise no_ticks(connection, group, [pair], None, venue=at)
    return Market(resolve_venue(connection, group, at, pairs=[pair]).name, pair)
