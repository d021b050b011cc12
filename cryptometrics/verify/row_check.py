"""Recompute by SQL every number that follows from the stored quotes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.times import from_microseconds
from cryptometrics.verify.findings import FindingKind, TopicPartition
from cryptometrics.verify.offset_books import ROWS
from cryptometrics.verify.pruned import INCOMPLETE

if TYPE_CHECKING:
    from decimal import Decimal

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks

_COMPLETE = f"(venue, pair, session) NOT IN ({INCOMPLETE})"

# One pass over the group. Texts are sorted by their bytes: faster, and sufficient for grouping. If rows of a
# session were pruned, an extreme may exceed that of the rows left, but never fall short of it.
_ROWS = f"""
SELECT topic, kafka_partition, kafka_offset, array_remove(ARRAY[
    CASE WHEN mid_price <> (bid + ask) * 0.5 THEN 'mid_price' END,
    CASE WHEN spread <> ask - bid THEN 'spread' END,
    CASE WHEN bid_size < 0 OR before_sizes AND bid_size IS NOT NULL THEN 'bid_size' END,
    CASE WHEN ask_size < 0 OR before_sizes AND ask_size IS NOT NULL THEN 'ask_size' END,
    CASE WHEN highest_bid < true_highest_bid
           OR highest_bid > true_highest_bid AND {_COMPLETE} THEN 'highest_bid' END,
    CASE WHEN lowest_ask > true_lowest_ask
           OR lowest_ask < true_lowest_ask AND {_COMPLETE} THEN 'lowest_ask' END,
    CASE WHEN max_spread < true_max_spread
           OR max_spread > true_max_spread AND {_COMPLETE} THEN 'max_spread' END
], NULL)
FROM (
    SELECT topic, kafka_partition, kafka_offset, venue, pair, session, bid, ask, mid_price, spread,
           highest_bid, lowest_ask, max_spread, bid_size, ask_size, before_sizes,
           max(bid) OVER so_far AS true_highest_bid, min(ask) OVER so_far AS true_lowest_ask,
           max(ask - bid) OVER so_far AS true_max_spread
    FROM ({ROWS}) AS metrics
    WINDOW so_far AS (PARTITION BY venue COLLATE "C", pair COLLATE "C", session COLLATE "C"
                      ORDER BY era, kafka_partition, kafka_offset ROWS UNBOUNDED PRECEDING)
) AS m
WHERE mid_price <> (bid + ask) * 0.5 OR spread <> ask - bid OR highest_bid <> true_highest_bid
   OR lowest_ask <> true_lowest_ask OR max_spread <> true_max_spread
   OR bid_size < 0 OR ask_size < 0 OR before_sizes AND coalesce(bid_size, ask_size) IS NOT NULL
"""  # noqa: S608  (constants)

# A trade that is missing from the state would be stored again when the feed repeats it.
_UNKNOWN_TO_STATE = f"""
SELECT topic, kafka_partition, kafka_offset,
       CASE WHEN s.pair IS NULL THEN 'session' WHEN p.pair IS NULL THEN 'pair' ELSE 'trade_id' END
FROM ({ROWS}) AS m
LEFT JOIN session_extremes s USING (consumer_group, venue, pair, session)
LEFT JOIN pair_state p USING (consumer_group, venue, pair)
WHERE consumer_group = %(group)s
  AND (s.pair IS NULL OR p.pair IS NULL
       OR m.trade_id >= p.trade_ids_floor AND NOT p.trade_ids @> m.trade_id)
"""  # noqa: S608  (constants)

_REPEATED = f"""
SELECT topic, m.kafka_partition, m.kafka_offset
FROM (SELECT venue, pair, trade_id, timestamp FROM crypto_metrics
      WHERE consumer_group = %(group)s AND trade_id IS NOT NULL
      GROUP BY venue, pair, trade_id, timestamp HAVING count(*) > 1) AS repeated
