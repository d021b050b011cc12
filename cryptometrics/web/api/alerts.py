"""`/api/alerts` and what people say about alerts: acknowledge, silence, and end a silence."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from cryptometrics.errors import UserError
from cryptometrics.store import acknowledgements
from cryptometrics.store.alert_overview import firing_alerts, resolved_alerts
from cryptometrics.times import iso, parse_duration, parse_time
from cryptometrics.web.api.parameters import Group, Venue, chosen_group
from cryptometrics.web.rows import alert_row
from cryptometrics.web.shapes import AlertsAnswer, SilenceRow
from cryptometrics.web.site import Site

MAX_ID = 2**63 - 1
Id = Annotated[int, Path(ge=1, le=MAX_ID)]
Note = Annotated[str, Field(min_length=1, max_length=1000)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class Statement(BaseModel):
    """Who says something, and why."""

    model_config = ConfigDict(extra="forbid")

    by: Name
    why: Note


class SilenceOrder(BaseModel):
    """Which alerts are not sent, and until when: a time or a duration."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    by: Name
    why: Note
    rule: Name
    pair: Name = "*"
    until: Annotated[str | None, Field(max_length=40)] = None
    length: Annotated[str | None, Field(alias="for", max_length=40)] = None

    @property
    def end(self) -> datetime | timedelta:
        """When the silence ends, or how long it lasts; raise UserError unless exactly one is stated."""
        if (self.until is None) == (self.length is None):
            raise UserError("state either `until` or `for`")
        try:
            if self.length is not None:
                return parse_duration(self.length)
            return parse_time(self.until or "", datetime.now(UTC))
        except ValueError as error:
            raise UserError(str(error)) from None


class Author(BaseModel):
    """Who does something."""

    model_config = ConfigDict(extra="forbid")

    by: Name


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
            silences = acknowledgements.silences(connection)
        return AlertsAnswer(
            firing=[alert_row(each) for each in firing],
            history=[alert_row(each) for each in ended],
            silences=[_silence(each) for each in silences],
        )

    @routes.post("/api/alerts/{alert_id}/acknowledge", status_code=204, summary="Acknowledge an alert")
    def acknowledge(alert_id: Id, statement: Statement) -> None:
        """Tell others that somebody has seen an alert. Nothing else changes."""
        with site.database.session() as connection:
            acknowledgements.acknowledge(connection, alert_id, statement.by, statement.why)

    @routes.post("/api/silences", status_code=201, summary="Silence alerts for a while")
    def silence(order: SilenceOrder) -> SilenceRow:
        """Store and show alerts that match, and do not send them. Patterns have *, ? and [ ]."""
        with site.database.session() as connection:
            return _silence(
                acknowledgements.silence(connection, order.rule, order.pair, order.end, order.by, order.why)
            )

    @routes.post("/api/silences/{silence_id}/end", summary="End a silence early")
    def end_silence(silence_id: Id, author: Author) -> SilenceRow:
        with site.database.session() as connection:
            return _silence(acknowledgements.end_silence(connection, silence_id, author.by))

    return routes


def _silence(each: acknowledgements.Silence) -> SilenceRow:
    return SilenceRow(
        id=each.id,
        rule=each.rule,
        pair=each.pair,
        by=each.created_by,
        why=each.why,
        since=iso(each.starts_at),
        until=iso(each.ended_at or each.ends_at),
    )
