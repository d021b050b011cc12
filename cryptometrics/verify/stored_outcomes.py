"""Read every outcome of a group's offsets once, in the order of its topics, as columns.

One query returns the rows of `crypto_metrics` and the offsets of every other table. Each check of rows and
offsets is a step over its blocks, so the table is read and sorted once, and memory does not grow with it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cryptometrics.verify.copy_blocks import copy_blocks
from cryptometrics.verify.exact_numbers import Numbers, read_numbers
from cryptometrics.verify.findings import TopicPartition
from cryptometrics.verify.outcome_details import GAP, REJECTED
from cryptometrics.verify.text_codes import TextCodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.copy_blocks import CopyBlock
    from cryptometrics.verify.offset_books import GroupBooks, OffsetBook

OUTCOMES = ("metrics", "rejected", "gaps", "duplicates", "holes")
"""The columns of `consumer_offsets` that count outcomes; a new one is also a line of the query."""
NO_TRADE = -(2**63)
"""In place of the trade id of a row without one."""
POSTGRES_EPOCH_US = 946_684_800_000_000
"""PostgreSQL's epoch, the year 2000, in microseconds from 1970."""
DAY_US = 86_400_000_000

NUMBERS = (
    *("bid", "ask", "mid_price", "spread", "highest_bid", "lowest_ask", "max_spread"),
    *("bid_size", "ask_size"),
)
"""The columns of exact numbers of a row, in the order of the query."""

# `number` is the place of a book among those of its group, by topic and partition. Sorting by one integer is
# several times as fast as by two columns; offsets beyond its range are sorted by the second key.
_OUTCOMES = f"""
SELECT number, kafka_partition, first_offset, last_offset, outcome, recorded_at, timestamp, trade_id, topic,
       detail, kind, venue, pair, session, {", ".join(NUMBERS)}
FROM (
    SELECT coalesce(b.number, %(unknown)s) AS number, m.kafka_partition, m.kafka_offset AS first_offset,
           m.kafka_offset AS last_offset, 0 AS outcome, m.recorded_at, m.timestamp,
           coalesce(m.trade_id, {NO_TRADE}) AS trade_id, NULL::text AS topic, NULL::text AS detail,
           m.kind, m.venue, m.pair, m.session, {", ".join(f"m.{name}" for name in NUMBERS)}
    FROM crypto_metrics m
    LEFT JOIN unnest(%(partitions)s::int[], %(begins)s::timestamptz[], %(ends)s::timestamptz[],
                     %(numbers)s::int[], %(starts)s::bigint[])
        AS b (kafka_partition, begins, ends, number, start)
      ON b.kafka_partition = m.kafka_partition
     AND m.recorded_at >= coalesce(b.begins, '-infinity') AND m.recorded_at < coalesce(b.ends, 'infinity')
    WHERE m.consumer_group = %(group)s AND {{rows}}
    UNION ALL
    SELECT coalesce(b.number, %(unknown)s), o.kafka_partition, o.first_offset, o.last_offset, o.outcome,
           o.recorded_at, 'epoch', {NO_TRADE}, o.topic, CASE WHEN %(details)s THEN o.detail END,
           NULL, NULL, NULL, NULL, {", ".join(["NULL"] * len(NUMBERS))}
    FROM (
        SELECT topic, kafka_partition, kafka_offset AS first_offset, kafka_offset AS last_offset,
               1 AS outcome, recorded_at, {REJECTED} AS detail
        FROM rejected_ticks WHERE consumer_group = %(group)s
        UNION ALL
        SELECT topic, kafka_partition, kafka_offset, kafka_offset, 2, recorded_at, {GAP}
        FROM feed_gaps WHERE consumer_group = %(group)s
        UNION ALL
        SELECT topic, kafka_partition, first_offset, last_offset,
               CASE reason WHEN 'duplicate' THEN 3 ELSE 4 END, recorded_at, reason
        FROM skipped_offsets WHERE consumer_group = %(group)s
    ) AS o
    LEFT JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(numbers)s::int[], %(starts)s::bigint[])
        AS b (topic, kafka_partition, number, start) USING (topic, kafka_partition)
    WHERE {{others}}
) AS outcomes
ORDER BY (number::bigint << 44) + least(greatest(first_offset, 0), 17592186044415), first_offset, last_offset
"""  # noqa: S608  (constants)