JOIN ({ROWS}) AS m USING (venue, pair, trade_id, timestamp)
"""  # noqa: S608  (constants)

# Arrays compare element by element: the least one is the first row of the topic, the greatest the last.
_SESSIONS = f"""
SELECT s.venue, s.pair, s.session,
       s.ticks, s.highest_bid, s.lowest_ask, s.max_spread, s.last_bid, s.last_ask,
       s.last_bid_size, s.last_ask_size,
       extract(epoch FROM s.highest_bid_at), extract(epoch FROM s.lowest_ask_at),
       extract(epoch FROM s.max_spread_at), extract(epoch FROM s.first_at), extract(epoch FROM s.last_at),
       count(bid), max(bid), min(ask), max(ask - bid),
       (max(ARRAY[era, kafka_partition, kafka_offset, bid]) FILTER (WHERE timestamp = s.last_at))[4],
       (max(ARRAY[era, kafka_partition, kafka_offset, ask]) FILTER (WHERE timestamp = s.last_at))[4],
       (max(ARRAY[era, kafka_partition, kafka_offset, bid_size]) FILTER (WHERE timestamp = s.last_at))[4],
       (max(ARRAY[era, kafka_partition, kafka_offset, ask_size]) FILTER (WHERE timestamp = s.last_at))[4],
       (min(ARRAY[era, kafka_partition, kafka_offset, extract(epoch FROM timestamp)])
           FILTER (WHERE bid = s.highest_bid))[4],
       (min(ARRAY[era, kafka_partition, kafka_offset, extract(epoch FROM timestamp)])
           FILTER (WHERE ask = s.lowest_ask))[4],
       (min(ARRAY[era, kafka_partition, kafka_offset, extract(epoch FROM timestamp)])
           FILTER (WHERE ask - bid = s.max_spread))[4],
       extract(epoch FROM min(timestamp)), extract(epoch FROM max(timestamp))
