"""Read the topic again, and compare each stored outcome with the message at its offset.

Both sides are in the order of the offsets and are merged, so memory stays flat. Only outcomes and quotes are
compared: `recompute` checks the numbers that follow from the quotes.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from cryptometrics.errors import UserError
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.times import to_microseconds
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.message_decoder import GapMessage, InvalidMessageError, QuoteMessage, read
from cryptometrics.verify.minute_trades import MinuteTrades
from cryptometrics.verify.offset_books import ROWS
from cryptometrics.verify.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import psycopg
    from confluent_kafka import Message

    from cryptometrics.config import Settings
    from cryptometrics.verify.findings import Findings, TopicPartition
    from cryptometrics.verify.offset_books import GroupBooks, OffsetBook

FETCH_ROWS = 10_000
"""Rows fetched from the server in one round trip."""
MAX_DUPLICATES = 50_000
"""Duplicates looked up together, in one pass over the rows."""
MAX_CLOCK_DIFFERENCE = timedelta(minutes=10)
"""Between the worker's clock when it decoded a message, and `recorded_at`."""

REFUSED_BY_POSTGRES = "refused_by_postgres"
_QUOTE = ("pair", "kind", "bid", "ask", "timestamp", "trade_id", "venue", "bid_size", "ask_size")

# The fields of a gap that are in its message; those of a start lack its beginning.
_FINGERPRINT = """
    array_to_string(ARRAY[venue, pair, kind, (extract(epoch FROM ends_at) * 1000000)::bigint::text,
        CASE WHEN kind <> 'start' THEN (extract(epoch FROM begins_at) * 1000000)::bigint::text END,
        CASE WHEN kind <> 'start' THEN first_trade_id::text END, last_trade_id::text,
        CASE WHEN kind <> 'start' THEN trades_missed::text END, proves::text], ' ', '-')
"""

# A rejected message may have megabytes, so hashes are compared. Holes have no message, only a range.
_STORED = f"""
SELECT topic COLLATE "C" AS topic, kafka_partition, kafka_offset, kafka_offset AS last_offset,
       'metrics' AS outcome, recorded_at, pair, kind, bid, ask, timestamp, trade_id,
       venue, bid_size, ask_size, NULL AS reason, NULL::bytea AS key, NULL::bytea AS value,
       NULL::timestamptz AS kafka_timestamp, NULL::text AS gap
FROM ({ROWS}) AS metrics
UNION ALL
SELECT topic, kafka_partition, kafka_offset, kafka_offset, 'rejected', recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       reason, sha256(key), sha256(value), kafka_timestamp, NULL
FROM rejected_ticks WHERE consumer_group = %(group)s
UNION ALL
SELECT topic, kafka_partition, kafka_offset, kafka_offset, 'gaps', recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {_FINGERPRINT}
FROM feed_gaps WHERE consumer_group = %(group)s
UNION ALL
SELECT topic, kafka_partition, first_offset, last_offset, reason, recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM skipped_offsets WHERE consumer_group = %(group)s
ORDER BY topic, kafka_partition, kafka_offset
"""  # noqa: S608  (constants)
_TOPIC, _PARTITION, _FIRST, _LAST, _OUTCOME, _RECORDED_AT, _QUOTE_AT = range(7)
_REJECTED_AT = _QUOTE_AT + len(_QUOTE)

# The repeated row must come earlier: in an earlier topic of that name, or before it in the partition. If its
# day was pruned, it may be missing.
_NOT_REPEATING = f"""
SELECT d.kafka_offset
FROM unnest(%(d_venues)s::text[], %(d_pairs)s::text[], %(d_trade_ids)s::bigint[], %(d_times)s::timestamptz[],
            %(d_offsets)s::bigint[]) AS d (venue, pair, trade_id, timestamp, kafka_offset)
LEFT JOIN (SELECT * FROM ({ROWS}) AS metrics
           WHERE timestamp BETWEEN %(earliest)s AND %(latest)s) AS m
  ON (m.venue, m.pair, m.trade_id, m.timestamp) = (d.venue, d.pair, d.trade_id, d.timestamp)
 AND (m.era < %(era)s
      OR m.era = %(era)s AND (m.kafka_partition <> %(partition)s OR m.kafka_offset < d.kafka_offset))
WHERE m.pair IS NULL AND NOT %(pruned)s::datemultirange @> (d.timestamp AT TIME ZONE 'UTC')::date
ORDER BY d.kafka_offset
"""  # noqa: S608  (constants)

