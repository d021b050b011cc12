"""Choose the group and the venue to read: the one asked for, else the only one, else the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.errors import UserError
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


class Choice(NamedTuple):
    """The group or the venue whose rows are read."""

    name: str
    note: str
    """Why it was chosen, for stderr; empty if the user named it or there is no other."""


def resolve_group(connection: psycopg.Connection, group: str | None) -> Choice:
    """Return the group named, else the only one, else the one with the newest row.

    Raises UserError if nothing is stored, or nothing for the group named.
    """
    groups = [name for (name,) in connection.execute(_GROUPS)]
    if not groups:
        raise UserError("no ticks are stored yet: run `cryptometrics process`")
    if group is not None and group not in groups:
        raise UserError(f"group {group} has stored nothing; there {are(groups)}")
    return _choice("group", group, groups)


def resolve_venue(
    connection: psycopg.Connection,
    group: str,
    venue: str | None,
    *,
    pairs: Sequence[str] = (),
    session: str | None = None,
) -> Choice:
    """Return the venue of a group that was named, else the only one, else the one with the newest row.

    pairs, session: only venues that have ticks of them are chosen, if there are any. Raises UserError if the
    venue named has no ticks in the group.
    """
    if venue is not None:
        check_venue(connection, group, venue)
        return Choice(venue, "")
    return _choice(
        "venue", None, stored_venues(connection, group, pairs, session) or stored_venues(connection, group)
    )


def check_venue(connection: psycopg.Connection, group: str, venue: str | None) -> None:
    """Raise UserError, which lists the venues of the group, if this one is not among them; None is any."""
    if venue is not None and venue not in (venues := stored_venues(connection, group)):
        raise UserError(f"group {group} has no ticks of venue {venue}; there {are(venues)}")


def stored_venues(
    connection: psycopg.Connection, group: str, pairs: Sequence[str] = (), session: str | None = None
) -> list[str]:
    """Return the venues of a group, or those with some pairs and a session; the newest row's first."""
    values = {"group": group, "pairs": list(pairs) or None, "session": session}
    return [name for (name,) in connection.execute(_VENUES, values)]


def _choice(what: str, wanted: str | None, newest_first: Sequence[str]) -> Choice:
    newest, *others = newest_first
    if wanted is not None or not others:
        return Choice(wanted or newest, "")
    return Choice(
        newest,
        f"reading {what} {newest}, the one with the newest row; --{what} reads {listed(others)} instead",
    )
