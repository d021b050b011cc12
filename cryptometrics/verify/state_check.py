"""Compare the state of sessions and pairs with what the stored rows amount to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.times import from_microseconds
from cryptometrics.verify.exact_numbers import as_decimal
from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.pair_rows import MarketKey
from cryptometrics.verify.pruned import INCOMPLETE
from cryptometrics.verify.row_check import SessionTotals
from cryptometrics.verify.stored_outcomes import NO_TRADE

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    import psycopg
    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers
    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks
    from cryptometrics.verify.pair_rows import MarketState, PairRows

_SESSION_COLUMNS = (
    *("ticks", "highest_bid", "lowest_ask", "max_spread", "last_bid", "last_ask"),
    *("last_bid_size", "last_ask_size"),
    *("highest_bid_at", "lowest_ask_at", "max_spread_at", "first_at", "last_at"),
)
_SESSIONS = f"""
SELECT venue, pair, session, late, {
    ", ".join(
        f"extract(epoch FROM {name}) * 1000000" if name.endswith("_at") else name for name in _SESSION_COLUMNS
    )
}
FROM session_extremes WHERE consumer_group = %(group)s
ORDER BY venue, pair, session
"""  # noqa: S608  (constants)
_TICKS = "SELECT sum(ticks)::bigint FROM session_extremes WHERE consumer_group = %(group)s"

# The newest quote of a pair is the last one of some session, and sessions are checked against the rows.
_PAIRS = """
SELECT venue, pair, p.timestamp, max(s.last_at), p.trade_id, upper(p.trade_ids) - 1,
       coalesce(bool_or((p.timestamp, p.bid, p.ask) = (s.last_at, s.last_bid, s.last_ask)
           AND (p.bid_size, p.ask_size) IS NOT DISTINCT FROM (s.last_bid_size, s.last_ask_size)), false)
FROM pair_state p
LEFT JOIN session_extremes s USING (consumer_group, venue, pair)
WHERE consumer_group = %(group)s
GROUP BY consumer_group, venue, pair
ORDER BY venue, pair
"""
_TRADE_IDS = """
SELECT venue, pair, trade_ids_floor,
       CASE WHEN ids IS NULL THEN 0 ELSE coalesce(lower(ids), -9223372036854775807) END,
       CASE WHEN ids IS NULL THEN 0 ELSE coalesce(upper(ids), 9223372036854775807) END
