"""Store and read the versions of portfolios. A version is never changed; a later one follows it.

In force at a moment is the version with the latest `effective_at` until then, of equal ones the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.types.json import Jsonb

from cryptometrics.errors import NotFoundError, UserError
from cryptometrics.risk.portfolio.definition import Portfolio, as_document, from_document
from cryptometrics.risk.portfolio.timeline import Effective, Timeline
from cryptometrics.store.portfolio_progress import note_version
from cryptometrics.text import are

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import psycopg

_COLUMNS = "portfolio, version, effective_at, loaded_at, consumer_group, venue, currency, definition"

_IN_FORCE = f"""
SELECT * FROM (
    SELECT DISTINCT ON (portfolio) {_COLUMNS} FROM portfolio_versions
    WHERE effective_at <= %(at)s AND (%(name)s::text IS NULL OR portfolio = %(name)s)
    ORDER BY portfolio, effective_at DESC, version DESC
) AS newest
WHERE definition IS NOT NULL
"""  # noqa: S608  (the columns are constants)

_HISTORY = f"""
SELECT {_COLUMNS} FROM portfolio_versions
WHERE %(name)s::text IS NULL OR portfolio = %(name)s
ORDER BY portfolio, version DESC
"""  # noqa: S608  (likewise)

_OF_PORTFOLIOS = f"""
SELECT {_COLUMNS} FROM portfolio_versions
WHERE portfolio = ANY(%(names)s) AND effective_at <= %(until)s
ORDER BY portfolio, effective_at, version
"""  # noqa: S608  (likewise)

_REMOVED = """
SELECT portfolio FROM (
    SELECT DISTINCT ON (portfolio) portfolio, consumer_group, venue, definition FROM portfolio_versions
    WHERE effective_at <= now() AND portfolio = ANY(%(names)s)
    ORDER BY portfolio, effective_at DESC, version DESC
) AS newest
WHERE definition IS NULL OR (consumer_group, venue) <> (%(group)s, %(venue)s)
"""

_NAMES = "SELECT DISTINCT portfolio FROM portfolio_versions ORDER BY portfolio"

_ROWS_FROM = "SELECT count(*), max(as_of) FROM portfolio_risk WHERE portfolio = %s AND as_of >= %s"

# Two loads at once would otherwise choose the same number.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('portfolio_versions'))"
_LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtext('portfolio_versions'))"

_ADD = """
INSERT INTO portfolio_versions (portfolio, version, effective_at, consumer_group, venue, currency, definition)
SELECT %(name)s, coalesce(max(version), 0) + 1, %(effective_at)s, %(group)s, %(venue)s, %(currency)s,
       %(definition)s