_ALL = {"rows": "true", "others": "true"}
_SINCE = {
    # Days whose newest row is older have none of the offsets that are read.
    "rows": "(b.start IS NULL OR m.kafka_offset >= b.start) AND m.timestamp >= %(since)s::timestamptz",
    "others": "(b.start IS NULL OR o.last_offset >= b.start)",
}
_BEFORE = {
    "rows": """m.kafka_offset < b.start AND m.timestamp >= %(first)s::timestamptz
        AND m.timestamp < %(last)s::timestamptz
        AND date_bin('1 minute', m.timestamp, 'epoch') = ANY (%(minutes)s::timestamptz[])""",
    "others": "false",
}
_FIRST_DAY = """
SELECT min(day) FROM metric_days
JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(starts)s::bigint[])
    AS b (topic, kafka_partition, start) USING (topic, kafka_partition)
WHERE consumer_group = %(group)s AND last_offset >= b.start
"""


class RowSeries(NamedTuple):
    """What the rows of one series have in common."""

    kind: str
    venue: str
    pair: str
    session: str


class OtherOutcome(NamedTuple):
    """An outcome that is no row."""

    kind: str
    """One of OUTCOMES."""
    first: int
    last: int
    recorded: int
    detail: str
    """As in `outcome_details`; of duplicates and holes the reason in `skipped_offsets`."""


