"""List the consumer groups: how much each has stored, how far it has read, and its share of the disk."""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryptometrics.errors import NotFoundError
from cryptometrics.text import are, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

    Place = tuple[str, int]  # topic and partition

# Groups without ticks may have windows: imported minutes, or those of `aggregate`. Each is found by one step
# in the primary key.
_GROUPS = """
WITH RECURSIVE with_windows AS (
    (SELECT consumer_group FROM crypto_windows ORDER BY consumer_group LIMIT 1)
    UNION ALL
    SELECT (SELECT w.consumer_group FROM crypto_windows w WHERE w.consumer_group > g.consumer_group
            ORDER BY w.consumer_group LIMIT 1)
    FROM with_windows g WHERE g.consumer_group IS NOT NULL
), known AS (
    SELECT consumer_group FROM with_windows WHERE consumer_group IS NOT NULL
    UNION SELECT consumer_group FROM consumer_offsets
    UNION SELECT consumer_group FROM session_extremes
    UNION SELECT consumer_group FROM group_deletions
), counted AS (
    SELECT m.consumer_group, coalesce(d.relation, 'crypto_metrics_before'::regclass) AS relation,
           sum(m.rows) AS rows
    FROM metric_days m LEFT JOIN crypto_metrics_days d USING (day)
    GROUP BY 1, 2
), stored AS (
    SELECT consumer_group, sum(rows)::bigint AS rows, sum(bytes * rows / nullif(total, 0))::bigint AS bytes
    FROM (SELECT consumer_group, rows, sum(rows) OVER (PARTITION BY relation) AS total,
                 coalesce(pg_total_relation_size(relation), 0) AS bytes FROM counted) AS shares
    GROUP BY consumer_group
), read AS (
    SELECT consumer_group, sum(next_offset - first_offset)::bigint AS offsets
    FROM consumer_offsets GROUP BY consumer_group
), sessions AS (
    SELECT consumer_group, count(*) AS sessions, max(last_at) AS newest_tick
    FROM session_extremes GROUP BY consumer_group
)
SELECT consumer_group, coalesce(stored.rows, 0), coalesce(read.offsets, 0), coalesce(sessions.sessions, 0),
       sessions.newest_tick, coalesce(stored.bytes, 0), group_deletions.begun_at
FROM known
LEFT JOIN stored USING (consumer_group)
LEFT JOIN read USING (consumer_group)
LEFT JOIN sessions USING (consumer_group)
LEFT JOIN group_deletions USING (consumer_group)
ORDER BY sessions.newest_tick DESC NULLS LAST, consumer_group
"""

_NEXT_OFFSETS = """
SELECT consumer_group, topic, kafka_partition, next_offset FROM consumer_offsets WHERE ended_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class GroupOverview:
    """A consumer group and what it has stored."""

    name: str
    rows: int
    """Quotes that are stored; pruned ones do not count."""
    offsets: int
    """Offsets that have an outcome."""
    sessions: int
    newest_tick: datetime | None
    size_bytes: int
    """Its quotes' share of the tables of their days, by the number of rows; indexes are included."""
    deleting_since: datetime | None
    """When a deletion of the group has begun; None if none has."""
    next_offsets: Mapping[Place, int] = field(default_factory=dict)
    """The next offset of each partition that it reads."""

    def lag(self, ends: Mapping[Place, int]) -> int | None:
        """Return how many offsets it has still to read; None if it reads none, or an end is not known."""
        if not self.next_offsets or not self.next_offsets.keys() <= ends.keys():
            return None
        return sum(max(ends[place] - offset, 0) for place, offset in self.next_offsets.items())


def overview(connection: psycopg.Connection) -> list[GroupOverview]:
    """Return every group, the one with the newest tick first; counts only, whatever the tables' size."""
    offsets: dict[str, dict[Place, int]] = defaultdict(dict)
    for group, topic, partition, next_offset in connection.execute(_NEXT_OFFSETS):
        offsets[group][topic, partition] = next_offset
    groups = [GroupOverview(*row) for row in connection.execute(_GROUPS)]
    return [replace(group, next_offsets=offsets.get(group.name, {})) for group in groups]


def find(groups: Sequence[GroupOverview], name: str) -> GroupOverview:
    """Return the group of this name; raise NotFoundError, which suggests one that is spelled alike."""
    for group in groups:
        if group.name == name:
            return group
    names = [group.name for group in groups]
    if not names:
        raise NotFoundError(f"there is no group {name}: nothing has been stored yet")
    close = difflib.get_close_matches(name, names)
    hint = f" (did you mean {listed(close)}?)" if close else ""
    raise NotFoundError(f"there is no group {name}; there {are(names)}{hint}")
