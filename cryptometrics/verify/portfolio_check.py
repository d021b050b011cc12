"""Compute the rows of `portfolio_risk` again: from the version, the quotes in the row, and the minutes.

The quotes in a row are compared with the stored ones, or with the mid price of their minute once they were
pruned. A row whose minutes are gone cannot be checked; it is counted, and not taken for wrong.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptometrics.verify.findings import FindingKind
from cryptometrics.verify.portfolio_minutes import MINUTE, PortfolioMinutes, Version
from cryptometrics.verify.portfolio_row import first_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from cryptometrics.verify.findings import Findings
    from cryptometrics.verify.offset_books import GroupBooks

_PLACES = """
SELECT p.portfolio, p.venue, p.begun_at, p.complete_until, p.again_from, p.again_until, p.kept_from,
       p.thinned_until,
       (SELECT min(c.minute) FROM changed_minutes c
        WHERE (c.consumer_group, c.venue) = (p.consumer_group, p.venue)),
       (SELECT r.heard_until FROM risk_progress r
        WHERE (r.consumer_group, r.venue) = (p.consumer_group, p.venue)
          AND r.heard_until < (SELECT max(m.heard_until) FROM crypto_markets m
                               WHERE (m.consumer_group, m.venue) = (p.consumer_group, p.venue)))
FROM portfolio_progress p WHERE p.consumer_group = %s ORDER BY p.portfolio, p.venue
"""
_VERSIONS = """
SELECT effective_at, version, consumer_group, venue, currency, definition FROM portfolio_versions
WHERE portfolio = %s ORDER BY effective_at, version
"""
_ROWS = """
SELECT as_of, version, currency, value, value_at_mid, profit_and_loss, profit_and_loss_today, gross, net,
       value_at_risk, expected_shortfall, value_at_risk_pct, expected_shortfall_pct, drawdown, drawdown_pct,
       unmarked, positions, cash, limits
FROM portfolio_risk WHERE (portfolio, consumer_group, venue) = (%s, %s, %s) ORDER BY as_of, version
"""
_LOST = """
SELECT portfolio, venue, as_of FROM portfolio_risk r
WHERE consumer_group = %s AND NOT EXISTS (
    SELECT FROM portfolio_progress p
    WHERE (p.portfolio, p.consumer_group, p.venue) = (r.portfolio, r.consumer_group, r.venue))
ORDER BY portfolio, as_of
"""
# Every quote of a row, where it is not pruned: it must be as it was stored.
_QUOTES = """
SELECT r.portfolio, r.venue, r.as_of, mark.pair
FROM portfolio_risk r
CROSS JOIN LATERAL jsonb_to_recordset(r.positions || r.cash) AS mark (
    pair text, quoted_at timestamptz, kafka_partition int, kafka_offset bigint, bid numeric, ask numeric,
    bid_size numeric, ask_size numeric)
JOIN crypto_metrics m
    ON (m.consumer_group, m.kafka_partition, m.kafka_offset, m.timestamp)
     = (r.consumer_group, mark.kafka_partition, mark.kafka_offset, mark.quoted_at)
WHERE r.consumer_group = %s
  AND (m.pair, m.venue, m.bid, m.ask, m.bid_size, m.ask_size)
      IS DISTINCT FROM (mark.pair, r.venue, mark.bid, mark.ask, mark.bid_size, mark.ask_size)