FROM portfolio_versions WHERE portfolio = %(name)s
RETURNING version
"""


@dataclass(frozen=True, slots=True)
class PortfolioVersion:
    """One version of a portfolio."""

    name: str
    version: int
    effective_at: datetime
    loaded_at: datetime
    group: str
    venue: str
    currency: str
    document: dict[str, Any] | None
    """As `as_document` returns it; None: the portfolio was removed."""

    @property
    def portfolio(self) -> Portfolio:
        """The portfolio, which must not have been removed."""
        assert self.document is not None  # noqa: S101
        return from_document(self.document)


class LoadedVersion(NamedTuple):
    """What loading a portfolio led to."""

    version: int
    is_new: bool
    """False: the version in force is the same, so nothing was stored."""


def in_force(connection: psycopg.Connection, at: datetime, name: str | None = None) -> list[PortfolioVersion]:
    """Return the versions in force at a moment by name, of all portfolios or of one; without removed ones."""
    return [PortfolioVersion(*row) for row in connection.execute(_IN_FORCE, {"at": at, "name": name})]


def named_in_force(connection: psycopg.Connection, at: datetime, name: str | None) -> list[PortfolioVersion]:
    """Return the versions in force, of all portfolios or of one; raise NotFoundError if there is none."""
    found = in_force(connection, at, name)
    if found:
        return found
    names = [other.name for other in in_force(connection, at)]
    when = f"{at:%Y-%m-%d %H:%M} UTC"
    if names:
        raise NotFoundError(f"there is no portfolio {name} at {when}; there {are(names)}")
    raise NotFoundError(
        f"there is no portfolio{f' {name}' if name else ''} at {when}: load one with "
        "`cryptometrics positions load FILE`; `cryptometrics positions example` prints one to start from"
    )


def history(connection: psycopg.Connection, name: str | None = None) -> list[PortfolioVersion]:
    """Return every version, of all portfolios or of one, the newest first; UserError for an unknown name."""
    found = [PortfolioVersion(*row) for row in connection.execute(_HISTORY, {"name": name})]
    if name is not None and not found:
        names = [known for (known,) in connection.execute(_NAMES)]
        raise UserError(
            f"there never was a portfolio {name}" + (f"; there {are(names)}" if names else ": none is loaded")
        )
    return found


def lock_versions(connection: psycopg.Connection) -> None:
    """Let no version be stored until the transaction ends."""
    connection.execute(_LOCK_SHARED)


def timelines(connection: psycopg.Connection, names: Collection[str], until: datetime) -> dict[str, Timeline]:
    """Return the versions of portfolios that are in force at some moment up to `until`."""
    versions: dict[str, list[Effective]] = {name: [] for name in names}
    for row in connection.execute(_OF_PORTFOLIOS, {"names": list(names), "until": until}):
        found = PortfolioVersion(*row)
        portfolio = None if found.document is None else found.portfolio
        versions[found.name].append(Effective(found.effective_at, found.version, portfolio))
    return {name: Timeline(found) for name, found in versions.items()}


def removed(connection: psycopg.Connection, group: str, venue: str, names: Collection[str]) -> set[str]:
    """Return which portfolios are removed by now, or are priced by another venue or group."""
    values = {"group": group, "venue": venue, "names": list(names)}
    return {name for (name,) in connection.execute(_REMOVED, values)}


def load(
    connection: psycopg.Connection, portfolio: Portfolio, effective_at: datetime, *, restate: bool = False
) -> LoadedVersion:
    """Store a pinned portfolio as a new version, unless the version in force is the same.

    restate: whether it may change rows of `portfolio_risk`: then they are noted as stale. Otherwise it raises
    UserError if there are rows as of its moments.
    """
    document = as_document(portfolio)
    with connection.transaction():
        connection.execute(_LOCK)
        for present in in_force(connection, effective_at, portfolio.name):
            if present.document == document:
                return LoadedVersion(present.version, is_new=False)
        if not restate:
            _require_no_rows(connection, portfolio.name, effective_at)
        assert portfolio.group and portfolio.venue  # noqa: S101, PT018  (it is pinned)
        version = _add(
            connection,
            portfolio.name,
            effective_at,
            portfolio.group,
            portfolio.venue,
            portfolio.currency,
            document,
        )
        note_version(connection, portfolio.name, effective_at)
    return LoadedVersion(version, is_new=True)


def _require_no_rows(connection: psycopg.Connection, name: str, effective_at: datetime) -> None:
    count, newest = connection.execute(_ROWS_FROM, [name, effective_at]).fetchone() or (0, None)
    if count:
        raise UserError(
            f"portfolio {name} has been valued up to {newest.astimezone(UTC):%Y-%m-%d %H:%M} UTC: a version "
            f"from {effective_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC on changes {count:,} stored rows; "
            "add --restate to compute them again, or choose a later --effective-at"
        )


def remove(connection: psycopg.Connection, name: str, at: datetime) -> int:
    """Store that a portfolio is removed from a moment on; return the version that says so."""
    with connection.transaction():
        connection.execute(_LOCK)
        [present] = named_in_force(connection, at, name)
        version = _add(connection, name, at, present.group, present.venue, present.currency, None)
        note_version(connection, name, at)
        return version


def _add(
    connection: psycopg.Connection,
    name: str,
    effective_at: datetime,
    group: str,
    venue: str,
    currency: str,
    document: dict[str, Any] | None,
) -> int:
    row = connection.execute(
        _ADD,
        {
            "name": name,
            "effective_at": effective_at,
            "group": group,
            "venue": venue,
            "currency": currency,
            "definition": None if document is None else Jsonb(document),
        },
    ).fetchone()
    assert row is not None  # noqa: S101  (an INSERT of one row returns it)
    return int(row[0])
