"""The topic once more: what is stored of each offset against the message that stands there.

Both sides come in the order of the offsets and are merged, so memory stays flat. Only what a message itself
says is compared, its fate and its quote: what follows from the quotes, `rows` has proved from the rows.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from cryptometrics import broker
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.ticks import Reason, RejectedError, decode
from cryptometrics.verify.books import ROWS
from cryptometrics.verify.findings import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import psycopg
    from confluent_kafka import Message

    from cryptometrics.config import Settings
    from cryptometrics.ticks import Tick
    from cryptometrics.verify.books import Book, Books
    from cryptometrics.verify.findings import Findings, Place

AT_ONCE = 10_000
"""Rows and messages fetched at once."""
DUPLICATES_AT_ONCE = 50_000
"""Duplicates looked up together: one reading of the table finds the rows that all of them repeat."""
CLOCKS = timedelta(minutes=10)
"""How far apart the worker's clock when it judged a tick's time, and `recorded_at`, may be."""
WATERMARK_S = 10.0
"""Seconds in which Kafka has to say what a partition holds."""

_QUOTE = ("pair", "kind", "bid", "ask", "timestamp", "trade_id")

# What is rejected may be megabytes: of that, hashes are compared. Holes are not on the topic, so of them
# only the place is of use.
_STORED = f"""
SELECT topic COLLATE "C" AS topic, kafka_partition, kafka_offset, kafka_offset AS last_offset,
       'metrics' AS fate, recorded_at, pair, kind, bid, ask, timestamp, trade_id,
       NULL AS reason, NULL::bytea AS key, NULL::bytea AS value, NULL::timestamptz AS kafka_timestamp
FROM ({ROWS}) AS metrics
UNION ALL
SELECT topic, kafka_partition, kafka_offset, kafka_offset, 'rejected', recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL, reason, sha256(key), sha256(value), kafka_timestamp
FROM rejected_ticks WHERE consumer_group = %(group)s
UNION ALL
SELECT topic, kafka_partition, first_offset, last_offset, reason, recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM skipped_offsets WHERE consumer_group = %(group)s
ORDER BY topic, kafka_partition, kafka_offset
"""  # noqa: S608  (constants)
_TOPIC, _PARTITION, _FIRST, _LAST, _FATE, _RECORDED_AT, _QUOTE_AT = range(7)
_REJECTED_AT = _QUOTE_AT + len(_QUOTE)

# The row that is repeated must stand before, in the order of the topics of that name, else of the partition.
_NOT_REPEATING = f"""
SELECT d.kafka_offset
FROM unnest(%(d_pairs)s::text[], %(d_trade_ids)s::bigint[], %(d_times)s::timestamptz[],
            %(d_offsets)s::bigint[]) AS d (pair, trade_id, timestamp, kafka_offset)
LEFT JOIN (SELECT * FROM ({ROWS}) AS metrics
           WHERE timestamp BETWEEN %(earliest)s AND %(latest)s) AS m
  ON (m.pair, m.trade_id, m.timestamp) = (d.pair, d.trade_id, d.timestamp)
 AND (m.era < %(era)s
      OR m.era = %(era)s AND (m.kafka_partition <> %(partition)s OR m.kafka_offset < d.kafka_offset))
