"""What the routes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptometrics.web.access import Access
    from cryptometrics.web.hub import Hub
    from cryptometrics.web.poller import ViewPoller
    from cryptometrics.web.read_sessions import ReadSessions


class Site(NamedTuple):
    """One running server: whose rows it shows, and where they come from."""

    group: str
    venue: str | None
    """None: all venues."""
    database: ReadSessions
    poller: ViewPoller
    hub: Hub
    access: Access
