"""The first to see each request, and the last to see each answer: access, limits, and security headers."""

from __future__ import annotations

import time
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response

from cryptometrics.web.problems import problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from cryptometrics.web.access import Access

COOKIE = "cryptometrics"
FORM_TOKEN = "x-cryptometrics-token"  # noqa: S105  (the header's name)
LOGIN = "/login"
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
MAX_REQUESTS_PER_S = 100.0
BURST = 300.0
"""Requests at once, from all clients together, before they are limited to the rate."""
MAX_BODY_BYTES = 16 * 1024


class RateLimit:
    """A bucket of requests that fills at a rate."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = burst, clock()

    def allows(self) -> bool:
        """Return whether one more request is within the limit."""
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._rate, self._burst)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, access: Access, on_login: Callable[[], None]) -> None:
        """on_login: called when a link was used, and the next one is valid."""
        self._app = app
        self._access = access
        self._on_login = on_login
        self._limit = RateLimit(MAX_REQUESTS_PER_S, BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is not allowed, and pass on any other."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._access.allows_host(host):
            return problem(
                421, "this server does not answer for that host: use the address that `web` has printed"
            )
        if not self._access.allows_origin(headers.get("origin"), host):
            return problem(403, "requests of other origins are refused")
        if not self._limit.allows():
            return problem(429, "too many requests", {"Retry-After": "1"})
        return self._login(scope) if scope["path"] == LOGIN else self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        if not self._access.admits(_bearer(headers), _cookie(headers)):
            return problem(
                401,
                "open the link that `cryptometrics web` has printed, or send the token as "
                "`Authorization: Bearer …`",
                {"WWW-Authenticate": "Bearer"},
            )
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            return self._refusal_of_change(headers)
        return None

    def _refusal_of_change(self, headers: Headers) -> Response | None:
        if not self._access.is_form_token(headers.get(FORM_TOKEN)):
            return problem(
                403, "the token of the page is missing or of an earlier start: load the page again"
            )
        length = headers.get("content-length", "")
        if not length.isdigit() or len(length) > 9 or int(length) > MAX_BODY_BYTES:
            return problem(413, f"a body has a stated length of at most {MAX_BODY_BYTES:,} bytes")
        return None

    def _login(self, scope: Scope) -> Response:
        code = scope["query_string"].decode("latin-1").removeprefix("code=")
        if scope["method"] != "GET" or not self._access.use_code(code):
            return problem(403, "this link was used before, or is not valid: use the newest one printed")
        self._on_login()
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self._access.cookie, httponly=True, samesite="strict", max_age=30 * 86_400)
        return answer


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _cookie(headers: Headers) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None
