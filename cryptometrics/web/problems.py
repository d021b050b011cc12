"""Errors as `application/problem+json` (RFC 9457): a type, a title, the status, and what is wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, TypedDict

import msgspec
import psycopg
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cryptometrics import log
from cryptometrics.errors import NotFoundError, ServiceUnavailableError, UserError
from cryptometrics.store.database_errors import explained, is_transient, one_line
from cryptometrics.text import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"
MAX_DETAIL_CHARS = 500
RETRY_AFTER_S = 1


class Problem(TypedDict):
    """What went wrong with a request."""

    type: str
    title: str
    status: int
    detail: str


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a request that failed; the detail is cut where it quotes a long value."""
    text = escape(detail)
    if len(text) > MAX_DETAIL_CHARS:
        text = text[: MAX_DETAIL_CHARS - 1] + "…"
    body = Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=text)
    return Response(msgspec.json.encode(body), status, dict(headers or {}), MEDIA_TYPE)


def unavailable(detail: str) -> Response:
    """Return the answer while a service is away or busy: the same request may succeed later."""
    return problem(503, detail, {"Retry-After": str(RETRY_AFTER_S)})


def add_handlers(app: FastAPI) -> None:
    """Answer each error of a route with a problem."""

    @app.exception_handler(NotFoundError)
    async def not_found(_request: Request, error: Exception) -> Response:
        return problem(404, str(error))

    @app.exception_handler(UserError)
    async def refused(_request: Request, error: Exception) -> Response:
        return problem(400, str(error))

    @app.exception_handler(ServiceUnavailableError)
    async def away(_request: Request, error: Exception) -> Response:
        return unavailable(str(error))

    @app.exception_handler(psycopg.Error)
    async def database(request: Request, error: psycopg.Error) -> Response:
        if is_transient(error):
            return unavailable(f"PostgreSQL does not answer now: {one_line(error)}")
        if (meaning := explained(error)) is not None:
            return unavailable(str(meaning))
        return await bug(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        return problem(422, "; ".join(_in_words(each) for each in error.errors()))

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, error.detail, error.headers)

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        log.get_logger().error("request_failed", path=request.url.path, exc_info=error)
        return problem(500, "this is a bug; the server's log has the details")


def _in_words(error: dict[str, object]) -> str:
    """Return one finding about a request: the parameter's name, and what is wrong with it."""
    place = error.get("loc", ())
    name = ".".join(str(part) for part in place[1:]) if isinstance(place, tuple) else ""
    return f"{name or 'the body'}: {error.get('msg')}"
