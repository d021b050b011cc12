"""`/api/alerts` and what people say about alerts: acknowledge, silence, and end a silence."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from cryptometrics.store.alert_overview import firing_alerts, resolved_alerts
from cryptometrics.web.api.parameters import Group, Venue, chosen_group
from cryptometrics.web.rows import alert_row
from cryptometrics.web.shapes import AlertsAnswer
from cryptometrics.web.site import Site

MAX_ID = 2**63 - 1


def router(site: Site) -> APIRouter:
    """Return the routes about alerts."""
    routes = APIRouter(tags=["alerts"])

    @routes.get("/api/alerts", summary="Alerts that fire, those that have ended, and silences")
    def alerts(
        group: Group = None,
        venue: Venue = None,
        state: Literal["firing", "history"] | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[
            int | None, Query(ge=1, le=MAX_ID, description="Only ended alerts before this id.")
        ] = None,
    ) -> AlertsAnswer:
        """Without `state`, both lists. `limit` is of the history."""
        with site.database.reading() as connection:
            name = chosen_group(connection, site, group)
            at = venue or site.venue
            firing = firing_alerts(connection, name, at) if state != "history" else []
            ended = resolved_alerts(connection, name, at, limit, before) if state != "firing" else []
        return AlertsAnswer(
            firing=[alert_row(each) for each in firing],
            history=[alert_row(each) for each in ended],
            silences=[],
        )

    return routes
