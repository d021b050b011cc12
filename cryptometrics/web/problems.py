"""Errors as `application/problem+json` (RFC 9457): a type, a title, the status, and what is wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import psycopg
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cryptometrics import log
from cryptometrics.errors import CryptometricsError, NotFoundError, ServiceUnavailableError, UserError
from cryptometrics.store.acknowledgements import AlreadyAcknowledgedError
from cryptometrics.store.database_errors import explained, is_transient, one_line
from cryptometrics.text import escape

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

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


_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "maxLength": MAX_DETAIL_CHARS},
    },
}
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"description": meaning, "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
    for status, meaning in {
        400: "The values of the parameters do not fit",
        401: "The token is missing",
        403: "Another origin, or the token of the page is missing",
        404: "The group, venue, pair, portfolio, alert or silence is not stored",
        409: "Somebody has done it before",
        413: "The body is too long",
        421: "The request names another host",
        422: "A parameter or the body is not valid",
        429: "Too many requests",
        503: "A service does not answer now",
    }.items()
}
"""The problems of every route, for OpenAPI."""


_STATUSES: dict[type[CryptometricsError], int] = {
    NotFoundError: 404,
    AlreadyAcknowledgedError: 409,
    UserError: 400,
    ServiceUnavailableError: 503,
}
"""The status of each of our errors; of its classes, the nearest one counts."""


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
    for kind, status in _STATUSES.items():
        app.add_exception_handler(kind, _answer_with(status))

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


def _answer_with(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        return (
            unavailable(str(error))
            if status == HTTPStatus.SERVICE_UNAVAILABLE
            else problem(status, str(error))
        )

    return answer


def _in_words(error: dict[str, object]) -> str:
    """Return one finding about a request: the parameter's name, and what is wrong with it."""
    place = error.get("loc", ())
    name = ".".join(str(part) for part in place[1:]) if isinstance(place, tuple) else ""
    return f"{name or 'the body'}: {error.get('msg')}"
