"""The topic once more: what is stored of each offset against the message that stands there.

Both sides come in the order of the offsets and are merged, so memory stays flat. Only what a message itself
says is compared, its fate and its quote: what follows from the quotes, `rows` has proved from the rows.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from cryptometrics.errors import UserError
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.market.tick_decoder import Reason, RejectedError, decode
from cryptometrics.verify.findings import Kind
from cryptometrics.verify.gap_check import FINGERPRINT, compare_gap, reason_against
from cryptometrics.verify.offset_books import ROWS
from cryptometrics.verify.topic_reader import Messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import psycopg
    from confluent_kafka import Message

    from cryptometrics.config import Settings
    from cryptometrics.market.tick_decoder import Tick
    from cryptometrics.verify.findings import Findings, Place
    from cryptometrics.verify.offset_books import Book, Books

AT_ONCE = 10_000
"""Rows fetched at once."""
DUPLICATES_AT_ONCE = 50_000
"""Duplicates looked up together: one reading of the table finds the rows that all of them repeat."""
CLOCKS = timedelta(minutes=10)
"""How far apart the worker's clock when it judged a tick's time, and `recorded_at`, may be."""

_QUOTE = ("pair", "kind", "bid", "ask", "timestamp", "trade_id")

# What is rejected may be megabytes: of that, hashes are compared. Holes are not on the topic, so of them
# only the place is of use.
_STORED = f"""
SELECT topic COLLATE "C" AS topic, kafka_partition, kafka_offset, kafka_offset AS last_offset,
       'metrics' AS fate, recorded_at, pair, kind, bid, ask, timestamp, trade_id,
       NULL AS reason, NULL::bytea AS key, NULL::bytea AS value, NULL::timestamptz AS kafka_timestamp,
       NULL::text AS gap
FROM ({ROWS}) AS metrics
UNION ALL
SELECT topic, kafka_partition, kafka_offset, kafka_offset, 'rejected', recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL, reason, sha256(key), sha256(value), kafka_timestamp, NULL
FROM rejected_ticks WHERE consumer_group = %(group)s
UNION ALL
SELECT topic, kafka_partition, kafka_offset, kafka_offset, 'gaps', recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {FINGERPRINT}
FROM feed_gaps WHERE consumer_group = %(group)s
UNION ALL
SELECT topic, kafka_partition, first_offset, last_offset, reason, recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM skipped_offsets WHERE consumer_group = %(group)s
ORDER BY topic, kafka_partition, kafka_offset
"""  # noqa: S608  (constants)
_TOPIC, _PARTITION, _FIRST, _LAST, _FATE, _RECORDED_AT, _QUOTE_AT = range(7)
_REJECTED_AT = _QUOTE_AT + len(_QUOTE)

# The row that is repeated must stand before, in the order of the topics of that name, else of the partition;
# unless its day was pruned.
_NOT_REPEATING = f"""
SELECT d.kafka_offset
FROM unnest(%(d_pairs)s::text[], %(d_trade_ids)s::bigint[], %(d_times)s::timestamptz[],
            %(d_offsets)s::bigint[]) AS d (pair, trade_id, timestamp, kafka_offset)
LEFT JOIN (SELECT * FROM ({ROWS}) AS metrics
           WHERE timestamp BETWEEN %(earliest)s AND %(latest)s) AS m
  ON (m.pair, m.trade_id, m.timestamp) = (d.pair, d.trade_id, d.timestamp)
 AND (m.era < %(era)s
      OR m.era = %(era)s AND (m.kafka_partition <> %(partition)s OR m.kafka_offset < d.kafka_offset))
