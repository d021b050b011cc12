"""The WebSocket client: connect, subscribe, and reconnect whenever a connection ends.

The pairs are spread over several independent connections. Frames go to the feed, and the feed's messages to
the queue for Kafka, all in one thread.
"""

from __future__ import annotations

import asyncio
import difflib
import ssl
import time
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from cryptometrics import log, retry
from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.feeds.coinbase.continuity import SILENCE_S
from cryptometrics.feeds.connectivity import Connectivity
from cryptometrics.feeds.recording import MAX_FRAME_BYTES
from cryptometrics.market.gap_records import GapKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection

    from cryptometrics.feeds.coinbase.feed import CoinbaseFeed
    from cryptometrics.feeds.coinbase.values import Refusal
    from cryptometrics.feeds.publish_queue import PublishQueue
    from cryptometrics.feeds.recording import Recorder
    from cryptometrics.kafka.publisher import Message

MAX_PAIRS_PER_CONNECTION = 50
MAX_REQUESTS_PER_S = 8
"""Connections and requests that the exchange accepts from one address per second."""
TEND_S = 0.02
"""Seconds between two checks of deliveries, the clock and `stop`."""
OPEN_S = 10.0
"""Time limit for opening a connection."""
MAX_SHOWN_BYTES = 200
"""Bytes of an ignored frame that are logged."""
CLOSE_S = 1.0
"""Time limit for closing a connection."""
PRODUCTS_S = 5.0
"""Time limit for the list of products."""
STEADY_S = 2.0
"""A connection with data that lasted this long does not count as a failure."""

MIN_BOOK_WAIT_S, MAX_BOOK_WAIT_S = 60.0, 3600.0
"""Time between two requests for a book that cannot be read; it doubles each time."""

_TEMPORARY = ("rate limit", "too many", "try again", "internal", "timeout", "unavailable", "slow")
_FAILURES = (OSError, TimeoutError, WebSocketException, ssl.SSLError)
_CLOSED_BY_US = {
    GapKind.SILENCE: f"no heartbeat for {SILENCE_S:g} s",
    GapKind.OVERFLOW: "the queue for Kafka is full",
}
"""Kind of gap → why we closed the connection."""


class _ReconnectError(Exception):
    """The connection must be made anew: a refused request may succeed later, or frames are missing."""


class _SequenceError(_ReconnectError):
    """Frames are missing from a connection."""


class _RateLimiter:
    """Limits requests to MAX_REQUESTS_PER_S per second."""

    def __init__(self) -> None:
        self._next = 0.0

    async def take(self, requests: int) -> None:
        """Wait until this many requests may be sent."""
        now = time.monotonic()
        begin = max(now, self._next)
        self._next = begin + requests / MAX_REQUESTS_PER_S
        await asyncio.sleep(begin - now)


