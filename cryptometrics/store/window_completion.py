"""Mark minutes as complete once the watermark of their partition has passed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market.windows import MAX_OUT_OF_ORDER

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg

IDLE_S = 60.0
"""Seconds without a tick after which a partition that is read to its end counts as idle."""

# The newest window of a partition is open, so the watermark follows from the open ones. A tick from the
# future moves it no further than the present. Rows that a batch has locked are left for the next call.
_COMPLETE = """
WITH open AS (
    SELECT ctid AS place, window_end,
           least(max(close_at) OVER passed, now()) - %(out_of_order)s AS watermark,
           close_partition = ANY(%(at_end)s)
               AND max(updated_at) OVER passed < now() - %(idle)s * interval '1 second' AS idle
    FROM crypto_windows
    WHERE consumer_group = %(group)s AND name = '1m' AND NOT complete AND close_partition = ANY(%(owned)s)
    WINDOW passed AS (PARTITION BY close_partition)
), due AS (
    SELECT w.ctid AS place FROM crypto_windows w JOIN open ON w.ctid = open.place
    WHERE open.window_end <= open.watermark OR open.idle
    FOR UPDATE OF w SKIP LOCKED
)
UPDATE crypto_windows w SET complete = true FROM due
WHERE w.ctid = due.place AND w.consumer_group = %(group)s AND NOT w.complete
"""


def complete_passed(
    connection: psycopg.Connection,
    group: str,
    owned: Collection[int],
    at_end: Collection[int],
    *,
    idle: float = IDLE_S,
) -> int:
    """Mark the minutes that the watermark has passed as complete, and return their number.

    owned: the partitions to check. at_end: those that are read to their end; after `idle` seconds without
    a tick, even their last minutes are complete.
    """
    return connection.execute(
        _COMPLETE,
        {
            "group": group,
            "owned": list(owned),
            "at_end": list(at_end),
            "idle": idle,
            "out_of_order": MAX_OUT_OF_ORDER,
        },
    ).rowcount
