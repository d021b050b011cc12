"""A webhook receiver that can refuse, disconnect, redirect or stall. It stores every request."""

from __future__ import annotations

import json
import random
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

SECRET = "T0PS3CRET-t0ken"
Act = Literal["accept", "refuse", "cut", "redirect", "busy", "drip"]


@dataclass
class Post:
    """One request: what it said and what became of it."""

    key: str
    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    act: Act


@dataclass
class Receiver:
    """Listens on a free port of the loopback; `choose` says what becomes of each request."""

    choose: Callable[[], Act] = lambda: "accept"
    posts: list[Post] = field(default_factory=list)
    port: int = 0
    """To listen on; 0 for a free one. One that was ended can be started again in its place."""
    certificate: Path | None = None
    """File of its certificate and private key; without one it speaks plain HTTP."""

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._serve(self)

            do_GET = do_POST  # noqa: N815  (what would follow a redirect)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._server.daemon_threads = True
        if self.certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._lock = threading.Lock()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def place(self) -> str:
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.place}/hooks/{SECRET}?token={SECRET}"

    def taken(self) -> list[Post]:
        """Return what it keeps, in order, each once: a repetition is known by its key."""
        kept: dict[str, Post] = {}
        with self._lock:
            for post in self.posts:
                if post.act in ("accept", "cut"):
                    kept.setdefault(post.key, post)
        return list(kept.values())

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        key, headers = request.headers.get("Idempotency-Key", ""), dict(request.headers.items())
        with self._lock:
            act = self.choose()
            self.posts.append(Post(key, json.loads(body or b"{}"), headers, request.path, act))
        match act:
            case "accept":
                self._answer(request, 200, b"ok")
            case "refuse":
                self._answer(request, 500, f"no such hook {request.path}".encode())
            case "busy":
                self._answer(request, 429, b"", {"Retry-After": "1"})
            case "redirect":
                self._answer(request, 302, b"", {"Location": f"{self.place}/elsewhere"})
            case "drip":
                request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not self._closed(request):
                    pass
            case "cut":  # it has it, but nobody knows
                request.close_connection = True
                request.connection.close()

    @staticmethod
    def _closed(request: BaseHTTPRequestHandler) -> bool:
        try:
            request.wfile.write(b"x")
            request.wfile.flush()
        except OSError:
            return True
        return threading.Event().wait(0.05)

    @staticmethod
    def _answer(
        request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def moody(seed: int, share: float = 0.5) -> Callable[[], Act]:
    """Return a choice that fails at random, for this share of posts: refused, or taken without an answer."""
    chance = random.Random(seed)
    return lambda: "accept" if chance.random() >= share else chance.choice(("refuse", "cut"))
