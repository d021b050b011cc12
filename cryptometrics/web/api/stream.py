"""`/api/stream`: the live view as server-sent events."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cryptometrics.web.hub import Hub, Reader, TooManyReadersError
from cryptometrics.web.problems import unavailable
from cryptometrics.web.site import Site


class EventStream(Response):
    """An answer that goes on until its reader leaves, is too slow, or the server stops."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, last_event_id: str | None) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._hub, self._last_event_id = hub, last_event_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events; end without a last word where nobody would read it."""
        try:
            with self._hub.reading(self._last_event_id) as reader:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await _first_of(self._pump(reader, send), _until_gone(receive), reader.ended.wait())
        except TooManyReadersError:
            await unavailable("too many streams are open")(scope, receive, send)
            return
        if reader.ended.is_set() and not reader.is_slow:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, reader: Reader, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
        while True:
            await send({"type": "http.response.body", "body": await reader.next(), "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first_of(*parts: Coroutine[Any, Any, object]) -> None:
    """Run until one of the parts ends, and cancel the others."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def router(site: Site) -> APIRouter:
    """Return the route of the stream."""
    routes = APIRouter()

    @routes.get(
        "/api/stream",
        response_class=EventStream,
        status_code=200,
        summary="The live view, as server-sent events",
    )
    async def stream(
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
        after: Annotated[
            str | None, Query(max_length=100, description="The same as the header Last-Event-ID.")
        ] = None,
    ) -> Response:
        """Send a `snapshot`, then an `update` with each change, and a `beat` at least once a second.

        A reader that returns with the id of its last event gets what it has missed, as far as it is still
        known, else a snapshot.
        """
        return EventStream(site.hub, last_event_id or after)

    return routes
