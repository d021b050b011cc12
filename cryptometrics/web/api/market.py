"""`/api/pairs`, `/api/quotes`, `/api/candles`: the newest quotes of all markets, and one market over time."""

import math
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from cryptometrics.market.pauses import after_gaps
from cryptometrics.store.candles import load_candles
from cryptometrics.store.chart_range import SilentPairsError
from cryptometrics.store.choose_source import check_venue, stored_groups
from cryptometrics.store.fired_alerts import fired_between
from cryptometrics.store.label_runs import label_runs, worst_label
from cryptometrics.store.labelled_minutes import Label
from cryptometrics.store.live_snapshot import SnapshotReader
from cryptometrics.store.minute_series import TickLimits
from cryptometrics.store.tick_series import Series, load_series
from cryptometrics.times import iso, to_microseconds
from cryptometrics.web.api.parameters import Group, Pair, Range, Venue, chosen_group, chosen_market
from cryptometrics.web.rows import exact, exact_or_none, iso_or_none, pair_rows
from cryptometrics.web.shapes import (
    AlertMarker,
    CandleRow,
    CandlesAnswer,
    PairsAnswer,
    QuotesAnswer,
)
from cryptometrics.web.site import Site

METRICS = ("bid", "ask", "mid_price", "spread_bps", "highest_bid", "lowest_ask")
COLUMNS = ("timestamp", *METRICS, "low", "high")
VERIFIED = Label.VERIFIED.name.lower()
LIMITS = TickLimits(of_market=100_000, in_range=2_000_000)
"""A page waits for its chart. Reading so many ticks takes PostgreSQL about half a second of one core."""


def router(site: Site) -> APIRouter:
    """Return the routes about markets."""
    routes = APIRouter(tags=["market"])

    @routes.get("/api/pairs", summary="The newest quote, session and risk of each market")
    def pairs(group: Group = None, venue: Venue = None) -> PairsAnswer:
        with site.database.session() as connection:
            name = chosen_group(connection, site, group)
            check_venue(connection, name, venue)
            found = SnapshotReader(connection, name, venue=venue or site.venue).read()
            return PairsAnswer(
                as_of=iso(found.at),
                group=name,
                groups=stored_groups(connection),
                pairs=pair_rows(found, site.poller.rates),
            )

    @routes.get(
        "/api/quotes", summary="A market's quotes over time, reduced to as many points as a chart shows"
    )
    def quotes(
        pair: Pair,
        span: Range,
        venue: Venue = None,
        group: Group = None,
        points: Annotated[int, Query(ge=10, le=5000)] = 1200,
    ) -> QuotesAnswer:
        with site.database.reading() as connection:
            name = chosen_group(connection, site, group)
            market = chosen_market(connection, site, name, venue, pair)
            try:
                series = load_series(
                    connection,
                    name,
                    market,
                    METRICS,
                    since=span.since,
                    until=None if span.is_open else span.until,
                    buckets=points,
                    minutes=True,
                    limits=LIMITS,
                )
            except SilentPairsError:
                series = None
            runs = label_runs(connection, name, market, span.since, span.until)
            alerts = fired_between(connection, name, market, span.since, span.until)
        return QuotesAnswer(
            pair=pair,
            venue=market.venue,
            group=name,
            since=iso(span.since),
            until=iso(span.until),
            watermark=iso(series.last_at[-1]) if series else None,
            of_minutes=bool(series and series.of_minutes),
            columns=list(COLUMNS),
            points=quote_points(series) if series else [],
            labels=[
                {"from": iso(run.since), "until": iso(run.until), "label": run.label}
                for run in runs
                if run.label != VERIFIED
            ],
            alerts=[
                AlertMarker(
                    id=alert.id,
                    rule=alert.rule,
                    severity=alert.severity,
                    message=alert.message,
                    at=iso(alert.fired_at),
                    resolved_at=iso_or_none(alert.resolved_at),
                )
                for alert in alerts
            ],
        )

    @routes.get("/api/candles", summary="A market's candles of mid prices")
    def candles(
        pair: Pair,
        span: Range,
        venue: Venue = None,
        group: Group = None,
        interval: Literal["1m", "5m", "15m", "1h", "4h", "1d"] = "1m",
    ) -> CandlesAnswer:
        rows: list[CandleRow] = []
        with site.database.reading() as connection:
            name = chosen_group(connection, site, group)
            market = chosen_market(connection, site, name, venue, pair)
            try:
                found = load_candles(
                    connection,
                    name,
                    market,
                    interval,
                    since=span.since,
                    until=None if span.is_open else span.until,
                )
            except SilentPairsError:
                found = None
            if found is not None:
                end = found.candles[-1].start + found.size
                runs = label_runs(connection, name, market, found.candles[0].start, end)
                rows = [
                    CandleRow(
                        start=iso(each.start),
                        open=exact(each.open),
                        high=exact(each.high),
                        low=exact(each.low),
                        close=exact(each.close),
                        volume=exact_or_none(each.volume),
                        ticks=each.ticks,
                        complete=each.complete,
                        label=worst_label(runs, each.start, each.start + found.size),
                    )
                    for each in found.candles
                ]
        return CandlesAnswer(pair=pair, venue=market.venue, group=name, interval=interval, candles=rows)

    return routes


def quote_points(series: Series) -> list[list[int | float | str | None]]:
    """Return the points of a series, in the order of COLUMNS.

    Where the market was silent for unusually long, a point without values follows the last one: a chart must
    not draw a price that nobody quoted.
    """
    gaps = set(after_gaps(series.first_at, series.last_at, series.ticks, series.session_starts))
    columns = [
        series.metrics[name].last if name in series.metrics else [Decimal("nan")] * len(series.ticks)
        for name in METRICS
    ]
    mid = series.metrics["mid_price"]
    names = (*METRICS, "mid_price", "mid_price")
    points: list[list[int | float | str | None]] = []
    for i, values in enumerate(zip(*columns, mid.low, mid.high, strict=True)):
        if i in gaps:
            hold = min(series.last_at[i - 1] + series.width, series.first_at[i])
            points.append([to_microseconds(hold) // 1000, *[None] * len(names)])
        at = to_microseconds(series.last_at[i]) // 1000
        points.append([at, *(_value(name, value) for name, value in zip(names, values, strict=True))])
    return points


def _value(name: str, value: Decimal) -> float | str | None:
    if value.is_nan():
        return None
    if name == "spread_bps":
        rounded = round(float(value), 4)
        return rounded if math.isfinite(rounded) else None
    return exact(value)
