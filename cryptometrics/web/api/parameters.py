"""Parameters that several routes share, each checked in one place."""

from typing import Annotated

import psycopg
from fastapi import Query
from pydantic import AfterValidator

from cryptometrics.market.ticks import PAIR_PATTERN
from cryptometrics.market.venues import VENUE_PATTERN
from cryptometrics.store.choose_source import resolve_group
from cryptometrics.text import MAX_NAME_CHARACTERS, check_name
from cryptometrics.web.site import Site

Group = Annotated[
    str | None,
    Query(max_length=MAX_NAME_CHARACTERS, description="Consumer group to read. Default: the server's."),
    AfterValidator(lambda name: None if name is None else check_name(name)),
]
Venue = Annotated[
    str | None, Query(pattern=f"^{VENUE_PATTERN}$", description="Only this venue. Default: the server's.")
]
Pair = Annotated[str, Query(pattern=f"^{PAIR_PATTERN}$", description="Such as BTC-USD.")]


def chosen_group(connection: psycopg.Connection, site: Site, group: str | None) -> str:
    """Return the group that a request names, else the server's own; raise NotFoundError if it is unknown."""
    return site.group if group in (None, site.group) else resolve_group(connection, group).name
