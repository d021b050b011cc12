"""Value a venue's portfolios at the end of each complete minute, and again where a minute has changed.

The rows follow those of `crypto_risk`: a portfolio is valued as far as the figures of its venue have come.
Missing and stale rows are computed by the same code, in transactions that hold the rows and the progress.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.follow.minute_history import VenueHistory, minute_number
from cryptometrics.market.windows import MINUTE
from cryptometrics.risk.pair_minutes import MAX_MINUTES_BEFORE, cut_to_range
from cryptometrics.risk.portfolio.marks import start_of_day
from cryptometrics.risk.portfolio.valuation import MarketData, value_portfolio
from cryptometrics.store import portfolio_progress as progress
from cryptometrics.store import positions
from cryptometrics.store.labelled_minutes import read_minutes
from cryptometrics.store.minute_marks import MinuteMarks, read_marks, with_stored_quotes
from cryptometrics.store.portfolio_rows import PortfolioRow, replace_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime, timedelta

    import psycopg

    from cryptometrics.follow.limit_alerts import LimitAlerts
    from cryptometrics.risk.pair_minutes import PairMinutes, RangeMinutes
    from cryptometrics.risk.portfolio.definition import Portfolio
    from cryptometrics.risk.portfolio.marks import MarkQuote
    from cryptometrics.risk.portfolio.timeline import Effective, Timeline
    from cryptometrics.store.labelled_minutes import LabelledMinutes
    from cryptometrics.store.portfolio_progress import PortfolioJob

MAX_POSITION_MINUTES = 1000
"""Positions at a minute that are valued in one transaction, about half a second of work."""


class PortfolioFigures:
    """The rows of one venue's portfolios. What it has in memory is dropped in doubt, and read again."""

    def __init__(
        self,
        connection: psycopg.Connection,
        group: str,
        venue: str,
        catch_up: timedelta | None,
        alive: Callable[[], None],
        limits: LimitAlerts | None = None,
    ) -> None:
        """catch_up: how far before the newest minute the rows of a new portfolio begin at most; None: never.

        alive: called between pieces of work that take a tenth of a second. limits: compares new rows.
        """
        self._connection, self._group, self._venue = connection, group, venue
        self._catch_up, self._alive = catch_up, alive
        self._limits = limits
        self._current: _Minutes | None = None
        self.rows = 0
        """How many rows were written."""

    def step(self, only: str | None = None, *, with_stale: bool = True) -> int:
        """Compute what one transaction may hold, and return the number of minutes that it moved on by.

        only: the name of a portfolio whose stale rows are computed again, and nothing else: a follower
        compares new rows with limits. with_stale: whether stale rows are computed. Nothing to do gives 0.
        """
        if not progress.has_work(self._connection, self._group, self._venue):
            if self._limits is not None:
                self._limits.end_removed()
            return 0
        try:
            with self._connection.transaction():
                return self._step(only, with_stale=with_stale)
        except BaseException:
            self._current = None  # it may have minutes of the transaction that was rolled back
            if self._limits is not None:
                self._limits.drop()
            raise

    def minutes_changed(self) -> None:
        """Read all minutes again: some of those in memory have changed."""
        self._current = None

    def _step(self, only: str | None, *, with_stale: bool) -> int:
        market = self._connection, self._group, self._venue
        positions.lock_versions(self._connection)
        if self._catch_up is not None:
            progress.begin(*market, self._catch_up)
        places = [place for place in progress.lock_places(*market) if only in (None, place.portfolio)]
        until = progress.complete_until(*market) if only is None else None
        job = progress.next_job(places, until)
        if job is None or (job.again and not with_stale):
            return 0
        timelines = positions.timelines(self._connection, job.portfolios, job.end)
        job = _of_bearable_size(job, timelines)
        rows = list(self._rows(job, timelines))
        replace_rows(*market, job.portfolios, job.begin, job.end, rows)
        if self._limits is not None and not job.again:
            self._compare(self._limits, job, rows, timelines)
        progress.move(*market, job)
        self.rows += len(rows)
        return (job.end - job.begin) // MINUTE

    def _compare(
        self,
        limits: LimitAlerts,
        job: PortfolioJob,
        rows: Iterable[PortfolioRow],
        timelines: Mapping[str, Timeline],
    ) -> None:
        """Compare new rows with the limits of their portfolios."""
        valuations = {(row.valuation.portfolio.name, row.valuation.as_of): row.valuation for row in rows}

        def is_held(name: str, at: datetime) -> bool:
            effective = timelines[name].at(at)
            return effective is not None and self._is_ours(effective)

        limits.evaluate(job, valuations, is_held)

    def _rows(self, job: PortfolioJob, timelines: Mapping[str, Timeline]) -> Iterator[PortfolioRow]:
        """Yield the rows of a job, minute by minute."""
        held = {name: list(self._held(job, timelines[name])) for name in job.portfolios}
        portfolios = [portfolio for found in held.values() for portfolio in found]
        if not portfolios:
            return
        pairs = sorted({pair for portfolio in portfolios for pair in portfolio.used_pairs})
        minutes = self._minutes(job, pairs, max(each.risk.range_minutes for each in portfolios))
        marks, midnights = self._marks(job, pairs)
        for as_of in progress.moments(job):
            moment = _Moment(dict(minutes.history.at(minute_number(as_of))), marks.at(as_of))
            for place in job.places:
                timeline = timelines[place.portfolio]
                effective = timeline.at(as_of)
                if effective is None or not self._is_ours(effective) or not place.keeps(as_of):
                    continue
                self._alive()
                assert effective.portfolio is not None  # noqa: S101  (it is ours)
                yield moment.row(
                    effective.portfolio, effective.version, as_of, timeline, midnights[start_of_day(as_of)]
                )

    def _held(self, job: PortfolioJob, timeline: Timeline) -> Iterator[Portfolio]:
        """Yield the versions of a portfolio whose minutes a job uses: also earlier ones, for the drawdown."""
        present = [each for each in timeline.within(job.begin, job.end) if self._is_ours(each)]
        longest = max((each.portfolio.risk.range for each in present if each.portfolio), default=None)
        if longest is not None:
            for each in timeline.within(job.begin - longest, job.end):
                if each.portfolio is not None and self._is_ours(each):
                    yield each.portfolio

    def _is_ours(self, effective: Effective) -> bool:
        """Return whether the venue prices a version, which is not that of a removal."""
        portfolio = effective.portfolio
        return portfolio is not None and (portfolio.group, portfolio.venue) == (self._group, self._venue)

    def _minutes(self, job: PortfolioJob, pairs: Collection[str], range_minutes: int) -> _Minutes:
        """Return the minutes that a job uses; those of the job before it are used again."""
        used = range_minutes + MAX_MINUTES_BEFORE
        found = self._current
        if found is None or found.end != job.begin or (found.pairs, found.used) != (tuple(pairs), used):
            found = _Minutes(tuple(pairs), used, job.begin)
            found.history.put(self._read(pairs, job.begin - used * MINUTE, job.begin))
        found.history.put(self._read(pairs, job.begin, job.end))
        found.end = job.end
        self._current = found
        return found

    def _read(self, pairs: Collection[str], since: datetime, until: datetime) -> dict[str, LabelledMinutes]:
        return read_minutes(self._connection, self._group, self._venue, pairs, since, until, prices_only=True)

    def _marks(
        self, job: PortfolioJob, pairs: Collection[str]
    ) -> tuple[MinuteMarks, dict[datetime, dict[str, MarkQuote]]]:
        """Return the marks of a job's minutes, and those at the midnight before each of its days."""

        def marks(since: datetime, until: datetime) -> MinuteMarks:
            quotes = read_marks(self._connection, self._group, self._venue, pairs, since, until)
            return MinuteMarks(
                with_stored_quotes(self._connection, quotes, job.portfolios, job.begin, job.end)
            )

        days = {start_of_day(as_of) for as_of in progress.moments(job)}
        return marks(job.begin, job.end), {day: marks(day, day).at(day) for day in days}


