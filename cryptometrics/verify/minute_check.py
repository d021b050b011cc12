"""Compare the minutes of `process` with those that follow from the stored rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.times import EPOCH, from_microseconds
from cryptometrics.verify.copy_blocks import copy_blocks
from cryptometrics.verify.exact_numbers import Numbers, read_numbers, rescaled
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.minute_sums import BPS_PLACES, MINUTE_US, PRICE_COLUMNS, SIZE_COLUMNS
from cryptometrics.verify.pair_rows import MarketKey
from cryptometrics.verify.stored_outcomes import DAY_US, POSTGRES_EPOCH_US, runs
from cryptometrics.verify.text_codes import TextCodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    import psycopg
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.minute_sums import MinuteColumns, MinuteSums
    from cryptometrics.verify.offset_books import GroupBooks

_TIMES = ("window_start", "window_end", "open_at", "close_at")
_INTEGERS = {
    **dict.fromkeys(_TIMES, 8),
    **dict.fromkeys(("ticks", "late", "open_offset", "close_offset", "sized_ticks"), 8),
    **dict.fromkeys(("open_partition", "close_partition", "has_true_averages"), 4),
}
_NUMBERS = (*PRICE_COLUMNS, "spread_bps_sum", *SIZE_COLUMNS)

# Nothing here proves an imported minute, so those are left out; one that has ticks is reported as missing. A
# quotient has as many digits as its inputs ask for: the zero makes that the same for equal sums.
_MINUTES = f"""
SELECT {", ".join(_INTEGERS)}, venue, pair, {", ".join(_NUMBERS)}
FROM (
    SELECT window_start, window_end, open_at, close_at, ticks, late, open_offset, close_offset,
           coalesce(sized_ticks, -1) AS sized_ticks, open_partition, close_partition, venue, pair,
           {", ".join(_NUMBERS)},
           (avg_spread IS NOT DISTINCT FROM round((spread_sum + 0.000000000000000000) / ticks, 18)
            AND avg_spread_bps IS NOT DISTINCT FROM round((spread_bps_sum + 0.000000000000000000) / ticks, 8)
            AND avg_bid_size IS NOT DISTINCT FROM
                round((bid_size_sum + 0.000000000000000000) / nullif(sized_ticks, 0), 18)
            AND avg_ask_size IS NOT DISTINCT FROM
                round((ask_size_sum + 0.000000000000000000) / nullif(sized_ticks, 0), 18)
           )::int AS has_true_averages
    FROM crypto_windows
    WHERE consumer_group = %(group)s AND name = '1m' AND origin IS NULL
) AS minutes
ORDER BY venue COLLATE "C", pair COLLATE "C", window_start
"""  # noqa: S608  (constants)


@dataclass(frozen=True, slots=True)
class _Stored:
    """Some stored minutes of a market, in the order of time."""

    integers: dict[str, Integers]
    numbers: dict[str, Numbers]


def check_minutes(
    connection: psycopg.Connection, books: GroupBooks, findings: Findings, sums: MinuteSums
) -> None:
    """Compare each minute with its ticks, except on days with pruned ticks.

    If a mark says which rows were proved, only the minutes with rows after it.

    If any day was pruned, the late ticks of the other days are not checked either: the ticks that came
    before them may be gone.
    """
    pruned = {(day.day - EPOCH.date()).days for day in books.pruned}
    check = _MinuteCheck(findings, pruned, is_partial=bool(books.starts))
    unseen = set(sums.markets)
    for market, stored in _by_market(connection, books):
        unseen.discard(market)
        check.compare(market, stored, sums.of(market))
    for market in sorted(unseen):
        check.compare(market, [], sums.of(market))


def _by_market(
    connection: psycopg.Connection, books: GroupBooks
) -> Iterator[tuple[MarketKey, list[_Stored]]]:
    """Yield the stored minutes of each market."""
    codes = TextCodes(fields=2)
    market, stored = None, []
    for block in copy_blocks(connection, _MINUTES, books.parameters):
        integers = dict(zip(_INTEGERS, block.integers(*_INTEGERS.values()), strict=True))
        for name in _TIMES:
            integers[name] += POSTGRES_EPOCH_US
        markets = codes.read(block)
        numbers = {name: read_numbers(block) for name in _NUMBERS}
        for code, part in runs(markets):
            if market is not None and market != MarketKey(*codes.texts[code]):
                yield market, stored
                stored = []
            market = MarketKey(*codes.texts[code])
            stored.append(
                _Stored(
                    {name: column[part] for name, column in integers.items()},
                    {name: column[part] for name, column in numbers.items()},
                )
            )
    if market is not None:
        yield market, stored


@dataclass(frozen=True, slots=True)
class _MinuteCheck:
    findings: Findings
    pruned: Set[int]
    """Days of pruned rows, counted from the epoch."""
    is_partial: bool
    """Whether minutes without rows are left out."""

    def compare(self, market: MarketKey, stored: list[_Stored], true: MinuteColumns | None) -> None:
        """Report the minutes of a market that differ."""
        done: list[Integers] = []
        for part in stored:
            starts = part.integers["window_start"]
            done.append(starts)
            at = np.searchsorted(true.starts, starts) if true is not None else np.zeros(len(starts), np.int64)
            if true is None:
                if self.is_partial:
                    continue
                for start, ticks in zip(starts.tolist(), part.integers["ticks"].tolist(), strict=True):
                    self._report(market, start, ticks, 0, only_late=False)
                continue
            at = np.minimum(at, len(true) - 1)
            is_there = true.starts[at] == starts
            differs, is_late_only = _differences(part, true, at)
            differs = differs & is_there if self.is_partial else differs | ~is_there
            for row in np.flatnonzero(differs).tolist():
                ticks = int(true.ticks[at[row]]) if is_there[row] else 0
                self._report(
                    market,
                    int(starts[row]),
                    int(part.integers["ticks"][row]),
                    ticks,
                    only_late=bool(is_there[row] and is_late_only[row]),
                )
        if true is not None:
            unstored = ~np.isin(true.starts, np.concatenate(done)) if done else np.ones(len(true), np.bool_)
            for row in np.flatnonzero(unstored).tolist():
                self._report(market, int(true.starts[row]), 0, int(true.ticks[row]), only_late=False)

    def _report(self, market: MarketKey, start: int, stored: int, true: int, *, only_late: bool) -> None:
        if start // DAY_US in self.pruned or (only_late and self.pruned):
            return
        if stored != true:
            problem = f"{stored} ticks, but {true} in the rows"
        elif only_late:
            problem = "its late ticks are not those of the rows"
        else:
            problem = "its values are not those of the rows"
        text = f"{market} at {from_microseconds(start):%Y-%m-%d %H:%M}: {problem}"
        self.findings.add_text(FindingKind.WINDOW, text)


def _differences(
    stored: _Stored, true: MinuteColumns, at: Integers
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which stored minutes differ from the true ones at some places, and which only in `late`."""
    is_, numbers = stored.integers, stored.numbers
    unequal = is_["window_end"] != is_["window_start"] + MINUTE_US
    unequal |= is_["has_true_averages"] != 1
    for name in ("ticks", "open_at", "open_partition", "open_offset", "close_at", "close_partition",
                 "close_offset"):  # fmt: skip
        unequal |= is_[name] != getattr(true, name)[at]
    for columns, true_places in (
        (PRICE_COLUMNS, true.places),
        (("spread_bps_sum",), BPS_PLACES),
    ):
        places = max(true_places, *(numbers[name].places() for name in columns))
        for name in columns:
            should = rescaled(getattr(true, name)[at], places - true_places)
            unequal |= numbers[name].scaled(places) != should
    is_sized = true.is_sized[at]
    unequal |= is_["sized_ticks"] != np.where(is_sized, true.sized_ticks[at], -1)
    places = max(true.size_places, *(numbers[name].places() for name in SIZE_COLUMNS))
    for name in SIZE_COLUMNS:
        should = rescaled(getattr(true, name)[at], places - true.size_places)
        unequal |= numbers[name].is_null == is_sized
        unequal |= is_sized & (numbers[name].scaled(places) != should)
    late = (is_["late"] != true.late[at]) & true.is_late_known[at]
    return unequal | late, late & ~unequal