FROM session_extremes s LEFT JOIN ({ROWS}) AS m USING (consumer_group, venue, pair, session)
WHERE consumer_group = %(group)s AND {_COMPLETE}
GROUP BY s.consumer_group, s.venue, s.pair, s.session
ORDER BY s.venue, s.pair, s.session
"""  # noqa: S608  (constants)
_SESSION_COLUMNS = (
    *("ticks", "highest_bid", "lowest_ask", "max_spread", "last_bid", "last_ask"),
    *("last_bid_size", "last_ask_size"),
    *("highest_bid_at", "lowest_ask_at", "max_spread_at", "first_at", "last_at"),
)

# A late tick may follow a pruned one of any earlier session, so the rows may show fewer late ticks.
_LATE = f"""
SELECT venue, pair, session, s.late, coalesce(m.late, 0)
FROM session_extremes s LEFT JOIN (
    SELECT venue, pair, session, count(*) FILTER (WHERE trade_id < highest) AS late
    FROM (
        SELECT venue, pair, session, trade_id,
               max(trade_id) OVER (PARTITION BY venue COLLATE "C", pair COLLATE "C"
                                   ORDER BY era, kafka_partition, kafka_offset
                                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS highest
        FROM ({ROWS}) AS metrics WHERE trade_id IS NOT NULL
    ) AS trades
    GROUP BY venue, pair, session
) AS m USING (venue, pair, session)
WHERE consumer_group = %(group)s
  AND (s.late < coalesce(m.late, 0)
       OR s.late > coalesce(m.late, 0)
          AND (venue, pair) NOT IN (SELECT venue, pair FROM ({INCOMPLETE}) AS i))
ORDER BY venue, pair, session
"""  # noqa: S608  (constants)

# The newest quote of a pair is the last one of some session, and sessions are checked against the rows.
_PAIRS = f"""
SELECT venue, pair, p.timestamp, max(s.last_at), p.trade_id, upper(p.trade_ids) - 1, m.highest,
       (venue, pair) IN (SELECT venue, pair FROM ({INCOMPLETE}) AS i),
       coalesce(bool_or((p.timestamp, p.bid, p.ask) = (s.last_at, s.last_bid, s.last_ask)
           AND (p.bid_size, p.ask_size) IS NOT DISTINCT FROM (s.last_bid_size, s.last_ask_size)), false)
FROM pair_state p
LEFT JOIN session_extremes s USING (consumer_group, venue, pair)
LEFT JOIN (SELECT venue, pair, max(trade_id) AS highest FROM crypto_metrics
           WHERE consumer_group = %(group)s GROUP BY venue, pair) AS m USING (venue, pair)
WHERE consumer_group = %(group)s
GROUP BY consumer_group, venue, pair, m.highest
ORDER BY venue, pair
"""  # noqa: S608  (constants)
_TICKS = "SELECT sum(ticks)::bigint FROM session_extremes WHERE consumer_group = %(group)s"

_SCATTERED = f"""
SELECT pair, array_agg(kafka_partition ORDER BY kafka_partition)
FROM (SELECT DISTINCT era, pair, kafka_partition FROM ({ROWS}) AS metrics) AS places
GROUP BY era, pair HAVING count(*) > 1
ORDER BY era, pair
"""  # noqa: S608  (constants)


def check_rows(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Recompute mid price, spread and running extremes of each row, in the order of the topic."""
    with connection.cursor() as cursor:
        for topic, partition, offset, columns in cursor.stream(_ROWS, books.parameters):
            for column in columns:
                findings.add_offsets(FindingKind.ROW, TopicPartition(topic, partition), offset, column=column)


def check_trades(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Find trades that are stored twice, and rows missing from the state of their session or pair."""
    with connection.cursor() as cursor:
        for topic, partition, offset in cursor.stream(_REPEATED, books.parameters):
            findings.add_offsets(FindingKind.REPEATED, TopicPartition(topic, partition), offset)
    with connection.cursor() as cursor:
        for topic, partition, offset, column in cursor.stream(_UNKNOWN_TO_STATE, books.parameters):
            findings.add_offsets(
                FindingKind.UNKNOWN_TO_STATE, TopicPartition(topic, partition), offset, column=column
            )


def check_sessions(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Recompute every column of `session_extremes` from the rows.

    If days were pruned, also compare the ticks of all sessions with the rows that were written.
    """
    width = len(_SESSION_COLUMNS)
    for venue, pair, session, *values in connection.execute(_SESSIONS, books.parameters):
        for column, stored, found in zip(_SESSION_COLUMNS, values[:width], values[width:], strict=True):
            if stored != found:
                shown = _moment if column.endswith("_at") else str
                text = f"{pair} ({venue}) in session {session}: {shown(stored)}, {shown(found)} in the rows"
                findings.add_text(FindingKind.SESSION, text, column=column)
    for venue, pair, session, stored, found in connection.execute(_LATE, books.parameters):
        text = f"{pair} ({venue}) in session {session}: {stored}, {found} in the rows"
        findings.add_text(FindingKind.SESSION, text, column="late")
    if books.pruned:
        (ticks,) = connection.execute(_TICKS, books.parameters).fetchone() or (None,)
        stored = sum(book.metrics for book in books.books)
        if ticks != stored:
            text = f"all sessions together: {ticks}, {stored} in consumer_offsets"
            findings.add_text(FindingKind.SESSION, text, column="ticks")


def check_pairs(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Compare `pair_state` with the sessions and the rows."""
    rows = connection.execute(_PAIRS, books.parameters)
    for venue, pair, stored_at, newest_at, trade_id, end_of_ids, highest, is_pruned, is_last_quote in rows:
        market = f"{pair} ({venue})"
        if not is_last_quote or stored_at != newest_at:
            text = f"{market}: the quote of {stored_at} is not the newest one of its sessions, of {newest_at}"
            findings.add_text(FindingKind.PAIR, text, column="bid, ask, timestamp")
        if is_pruned and (highest is None or highest < trade_id):
            highest = trade_id  # noqa: PLW2901  (the row may be pruned)
        if not trade_id == end_of_ids == highest:
            text = f"{market}: {trade_id}, {end_of_ids} in trade_ids, {highest} in the rows"
            findings.add_text(FindingKind.PAIR, text, column="trade_id")


def notes_on_scattered_pairs(connection: psycopg.Connection, books: GroupBooks) -> list[str]:
    """Return a line for each pair with rows in several partitions, which is right if the topic has grown."""
    return [
        f"{pair} is in partitions {', '.join(map(str, partitions))}: right if the topic got more partitions, "
        "otherwise its producers use different partitioners"
        for pair, partitions in connection.execute(_SCATTERED, books.parameters)
    ]


def _moment(seconds: Decimal | None) -> str:
    return "none" if seconds is None else str(from_microseconds(int(seconds * 1_000_000)))
