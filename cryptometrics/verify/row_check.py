"""Recompute mid price, spread and running extremes of each row from the quotes, and check its sizes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.verify.exact_numbers import fits
from cryptometrics.verify.findings import FindingKind

if TYPE_CHECKING:
    from collections.abc import Set

    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.exact_numbers import Exact
    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.pair_rows import PairRows

_BASE = 10_000


@dataclass(slots=True)
class RunningExtreme:
    """A running maximum or minimum, and the time of the row that set it."""

    value: int
    at: int


@dataclass(slots=True)
class SessionTotals:
    """What the rows of a session amount to so far; prices are whole numbers of 10,000 ** -places."""

    places: int = 0
    size_places: int = 0
    ticks: int = 0
    late: int = 0
    highest_bid: RunningExtreme | None = None
    lowest_ask: RunningExtreme | None = None
    max_spread: RunningExtreme | None = None
    first_at: int = 0
    last_at: int = 0
    last_bid: int = 0
    last_ask: int = 0
    last_bid_size: int | None = None
    last_ask_size: int | None = None

    def rescale(self, places: int, size_places: int) -> None:
        """Go over to smaller units."""
        by, sizes_by = _BASE ** (places - self.places), _BASE ** (size_places - self.size_places)
        if by > 1:
            for extreme in (self.highest_bid, self.lowest_ask, self.max_spread):
                if extreme is not None:
                    extreme.value *= by
            self.last_bid *= by
            self.last_ask *= by
        if self.last_bid_size is not None:
            self.last_bid_size *= sizes_by
        if self.last_ask_size is not None:
            self.last_ask_size *= sizes_by
        self.places, self.size_places = places, size_places


@dataclass(slots=True)
class RowCheck:
    """Recomputes mid price, spread and running extremes of each row, in the order of the topic."""

    findings: Findings
    incomplete: Set[tuple[str, str, str]]
    """Venue, pair and session of the sessions that may have had rows which were pruned."""
    sessions: dict[tuple[str, str, str], SessionTotals] = field(default_factory=dict)
    """By venue, pair and session."""

    def add(self, rows: PairRows) -> None:
        """Check some rows, which follow those added before."""
        self._report(rows, "mid_price", 2 * rows.mid_price != rows.bid + rows.ask)
        self._report(rows, "spread", rows.spread != rows.ask - rows.bid)
        for column, sizes, has in (
            ("bid_size", rows.bid_size, rows.has_bid_size),
            ("ask_size", rows.ask_size, rows.has_ask_size),
        ):
            self._report(rows, column, (sizes < 0) | (rows.is_before_sizes & has))
        for session, part in rows.sessions:
            self._add_to_session(rows, session, part)

    def _add_to_session(self, rows: PairRows, session: str, part: slice | Integers) -> None:
        key = (*rows.market, session)
        totals = self.sessions.setdefault(key, SessionTotals())
        totals.rescale(rows.places, rows.size_places)
        is_complete = key not in self.incomplete
        offsets, times, bid, ask = rows.offsets[part], rows.times[part], rows.bid[part], rows.ask[part]
        for column, values, stored, accumulate in (
            ("highest_bid", bid, rows.highest_bid[part], np.maximum),
            ("lowest_ask", ask, rows.lowest_ask[part], np.minimum),
            ("max_spread", ask - bid, rows.max_spread[part], np.maximum),
        ):
            extreme: RunningExtreme | None = getattr(totals, column)
            running, extreme = _run(values, times, extreme, accumulate)
            setattr(totals, column, extreme)
            wrong = stored != running
            if wrong.any() and not is_complete:
                # An extreme may exceed that of the rows left, but never fall short of it.
                wrong = accumulate(stored, running) != stored
            self._report_offsets(rows, column, offsets[wrong])
        _take_last(totals, rows, part)
        late = rows.is_late[part]
        totals.late += int(np.count_nonzero(late))

    def _report(self, rows: PairRows, column: str, wrong: NDArray[np.bool_]) -> None:
        if wrong.any():
            self._report_offsets(rows, column, rows.offsets[wrong])

    def _report_offsets(self, rows: PairRows, column: str, offsets: Integers) -> None:
        for offset in offsets.tolist():
            self.findings.add_offsets(FindingKind.ROW, rows.partition, offset, column=column)


def _run(
    values: Exact, times: Integers, before: RunningExtreme | None, accumulate: np.ufunc
) -> tuple[Exact, RunningExtreme]:
    """Return the running extreme of some values after those `before`, and the extreme after all of them."""
    if before is not None and not fits(before.value):
        values = values.astype(object)
    running = accumulate.accumulate(values)
    if before is not None:
        running = accumulate(running, before.value)
    last = int(running[-1])
    if before is None or last != before.value:
        before = RunningExtreme(last, int(times[np.argmax(values == last)]))
    return running, before


def _take_last(totals: SessionTotals, rows: PairRows, part: slice | Integers) -> None:
    """Count the rows, and take the newest quote: of equal times the last one."""
    times = rows.times[part]
    newest, oldest = int(times.max()), int(times.min())
    if not totals.ticks or newest >= totals.last_at:
        at = len(times) - 1 - int(np.argmax(times[::-1] == newest))
        totals.last_at = newest
        totals.last_bid, totals.last_ask = int(rows.bid[part][at]), int(rows.ask[part][at])
        totals.last_bid_size = int(rows.bid_size[part][at]) if rows.has_bid_size[part][at] else None
        totals.last_ask_size = int(rows.ask_size[part][at]) if rows.has_ask_size[part][at] else None
    totals.first_at = min(totals.first_at, oldest) if totals.ticks else oldest
    totals.ticks += len(times)
