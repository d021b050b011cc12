"""Listen, and serve from a thread of its own, so that the caller's thread waits for signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

    from cryptometrics.web.hub import Hub

MAX_CONNECTIONS = 300
BEAT_S = 1.0
STOP_S = 1.0
"""How long open requests may take when the server stops."""
SEND_BUFFER_BYTES = 256 * 1024
DEAD_MS = 10_000
"""A client that takes nothing for so long is disconnected."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 picks a free one. Raises UserError if that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"cannot listen on {host}: {error.strerror or error}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit both: what a slow reader leaves unread must not grow, nor stay forever.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_MS)
        sock.bind(address)
        sock.listen(128)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} on {host} is in use: choose another one with --port, or --port 0 for a free one"
            ) from None
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return sock


@contextlib.contextmanager
def serving(app: ASGIApp, sock: socket.socket, hub: Hub, beat: Callable[[], object]) -> Iterator[None]:
    """Serve within the block; at its end, open streams and requests end within about a second.

    beat: returns what each sign of life to the readers of the stream says.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        hub.bind(loop)
        beating = loop.create_task(_beat(hub, beat))
        loop.call_soon(ready.set)
        try:
            await server.serve(sockets=[sock])
        finally:
            beating.cancel()

    def stop() -> None:
        hub.close()
        server.should_exit = True

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()], name="web-server", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop)
        thread.join(2 * STOP_S)


async def _beat(hub: Hub, beat: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(BEAT_S)
        hub.beat(beat())
