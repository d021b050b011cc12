"""Read stored rows as Arrow tables.

Every call has a connection of its own, so that several threads, and several iterators of batches, can share a
client, and a restart of PostgreSQL between two calls goes unnoticed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal, overload

from cryptometrics import config
from cryptometrics.api.selection import choose_group, choose_venue, optional_venue, read_moment, read_pairs
from cryptometrics.errors import UserError
from cryptometrics.store import connection as database
from cryptometrics.store.arrow_batches import ArrowRows, arrow
from cryptometrics.store.candles import SIZES
from cryptometrics.store.database_errors import explaining
from cryptometrics.store.datasets import DATASETS, Selection

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from datetime import datetime

    import psycopg
    import pyarrow as pa

    from cryptometrics.config import Settings
    from cryptometrics.store.datasets import Name


def connect() -> Client:
    """Return a client of the configured PostgreSQL: the environment, then `.env`, then `cryptometrics up`.

    Raises UserError if the settings are wrong or pyarrow is missing, and ServiceUnavailableError if nothing
    answers within CRYPTOMETRICS_WAIT.
    """
    arrow()
    client = Client(config.load())
    with client.connected():
        return client


class Client:
    """What is stored, as `pyarrow.Table` objects.

    Columns have the names of their table or view. Prices and sizes are exact: decimal128(38, 18). Times are
    in UTC, to the microsecond.

    pairs: a list, or a text such as "BTC-USD,ETH-USD"; empty for all. since, until: since <= time < until,
    as a datetime (UTC if it has no zone) or as on the command line ("2h", "2026-07-01"). group, venue: if
    none is named, the only one is read, else the one with the newest row, with a warning. Methods raise
    UserError for a mistake of the caller, ServiceUnavailableError if PostgreSQL does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @overload
    def quotes(
        self,
        pairs: Sequence[str] | str = (),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
        batches: Literal[False] = False,
    ) -> pa.Table: ...

    @overload
    def quotes(
        self,
        pairs: Sequence[str] | str = (),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
        batches: Literal[True],
    ) -> Iterator[pa.RecordBatch]: ...

    def quotes(
        self,
        pairs: Sequence[str] | str = (),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
        batches: bool = False,
    ) -> pa.Table | Iterator[pa.RecordBatch]:
        """Return the quotes of a venue, ordered by time: columns of the view `crypto_quotes`.

        batches: return an iterator of record batches instead, which needs little memory for any number of
        rows. Quotes that are stored later for a time already read are missed.
        """
        names = read_pairs(pairs)
        if batches:
            return self._batches("quotes", names, since, until, group, venue)
        return self._table("quotes", names, since, until, group, venue)

    def candles(
        self,
        pairs: Sequence[str] | str = (),
        *,
        interval: str = "1m",
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
    ) -> pa.Table:
        """Return the candles of a venue, by `window_start`: the view `crypto_windows_1m` or another size.

        interval: 1m, 5m, 15m, 1h, 4h or 1d. Minutes are there up to the last complete one, also those without
        a tick, with `ticks` 0 and no prices. The newest of the longer candles may still change (`complete`).
        """
        if interval not in SIZES:
            raise UserError(f"{interval!r} is not an interval of candles: use {', '.join(SIZES)}")
        return self._table("candles", read_pairs(pairs), since, until, group, venue, interval)

    def sessions(
        self,
        pairs: Sequence[str] | str = (),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
    ) -> pa.Table:
        """Return sessions, which a range selects by their newest quote: the view `crypto_sessions`.

        All venues if none is named.
        """
        return self._table("sessions", read_pairs(pairs), since, until, group, venue)

    def risk(
        self,
        pairs: Sequence[str] | str = (),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
    ) -> pa.Table:
        """Return what `risk --follow` stored, by `as_of`: the table `crypto_risk`.

        All venues if none is named. Figures are floats, and null where they cannot be known.
        """
        return self._table("risk", read_pairs(pairs), since, until, group, venue)

    def portfolio(
        self,
        portfolios: Sequence[str] | str = (),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
    ) -> pa.Table:
        """Return portfolios over time, by `as_of`: the table `portfolio_risk`.

        portfolios: one name, or several; empty for all. All venues if none is named. `positions`, `cash` and
        `limits` are JSON.
        """
        names = (portfolios,) if isinstance(portfolios, str) else tuple(portfolios)
        return self._table("portfolio", names, since, until, group, venue)

    def alerts(
        self,
        pairs: Sequence[str] | str = (),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
    ) -> pa.Table:
        """Return alerts by `fired_at`: the table `alerts`. All venues if none is named."""
        return self._table("alerts", read_pairs(pairs), since, until, group, venue)

    def gaps(
        self,
        pairs: Sequence[str] | str = (),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        group: str | None = None,
        venue: str | None = None,
    ) -> pa.Table:
        """Return the gap records of feeds by `ends_at`: the table `feed_gaps`.

        All venues if none is named.
        """
        return self._table("gaps", read_pairs(pairs), since, until, group, venue)

    @contextlib.contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        """Connect to PostgreSQL; within the block, its errors become errors of this package."""
        with database.connect(self._settings) as connection, explaining():
            yield connection

    def _table(
        self,
        what: Name,
        names: Sequence[str],
        since: datetime | str | None,
        until: datetime | str | None,
        group: str | None,
        venue: str | None,
        interval: str = "1m",
    ) -> pa.Table:
        with self.connected() as connection:
            rows = _rows(connection, what, names, since, until, group, venue, interval)
            return arrow().Table.from_batches(rows.batches(), rows.schema)

    def _batches(
        self,
        what: Name,
        names: Sequence[str],
        since: datetime | str | None,
        until: datetime | str | None,
        group: str | None,
        venue: str | None,
    ) -> Generator[pa.RecordBatch]:
        with self.connected() as connection:
            rows = _rows(connection, what, names, since, until, group, venue, "1m")
            with contextlib.closing(rows.batches()) as batches:
                yield from batches


def _rows(
    connection: psycopg.Connection,
    what: Name,
    names: Sequence[str],
    since: datetime | str | None,
    until: datetime | str | None,
    group: str | None,
    venue: str | None,
    interval: str,
) -> ArrowRows:
    """Choose group and venue, and look up the columns."""
    dataset = DATASETS[what]
    chosen = choose_group(connection, group, with_imported=dataset.minutes)
    at = (
        choose_venue(connection, chosen, venue, names, with_imported=dataset.minutes)
        if dataset.one_venue
        else optional_venue(connection, chosen, venue, with_imported=dataset.minutes)
    )
    selection = Selection(what, chosen, at, names, read_moment(since), read_moment(until), interval)
    return ArrowRows([connection], selection)
