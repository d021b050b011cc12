"""Note complete minutes that change afterwards, so that `risk --follow` computes their rows again.

A note is written with the batch that changes the minute, and only for venues that `risk --follow` has begun:
without figures there is nothing to correct.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptometrics.market.windows import MINUTE
from cryptometrics.store.array_text import arrays
from cryptometrics.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from cryptometrics.market.venues import Market
    from cryptometrics.market.windows import Aggregate
    from cryptometrics.store.feed_gaps import StoredGap
    from cryptometrics.store.partition_claims import GroupTopic
    from cryptometrics.store.prepared_statements import Executes

GAP_MARGIN = timedelta(seconds=2)
"""A gap is widened by this much on both sides: its times come from the receiver's clock."""

# A minute is late if the watermark of its partition had passed it before the batch, or the follower has
# computed it. The first ticks of a venue in a partition have no watermark: the lock lets them wait for a
# follower that has read the watermarks without this partition, and shows how far it has come. The lock of the
# watermarks keeps those of idle partitions from moving between this statement and the commit.
_NOTE = """
WITH changed AS (
    SELECT * FROM unnest(%(partitions)s::int[], %(venues)s::text[], %(pairs)s::text[],
                         %(first)s::timestamptz[], %(last)s::timestamptz[])
        AS c (kafka_partition, venue, pair, first, last)
), without_watermark AS (
    SELECT c.kafka_partition, c.venue, r.complete_until
    FROM (SELECT DISTINCT kafka_partition, venue FROM changed) AS c
    JOIN risk_progress r ON (r.consumer_group, r.venue) = (%(group)s, c.venue)
    WHERE NOT EXISTS (
        SELECT FROM window_progress p
        WHERE (p.consumer_group, p.topic, p.kafka_partition, p.venue)
            = (%(group)s, %(topic)s, c.kafka_partition, c.venue))
    FOR SHARE OF r
), watermarks AS (
    SELECT p.kafka_partition, p.venue, p.complete_until FROM window_progress p
    WHERE (p.consumer_group, p.topic) = (%(group)s, %(topic)s)
      AND (p.kafka_partition, p.venue) IN (SELECT kafka_partition, venue FROM changed)
      AND p.venue IN (SELECT venue FROM risk_progress WHERE consumer_group = %(group)s)
    FOR NO KEY UPDATE OF p
), late AS (
    SELECT c.venue, c.pair, c.first,
           least(c.last, coalesce(w.complete_until, greatest(p.complete_until, r.complete_until))) AS last
    FROM changed c
    JOIN risk_progress r ON (r.consumer_group, r.venue) = (%(group)s, c.venue)
    LEFT JOIN watermarks p ON (p.kafka_partition, p.venue) = (c.kafka_partition, c.venue)
    LEFT JOIN without_watermark w ON (w.kafka_partition, w.venue) = (c.kafka_partition, c.venue)
)
INSERT INTO changed_minutes AS n (consumer_group, venue, pair, minute)
SELECT DISTINCT %(group)s, venue, pair, minute
FROM late, generate_series(date_bin('1 minute', first, 'epoch'), last - interval '1 minute', '1 minute')
    AS minute
ORDER BY 1, 2, 3, 4
ON CONFLICT (consumer_group, venue, pair, minute) DO UPDATE SET changes = n.changes + 1, noted_at = now()
"""


def note(
    cursor: Executes,
    topic: GroupTopic,
    windows: Mapping[tuple[Market, datetime], Aggregate],
    gaps: Sequence[StoredGap],
) -> None:
    """Note what a batch changes of complete minutes; to be called before it moves the watermarks.

    windows: (market, minute) → the part of the minute that the batch adds. gaps: its gap records.
    """
    rows = [*_of_windows(windows), *_of_gaps(gaps)]
    if not rows:
        return
    partitions, venues, pairs, first, last = arrays(rows)
    cursor.execute(
        _NOTE,
        {
            "group": topic.group,
            "topic": topic.name,
            "partitions": partitions,
            "venues": venues,
            "pairs": pairs,
            "first": first,
            "last": last,
        },
    )


def _of_windows(
    windows: Mapping[tuple[Market, datetime], Aggregate],
) -> Iterable[tuple[int, str, str, datetime, datetime]]:
    for (market, start), part in windows.items():
        _, partition, _ = part.closed
        yield partition, market.venue, market.pair, start, start + MINUTE


def _of_gaps(gaps: Sequence[StoredGap]) -> Iterable[tuple[int, str, str, datetime, datetime | str]]:
    for gap in gaps:
        first = (gap.begins or gap.ends) - GAP_MARGIN
        last: datetime | str = "infinity"  # what a start or an end says holds until the next one
        if gap.kind not in ("start", "end"):
            last = gap.ends + GAP_MARGIN + MINUTE
            last -= (last - EPOCH) % MINUTE  # the end of the minute that holds the end of the gap
        yield gap.partition, gap.venue, gap.pair, first, last