ORDER BY r.portfolio, r.as_of
"""


def check_portfolios(connection: psycopg.Connection, books: GroupBooks, findings: Findings) -> None:
    """Compare each row of `portfolio_risk` with what follows, and look for rows that are missing."""
    for portfolio, venue, as_of, pair in connection.execute(_QUOTES, [books.group]):
        _add(findings, portfolio, venue, as_of, f"the quote of {pair} is not the one that is stored")
    for portfolio, venue, as_of in connection.execute(_LOST, [books.group]):
        _add(findings, portfolio, venue, as_of, "the row belongs to no progress")
    for place in connection.execute(_PLACES, [books.group]).fetchall():
        rows = _Rows(connection, books.group, _Place(*place))
        for as_of, problem in rows.problems():
            _add(findings, rows.place.portfolio, rows.place.venue, as_of, problem)
        findings.not_checked.update(rows.counts)


def notes_on_portfolios(findings: Findings) -> list[str]:
    """Return notes on rows that wait to be computed again, and on those that cannot be checked."""
    stale, gone = findings.not_checked["stale"], findings.not_checked["gone"]
    notes = []
    if stale:
        notes.append(f"{stale:,} rows of portfolio_risk are stale: `risk --follow` corrects them")
    if gone:
        notes.append(f"{gone:,} rows of portfolio_risk cannot be checked: their minutes are gone")
    return notes


def _add(findings: Findings, portfolio: str, venue: str, as_of: datetime, problem: str) -> None:
    row = f"{portfolio} at {venue} as of {as_of.astimezone(UTC):%Y-%m-%d %H:%M}"
    findings.add_text(FindingKind.PORTFOLIO, f"{row}: {problem}")


class _Place(NamedTuple):
    """How far the rows of a portfolio at a market should go."""

    portfolio: str
    venue: str
    begun_at: datetime
    complete_until: datetime
    again_from: datetime | None
    again_until: datetime | None
    kept_from: datetime
    thinned_until: datetime
    changed: datetime | None
    """The oldest minute that has changed since."""
    heard_until: datetime | None
    """The newest sign of the feed when the rows were computed, if there is a newer one."""

    def is_stale(self, as_of: datetime) -> bool:
        """Return whether a row is to be computed again, or used a minute that has changed since."""
        if self.again_from and self.again_until and self.again_from < as_of <= self.again_until:
            return True
        if self.changed is not None and as_of > self.changed:
            return True
        return self.heard_until is not None and as_of > self.heard_until

    def keeps(self, as_of: datetime) -> bool:
        """Return whether `prune` has left a row."""
        return as_of >= self.kept_from and (as_of >= self.thinned_until or not as_of.minute)


class _Rows:
    """The rows of one portfolio at one market."""

    def __init__(self, connection: psycopg.Connection, group: str, place: _Place) -> None:
        self._connection, self._group, self.place = connection, group, place
        self.counts: Counter[str] = Counter()

    def problems(self) -> Iterator[tuple[datetime, str]]:
        """Yield the time and the problem of each row that is wrong, missing or too many."""
        found = self._connection.execute(_VERSIONS, [self.place.portfolio])
        versions = [Version(*row) for row in found]
        ours = [each.definition for each in versions if each.definition and self._is_ours(each)]
        minutes = PortfolioMinutes(
            self._connection,
            self._group,
            self.place.venue,
            ours,
            self.place.begun_at,
            self.place.complete_until,
        )
        stored = self._stored()
        as_of = self.place.begun_at + MINUTE
        while as_of <= self.place.complete_until:
            version = next((each for each in reversed(versions) if each.effective_at <= as_of), None)
            row = None
            if version is not None and version.definition and self._is_ours(version):
                row = stored.pop((as_of, version.number), None)
                if self.place.is_stale(as_of):
                    self.counts["stale"] += 1
                elif row is None:
                    if self.place.keeps(as_of):
                        yield as_of, "there is no row"
                elif minutes.are_gone(row, version.definition, as_of):
                    self.counts["gone"] += 1
                elif problem := first_problem(row, versions, version, as_of, minutes):
                    yield as_of, problem
            as_of += MINUTE
        for as_of, number in stored:
            if not self.place.is_stale(as_of):
                yield as_of, f"version {number} was not in force"

    def _stored(self) -> dict[tuple[datetime, int], dict[str, Any]]:
        cursor = self._connection.execute(_ROWS, [self.place.portfolio, self._group, self.place.venue])
        names = [column.name for column in cursor.description or ()]
        rows = (dict(zip(names, row, strict=True)) for row in cursor)
        return {(row["as_of"], row["version"]): row for row in rows}

    def _is_ours(self, version: Version) -> bool:
        return (version.group, version.venue) == (self._group, self.place.venue)
