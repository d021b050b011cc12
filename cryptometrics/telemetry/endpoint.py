"""The HTTP endpoint: `/metrics` for Prometheus, `/healthz` for supervisors that restart unhealthy processes.

with serving(collect, healthy, host, port):
    …
"""

from __future__ import annotations

import contextlib
import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from cryptometrics import log
from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

REQUEST_S = 10.0
"""Limit for a client to send its request."""


class Health(NamedTuple):
    """Whether the process is healthy, and the numbers behind that."""

    ok: bool
    details: dict[str, Any]


class _ScrapeCollector(Collector):
    """Collects the metrics anew at each scrape, so no number has a second copy."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()

    def describe(self) -> Iterable[Metric]:
        return []


@contextlib.contextmanager
def serving(
    collect: Callable[[], Iterable[Metric]], healthy: Callable[[], Health], host: str, port: int
) -> Iterator[str]:
    """Serve from a background thread within the block; yield the address, `host:port`.

    collect, healthy: return the current metrics and health; other threads call them.
    port: 0 selects a free one. Raises UserError if the address is not available.
    """
    registry = CollectorRegistry()
    registry.register(_ScrapeCollector(collect))

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_S

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, content_type, encode(registry))
            elif path == "/healthz":
                health = healthy()
                status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
                body = json.dumps({"ok": health.ok, **health.details}).encode() + b"\n"
                self._answer(status, "application/json", body)
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /healthz\n")

        do_HEAD = do_GET  # noqa: N815  (http.server's name)

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:  # scrapes are not worth a log line
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # nor are clients that disconnect
            pass

    try:
        server = Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot serve metrics on {host}:{port}: {reason}: choose another port") from None
    address = f"{host}:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    log.get_logger().info("metrics_served", address=address)
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
