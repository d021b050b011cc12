"""Read quotes as they are committed, each once, in the order of its partition.

A worker advances `consumer_offsets` in the transaction of the rows, so all rows below a stored next offset
are visible, and none below it comes later. A place in all partitions is therefore enough to read on from.

`crypto_metrics` has no index of offsets. While a reader keeps up, the minutes that a batch has changed say
where its rows are in time; after a pause, the days that hold the offsets do.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from cryptometrics.store.connection import snapshot
from cryptometrics.store.datasets import DAY, QUOTE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from decimal import Decimal

    import psycopg

MAX_OFFSETS = 500_000
"""Offsets of a partition that one query reads: each query after a pause reads whole days."""
PAGE_ROWS = 2_000
"""Quotes that are in memory at once."""
MINUTE = timedelta(minutes=1)


class StoredQuote(NamedTuple):
    """A row of the view crypto_quotes; prices in the quote currency, sizes in the base currency."""

    quoted_at: datetime
    """The exchange's time, in UTC."""
    pair: str
    session: str
    consumer_group: str
    bid: Decimal
    ask: Decimal
    mid_price: Decimal
    spread: Decimal
    spread_bps: Decimal
    session_highest_bid: Decimal
    session_lowest_ask: Decimal
    session_max_spread: Decimal
    kind: str
    trade_id: int | None
    kafka_partition: int
    kafka_offset: int
    recorded_at: datetime
    bid_size: Decimal | None
    ask_size: Decimal | None
    venue: str


class Step(NamedTuple):
    """A quote, or none, and the next offset of a partition after it."""

    quote: StoredQuote | None
    partition: str
    next_offset: int


class _Books(NamedTuple):
    """How far a partition of one topic is stored."""

    key: str
    """Topic id and partition: of a topic that was made again, the old books have another key."""
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    updated_at: datetime
    begun_at: datetime | None
    """Rows of the partition that were recorded before belong to an older topic; None if there is none."""
    ended_at: datetime | None


class _Part(NamedTuple):
    """Offsets of a partition to read: first <= offset < until."""

    books: _Books
    first: int
    until: int


_BOOKS = """
SELECT topic_id || '/' || kafka_partition, topic, kafka_partition, first_offset, next_offset, updated_at,
       CASE WHEN count(*) OVER (PARTITION BY kafka_partition) > 1 THEN begun_at END, ended_at
FROM consumer_offsets WHERE consumer_group = %s ORDER BY begun_at, kafka_partition
"""
_DAYS = """
SELECT DISTINCT d.day
FROM metric_days d
JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(first)s::bigint[], %(until)s::bigint[])
    AS part (topic, kafka_partition, first_offset, until) USING (topic, kafka_partition)
WHERE d.consumer_group = %(group)s AND d.last_offset >= part.first_offset AND d.first_offset < part.until
ORDER BY d.day
"""
# By each market and day: the key of minutes begins with them.
_MINUTES = """
SELECT DISTINCT w.window_start
FROM pair_state s
CROSS JOIN unnest(%(days)s::timestamptz[]) AS day
CROSS JOIN LATERAL (
    SELECT window_start FROM crypto_windows
    WHERE (consumer_group, name, venue, pair) = (s.consumer_group, '1m', s.venue, s.pair)
      AND window_start >= day AND window_start < day + interval '24 hours' AND updated_at >= %(since)s
    OFFSET 0
) AS w
WHERE s.consumer_group = %(group)s AND (%(venue)s::text IS NULL OR s.venue = %(venue)s)
  AND (%(pairs)s::text[] IS NULL OR s.pair = ANY (%(pairs)s))
ORDER BY w.window_start
"""
_ROWS = sql.SQL("""
DECLARE committed_quotes NO SCROLL CURSOR FOR
SELECT {columns}, part.key
FROM crypto_quotes q
JOIN unnest({keys}::text[], {partitions}::int[], {first}::bigint[], {until}::bigint[],
            {begun}::timestamptz[], {ended}::timestamptz[])
    WITH ORDINALITY AS part (key, kafka_partition, first_offset, until, begun_at, ended_at, place)
  ON q.kafka_partition = part.kafka_partition
 AND q.kafka_offset >= part.first_offset AND q.kafka_offset < part.until
 AND q.recorded_at >= coalesce(part.begun_at, '-infinity')
 AND q.recorded_at <= coalesce(part.ended_at, 'infinity')
WHERE q.consumer_group = {group} AND ({times}) {only}
ORDER BY part.place, q.kafka_offset
""")
_PAGE = f"FETCH {PAGE_ROWS} FROM committed_quotes"


