"""A WebSocket server that follows Coinbase Exchange's protocol and fails as a test requests.

It is seeded, can run faster than real time, speaks TLS with a context, and can serve a recording. Its ledger
(`market`) records what was made and what was sent. It runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.fakes.market import Product, dumps

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from pathlib import Path

ALIASES = {"ticker_1000": "ticker_batch", "level2_50": "level2_batch"}
KEYLESS = {"ticker", "ticker_batch", "level2_batch", "matches", "heartbeat", "status"}
NEED_KEY = {"full", "level2", "level3", "user", "balance"}
NO_KEY = (
    "level2, level3, and full channels now require authentication. "
    "https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"
)
SUBSCRIBE_S = 5.0
"""Who has not subscribed by then is disconnected."""
BATCH = 5
"""Heartbeats between two tickers of `ticker_batch`."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong by chance, as shares of the trades."""

    drop: float = 0.0
    """Neither ticker nor match is sent, and heartbeats tell the truth."""
    duplicate: float = 0.0
    """The ticker comes twice."""
    reorder: float = 0.0
    """Ticker and match come after those of the next trade."""
    cascade: float = 0.0
    """Send a match but no ticker; the next trade's ticker covers both."""
    unknown: float = 0.0
    """A frame of a type that nobody knows comes in between."""


@dataclass(eq=False)
class Client:
    """One connection."""

    socket: ServerConnection
    channels: dict[str, set[str]] = field(default_factory=dict)
    out: asyncio.Queue[str | bytes] = field(default_factory=asyncio.Queue)
    muted: bool = False

    def hears(self, channel: str, product: str) -> bool:
        return not self.muted and product in self.channels.get(channel, ())


