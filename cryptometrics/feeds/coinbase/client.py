"""The live socket: connects, subscribes, and comes back however the connection ends.

Pairs are spread over several connections, each of which lives and dies by itself. What comes is handed to the
feed, what the feed gives to the outbox, both in this one thread.
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
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError, UserError
from cryptometrics.feeds.coinbase import BOOK_CHANNELS, TICKER_CHANNELS, messages
from cryptometrics.feeds.coinbase.continuity import SILENCE_S
from cryptometrics.feeds.recording import MAX_FRAME_BYTES
from cryptometrics.market.gap_records import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection

    from cryptometrics.feeds.coinbase.feed import Feed
    from cryptometrics.feeds.coinbase.messages import Refusal
    from cryptometrics.feeds.coinbase.publish_queue import Outbox
    from cryptometrics.feeds.recording import Recorder
    from cryptometrics.kafka.publisher import Message

PAIRS_A_CONNECTION = 50
REQUESTS_S = 8
"""Connections and messages that the exchange takes from one address in a second."""
TEND_S = 0.02
"""Seconds between two looks at deliveries, at the clock and at `stop`."""
OPEN_S = 10.0
"""Seconds that a connection may take to open."""
CLOSE_S = 1.0
"""Seconds that a connection may take to close."""
PRODUCTS_S = 5.0
"""Seconds in which the exchange has to tell its products."""
STEADY_S = 2.0
"""A connection that lasted so long, with data, is no failure when it ends."""

_TRYING_AGAIN_HELPS = ("rate limit", "too many", "try again", "internal", "timeout", "unavailable", "slow")
_FAILURES = (OSError, TimeoutError, WebSocketException, ssl.SSLError)


class _RefusedError(Exception):
    """The exchange refused something that it may grant later."""


class _Pace:
    """Lets requests pass, REQUESTS_S of them a second at most."""

    def __init__(self) -> None:
        self._next = 0.0

    async def take(self, requests: int) -> None:
        """Wait until so many requests may follow each other."""
        now = time.monotonic()
        begin = max(now, self._next)
        self._next = begin + requests / REQUESTS_S
        await asyncio.sleep(begin - now)


class Client:
    """Listens to the exchange until it is told to stop."""

    def __init__(
        self,
        feed: Feed,
        url: str,
        *,
        book: bool,
        outbox: Outbox | None,
        recorder: Recorder | None,
        wait: float,
    ) -> None:
        """Prepare to listen to the feed's pairs.

        outbox: where it goes; None only records. wait: seconds until an exchange counts as down that has
        never answered.
        """
        self._feed = feed
        self._url = url
        self._channels = BOOK_CHANNELS if book else TICKER_CHANNELS
        self._outbox = outbox
        self._recorder = recorder
        self._wait = wait
        self._pace = _Pace()
        self._log = log.get_logger()
        self.connected = 0
        """Connections that are open."""
        self.answered = False
        """Whether the exchange has ever accepted a connection."""

    async def run(self, stop: Callable[[], bool], tend: Callable[[], None]) -> None:
        """Listen until `stop` says so; `tend` is called all the time.

        Raises UserError where trying again cannot help, ServiceUnavailableError where nobody answers at the
        start, CryptometricsError where Kafka refuses or the recording cannot be written.
        """
        pairs = list(self._feed.pairs)
        connections = [
            _Connection(self, pairs[first : first + PAIRS_A_CONNECTION])
            for first in range(0, len(pairs), PAIRS_A_CONNECTION)
        ]
        tasks = [asyncio.create_task(connection.keep()) for connection in connections]
        try:
            while not stop():
                done, _ = await asyncio.wait(tasks, timeout=TEND_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # only an error ends it
                self._tend(connections)
                tend()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.put(self._feed.end(time.time()))

    def put(self, out: list[Message]) -> None:
        """Hand on what the feed gave."""
        if out and self._outbox is not None:
            self._outbox.put(out)

    def take(self, frame: bytes) -> None:
        """Take a frame that has just come."""
        at = time.time()
        if self._recorder is not None:
            self._recorder.frame(at, frame)
        out = self._feed.take(frame, at)
        if out:
            self.put(out)

    def lost(self, pairs: list[str], kind: Kind) -> None:
        """Note that these pairs are not listened to any more."""
        at = time.time()
        if self._recorder is not None:
            self._recorder.lost(at, pairs, kind)
        self.put(self._feed.lost(pairs, kind, at))

    @property
    def full(self) -> bool:
        """Whether Kafka takes nothing more for now."""
        return self._outbox is not None and self._outbox.full

    async def products(self) -> list[str]:
        """Return all products of the exchange, over a connection of its own; none where it does not tell."""
        try:
            async with asyncio.timeout(PRODUCTS_S), await self.open() as socket:
                await socket.send(messages.subscribe([], ("status",)))
                while not self._feed.products:
                    self._feed.take(await socket.recv(decode=False), time.time())
                    self._feed.refusals.clear()
        except _FAILURES:
            pass
        return self._feed.products

    async def open(self) -> ClientConnection:
        """Connect, when the exchange allows it and one request more."""
        await self._pace.take(2)
        try:
            return await connect(
                self._url, max_size=MAX_FRAME_BYTES, open_timeout=OPEN_S, close_timeout=CLOSE_S, max_queue=64
            )
        except InvalidProxy as error:
            raise InvalidProxy("https_proxy", error.msg) from None  # its own text may tell a password
        except _FAILURES:  # a bad certificate is a ValueError, too
            raise
        except ImportError as error:
            raise InvalidProxy("https_proxy", str(error)) from None
        except ValueError:  # so does this one's; --url has been looked at before
            raise InvalidProxy("https_proxy", "malformed address") from None

    def _tend(self, connections: list[_Connection]) -> None:
        now = time.time()
        self.put(self._feed.check(now))
        for connection in connections:
            connection.watch(now)
        if self._recorder is not None:
            self._recorder.flush(now)
        if self._outbox is not None:
            self._outbox.pump()


class _Connection:
    """One connection for some of the pairs, opened again whenever it ends."""

    def __init__(self, client: Client, pairs: list[str]) -> None:
        self._client = client
        self._feed = client._feed
        self._pairs = pairs
        self._socket: ClientConnection | None = None
        self._opened = 0.0
        self._why = Kind.DOWN
        self._asked_again: set[str] = set()
        """Pairs without a book for whose sake the connection has been ended once."""
        self._log = log.get_logger()

    async def keep(self) -> None:
        """Listen for ever; only an error that trying again cannot mend ends it."""
        failures, began = 0, time.monotonic()
        while True:
            while self._client.full:
                await asyncio.sleep(TEND_S)
            self._why = Kind.DOWN
            opened = time.monotonic()
            try:
                await self._listen()
            except _RefusedError as error:
                reason = str(error)
            except _FAILURES as error:
                self._see_final(error, time.monotonic() - began)
                reason = _one_line(error)
            if time.monotonic() - opened > STEADY_S and any(self._is_up(pair) for pair in self._pairs):
                failures = 0
            failures += 1
            self._client.lost(self._pairs, self._why)
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
        """End a connection that is silent, that lacks a book, or whose ticks Kafka does not take."""
        socket = self._socket
        if socket is None:
            return
        heard = max((self._feed.pairs[pair].heartbeat_at or 0.0 for pair in self._pairs), default=0.0)
        if now - max(heard, self._opened) > SILENCE_S:
            self._end(socket, Kind.SILENCE)
        elif self._client.full:
            self._end(socket, Kind.OVERFLOW)
        elif bookless := self._newly_bookless():
            self._log.warning("books_lost", pairs=bookless)
            self._end(socket, Kind.DOWN)  # a subscription begins with a snapshot

    def _newly_bookless(self) -> list[str]:
        """Return pairs whose book is lost; each once, lest one bad book keeps the others from the feed."""
        bookless = self._feed.bookless.intersection(self._pairs)
        new = sorted(bookless - self._asked_again)
        self._asked_again = bookless
        return new

    def _end(self, socket: ClientConnection, why: Kind) -> None:
        self._why, self._socket = why, None
        socket.transport.abort()  # a peer that is silent answers no farewell either

    async def _listen(self) -> None:
        client, feed, refusals = self._client, self._feed, self._feed.refusals
        async with await client.open() as socket:
            await socket.send(messages.subscribe(self._pairs, client._channels))
            client.answered = True
            client.connected += 1
            self._socket, self._opened = socket, time.time()
            try:
                while True:
                    frame: Any = await socket.recv(decode=False)
                    client.take(frame)
                    if feed.subscribed is not None:
                        self._see_all_subscribed(feed.subscribed)
                        feed.subscribed = None
                    if refusals:
                        await self._judge(refusals.pop(), socket)
            finally:
                client.connected -= 1
                self._socket = None

    async def _judge(self, refusal: Refusal, socket: ClientConnection) -> None:
        """Decide what an error frame means: nothing, another attempt, or the end."""
        text = str(refusal)
        self._log.warning("feed_refused", message=refusal.message, reason=refusal.reason)
        if any(word in text.lower() for word in _TRYING_AGAIN_HELPS):
            raise _RefusedError(text)
        unknown = [pair for pair in self._pairs if pair in text.replace(",", " ").split()]
        if not unknown and "subscribe" not in text.lower() and "auth" not in text.lower():
            return
        delisted = [pair for pair in unknown if self._feed.pairs[pair].highest >= 0]
        if delisted and len(delisted) == len(unknown) and len(self._pairs) > len(delisted):
            self._log.error("pairs_given_up", pairs=delisted, reason=text)
            self._client.lost(delisted, Kind.DOWN)
            self._pairs = [pair for pair in self._pairs if pair not in delisted]
            await self._client._pace.take(1)
            await socket.send(messages.subscribe(self._pairs, self._client._channels))
        elif unknown:
            known = await self._client.products()
            raise _unknown_product(unknown, text, known)
        else:
            raise UserError(f"the exchange refuses: {text}")

    def _see_all_subscribed(self, subscribed: set[str]) -> None:
        """Tell of pairs that the exchange has left out without a word."""
        if missing := [pair for pair in self._pairs if pair not in subscribed]:
            self._log.warning("not_subscribed", pairs=missing)

    def _is_up(self, pair: str) -> bool:
        return self._feed.pairs[pair].heartbeat_at is not None

    def _see_final(self, error: Exception, since: float) -> None:
        """Raise what the error means where another attempt cannot help."""
        if self._client.answered:
            return  # it was right once: it can be so again
        url = self._client._url
        if isinstance(error, ssl.SSLCertVerificationError):
            raise UserError(
                f"the certificate of {url} is not trusted ({error.verify_message}): "
                "SSL_CERT_FILE names a file of authorities to trust"
            ) from None
        if isinstance(error, InvalidURI):
            raise UserError(f"--url {url} is no address such as wss://host/path") from None
        if isinstance(error, InvalidProxy):
            raise UserError(
                f"cannot connect to {url} by way of the proxy that https_proxy names: {error.msg}"
            ) from None
        if isinstance(error, InvalidStatus) and 400 <= error.response.status_code < 500:
            code = error.response.status_code
            if code not in {408, 425, 429}:
                raise UserError(f"{url} answers with HTTP status {code}: check --url") from None
        if since > self._client._wait:
            raise ServiceUnavailableError(
                f"the exchange at {url} did not answer for {self._client._wait:g} s ({_one_line(error)}): "
                "check the network and --url"
            ) from None


def _unknown_product(unknown: list[str], text: str, known: list[str]) -> CryptometricsError:
    """Return the error that names what the exchange does not know, and what comes near to it."""
    close = [near for pair in unknown for near in difflib.get_close_matches(pair, known, n=4, cutoff=0.5)]
    hint = f"; the closest are {', '.join(dict.fromkeys(close))}" if close else ""
    return UserError(f"the exchange knows no product {', '.join(unknown)} ({text}){hint}")


def _one_line(error: BaseException) -> str:
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        return f"closed, code {close.code} {close.reason}".strip() if close else "the connection broke"
    return " ".join(str(error).split()) or type(error).__name__
