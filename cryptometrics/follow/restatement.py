"""Compute the rows of a portfolio again after a version was loaded for the past, and compare them.

The work is what a follower would do, in the same transactions: if this is interrupted, a follower goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.follow.portfolio_figures import PortfolioFigures
from cryptometrics.store import portfolio_progress
from cryptometrics.store.portfolio_rows import values_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from decimal import Decimal

    import psycopg


class Restatement(NamedTuple):
    """What computing rows again has changed."""

    rows: int
    first: datetime | None
    """The oldest of them; None if there are none."""
    changed: int
    """Rows whose value is another one."""
    largest_change: Decimal | None
    """Of a value that was known before and after; None if none changed."""
    largest_at: datetime | None


def restate(
    connection: psycopg.Connection,
    portfolio: str,
    since: datetime,
    before: Mapping[datetime, Decimal | None],
    progress: Callable[[int], None],
) -> Restatement:
    """Compute the stale rows of a portfolio again, and return how they differ.

    before: the values that the rows from `since` on had. progress: called with the number of minutes done.
    """
    done = 0
    for market in portfolio_progress.markets_to_do(connection, portfolio):
        figures = PortfolioFigures(connection, *market, None, lambda: None)
        while portfolio_progress.has_work(connection, *market) and market in portfolio_progress.markets_to_do(
            connection, portfolio
        ):
            done += figures.step(portfolio)
            progress(done)
    return compared(before, values_from(connection, portfolio, since))


def compared(
    before: Mapping[datetime, Decimal | None], after: Mapping[datetime, Decimal | None]
) -> Restatement:
    """Return how the values of rows differ, by their moments."""
    moments = sorted(before.keys() | after.keys())
    changed = [at for at in moments if before.get(at) != after.get(at)]
    changes = {
        at: new - old
        for at in changed
        if (new := after.get(at)) is not None and (old := before.get(at)) is not None
    }
    largest = max(changes, key=lambda at: abs(changes[at]), default=None)
    return Restatement(
        rows=len(after),
        first=min(after, default=None),
        changed=len(changed),
        largest_change=None if largest is None else changes[largest],
        largest_at=largest,
    )