class _Minutes:
    """The minutes of some pairs up to a moment."""

    def __init__(self, pairs: tuple[str, ...], used: int, end: datetime) -> None:
        self.pairs, self.used, self.end = pairs, used, end
        self.history = VenueHistory(used)


class _Moment:
    """What the portfolios of a venue are valued by at the end of one minute; each range is cut once."""

    def __init__(self, minutes: Mapping[str, PairMinutes], marks: Mapping[str, MarkQuote]) -> None:
        self._minutes, self._marks = minutes, marks
        self._ranges: dict[int, dict[str, RangeMinutes]] = {}
        self._priced: dict[int, dict[str, int]] = {}

    def row(
        self,
        portfolio: Portfolio,
        version: int,
        as_of: datetime,
        timeline: Timeline,
        midnight: Mapping[str, MarkQuote],
    ) -> PortfolioRow:
        """Return the row of a portfolio."""
        length = portfolio.risk.range_minutes
        if length not in self._ranges:
            self._ranges[length] = {
                pair: cut_to_range(minutes, length) for pair, minutes in self._minutes.items()
            }
            self._priced[length] = {
                pair: int(np.isfinite(minutes.bars.close[-(length + MAX_MINUTES_BEFORE) :]).sum())
                for pair, minutes in self._minutes.items()
            }
        market = MarketData(self._marks, midnight, self._ranges[length], timeline.holdings(as_of, length))
        return PortfolioRow(value_portfolio(portfolio, version, as_of, market), market, self._priced[length])


def _of_bearable_size(job: PortfolioJob, timelines: Mapping[str, Timeline]) -> PortfolioJob:
    """Return the first part of a job that one transaction may hold."""
    positions_at_once = sum(
        max(
            (
                len(each.portfolio.positions)
                for each in timelines[name].within(job.begin, job.end)
                if each.portfolio is not None
            ),
            default=0,
        )
        for name in job.portfolios
    )
    minutes = max(1, MAX_POSITION_MINUTES // max(1, positions_at_once))
    return replace(job, end=min(job.end, job.begin + minutes * MINUTE))
