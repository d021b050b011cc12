"""Find the runs of minutes of one market that have the same label."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.store.labelled_minutes import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from cryptometrics.market.venues import Market

# Consecutive minutes of one label have the same difference between their two numbers.
_RUNS = """
SELECT min(window_start), max(window_end), completeness
FROM (
    SELECT window_start, window_end, completeness,
           row_number() OVER (ORDER BY window_start)
           - row_number() OVER (PARTITION BY completeness ORDER BY window_start) AS run
    FROM crypto_minutes(%(group)s::text, %(venue)s::text, ARRAY[%(pair)s::text],
                        %(since)s::timestamptz - interval '1 minute', %(until)s::timestamptz)
) AS minutes
GROUP BY completeness, run
HAVING max(window_end) > %(since)s
ORDER BY 1
"""


class LabelRun(NamedTuple):
    """Consecutive complete minutes with one label."""

    since: datetime
    until: datetime
    label: str


def label_runs(
    connection: psycopg.Connection, group: str, market: Market, since: datetime, until: datetime
) -> list[LabelRun]:
    """Return the runs that overlap a range, oldest first; the newest minutes are not complete yet."""
    values = {"group": group, "since": since, "until": until} | market._asdict()
    return [LabelRun(*row) for row in connection.execute(_RUNS, values)]


def worst_label(runs: Sequence[LabelRun], since: datetime, until: datetime) -> str | None:
    """Return the worst label of the complete minutes of a window; None if it has none yet."""
    labels = [run.label for run in runs if run.since < until and since < run.until]
    return min(labels, key=NAMES.index, default=None)
