"""Open what the commands of `cryptometrics risk` read: the complete minutes of one group and venue."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from cryptometrics.cli.connections import stored_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import psycopg

    from cryptometrics.risk.lines import MarketRange
    from cryptometrics.store.risk_series import StoredMarket


@contextlib.contextmanager
def stored_market(
    group: str | None, venue: str | None, as_of: datetime | None, range_minutes: int
) -> Iterator[tuple[psycopg.Connection, MarketRange, list[StoredMarket]]]:
    """Read one venue of one group from one snapshot; yield the connection, the range and the stored pairs.

    The reports on stderr which group and venue they are follow the block, so that an error stays the only
    line.
    """
    from cryptometrics.risk.lines import MarketRange
    from cryptometrics.store import risk_series

    with stored_group(group) as (connection, name):
        chosen = risk_series.choose_venue(connection, name, venue)
        stored = risk_series.markets(connection, name, chosen.name)
        end = risk_series.choose_as_of(stored, as_of)
        yield connection, MarketRange(name, chosen.name, end, range_minutes), stored
    if chosen.note:
        click.echo(chosen.note, err=True)
