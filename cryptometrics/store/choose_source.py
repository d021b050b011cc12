"""Choose the group and the venue to read: the one asked for, else the only one, else the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.errors import NotFoundError, UserError
from cryptometrics.text import are, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

# Groups that have read the same topic to its end have the same newest time; then the last writer is newer.
_GROUPS = """
SELECT consumer_group
FROM session_extremes
LEFT JOIN (
    SELECT consumer_group, max(updated_at) AS updated_at FROM consumer_offsets GROUP BY consumer_group
) AS written USING (consumer_group)
GROUP BY consumer_group
ORDER BY max(last_at) DESC, max(updated_at) DESC NULLS LAST, consumer_group
"""

_VENUES = """
SELECT venue
FROM session_extremes
WHERE consumer_group = %(group)s
  AND (%(pairs)s::text[] IS NULL OR pair = ANY(%(pairs)s))
  AND (%(session)s::text IS NULL OR session = %(session)s)
GROUP BY venue
ORDER BY max(last_at) DESC, venue
"""

# Read only where no tick answers: a year of one pair has half a million minutes.
_IMPORTED = """
SELECT consumer_group, venue FROM crypto_windows WHERE origin = 'imported'
GROUP BY consumer_group, venue ORDER BY max(window_start) DESC, consumer_group, venue
"""


class Choice(NamedTuple):
    """The group or the venue whose rows are read."""

    name: str
    note: str
    """Why it was chosen, for stderr; empty if the user named it or there is no other."""


def resolve_group(
    connection: psycopg.Connection, group: str | None, *, with_imported: bool = False
) -> Choice:
    """Return the group named, else the only one, else the one with the newest row.

    with_imported: for a reader of minutes, which can do without ticks: a group with nothing but imported ones
    is chosen, too, if it is named or if there is no other. Raises UserError if nothing is stored, or nothing
    for the group named.
    """
    groups = stored_groups(connection)
    if with_imported and (not groups or group not in (None, *groups)):
        groups += [name for name, _ in _imported(connection) if name not in groups]
    if not groups:
        raise UserError("no ticks are stored yet: run `cryptometrics process`")
    if group is not None and group not in groups:
        raise NotFoundError(f"group {group} has stored nothing; there {are(groups)}")
    return choice("group", group, groups)


def stored_groups(connection: psycopg.Connection) -> list[str]:
    """Return the groups with stored ticks, the one with the newest row first."""
    return [name for (name,) in connection.execute(_GROUPS)]


def group_to_import_for(connection: psycopg.Connection, group: str | None, default: str) -> str:
    """Return the group named, whether it has anything or not, else the one that is read, else the default."""
    if group is not None:
        return group
    stored = stored_groups(connection)
    return next(iter(stored or [name for name, _ in _imported(connection)]), default)


def resolve_venue(
    connection: psycopg.Connection,
    group: str,
    venue: str | None,
    *,
    pairs: Sequence[str] = (),
    session: str | None = None,
    with_imported: bool = False,
) -> Choice:
    """Return the venue of a group that was named, else the only one, else the one with the newest row.

    pairs, session: only venues that have ticks of them are chosen, if there are any. with_imported: as in
    `resolve_group`. Raises UserError if the venue named has nothing in the group.
    """
    if venue is not None:
        check_venue(connection, group, venue, with_imported=with_imported)
        return Choice(venue, "")
    venues = stored_venues(connection, group, pairs, session) or stored_venues(connection, group)
    if with_imported and not venues:
        venues = [at for name, at in _imported(connection) if name == group]
    return choice("venue", None, venues)


def check_venue(
    connection: psycopg.Connection, group: str, venue: str | None, *, with_imported: bool = False
) -> None:
    """Raise UserError, which lists the venues of the group, if this one is not among them; None is any."""
    if venue is None or venue in (venues := stored_venues(connection, group)):
        return
    if with_imported:
        venues += [at for name, at in _imported(connection) if name == group and at not in venues]
    if venue not in venues:
        raise NotFoundError(f"group {group} has no ticks of venue {venue}; there {are(venues)}")


def stored_venues(
    connection: psycopg.Connection, group: str, pairs: Sequence[str] = (), session: str | None = None
) -> list[str]:
    """Return the venues of a group, or those with some pairs and a session; the newest row's first."""
    values = {"group": group, "pairs": list(pairs) or None, "session": session}
    return [name for (name,) in connection.execute(_VENUES, values)]


def _imported(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Return the groups and venues with imported minutes, the newest minute's first."""
    return connection.execute(_IMPORTED).fetchall()


def choice(what: str, wanted: str | None, newest_first: Sequence[str]) -> Choice:
    """Return the name that is wanted, else the newest; what: `group` or `venue`, as the option is called."""
    newest, *others = newest_first
    if wanted is not None or not others:
        return Choice(wanted or newest, "")
    return Choice(
        newest,
        f"reading {what} {newest}, the one with the newest row; --{what} reads {listed(others)} instead",
    )
