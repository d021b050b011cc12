"""Open what the commands of `cryptometrics risk` read: the complete minutes of one group and venue."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cryptometrics.cli.connections import stored_venue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.risk.lines import MarketRange
    from cryptometrics.store.complete_markets import StoredMarket


@contextlib.contextmanager
def stored_market(
    group: str | None, venue: str | None, pairs: Sequence[str], as_of: datetime | None, range_minutes: int
) -> Iterator[tuple[psycopg.Connection, MarketRange, list[StoredMarket]]]:
    """Read one venue of one group from one snapshot; yield the connection, the range and the stored pairs.

    pairs: those that will be read; without a name, a venue that has them is chosen.
    """
    from cryptometrics.risk.lines import MarketRange
    from cryptometrics.store.complete_markets import choose_as_of, markets

    reading = stored_venue(group, venue, pairs, None, with_imported=True)
    with reading as (connection, of_group, of_venue):
        stored = markets(connection, of_group, of_venue)
        yield connection, MarketRange(of_group, of_venue, choose_as_of(stored, as_of), range_minutes), stored
