"""A relay between a worker and PostgreSQL that can fail at a chosen moment of the protocol."""

from __future__ import annotations

import contextlib
import enum
import itertools
import socket
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

from psycopg import conninfo

if TYPE_CHECKING:
    from collections.abc import Callable

_SSL, _GSS = 80877103, 80877104
"""What a connection may ask before it begins; the answer is one byte."""


ORPHAN_S = 120.0
"""How long a server may hold on to a worker that has gone without its hearing of it."""


class Moment(enum.Enum):
    """What a worker is about to tell the server."""

    COPY = "copy"
    COPIED = "copied"
    COMMIT = "commit"
    """The COMMIT of a batch."""
    COMMITTED = "committed"
    """The first word after it: its answer was heard."""
    OTHER = "other"


class Act(enum.Enum):
    """What the relay does with it."""

    PASS = "pass"
    CUT = "cut"
    """Give half of it to the server, then cut both connections."""
    ORPHAN = "orphan"
    """Give half of it to the server and cut the worker off; the server never hears that it has gone."""
    SWALLOW = "swallow"
    """Give it to the server, wait for the answer, and cut instead of passing that on."""
    STALL = "stall"
    """Give half of it to the server, and nothing more; the connection stays."""


class Word(NamedTuple):
    """One message of a worker."""

    moment: Moment
    connection: int
    """The number of the connection, counted from 1."""


class Relay:
    """Listens on a port of its own and forwards everything, except for the faults that a test requests."""

    def __init__(self, uri: str) -> None:
        """Relay to the server of this connection string."""
        parts = conninfo.conninfo_to_dict(uri)
        host, port = str(parts["host"]), int(str(parts.get("port", 5432)))
        self._server: str | tuple[str, int] = (
            f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = conninfo.make_conninfo(
            uri, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable"
        )
        self.script: Callable[[Word], Act] = lambda _word: Act.PASS
        """Decides on each message."""
        self.after: Callable[[Word], None] = lambda _word: None
        """Told when a message has gone to the server."""
        self.frozen = threading.Event()
        """While it is set, nothing passes and no error is reported."""
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._count = 0
        self._threads = [threading.Thread(target=self._accept, name="relay", daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self.frozen.clear()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join(5)

    def once(
        self,
        moment: Moment,
        act: Act = Act.PASS,
        harm: Callable[[], object] = lambda: None,
        *,
        when_sent: bool = False,
    ) -> threading.Event:
        """Do this with the next message of that moment, of whichever connection, and nothing with all others.

        harm: what else is done, before the message goes to the server or, with `when_sent`, right after.
        Returns what is set when it is done.
        """
        first, done = threading.Lock(), threading.Event()

        def do() -> None:
            harm()
            done.set()

        def script(word: Word) -> Act:
            if word.moment is not moment or not first.acquire(blocking=False):
                return Act.PASS
            if when_sent:
                self.after = after
            else:
                do()
            return act

        def after(word: Word) -> None:
            if word.moment is moment and not done.is_set():
                do()

        self.script, self.after = script, lambda _word: None
        return done

    def nth(self, number: int, act: Act) -> threading.Event:
        """Do this with the message of that number from now on, counted from 0; return what is set then."""
        count, done = itertools.count(), threading.Event()

        def script(_word: Word) -> Act:
            if next(count) != number:
                return Act.PASS
            done.set()
            return act

        self.script, self.after = script, lambda _word: None
        return done

    def cut_all(self) -> None:
        """Cut every connection there is."""
        with self._lock:
            for end in self._sockets:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._count += 1
            thread = threading.Thread(target=self._serve, args=(client, self._count), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, number: int) -> None:
        family = socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET
        with client, socket.socket(family) as server:
            try:
                self._wait_while_frozen()
                server.connect(self._server)
            except OSError:
                return
            with self._lock:
                self._sockets |= {client, server}
            try:
                _Connection(self, client, server, number).run()
            finally:
                with self._lock:
                    self._sockets -= {client, server}

    def _wait_while_frozen(self) -> None:
        while self.frozen.is_set() and not self._ended:
            threading.Event().wait(0.02)


class _Connection:
    def __init__(self, relay: Relay, client: socket.socket, server: socket.socket, number: int) -> None:
        self._relay, self._client, self._server, self._number = relay, client, server, number
        self._muted = threading.Event()
        self._begun = False
        self._last = Moment.OTHER
        self._copied = False
        """Whether the open transaction has had a COPY."""
        self._gone = threading.Event()
        """Set when the server has ended the connection."""

    def run(self) -> None:
        back = threading.Thread(target=self._answers, daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            self._words()
        self._cut()
        back.join(5)

    def _cut(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(65536):
                self._relay._wait_while_frozen()
                if self._muted.is_set():
                    break
                self._client.sendall(data)
        self._gone.set()
        self._cut()

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._client.recv(min(count - len(data), 1 << 20))
            if not part:
                raise ConnectionError
            data += part
        return bytes(data)

    def _words(self) -> None:
        while not self._begun:
            head = self._read(8)
            length, code = struct.unpack("!ii", head)
            self._server.sendall(head + self._read(length - 8))
            self._begun = code not in {_SSL, _GSS}
        while True:
            head = self._read(5)
            body = self._read(struct.unpack("!i", head[1:])[0] - 4)
            self._relay._wait_while_frozen()
            word = Word(self._moment(head[:1], body), self._number)
            act, whole = self._relay.script(word), head + body
            if act in {Act.CUT, Act.STALL, Act.ORPHAN}:
                self._server.sendall(whole[: max(len(whole) // 2, 5)])
                if act is Act.ORPHAN:
                    self._client.shutdown(socket.SHUT_RDWR)
                    self._gone.wait(ORPHAN_S)
                if act is Act.STALL:
                    while self._client.recv(65536):  # until one of the two goes away
                        pass
                return
            if act is Act.SWALLOW:
                self._muted.set()
            self._server.sendall(whole)
            self._relay.after(word)
            if act is Act.SWALLOW:
                self._client.recv(1)  # nothing comes: the answers' thread cuts when the server has answered
                return

    def _moment(self, kind: bytes, body: bytes) -> Moment:
        """Return what this message is; the COMMIT of a claim, say, which follows no COPY, is no moment."""
        if kind == b"d":
            moment = Moment.COPY
        elif kind == b"c":
            moment = Moment.COPIED
        elif self._last is Moment.COMMIT:
            moment = Moment.COMMITTED
        elif self._copied and kind in b"QP" and b"COMMIT" in body[:20]:
            moment = Moment.COMMIT
        else:
            moment = Moment.OTHER
        self._last = moment
        self._copied = moment is Moment.COPIED or (self._copied and moment is Moment.OTHER)
        return moment