WHERE m.pair IS NULL AND NOT %(pruned)s::datemultirange @> (d.timestamp AT TIME ZONE 'UTC')::date
ORDER BY d.kafka_offset
"""  # noqa: S608  (constants)

Stored = tuple[Any, ...]


class TopicCheck:
    """Reads the topics of a group's books again and compares."""

    def __init__(
        self,
        connection: psycopg.Connection,
        settings: Settings,
        books: Books,
        findings: Findings,
        progress: Callable[[int], None],
    ) -> None:
        """Prepare to check; `progress` is told how many offsets are done, often."""
        self._connection = connection
        self._settings = settings
        self._books = books
        self._findings = findings
        self._progress = progress
        self._done = 0
        self._duplicates: list[tuple[str, int, datetime, int]] = []
        self.notes: list[str] = []
        self.unchecked = 0
        """Offsets that the topic no longer holds."""

    def run(self) -> None:
        """Compare everything; raise ServiceUnavailableError where Kafka stops answering."""
        by_place = {book.place: book for book in self._books.books}
        messages = Messages(self._settings)
        ids: dict[str, str | None] = {}
        try:
            with self._connection.cursor(name="stored_fates") as cursor:
                cursor.itersize = AT_ONCE
                cursor.execute(_STORED, self._books.parameters, binary=True)
                for place, stored in groupby(cursor, key=itemgetter(_TOPIC, _PARTITION)):
                    book = by_place.get(place)
                    if book is None:
                        continue  # rows without books: said by those
                    if book.topic not in ids:
                        ids[book.topic] = self._topic_id(book)
                    self._check(messages, book, stored, ids[book.topic])
        finally:
            messages.close()

    def _topic_id(self, book: Book) -> str | None:
        """Return the id of the topic as it is now, None where there is none or its books are closed."""
        if book.ends is not None:
            return None
        try:
            return describe_topic(self._settings.model_copy(update={"kafka_topic": book.topic})).id
        except UserError:
            return None

    def _check(self, messages: Messages, book: Book, stored: Iterable[Stored], topic_id: str | None) -> None:
        begin, end = book.first_offset, book.next_offset
        if topic_id == book.topic_id:
            low, high = messages.held(book.place)
            begin, end = max(begin, low), min(end, high)
        else:
            begin = end
        unchecked = book.offsets - max(end - begin, 0)
        if unchecked:
            why = "Kafka no longer holds them" if topic_id == book.topic_id else "that topic is gone"
            self.notes.append(f"{book.place}: not checked against the topic: {unchecked} offsets ({why})")
            self.unchecked += unchecked
        if begin < end:
            self._merge(book, stored, messages.read(book.place, begin, end), begin, end)
            self._look_up_duplicates(book)
        self._done += unchecked

    def _merge(
        self,
        book: Book,
        stored: Iterable[Stored],
        messages: Iterable[tuple[int, Message]],
        begin: int,
        end: int,
    ) -> None:
        """Bring messages and fates together by offset; messages without a fate are found by the books."""
        records = (record for record in stored if record[_LAST] >= begin and record[_FIRST] < end)
        record = next(records, None)
        matched = 0
        for number, (offset, message) in enumerate(messages):
            while record is not None and record[_LAST] < offset:
                self._pass(book, record, matched, begin, end)
                record, matched = next(records, None), 0
            if record is not None and record[_FIRST] <= offset:
                matched += 1
                self._compare(book, record, message, offset)
            if number % AT_ONCE == 0:
                self._progress(self._done + offset - begin)
        while record is not None:
            self._pass(book, record, matched, begin, end)
            record, matched = next(records, None), 0
        self._done += end - begin

    def _pass(self, book: Book, record: Stored, matched: int, begin: int, end: int) -> None:
        """Note what had no message though its fate says that there was one."""
        if matched > record[_LAST] - record[_FIRST] or record[_FATE] in {"hole", "lost"}:
            return
        first, last = max(record[_FIRST], begin), min(record[_LAST], end - 1)
        self._findings.offsets(Kind.NOT_ON_TOPIC, book.place, first, last - matched)

    def _compare(self, book: Book, record: Stored, message: Message, offset: int) -> None:
        fate = record[_FATE]
        if fate == "rejected":
            self._compare_rejected(record, message, book.place, offset)
        elif fate == "gaps":
            now = record[_RECORDED_AT] + CLOCKS
            compare_gap(self._findings, record[-1], message, book.place, offset, now)
        elif fate == "hole":
            self._findings.offsets(Kind.NO_HOLE, book.place, offset)
        elif fate != "lost":
            try:
                tick = decode(message.key(), message.value(), record[_RECORDED_AT] + CLOCKS)
            except RejectedError as error:
                self._findings.offsets(Kind.NOT_VALID, book.place, offset, column=error.reason)
                return
            if fate == "metrics":
                quote = (tick.pair, tick.kind, tick.bid, tick.ask, tick.time, tick.trade_id)
                if quote != record[_QUOTE_AT:_REJECTED_AT]:
                    for column, now, then in zip(_QUOTE, quote, record[_QUOTE_AT:], strict=False):
                        if now != then:
                            self._findings.offsets(Kind.DIFFERS, book.place, offset, column=column)
            else:
                self._note_duplicate(book, tick, offset)

    def _compare_rejected(self, record: Stored, message: Message, place: Place, offset: int) -> None:
        reason, key, value, created = record[_REJECTED_AT:-1]
        for column, now, then in (
            ("key", _hash(message.key()), key),
            ("value", _hash(message.value()), value),
            ("kafka_timestamp", _created(message), created),
        ):
            if now != then:
                self._findings.offsets(Kind.DIFFERS, place, offset, column=column)
        if reason == Reason.REFUSED:
            return  # valid for all that we know: only PostgreSQL could tell
        if reason_against(message, record[_RECORDED_AT] - CLOCKS) == reason:
            return
        self._findings.offsets(Kind.VALID, place, offset, column=reason)

    def _note_duplicate(self, book: Book, tick: Tick, offset: int) -> None:
        if tick.trade_id is None:
            self._findings.offsets(Kind.NO_DUPLICATE, book.place, offset)
            return
        self._duplicates.append((tick.pair, tick.trade_id, tick.time, offset))
        if len(self._duplicates) >= DUPLICATES_AT_ONCE:
            self._look_up_duplicates(book)

    def _look_up_duplicates(self, book: Book) -> None:
        """Find those that repeat nothing."""
        if not self._duplicates:
            return
        pairs, trade_ids, times, offsets = map(list, zip(*self._duplicates, strict=True))
        values = self._books.parameters | {
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
            self._findings.offsets(Kind.NO_DUPLICATE, book.place, offset)
        self._duplicates.clear()


def _hash(raw: bytes | None) -> bytes | None:
    return None if raw is None else hashlib.sha256(raw).digest()


def _created(message: Message) -> datetime | None:
    _, milliseconds = message.timestamp()
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None
