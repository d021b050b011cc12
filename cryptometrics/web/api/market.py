"""`/api/pairs`: the newest quotes of all markets."""

from fastapi import APIRouter

from cryptometrics.store.choose_source import check_venue, stored_groups
from cryptometrics.store.live_snapshot import SnapshotReader
from cryptometrics.times import iso
from cryptometrics.web.api.parameters import Group, Venue, chosen_group
from cryptometrics.web.rows import pair_rows
from cryptometrics.web.shapes import PairsAnswer
from cryptometrics.web.site import Site


def router(site: Site) -> APIRouter:
    """Return the routes about markets."""
    routes = APIRouter()

    @routes.get("/api/pairs", summary="The newest quote, session and risk of each market")
    def pairs(group: Group = None, venue: Venue = None) -> PairsAnswer:
        with site.database.session() as connection:
            name = chosen_group(connection, site, group)
            at = venue or site.venue
            if venue is not None:
                check_venue(connection, name, venue)
            found = SnapshotReader(connection, name, venue=at).read()
            return PairsAnswer(
                as_of=iso(found.at),
                group=name,
                groups=stored_groups(connection),
                pairs=pair_rows(found, site.poller.rates),
            )

    return routes
