"""Compute the figures of a venue's complete minutes, and again those of minutes that have changed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg.errors import LockNotAvailable

from cryptometrics.follow.minute_history import (
    RANGES,
    USED_MINUTES,
    PairHistory,
    VenueHistory,
    minute_number,
)
from cryptometrics.market.windows import MINUTE
from cryptometrics.risk.figures import FigureSettings, core_figures
from cryptometrics.risk.pair_minutes import cut_to_range
from cryptometrics.store import portfolio_progress, risk_rows
from cryptometrics.store.labelled_minutes import read_minutes
from cryptometrics.store.risk_rows import FigureRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    import psycopg

    from cryptometrics.follow.figure_alerts import FigureAlerts
    from cryptometrics.risk.pair_minutes import PairMinutes
    from cryptometrics.store.labelled_minutes import LabelledMinutes
    from cryptometrics.store.risk_rows import NotedMinutes, Place, VenueState

USED = USED_MINUTES * MINUTE
MAX_PAIR_MINUTES = 300
"""Minutes of pairs in one transaction, about half a second of work."""
MAX_NOTES = 1440
"""Changed minutes of a pair that are computed again in one transaction."""
SETTINGS = FigureSettings()


class VenueFigures:
    """The figures of one venue. What it has in memory is dropped in doubt, and read again."""

    def __init__(
        self,
        connection: psycopg.Connection,
        group: str,
        venue: str,
        catch_up: timedelta,
        alerts: FigureAlerts,
        alive: Callable[[], None],
    ) -> None:
        """catch_up: how far before the newest minute it begins at most. alerts: evaluates new rows.

        alive: called between pieces of work that take a tenth of a second.
        """
        self._connection, self._group, self._venue = connection, group, venue
        self._catch_up, self._alerts, self._alive = catch_up, alerts, alive
        self._history: VenueHistory | None = None
        self.behind = timedelta()
        """How much of the complete minutes is still to be computed."""

    def step(self, state: VenueState) -> int:
        """Compute what one transaction may hold, and return the number of rows that it wrote.

        Changed minutes come first. Nothing to do gives 0.
        """
        try:
            with self._connection.transaction():
                return self._step(state)
        except LockNotAvailable:
            return 0  # of `begin`, which is tried again
        except BaseException:
            self._history = None  # it may have minutes of the transaction that was rolled back
            self._alerts.drop()
            raise

    def _step(self, state: VenueState) -> int:
        place = risk_rows.lock_place(self._connection, self._group, self._venue)
        if place is None:
            risk_rows.begin(self._connection, self._group, self._venue, state.complete_until, self._catch_up)
            return 0
        self.behind = max(timedelta(), state.complete_until - place.complete_until)
        if state.has_changes:
            notes = risk_rows.noted(self._connection, self._group, self._venue, MAX_NOTES)
            if notes is not None:
                return self._compute_again(place, notes)
        if not self.behind:
            return 0
        return self._compute_next(place, state.complete_until)

    def _compute_next(self, place: Place, complete_until: datetime) -> int:
        begin = place.complete_until
        pairs = risk_rows.pairs(self._connection, self._group, self._venue)
        if self._history is None:
            self._history = VenueHistory()
            self._history.put(self._read(pairs, begin - USED, begin))
        end = min(complete_until, begin + max(1, MAX_PAIR_MINUTES // max(1, len(pairs))) * MINUTE)
        self._history.put(self._read(pairs, begin, end))
        rows = [
            row
            for as_of in _moments(begin + MINUTE, end)
            for pair, minutes in self._history.at(minute_number(as_of))
            for row in self._figures(pair, as_of, minutes)
            if place.keeps(row.range, as_of)
        ]
        risk_rows.write(self._connection, self._group, self._venue, rows)
        self._alerts.evaluate(rows, self._is_young)
        risk_rows.move(self._connection, self._group, self._venue, place, end)
        self.behind = complete_until - end
        return len(rows)

    def _is_young(self, row: FigureRow) -> bool:
        """Return whether the first minute of a row's pair lies within its range."""
        assert self._history is not None  # noqa: S101  (the row comes from it)
        return self._history.begins(row.pair) > minute_number(row.as_of) - RANGES[row.range]

    def _compute_again(self, place: Place, notes: NotedMinutes) -> int:
        """Compute the rows again that used changed minutes, and those that a new first minute adds."""
        first, last = notes.minutes[0][0], notes.minutes[-1][0]
        has_rows_from = risk_rows.first_row(self._connection, self._group, self._venue, notes.pair)
        until = min(place.complete_until, max(last + USED, has_rows_from or place.complete_until))
        rows = [
            row
            for as_of, minutes in self._past(notes.pair, max(first, place.begun_at), until)
            for row in self._figures(notes.pair, as_of, minutes)
            if place.keeps(row.range, as_of)
        ]
        risk_rows.write(self._connection, self._group, self._venue, rows)
        portfolio_progress.note_minutes(self._connection, self._group, self._venue, notes.pair, first, last)
        risk_rows.remove_notes(self._connection, self._group, self._venue, notes)
        if self._history is not None and self._history.has(notes.pair):
            self._history.put(self._read([notes.pair], first, last + MINUTE))
        else:
            self._history = None
        return len(rows)

    def _past(self, pair: str, begin: datetime, end: datetime) -> Iterator[tuple[datetime, PairMinutes]]:
        """Yield the minutes of a pair as of each moment after `begin` up to `end`."""
        minutes = self._read([pair], begin - USED, end).get(pair)
        if minutes is None:
            return
        history = PairHistory(minutes, spare=len(minutes))
        for as_of in _moments(begin + MINUTE, end):
            if history.begins < minute_number(as_of):
                yield as_of, history.until(minute_number(as_of))

    def _figures(self, pair: str, as_of: datetime, minutes: PairMinutes) -> Iterable[FigureRow]:
        self._alive()
        for name, length in RANGES.items():
            yield FigureRow(pair, name, as_of, core_figures(cut_to_range(minutes, length), SETTINGS))

    def _read(self, pairs: Collection[str], since: datetime, until: datetime) -> dict[str, LabelledMinutes]:
        return read_minutes(self._connection, self._group, self._venue, pairs, since, until)


def _moments(first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the ends of minutes from the first to the last, both included."""
    while first <= last:
        yield first
        first += MINUTE