Stored = tuple[Any, ...]


class TopicCheck:
    """Compares the stored outcomes of one group with its topics."""

    def __init__(
        self,
        connection: psycopg.Connection,
        settings: Settings,
        books: GroupBooks,
        findings: Findings,
        progress: Callable[[int], None],
    ) -> None:
        """Prepare the check; `progress` is called often, with the number of offsets done."""
        self._connection = connection
        self._settings = settings
        self._books = books
        self._findings = findings
        self._progress = progress
        self._done = 0
        self.trades = MinuteTrades()
        self._duplicates: list[tuple[str, str, int, datetime, int]] = []
        self.notes: list[str] = []
        self.unchecked = 0
        """Offsets whose messages the topic no longer holds."""

    def run(self) -> None:
        """Compare all outcomes; raise ServiceUnavailableError if Kafka stops responding."""
        by_partition = {book.topic_partition: book for book in self._books.books}
        reader = TopicReader(self._settings)
        ids: dict[str, str | None] = {}
        try:
            with self._connection.cursor(name="stored_outcomes") as cursor:
                cursor.itersize = FETCH_ROWS
                cursor.execute(_STORED, self._books.parameters, binary=True)
                for partition, stored in groupby(cursor, key=itemgetter(_TOPIC, _PARTITION)):
                    book = by_partition.get(partition)
                    if book is None:
                        continue  # offset_check reports rows without a book
                    if book.topic not in ids:
                        ids[book.topic] = self._topic_id(book)
                    self._check(reader, book, stored, ids[book.topic])
        finally:
            reader.close()
        self.trades.check(self._connection, self._books.group, self._findings)

    def _topic_id(self, book: OffsetBook) -> str | None:
        """Return the current id of the topic; None if it does not exist or the book is closed."""
        if book.ends is not None:
            return None
        try:
            return describe_topic(self._settings.model_copy(update={"kafka_topic": book.topic})).id
        except UserError:
            return None

    def _check(
        self, reader: TopicReader, book: OffsetBook, stored: Iterable[Stored], topic_id: str | None
    ) -> None:
        begin, end = book.first_offset, book.next_offset
        if topic_id == book.topic_id:
            low, high = reader.held(book.topic_partition)
            begin, end = max(begin, low), min(end, high)
        else:
            begin = end
        unchecked = book.offsets - max(end - begin, 0)
        if unchecked:
            why = "Kafka no longer holds them" if topic_id == book.topic_id else "the topic no longer exists"
            self.notes.append(
                f"{book.topic_partition}: not checked against the topic: {unchecked} offsets ({why})"
            )
            self.unchecked += unchecked
        if begin < end:
            self._merge(book, stored, reader.read(book.topic_partition, begin, end), begin, end)
            self._look_up_duplicates(book)
        self._done += unchecked

    def _merge(
        self,
        book: OffsetBook,
        stored: Iterable[Stored],
        messages: Iterable[tuple[int, Message]],
        begin: int,
        end: int,
    ) -> None:
        """Match messages and outcomes by offset; `offset_check` reports messages without an outcome."""
        records = (record for record in stored if record[_LAST] >= begin and record[_FIRST] < end)
        record = next(records, None)
        matched = 0
        for number, (offset, message) in enumerate(messages):
            while record is not None and record[_LAST] < offset:
                self._finish(book, record, matched, begin, end)
                record, matched = next(records, None), 0
            if record is not None and record[_FIRST] <= offset:
                matched += 1
                self._compare(book, record, message, offset)
            if number % FETCH_ROWS == 0:
                self._progress(self._done + offset - begin)
        while record is not None:
            self._finish(book, record, matched, begin, end)
            record, matched = next(records, None), 0
        self._done += end - begin

    def _finish(self, book: OffsetBook, record: Stored, matched: int, begin: int, end: int) -> None:
        """Report the offsets of a record whose message is missing."""
        if matched > record[_LAST] - record[_FIRST] or record[_OUTCOME] in {"hole", "lost"}:
            return
        first, last = max(record[_FIRST], begin), min(record[_LAST], end - 1)
        self._findings.add_offsets(FindingKind.NOT_ON_TOPIC, book.topic_partition, first, last - matched)

    def _compare(self, book: OffsetBook, record: Stored, message: Message, offset: int) -> None:
        outcome = record[_OUTCOME]
        if outcome == "rejected":
            self._compare_rejected(record, message, book.topic_partition, offset)
        elif outcome == "hole":
            self._findings.add_offsets(FindingKind.NO_HOLE, book.topic_partition, offset)
        elif outcome != "lost":
            self._compare_valid(book, record, message, offset)

    def _compare_valid(self, book: OffsetBook, record: Stored, message: Message, offset: int) -> None:
        outcome, partition = record[_OUTCOME], book.topic_partition
        try:
            found = read(message.key(), message.value(), record[_RECORDED_AT] + MAX_CLOCK_DIFFERENCE)
        except InvalidMessageError as error:
            self._findings.add_offsets(FindingKind.NOT_VALID, partition, offset, column=error.reason)
            return
        if isinstance(found, GapMessage):
            if outcome != "gaps":
                self._findings.add_offsets(FindingKind.NOT_VALID, partition, offset, column="unknown_type")
            elif _fingerprint(found) != record[-1]:
                self._findings.add_offsets(FindingKind.DIFFERS, partition, offset, column="gap")
        elif outcome == "gaps":
            self._findings.add_offsets(FindingKind.NOT_VALID, partition, offset, column="gap")
        elif outcome == "duplicate":
            self._add_duplicate(book, found, offset)
        else:
            if offset < book.sizes_from:
                found = found._replace(bid_size=None, ask_size=None)
            self.trades.add(found, known=offset >= book.sizes_from)
            for column, true, stored in zip(_QUOTE, found, record[_QUOTE_AT:], strict=False):
                if true != stored:
                    self._findings.add_offsets(FindingKind.DIFFERS, partition, offset, column=column)

    def _compare_rejected(
        self, record: Stored, message: Message, partition: TopicPartition, offset: int
    ) -> None:
        reason, key, value, created = record[_REJECTED_AT:-1]
        for column, true, stored in (
            ("key", _hash(message.key()), key),
            ("value", _hash(message.value()), value),
            ("kafka_timestamp", _created(message), created),
        ):
            if true != stored:
                self._findings.add_offsets(FindingKind.DIFFERS, partition, offset, column=column)
        if reason == REFUSED_BY_POSTGRES:
            return  # it may be valid: only PostgreSQL knows why it refused it
        try:
            read(message.key(), message.value(), record[_RECORDED_AT] - MAX_CLOCK_DIFFERENCE)
        except InvalidMessageError as error:
            if error.reason == reason:
                return
        self._findings.add_offsets(FindingKind.VALID, partition, offset, column=reason)

    def _add_duplicate(self, book: OffsetBook, quote: QuoteMessage, offset: int) -> None:
        if quote.trade_id is None:
            self._findings.add_offsets(FindingKind.NO_DUPLICATE, book.topic_partition, offset)
            return
        self._duplicates.append((quote.venue, quote.pair, quote.trade_id, quote.time, offset))
        if len(self._duplicates) >= MAX_DUPLICATES:
            self._look_up_duplicates(book)

    def _look_up_duplicates(self, book: OffsetBook) -> None:
        """Report the duplicates that repeat no earlier row."""
        if not self._duplicates:
            return
        venues, pairs, trade_ids, times, offsets = map(list, zip(*self._duplicates, strict=True))
        values = self._books.parameters | {
            "d_venues": venues,
            "d_pairs": pairs,
            "d_trade_ids": trade_ids,
            "d_times": times,
            "d_offsets": offsets,
            "earliest": min(times),
            "latest": max(times),
            "era": book.era,
            "partition": book.partition,
        }
        for (offset,) in self._connection.execute(_NOT_REPEATING, values):
            self._findings.add_offsets(FindingKind.NO_DUPLICATE, book.topic_partition, offset)
        self._duplicates.clear()


def _hash(raw: bytes | None) -> bytes | None:
    return None if raw is None else hashlib.sha256(raw).digest()


def _created(message: Message) -> datetime | None:
    _, milliseconds = message.timestamp()
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def _fingerprint(gap: GapMessage) -> str:
    missed: int | None = None if gap.kind in {"start", "missed"} else 0
    if gap.first_trade_id is not None and gap.last_trade_id is not None:
        missed = gap.last_trade_id - gap.first_trade_id + 1
    parts = (
        gap.venue,
        gap.pair,
        gap.kind,
        to_microseconds(gap.ends),
        None if gap.begins is None else to_microseconds(gap.begins),
        gap.first_trade_id,
        gap.last_trade_id,
        missed,
        None if gap.proves is None else str(gap.proves).lower(),
    )
    return " ".join("-" if part is None else str(part) for part in parts)
