"""`/healthz` for supervisors, and `/metrics` for Prometheus."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response
from typing_extensions import TypedDict

from cryptometrics.web.problems import unavailable
from cryptometrics.web.site import Site


class ServerHealth(TypedDict):
    """Whether the page is current."""

    ok: bool
    database: str
    streams: int


class _SiteCollector(Collector):
    def __init__(self, site: Site) -> None:
        self._site = site

    def collect(self) -> list[GaugeMetricFamily | CounterMetricFamily]:
        site = self._site
        return [
            GaugeMetricFamily("cryptometrics_web_streams", "Open streams.", value=site.hub.readers),
            CounterMetricFamily(
                "cryptometrics_web_streams_dropped", "Streams that were too slow.", value=site.hub.dropped
            ),
            CounterMetricFamily("cryptometrics_web_events", "Events sent.", value=site.hub.events),
            GaugeMetricFamily(
                "cryptometrics_web_database_up",
                "1 while PostgreSQL answers.",
                value=int(site.poller.database == "ok"),
            ),
        ]

    def describe(self) -> list[GaugeMetricFamily | CounterMetricFamily]:
        return []


def router(site: Site) -> APIRouter:
    """Return the routes for machines that watch the server."""
    routes = APIRouter(tags=["health"])
    registry = CollectorRegistry()
    registry.register(_SiteCollector(site))

    @routes.get("/healthz", summary="Whether the page is current", response_model=ServerHealth)
    def healthz() -> Response | ServerHealth:
        database = site.poller.database
        if database != "ok":
            return unavailable(f"database: {database}")
        return ServerHealth(ok=True, database=database, streams=site.hub.readers)

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return routes