@dataclass(frozen=True, slots=True)
class OutcomeRanges:
    """Outcomes of one partition, in the order of their first offsets."""

    partition: TopicPartition
    firsts: Integers
    lasts: Integers
    outcomes: Integers
    """Index in OUTCOMES."""
    recorded: Integers
    """`recorded_at` in microseconds from the epoch."""
    details: Mapping[int, str]
    """What is stored of the outcomes that are no rows, by their index; empty unless it was asked for."""

    def others(self) -> Iterator[OtherOutcome]:
        """Yield the outcomes that are no rows, with their details."""
        for at, detail in self.details.items():
            yield OtherOutcome(
                OUTCOMES[int(self.outcomes[at])],
                int(self.firsts[at]),
                int(self.lasts[at]),
                int(self.recorded[at]),
                detail,
            )


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows of one partition: by pair, and those of a pair in the order of the topic."""

    partition: TopicPartition
    book: OffsetBook | None
    """None for rows that no book accounts for."""
    offsets: Integers
    recorded: Integers
    """`recorded_at` in microseconds from the epoch, like `times`."""
    times: Integers
    trade_ids: Integers
    series: Integers
    """Index in `StoredOutcomes.series`."""
    pairs: Integers
    """The number of the venue and pair: ascending."""
    numbers: dict[str, Numbers]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, part: slice) -> StoredRows:
        return StoredRows(
            self.partition,
            self.book,
            self.offsets[part],
            self.recorded[part],
            self.times[part],
            self.trade_ids[part],
            self.series[part],
            self.pairs[part],
            {name: column[part] for name, column in self.numbers.items()},
        )


class StoredOutcomes:
    """Reads the outcomes of a group; `series` grows as rows are read."""

    def __init__(self, connection: psycopg.Connection, books: GroupBooks, *, details: bool) -> None:
        self._connection = connection
        self._books = books
        self._parameters = books.parameters | {"details": details}
        self._codes = TextCodes(fields=len(RowSeries._fields))
        self.series: list[RowSeries] = []
        self._pairs: dict[tuple[str, str], int] = {}
        self._pair_of_series = np.zeros(0, np.int64)

    def blocks(self) -> Iterator[tuple[list[OutcomeRanges], list[StoredRows]]]:
        """Yield the outcomes of some offsets, and the rows among them by partition."""
        if not self._books.starts:
            return self._blocks(_ALL, self._parameters)
        (day,) = self._connection.execute(_FIRST_DAY, self._parameters).fetchone() or (None,)
        since = "infinity" if day is None else f"{day} 00:00+00"
        return self._blocks(_SINCE, self._parameters | {"since": since})

    def before(self, minutes: Sequence[datetime]) -> Iterator[StoredRows]:
        """Yield the rows of some minutes that come before the offsets of `blocks`."""
        if minutes:
            values = {"minutes": minutes, "first": min(minutes), "last": max(minutes) + timedelta(minutes=1)}
            for _, rows in self._blocks(_BEFORE, self._parameters | values):
                yield from rows

    def _blocks(
        self, which: Mapping[str, str], parameters: Mapping[str, object]
    ) -> Iterator[tuple[list[OutcomeRanges], list[StoredRows]]]:
        for block in copy_blocks(self._connection, _OUTCOMES.format(**which), parameters):
            number, partition, first, last, outcome, recorded, time, trade_id = block.integers(
                4, 4, 8, 8, 4, 8, 8, 8
            )
            places, place = self._places(block, number, partition)
            details = _details(block)
            ranges = [
                OutcomeRanges(
                    places[code],
                    first[at],
                    last[at],
                    outcome[at],
                    recorded[at] + POSTGRES_EPOCH_US,
                    {row - at.start: text for row, text in details.items() if at.start <= row < at.stop},
                )
                for code, at in runs(place)
            ]
            if outcome.any():
                at = np.flatnonzero(outcome == 0)
                block.reorder(at)
                place, first, recorded, time, trade_id = (
                    column[at] for column in (place, first, recorded, time, trade_id)
                )
            yield ranges, list(self._rows(block, places, place, first, recorded, time, trade_id))

    def _rows(
        self,
        block: CopyBlock,
        places: dict[int, TopicPartition],
        place: Integers,
        *columns: Integers,
    ) -> Iterator[StoredRows]:
        if not len(place):
            return
        series = self._series_of(block)
        pairs = self._pair_of_series[series]
        order = np.argsort(place * len(self._pairs) + pairs, kind="stable")
        block.reorder(order)
        numbers = {name: read_numbers(block) for name in NUMBERS}
        offsets, recorded, times, trade_ids = (column[order] for column in columns)
        series, pairs, place = series[order], pairs[order], place[order]
        for code, part in runs(place):
            yield StoredRows(
                places[code],
                self._books.by_number.get(code),
                offsets[part],
                recorded[part] + POSTGRES_EPOCH_US,
                times[part] + POSTGRES_EPOCH_US,
                trade_ids[part],
                series[part],
                pairs[part],
                {name: column[part] for name, column in numbers.items()},
            )

    def _series_of(self, block: CopyBlock) -> Integers:
        codes = self._codes.read(block)
        if len(self._codes.texts) > len(self.series):
            for texts in self._codes.texts[len(self.series) :]:
                series = RowSeries(*texts)
                self.series.append(series)
                self._pairs.setdefault((series.venue, series.pair), len(self._pairs))
            self._pair_of_series = np.array([self._pairs[s.venue, s.pair] for s in self.series], np.int64)
        return codes

    def _places(
        self, block: CopyBlock, number: Integers, partition: Integers
    ) -> tuple[dict[int, TopicPartition], Integers]:
        """Return the partition of each outcome, as a code, and what the codes mean."""
        begins, lengths = block.next_field()
        places = {code: book.topic_partition for code, book in self._books.by_number.items()}
        unknown = len(places)
        if number[-1] < unknown:
            return places, number
        codes: dict[TopicPartition, int] = {}
        number = number.copy()
        for row in np.flatnonzero(number == unknown).tolist():
            topic = None
            if lengths[row] >= 0:
                topic = block.words.text(begins[row], begins[row] + lengths[row]).decode()
            where = TopicPartition(topic, int(partition[row]))
            number[row] = codes.setdefault(where, unknown + len(codes))
        return places | {code: where for where, code in codes.items()}, number


def _details(block: CopyBlock) -> dict[int, str]:
    """Read the next field of a block, and return it where it is not NULL."""
    begins, lengths = block.next_field()
    return {
        row: block.words.text(begins[row], begins[row] + lengths[row]).decode()
        for row in np.flatnonzero(lengths >= 0).tolist()
    }


def runs(codes: Integers) -> Iterator[tuple[int, slice]]:
    """Yield each code with the places at which it stands side by side."""
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for begin, end in itertools.pairwise(edges):
        if begin < end:
            yield int(codes[begin]), slice(begin, end)
