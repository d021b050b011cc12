"""The minutes of `process`, recomputed by SQL from the rows that are stored."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from cryptometrics.market.windows import MINUTE
from cryptometrics.store import windows
from cryptometrics.verify.findings import Kind
from cryptometrics.verify.offset_books import ROWS

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import Books

_TRUTH = windows.recomputed(ROWS, "era, kafka_partition, kafka_offset")


def check_windows(connection: psycopg.Connection, books: Books, findings: Findings) -> None:
    """Compare each minute with what its ticks amount to, except in days of which ticks were pruned.

    Where a day was pruned, it is left open which ticks of the others came late: what they came after may
    be gone.
    """
    pruned = {day.day for day in books.pruned}
    for found in windows.differing(
        connection, books.group, windows.MINUTES, MINUTE, truth=_TRUTH, parameters=books.parameters
    ):
        if found.start.astimezone(UTC).date() in pruned or (found.only_late and pruned):
            continue
        what = f"{found.stored} ticks, the rows say {found.found}"
        if found.stored == found.found:
            what = (
                "its values are not those of the rows"
                if not found.only_late
                else "late is not what the rows say"
            )
        findings.words(Kind.WINDOW, f"{found.pair} at {found.start:%Y-%m-%d %H:%M}: {what}")