class CoinbaseClient:
    """Receives market data until it is stopped."""

    def __init__(
        self,
        feed: CoinbaseFeed,
        url: str,
        *,
        outbox: PublishQueue | None,
        recorder: Recorder | None,
        wait: float,
    ) -> None:
        """Prepare to receive the feed's pairs.

        outbox: the queue for Kafka; None only records. wait: seconds after which an exchange that has sent
        nothing counts as down.
        """
        self._feed = feed
        self._url = url
        self._outbox = outbox
        self._recorder = recorder
        self._wait = wait
        self._rate = _RateLimiter()
        self._log = log.get_logger()
        self._reported: set[str] = set()
        """Reasons for ignoring frames that were logged: each once."""
        pairs, size = list(feed.pairs), MAX_PAIRS_PER_CONNECTION
        self._connections = [
            _Connection(self, number, pairs[first : first + size])
            for number, first in enumerate(range(0, len(pairs), size))
        ]
        self.connectivity = Connectivity(url, len(self._connections))

    async def run(self, stop: Callable[[], bool], tend: Callable[[], None]) -> None:
        """Receive until `stop` returns true; call `tend` all the time.

        Raises UserError if a retry cannot help, ServiceUnavailableError if the exchange sends nothing within
        `wait` or before the stop, CryptometricsError if Kafka refuses a message or the recording cannot be
        written.
        """
        tasks = [asyncio.create_task(connection.keep()) for connection in self._connections]
        try:
            while not stop():
                done, _ = await asyncio.wait(tasks, timeout=TEND_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # a task ends only with an error
                self._tend()
                tend()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.put(self._feed.end(time.time()))
        if not self.answered:
            raise self.connectivity.nothing_received()

    @property
    def answered(self) -> bool:
        """Whether the exchange has sent anything."""
        return self._feed.frames > 0

    def put(self, out: list[Message]) -> None:
        """Queue messages for Kafka."""
        if out and self._outbox is not None:
            self._outbox.put(out)

    def take(self, frame: bytes, connection: int) -> None:
        """Record a frame that came over this connection, and pass it to the feed."""
        at = time.time()
        if self._recorder is not None:
            self._recorder.frame(at, frame, connection)
        out = self._feed.take(frame, at, connection)
        if out:
            self.put(out)
        if len(self._feed.ignored) > len(self._reported):
            self._report_ignored(frame)

    def _report_ignored(self, frame: bytes) -> None:
        """Log each kind of ignored frame once, with its first example; the report has the counts."""
        for reason in self._feed.ignored.keys() - self._reported:
            self._reported.add(reason)
            text = frame[:MAX_SHOWN_BYTES].decode("utf-8", "backslashreplace")
            self._log.warning("frame_ignored", reason=reason, frame=text)

    def lost(self, pairs: list[str], kind: GapKind, connection: int) -> None:
        """Record that these pairs are no longer received over this connection."""
        at = time.time()
        if self._recorder is not None:
            self._recorder.lost(at, pairs, kind, connection)
        self.put(self._feed.lost(pairs, kind, at, connection))

    @property
    def full(self) -> bool:
        """Whether the queue for Kafka is full."""
        return self._outbox is not None and self._outbox.full

    async def products(self) -> list[str]:
        """Request all products over a separate connection; return none if the exchange does not answer."""
        try:
            async with asyncio.timeout(PRODUCTS_S), await self.open(1) as socket:
                await socket.send(self._feed.products_request())
                while True:
                    if found := self._feed.products_in(await socket.recv(decode=False)):
                        return found
        except _FAILURES:
            return []

    async def open(self, requests: int) -> ClientConnection:
        """Connect as soon as the rate limit allows a connection and this many requests."""
        await self._rate.take(1 + requests)
        try:
            return await connect(
                self._url, max_size=MAX_FRAME_BYTES, open_timeout=OPEN_S, close_timeout=CLOSE_S, max_queue=64
            )
        except InvalidProxy as error:
            raise InvalidProxy("https_proxy", error.msg) from None  # its own text may contain a password
        except _FAILURES:  # before ValueError: a bad certificate is one, too
            raise
        except ImportError as error:
            raise InvalidProxy("https_proxy", str(error)) from None
        except ValueError:  # the proxy's address, too; --url was checked before
            raise InvalidProxy("https_proxy", "malformed address") from None

    def _tend(self) -> None:
        now = time.time()
        self.put(self._feed.check(now))
        for connection in self._connections:
            connection.watch(now)
        if self._recorder is not None:
            self._recorder.flush(now)
        if self._outbox is not None:
            self._outbox.pump()


class _Connection:
    """One connection for some of the pairs, reopened whenever it ends."""

    def __init__(self, client: CoinbaseClient, number: int, pairs: list[str]) -> None:
        self._client = client
        self._number = number
        self._feed = client._feed
        self._pairs = pairs
        self._socket: ClientConnection | None = None
        self._opened = 0.0
        self._why = GapKind.DOWN
        self._was_up = False
        """Whether a heartbeat came over the connection."""
        self._asked_again: dict[str, tuple[float, float]] = {}
        """Pair without a book → when to request it again, by the monotonic clock, and the wait after that."""
        self._log = log.get_logger()

    async def keep(self) -> None:
        """Receive forever; only an error that a retry cannot fix ends it."""
        failures = 0
        while True:
            while self._client.full:
                await asyncio.sleep(TEND_S)
            self._why, self._was_up = GapKind.DOWN, False
            opened, is_broken = time.monotonic(), False
            try:
                await self._listen()
            except _ReconnectError as error:
                reason, is_broken = str(error), isinstance(error, _SequenceError)
                self._client.connectivity.failed(reason)
            except _FAILURES as error:
                reason = _CLOSED_BY_US.get(self._why) or _one_line(error)
                self._client.connectivity.failed(reason)
                self._raise_if_final(error)
            if self._was_up and (is_broken or time.monotonic() - opened > STEADY_S):
                failures = 0  # a missing frame says nothing against the next connection
            failures += 1
            self._client.lost(self._pairs, self._why, self._number)
            wait = retry.wait_after(failures)
            self._log.warning(
                "feed_lost",
                pairs=len(self._pairs),
                kind=self._why,
                reason=reason,
                next_attempt_s=round(wait, 1),
            )
            await asyncio.sleep(wait)

    def watch(self, now: float) -> None:
        """Close a connection that is silent or lacks a book, or while the queue for Kafka is full."""
        socket = self._socket
        if socket is None:
            return
        heard = max((self._feed.pairs[pair].heartbeat_at or 0.0 for pair in self._pairs), default=0.0)
        self._was_up |= heard > 0.0
        if now - max(heard, self._opened) > SILENCE_S:
            self._end(socket, GapKind.SILENCE)
        elif self._client.full:
            self._end(socket, GapKind.OVERFLOW)
        elif bookless := self._bookless_to_request():
            self._log.warning("books_lost", pairs=bookless)
            self._end(socket, GapKind.DOWN)  # a new subscription begins with a snapshot

    def _bookless_to_request(self) -> list[str]:
        """Return pairs whose book is to be requested: at once, then ever more rarely.

        One bad book must not keep the other pairs of the connection offline.
        """
        bookless, now = self._feed.bookless.intersection(self._pairs), time.monotonic()
        self._asked_again = {pair: plan for pair, plan in self._asked_again.items() if pair in bookless}
        due = sorted(pair for pair in bookless if self._asked_again.get(pair, (0.0, 0.0))[0] <= now)
        for pair in due:
            _, wait = self._asked_again.get(pair, (0.0, MIN_BOOK_WAIT_S))
            self._asked_again[pair] = now + wait, min(2 * wait, MAX_BOOK_WAIT_S)
        return due

    def _end(self, socket: ClientConnection, why: GapKind) -> None:
        self._why, self._socket = why, None
        socket.transport.abort()  # a silent peer would not answer a close frame either

    async def _listen(self) -> None:
        client, feed, refusals, number = self._client, self._feed, self._feed.refusals, self._number
        requests = feed.subscriptions(self._pairs)
        async with await client.open(len(requests)) as socket:
            for request in requests:
                await socket.send(request)
            client.connectivity.opened()
            self._socket, self._opened = socket, time.time()
            try:
                while True:
                    frame: Any = await socket.recv(decode=False)
                    client.take(frame, number)
                    if reason := feed.broken.pop(number, None):
                        raise _SequenceError(reason)
                    if feed.subscribed is not None:
                        self._check_subscribed(feed.subscribed)
                        feed.subscribed = None
                    if refusals:
                        await self._handle(refusals.pop(), socket)
            finally:
                client.connectivity.closed()
                self._socket = None

    async def _handle(self, refusal: Refusal, socket: ClientConnection) -> None:
        """Ignore an error frame, reconnect, drop a delisted pair, or raise UserError."""
        text = str(refusal)
        self._log.warning("feed_refused", message=refusal.message, reason=refusal.reason)
        if any(word in text.lower() for word in _TEMPORARY):
            raise _ReconnectError(text)
        unknown = [pair for pair in self._pairs if pair in text.replace(",", " ").split()]
        if not unknown and "subscribe" not in text.lower() and "auth" not in text.lower():
            return
        delisted = [pair for pair in unknown if self._feed.pairs[pair].has_started]
        if delisted and len(delisted) == len(unknown) and len(self._pairs) > len(delisted):
            self._log.error("pairs_given_up", pairs=delisted, reason=text)
            self._client.lost(delisted, GapKind.DOWN, self._number)
            self._pairs = [pair for pair in self._pairs if pair not in delisted]
            requests = self._feed.subscriptions(self._pairs)
            await self._client._rate.take(len(requests))
            for request in requests:
                await socket.send(request)
        elif unknown:
            known = await self._client.products()
            raise _unknown_product(unknown, text, known)
        else:
            raise UserError(f"the exchange refuses: {text}")

    def _check_subscribed(self, subscribed: set[str]) -> None:
        """Log the pairs that the exchange left out of the subscription."""
        if missing := [pair for pair in self._pairs if pair not in subscribed]:
            self._log.warning("not_subscribed", pairs=missing)

    def _raise_if_final(self, error: Exception) -> None:
        """Raise the error's meaning if a retry cannot help."""
        if self._client.answered:
            return  # the settings are right: it answered before
        url = self._client._url
        if isinstance(error, ssl.SSLCertVerificationError):
            raise UserError(
                f"the certificate of {url} is not trusted ({error.verify_message}): "
                "set SSL_CERT_FILE to a file with the authorities to trust"
            ) from None
        if isinstance(error, InvalidURI):
            raise UserError(f"--url {url} is not an address such as wss://host/path") from None
        if isinstance(error, InvalidProxy):
            raise UserError(
                f"cannot connect to {url} through the proxy in https_proxy: {error.msg}"
            ) from None
        if isinstance(error, InvalidStatus) and 400 <= error.response.status_code < 500:
            code = error.response.status_code
            if code not in {408, 425, 429}:
                raise UserError(f"{url} answered with HTTP status {code}: check --url") from None
        if self._client.connectivity.seconds > self._client._wait:
            raise self._client.connectivity.nothing_received() from None


def _unknown_product(unknown: list[str], text: str, known: list[str]) -> CryptometricsError:
    """Return the error that names the unknown products and the closest known ones."""
    close = [near for pair in unknown for near in difflib.get_close_matches(pair, known, n=4, cutoff=0.5)]
    hint = f"; the closest are {', '.join(dict.fromkeys(close))}" if close else ""
    return UserError(f"the exchange has no product {', '.join(unknown)} ({text}){hint}")


def _one_line(error: BaseException) -> str:
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        return f"closed, code {close.code} {close.reason}".strip() if close else "the connection broke"
    return " ".join(str(error).split()) or type(error).__name__
