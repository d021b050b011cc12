"""The application: all routes behind the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from cryptometrics import __version__
from cryptometrics.web import pages
from cryptometrics.web.api import alerts, health, market, pipeline, portfolio, risk, stream
from cryptometrics.web.gate import Gate
from cryptometrics.web.problems import DOCUMENTED, add_handlers

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from cryptometrics.web.site import Site

ROUTERS = (
    market.router,
    risk.router,
    portfolio.router,
    alerts.router,
    pipeline.router,
    stream.router,
    health.router,
    pages.router,
)


def make_app(site: Site, on_login: Callable[[], None]) -> ASGIApp:
    """Return the application; on_login: called when a link was used."""
    app = FastAPI(
        title="cryptometrics",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
        responses=DOCUMENTED,
    )
    add_handlers(app)
    for make_router in ROUTERS:
        app.include_router(make_router(site))
    return Gate(app, site.access, on_login)