WHERE m.pair IS NULL
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
        consumer = Consumer(_conf(self._settings))
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
                        ids[book.topic] = self._topic_id(book.topic)
                    self._check(consumer, book, stored, ids[book.topic])
        finally:
            consumer.close()

    def _topic_id(self, topic: str) -> str | None:
        """Return the id of the topic as it is now, None where there is none."""
        try:
            return broker.describe_topic(self._settings.model_copy(update={"kafka_topic": topic})).id
        except UserError:
            return None

    def _check(self, consumer: Consumer, book: Book, stored: Iterable[Stored], topic_id: str | None) -> None:
        begin, end = book.first_offset, book.next_offset
        if topic_id == book.topic_id:
            low, high = consumer.get_watermark_offsets(
                TopicPartition(book.topic, book.partition), timeout=WATERMARK_S
            )
            begin, end = max(begin, low), min(end, high)
        else:
            begin = end
        unchecked = book.offsets - max(end - begin, 0)
        if unchecked:
            why = "Kafka no longer holds them" if topic_id == book.topic_id else "the topic was made again"
            self.notes.append(f"{book.place}: not checked against the topic: {unchecked} offsets ({why})")
            self.unchecked += unchecked
        if begin < end:
            messages = self._messages(consumer, book, begin, end)
            self._merge(book, stored, messages, begin, end)
            self._look_up_duplicates(book)
        self._done += unchecked

    def _messages(
        self, consumer: Consumer, book: Book, begin: int, end: int
    ) -> Iterator[tuple[int, Message]]:
        """Yield the messages of a partition with their offsets, from `begin` to before `end`."""
        consumer.assign([TopicPartition(book.topic, book.partition, begin)])
        heard = time.monotonic()
        while True:
            received = consumer.consume(AT_ONCE, 0.5)
            if received:
                heard = time.monotonic()
            elif time.monotonic() - heard > self._settings.wait:
                raise ServiceUnavailableError(
                    f"Kafka sent nothing of {book.place} for {self._settings.wait:g} s: "
                    "see `cryptometrics status`, and run this again"
                )
            for message in received:
                error, offset = message.error(), message.offset()
                if error is None:
                    if offset is None or offset >= end:
                        return
                    yield offset, message
                elif error.code() == KafkaError._PARTITION_EOF:
                    return
                elif not error.retriable():
                    raise CryptometricsError(f"Kafka does not let {book.place} be read: {error.str()}")

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
        if record[_FATE] in {"hole", "lost"}:
            return
        first, last = max(record[_FIRST], begin), min(record[_LAST], end - 1)
        self._findings.offsets(Kind.NOT_ON_TOPIC, book.place, first, last - matched)

    def _compare(self, book: Book, record: Stored, message: Message, offset: int) -> None:
        fate, place = record[_FATE], book.place
        if fate == "rejected":
            self._compare_rejected(record, message, place, offset)
        elif fate == "hole":
            self._findings.offsets(Kind.NO_HOLE, place, offset)
        elif fate != "lost":
            try:
                tick = decode(message.key(), message.value(), record[_RECORDED_AT] + CLOCKS)
            except RejectedError as error:
                self._findings.offsets(Kind.NOT_VALID, place, offset, column=error.reason)
                return
            if fate == "metrics":
                quote = (tick.pair, tick.kind, tick.bid, tick.ask, tick.time, tick.trade_id)
                if quote != record[_QUOTE_AT:_REJECTED_AT]:
                    for column, now, then in zip(_QUOTE, quote, record[_QUOTE_AT:], strict=False):
                        if now != then:
                            self._findings.offsets(Kind.DIFFERS, place, offset, column=column)
            else:
                self._note_duplicate(book, tick, offset)

    def _compare_rejected(self, record: Stored, message: Message, place: Place, offset: int) -> None:
        reason, key, value, created = record[_REJECTED_AT:]
        for column, now, then in (
            ("key", _hash(message.key()), key),
            ("value", _hash(message.value()), value),
            ("kafka_timestamp", _created(message), created),
        ):
            if now != then:
                self._findings.offsets(Kind.DIFFERS, place, offset, column=column)
        if reason == Reason.REFUSED:
            return  # valid for all that we know: only PostgreSQL could tell
        try:
            decode(message.key(), message.value(), record[_RECORDED_AT] - CLOCKS)
        except RejectedError as error:
            if error.reason == reason:
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


def _conf(settings: Settings) -> dict[str, Any]:
    """Return the settings of a consumer that joins no group and commits nothing: it is told where to read."""
    tuning = {"queued.min.messages": 100_000, "queued.max.messages.kbytes": 32 * 1024}
    promised = {
        "group.id": "cryptometrics-verify",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    return tuning | broker.client_conf(settings, **promised)


def _hash(raw: bytes | None) -> bytes | None:
    return None if raw is None else hashlib.sha256(raw).digest()


def _created(message: Message) -> datetime | None:
    _, milliseconds = message.timestamp()
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None