class CommittedQuotes:
    """Reads the quotes of a group that were committed after a place."""

    def __init__(
        self, group: str, venue: str | None, pairs: Sequence[str], offsets: Mapping[str, int]
    ) -> None:
        """offsets: the next offset of each partition, by its key; others are read from their first one."""
        self._group = group
        self._venue = venue
        self._pairs = list(pairs) or None
        self.offsets = dict(offsets)
        self._seen: dict[str, datetime] = {}
        """When the partitions that were read to their ends had been written last, while there is no doubt."""

    def skip_stored(self, connection: psycopg.Connection) -> None:
        """Continue after everything that is stored now."""
        for books in self._books(connection):
            self.offsets[books.key] = books.next_offset
            self._seen[books.key] = books.updated_at

    def forget(self) -> None:
        """Search whole days at the next reading: the connection broke, and clocks may have changed."""
        self._seen.clear()

    def pages(self, connection: psycopg.Connection) -> Generator[list[Step]]:
        """Yield what was committed meanwhile, at most MAX_OFFSETS of each partition; `offsets` moves on.

        All is read from one snapshot: a topic that is made again renames its books. Until the generator ends,
        a transaction is open.
        """
        with snapshot(connection):
            yield from self._pages(connection)

    def _pages(self, connection: psycopg.Connection) -> Iterator[list[Step]]:
        books = self._books(connection)
        parts = [
            _Part(each, first, min(each.next_offset, first + MAX_OFFSETS))
            for each in books
            if (first := self.offsets.get(each.key, each.first_offset)) < each.next_offset
        ]
        if parts:
            ranges = self._ranges(connection, parts)
            if ranges:
                yield from self._rows(connection, parts, ranges)
            ends = [Step(None, part.books.key, part.until) for part in parts]
            self._advance(ends)
            yield ends
        for each in books:
            if self.offsets.get(each.key) == each.next_offset:
                self._seen[each.key] = each.updated_at

    def _books(self, connection: psycopg.Connection) -> list[_Books]:
        return [_Books(*row) for row in connection.execute(_BOOKS, [self._group])]

    def _ranges(
        self, connection: psycopg.Connection, parts: Sequence[_Part]
    ) -> list[tuple[datetime, datetime]]:
        """Return ranges of event time that contain all rows of the parts."""
        values = {
            "group": self._group,
            "venue": self._venue,
            "pairs": self._pairs,
            "topics": [part.books.topic for part in parts],
            "partitions": [part.books.partition for part in parts],
            "first": [part.first for part in parts],
            "until": [part.until for part in parts],
        }
        days = [datetime.combine(day, time(), UTC) for (day,) in connection.execute(_DAYS, values).fetchall()]
        seen = [self._seen.get(part.books.key) for part in parts]
        known = [at for at in seen if at is not None]
        # A clock that was set back would hide minutes: then whole days are read.
        if len(known) < len(parts) or any(
            part.books.updated_at < at for part, at in zip(parts, known, strict=True)
        ):
            return joined(days, DAY)
        minutes = connection.execute(_MINUTES, values | {"days": days, "since": min(known)}).fetchall()
        return joined([minute for (minute,) in minutes], MINUTE)

    def _rows(
        self,
        connection: psycopg.Connection,
        parts: Sequence[_Part],
        ranges: Sequence[tuple[datetime, datetime]],
    ) -> Iterator[list[Step]]:
        only = sql.Composed([])
        if self._venue is not None:
            only += sql.SQL(" AND q.venue = {}").format(self._venue)
        if self._pairs is not None:
            only += sql.SQL(" AND q.pair = ANY ({})").format(self._pairs)
        query = _ROWS.format(
            columns=sql.SQL(", ").join(sql.Identifier("q", column) for column in QUOTE_COLUMNS),
            keys=[part.books.key for part in parts],
            partitions=[part.books.partition for part in parts],
            first=[part.first for part in parts],
            until=[part.until for part in parts],
            begun=[part.books.begun_at for part in parts],
            ended=[part.books.ended_at for part in parts],
            group=self._group,
            times=sql.SQL(" OR ").join(
                sql.SQL("(q.quoted_at >= {} AND q.quoted_at < {})").format(since, until)
                for since, until in ranges
            ),
            only=only,
        )
        # A cursor of the server in plain SQL: psycopg's complains if its connection breaks.
        connection.execute(query)
        while rows := connection.execute(_PAGE).fetchall():
            page = []
            for *values, key in rows:
                quote = StoredQuote(*values)
                page.append(Step(quote, key, quote.kafka_offset + 1))
            self._advance(page)
            yield page
        connection.execute("CLOSE committed_quotes")

    def _advance(self, page: Sequence[Step]) -> None:
        for step in page:
            self.offsets[step.partition] = step.next_offset


def joined(starts: Sequence[datetime], length: timedelta) -> list[tuple[datetime, datetime]]:
    """Return the ranges of some length that begin at these sorted moments, adjacent ones as one."""
    ranges: list[tuple[datetime, datetime]] = []
    for start in starts:
        if ranges and ranges[-1][1] >= start:
            ranges[-1] = (ranges[-1][0], start + length)
        else:
            ranges.append((start, start + length))
    return ranges