FROM pair_state LEFT JOIN unnest(trade_ids) AS ids ON true
WHERE consumer_group = %(group)s
ORDER BY venue, pair, lower(ids)
"""
_KNOWN_SESSIONS = "SELECT venue, pair, session FROM session_extremes WHERE consumer_group = %(group)s"


@dataclass(slots=True)
class _StoredTrades:
    """The trade ids that `pair_state` holds of a pair, from `floor` upwards, as ranges [begin, end)."""

    floor: int
    begins: Integers
    ends: Integers

    def lack(self, trade_ids: Integers) -> NDArray[np.bool_]:
        """Whether each trade id should be there and is not."""
        at = np.searchsorted(self.begins, trade_ids, side="right") - 1
        is_there = (at >= 0) & (trade_ids < self.ends[at])
        lacking: NDArray[np.bool_] = ~is_there & (trade_ids >= self.floor) & (trade_ids != NO_TRADE)
        return lacking


class StateCheck:
    """Finds rows that are missing from the state of their session or pair.

    A trade that is missing from the state would be stored again when the feed repeats it.
    """

    def __init__(self, connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
        self._findings = findings
        self._sessions: Set[tuple[str, str, str]] = {
            (venue, pair, session)
            for venue, pair, session in connection.execute(_KNOWN_SESSIONS, books.parameters)
        }
        ranges: dict[MarketKey, list[tuple[int, int, int]]] = defaultdict(list)
        for venue, pair, *range_ in connection.execute(_TRADE_IDS, books.parameters):
            ranges[MarketKey(venue, pair)].append((range_[0], range_[1], range_[2]))
        self._trades = {
            market: _StoredTrades(
                of_market[0][0],
                np.array([begin for _, begin, _ in of_market], np.int64),
                np.array([end for _, _, end in of_market], np.int64),
            )
            for market, of_market in ranges.items()
        }

    def add(self, rows: PairRows) -> None:
        """Check some rows."""
        known = np.ones(len(rows), np.bool_)
        for session, part in rows.sessions:
            if (*rows.market, session) not in self._sessions:
                self._report(rows, "session", rows.offsets[part])
                known[part] = False
        trades = self._trades.get(rows.market)
        if trades is None:
            self._report(rows, "pair", rows.offsets[known])
        else:
            self._report(rows, "trade_id", rows.offsets[known & trades.lack(rows.trade_ids)])

    def _report(self, rows: PairRows, column: str, offsets: Integers) -> None:
        for offset in offsets.tolist():
            self._findings.add_offsets(FindingKind.UNKNOWN_TO_STATE, rows.partition, offset, column=column)


def incomplete_sessions(connection: psycopg.Connection, books: GroupBooks) -> set[tuple[str, str, str]]:
    """Return venue, pair and session of the sessions that may have had rows in a pruned day."""
    return {
        (venue, pair, session) for venue, pair, session in connection.execute(INCOMPLETE, books.parameters)
    }


def check_sessions(
    connection: psycopg.Connection,
    books: GroupBooks,
    findings: Findings,
    totals: Mapping[tuple[str, str, str], SessionTotals],
) -> None:
    """Compare every column of `session_extremes` with its rows.

    If days were pruned, also compare the ticks of all sessions with the rows that were written.
    """
    incomplete = incomplete_sessions(connection, books)
    incomplete_pairs = {(venue, pair) for venue, pair, _ in incomplete}
    none = SessionTotals()
    for venue, pair, session, late, *stored in connection.execute(_SESSIONS, books.parameters):
        what = f"{pair} ({venue}) in session {session}"
        found = totals.get((venue, pair, session), none)
        if (venue, pair, session) not in incomplete:
            for column, is_, should in zip(_SESSION_COLUMNS, stored, _values(found), strict=True):
                if is_ != should:
                    shown = _moment if column.endswith("_at") else _plain
                    text = f"{what}: {shown(is_)}, {shown(should)} in the rows"
                    findings.add_text(FindingKind.SESSION, text, column=column)
        # A late tick may follow a pruned one of any earlier session, so the rows may show fewer late ticks.
        if late < found.late or (late > found.late and (venue, pair) not in incomplete_pairs):
            findings.add_text(FindingKind.SESSION, f"{what}: {late}, {found.late} in the rows", column="late")
    if books.pruned:
        (ticks,) = connection.execute(_TICKS, books.parameters).fetchone() or (None,)
        written = sum(book.metrics for book in books.books)
        if ticks != written:
            text = f"all sessions together: {ticks}, {written} in consumer_offsets"
            findings.add_text(FindingKind.SESSION, text, column="ticks")


def check_pairs(
    connection: psycopg.Connection,
    books: GroupBooks,
    findings: Findings,
    markets: Mapping[MarketKey, MarketState],
) -> None:
    """Compare `pair_state` with the sessions and the rows."""
    pruned = {MarketKey(venue, pair) for venue, pair, _ in incomplete_sessions(connection, books)}
    rows = connection.execute(_PAIRS, books.parameters)
    for venue, pair, stored_at, newest_at, trade_id, end_of_ids, is_last_quote in rows:
        market = MarketKey(venue, pair)
        if not is_last_quote or stored_at != newest_at:
            text = f"{market}: the quote of {stored_at} is not the newest one of its sessions, of {newest_at}"
            findings.add_text(FindingKind.PAIR, text, column="bid, ask, timestamp")
        state = markets.get(market)
        highest = None if state is None or state.highest_trade_id == NO_TRADE else state.highest_trade_id
        if market in pruned and trade_id is not None and (highest is None or highest < trade_id):
            highest = trade_id  # the row may be pruned
        if not trade_id == end_of_ids == highest:
            text = f"{market}: {trade_id}, {end_of_ids} in trade_ids, {highest} in the rows"
            findings.add_text(FindingKind.PAIR, text, column="trade_id")


def _values(totals: SessionTotals) -> list[Decimal | int | None]:
    """Return what the columns of a session must hold."""
    if not totals.ticks:
        return [0, *[None] * (len(_SESSION_COLUMNS) - 1)]
    extremes = totals.highest_bid, totals.lowest_ask, totals.max_spread
    prices = [extreme.value for extreme in extremes if extreme is not None] + [
        totals.last_bid,
        totals.last_ask,
    ]
    sizes = totals.last_bid_size, totals.last_ask_size
    return [
        totals.ticks,
        *(as_decimal(price, totals.places) for price in prices),
        *(None if size is None else as_decimal(size, totals.size_places) for size in sizes),
        *(extreme.at for extreme in extremes if extreme is not None),
        totals.first_at,
        totals.last_at,
    ]


def _plain(value: Decimal | int | None) -> str:
    return "none" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)


def _moment(microseconds: Decimal | int | None) -> str:
    if microseconds is None:
        return "none"
    try:
        return str(from_microseconds(int(microseconds)))
    except OverflowError:
        return str(microseconds)