class FakeCoinbase:
    """The server; use it as a context manager."""

    def __init__(
        self,
        products: Sequence[str] = ("BTC-USD", "ETH-USD"),
        *,
        seed: int = 1,
        rate: float = 200.0,
        trades: int = 0,
        heartbeat_s: float = 0.2,
        faults: Faults = Faults(),
        script: Sequence[tuple[int, str]] = (),
        tls: ssl.SSLContext | None = None,
        recording: Path | None = None,
        port: int = 0,
        never_traded: Sequence[str] = (),
        bad_books: Sequence[str] = (),
        skew_s: float = 0.0,
        slow: int = 20_000,
    ) -> None:
        """Prepare a market of these products with `rate` trades a second, `trades` in all (0: none).

        script: (number of trades, fault) in order: what goes wrong when; see `_act`.
        recording: is sent to whoever subscribes, in place of a market. skew_s: how far the exchange's clock
        is ahead. slow: frames that may wait for one client; beyond it, it reads too slowly.
        bad_books: products whose every snapshot has a level that is none.
        """
        self._random = Random(seed)
        self.products = {name: Product(name, Random(f"{seed} {name}"), skew_s) for name in products}
        self.never_traded, self.bad_books = set(never_traded), set(bad_books)
        self._rate, self._trades, self._heartbeat_s = rate, trades, heartbeat_s
        self._faults, self._script = faults, list(script)
        self._tls, self._recording, self._port, self._slow = tls, recording, port, slow
        self._clients: set[Client] = set()
        self._late: list[tuple[Product, dict[str, Any], dict[str, Any]]] = []
        self.subscriptions: list[dict[str, Any]] = []
        """Each subscribe request as it came."""
        self.requests: list[float] = []
        """When connections and requests came, by the loop's clock."""
        self.made = 0
        self.done = threading.Event()
        """Set when all trades are made."""
        self.begin = threading.Event()
        """The market begins when it is set, which the first subscription does."""
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    # The thread

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="fake-coinbase", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        if self._failure is not None:
            raise self._failure

    @property
    def url(self) -> str:
        scheme, host = ("wss", "localhost") if self._tls else ("ws", "127.0.0.1")
        return f"{scheme}://{host}:{self._port}"

    def act(self, fault: str) -> None:
        """Let something go wrong now, and wait until it has."""
        asyncio.run_coroutine_threadsafe(self._act(fault), self._loop).result(30)

    def clients(self) -> int:
        return len(self._clients)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  (raised where the test ends)
            self._failure = error
        self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serve(self._handle, "localhost", self._port, ssl=self._tls) as server:
            self._port = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            tasks: list[asyncio.Task[Any]] = [
                asyncio.create_task(each()) for each in (self._market, self._heartbeats, self._books)
            ]
            stopping = asyncio.create_task(self._stop.wait())
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            for client in list(self._clients):
                client.socket.transport.abort()
            for task in done - {stopping}:
                task.result()

    # One client

    async def _handle(self, socket: ServerConnection) -> None:
        self.requests.append(self._loop.time())
        client = Client(socket)
        sender = asyncio.create_task(self._send(client))
        try:
            async with asyncio.timeout(SUBSCRIBE_S):  # rule of 5 seconds
                await self._hear(client, await socket.recv())
            self._clients.add(client)
            async for request in socket:
                await self._hear(client, request)
        except (TimeoutError, ConnectionClosed):
            pass
        finally:
            self._clients.discard(client)
            sender.cancel()

    async def _send(self, client: Client) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await client.out.get()
                await client.socket.send(frame, text=True)
                client.out.task_done()

    async def _hear(self, client: Client, raw: str | bytes) -> None:
        self.requests.append(self._loop.time())
        request = json.loads(raw)
        self.subscriptions.append(request)
        wanted = self._wanted(request)
        if request["type"] == "subscribe" and (reason := self._against(wanted)) is not None:
            self._put(client, {"type": "error", "message": "Failed to subscribe", "reason": reason})
            return
        new = {name: ids - client.channels.get(name, set()) for name, ids in wanted.items()}
        for name, ids in wanted.items():
            if request["type"] == "subscribe":
                client.channels.setdefault(name, set()).update(ids)
            else:
                client.channels.pop(name, None)
        channels = [
            {"name": name, "product_ids": self._random.sample(sorted(ids), len(ids))}
            for name, ids in client.channels.items()
        ]
        self._put(client, {"type": "subscriptions", "channels": channels})
        if request["type"] == "subscribe":
            self._greet(client, new)
            self.begin.set()

    def _wanted(self, request: dict[str, Any]) -> dict[str, set[str]]:
        """Return the products of each channel that a request names."""
        everywhere = request.get("product_ids", [])
        wanted: dict[str, set[str]] = {}
        for channel in request.get("channels", []):
            entry = {"name": channel} if isinstance(channel, str) else channel
            name = ALIASES.get(entry["name"], entry["name"])
            wanted.setdefault(name, set()).update([*everywhere, *entry.get("product_ids", [])])
        return wanted

    def _against(self, wanted: dict[str, set[str]]) -> str | None:
        for name, ids in wanted.items():
            if name in NEED_KEY:
                return NO_KEY
            if name not in KEYLESS:
                return f"{name} is not a valid channel"
            if name != "status" and not ids:
                return f"You need to specify at least one product ID for channel {name}"
            for product in sorted(ids):
                if product not in self.products:
                    return f"{product} is not a valid product"
        return None

    def _greet(self, client: Client, new: dict[str, set[str]]) -> None:
        """Send what a new subscription begins with."""
        if "status" in new:
            products = [{"id": name, "status": "online"} for name in self.products]
            self._put(client, {"type": "status", "products": products, "currencies": []})
        if self._recording is not None:
            client.muted = True
            task = asyncio.ensure_future(self._play(client))
            task.add_done_callback(lambda done: None if done.cancelled() else done.result())
            return
        for name, ids in new.items():
            for product in (self.products[each] for each in sorted(ids)):
                # What was before a subscription is not sent to it.
                self._late = [late for late in self._late if late[0] is not product]
                if name in {"ticker", "ticker_batch"} and product.name in self.never_traded:
                    self._put(client, product.zero_ticker())
                elif name in {"ticker", "ticker_batch"} and product.last is not None:
                    self._put(client, product.last[0])  # as old as the last trade is
                elif name == "matches" and product.last is not None:
                    self._put(client, product.last[1] | {"type": "last_match"})
                elif name == "level2_batch":
                    product.update()
                    bad = {"bids": [["a", "b"]]} if product.name in self.bad_books else {}
                    self._put(client, product.snapshot() | bad)

    def _put(self, client: Client, frame: dict[str, Any]) -> None:
        """Send a frame and record its content in the ledger."""
        if client.out.qsize() > self._slow:
            self._put_raw(client, dumps({"type": "error", "message": "ErrSlowConsume"}))
            client.channels.clear()
            client.socket.transport.abort()
            return
        self._account_and_put(client, frame)

    def _account_and_put(self, client: Client, frame: dict[str, Any]) -> None:
        self._account(frame)
        self._put_raw(client, dumps(frame))

    def _account(self, frame: dict[str, Any]) -> None:
        """Enter what a client receives into the ledger."""
        kind, product = frame["type"], self.products.get(frame.get("product_id", ""))
        if product is not None and "trade_id" in frame:
            product.account.heard.add(frame["trade_id"])
        if product is not None and kind == "ticker":
            product.account.tickers.append(frame)
        if product is not None and kind in {"snapshot", "l2update"}:
            product.account.quotes.append(product.best())

    def _put_raw(self, client: Client, frame: str | bytes) -> None:
        client.out.put_nowait(frame)

    async def _play(self, client: Client) -> None:
        assert self._recording is not None
        for line in self._recording.read_text().splitlines():
            frame = line[line.index('"frame":') + 8 : -1]
            if '"subscriptions"' not in frame[:30]:
                self._put_raw(client, frame)
        await client.out.join()
        self.done.set()

    # The market

    async def _market(self) -> None:
        while not self.begin.is_set():
            await asyncio.sleep(0.005)
        started, names = self._loop.time(), [name for name in self.products if name not in self.never_traded]
        while True:
            due = int((self._loop.time() - started) * self._rate)
            # A slow machine makes a slower market, not one that keeps everybody waiting.
            due = min(due, self._trades or due, self.made + 50)
            while self.made < due:
                self.made += 1
                last_ones = 0 < self._trades < self.made + len(names)  # each product ends with a trade heard
                name = names[self.made % len(names)] if last_ones else self._random.choice(names)
                self._trade(self.products[name], exact=last_ones)
                while self._script and self.made >= self._script[0][0]:
                    await self._act(self._script.pop(0)[1])
            if self._trades and self.made >= self._trades:
                self.done.set()
            await asyncio.sleep(0.002)

    def _trade(self, product: Product, *, exact: bool) -> None:
        chance, faults = self._random.random, Faults() if exact else self._faults
        ticker, match = product.trade()
        if chance() < faults.drop:
            return
        if chance() < faults.reorder:
            self._late.append((product, ticker, match))
            return
        self._tell(product, match)
        if chance() >= faults.cascade:
            self._tell(product, ticker)
        if chance() < faults.duplicate:
            self._tell(product, ticker)
        if chance() < faults.unknown:
            self._tell(product, {"type": "auction", "product_id": product.name, "news": [1, {}]}, "ticker")
        mine = [late for late in self._late if late[0] is product]
        for late in mine:
            self._late.remove(late)
            self._tell(product, late[2])
            self._tell(product, late[1])

    def _tell(self, product: Product, frame: dict[str, Any], channel: str = "") -> None:
        channel = channel or {"match": "matches"}.get(frame["type"], frame["type"])
        for client in self._clients:
            if client.hears(channel, product.name):
                self._put(client, frame)

    async def _heartbeats(self) -> None:
        announced: dict[str, int] = {}
        for beat in itertools.count(1):
            await asyncio.sleep(self._heartbeat_s)
            for product in self.products.values():
                if product.name in self.never_traded:
                    continue
                self._tell(product, product.heartbeat())
                if beat % BATCH == 0 and product.last and announced.get(product.name) != product.trade_id:
                    announced[product.name] = product.trade_id
                    self._tell(product, product.last[0], "ticker_batch")

    async def _books(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self._tell_changes()

    def _tell_changes(self) -> None:
        """Send the changes of the books that have gathered."""
        for product in self.products.values():
            update = product.update()
            if update is not None:
                self._tell(product, update, "level2_batch")

    # Faults

    async def _act(self, fault: str) -> None:
        """Do what a script says to each client: `cut`, `frame {"type":"new"}` and so on."""
        kind, _, argument = fault.partition(" ")
        if kind == "flush":
            self._tell_changes()  # or they would follow what is waited for
        for client in list(self._clients):
            if kind in {"cut", "close", "silence", "half-open", "huge"}:
                # What was sent has arrived; what would follow is not sent, so the ledger knows.
                client.muted = True
            if kind in {"cut", "close", "silence", "half-open", "huge", "flush"}:
                await self._arrived(client)
            await self._harm(client, kind, argument)

    async def _harm(self, client: Client, kind: str, argument: str) -> None:
        match kind:
            case "cut":  # nobody says goodbye
                client.socket.transport.abort()
            case "close":
                await client.socket.close(1001, argument)
            case "half-open":
                client.socket.transport.pause_reading()
            case "silence" | "flush":
                pass
            case _:
                self._put_raw(client, self._bad_frame(kind, argument))

    def _bad_frame(self, kind: str, argument: str) -> str:
        frames: dict[str, Callable[[], str]] = {
            "huge": lambda: '{"type":"ticker","x":"' + "x" * 10_000_000 + '"}',
            "deep": lambda: "[" * 100_000,
            "zero-ticker": lambda: dumps(self.products[argument].zero_ticker()),
            "error": lambda: dumps({"type": "error", "message": argument, "reason": ""}),
            "frame": lambda: argument,
        }
        return frames[kind]()

    async def _arrived(self, client: Client) -> None:
        """Wait until the client has read what was sent; the second answer comes after it has."""
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(10):
                for _ in range(2):
                    await client.out.join()
                    await (await client.socket.ping())
