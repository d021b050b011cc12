"""A WebSocket server that follows Coinbase Advanced Trade's protocol; market and faults are the other's.

It numbers all frames of a connection: acknowledgements, heartbeats and data. A left-out frame has its number.
"""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tests.fakes.coinbase import Client, FakeCoinbase
from tests.fakes.market import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KEYLESS = {"heartbeats", "candles", "status", "ticker", "ticker_batch", "level2", "market_trades"}
NEED_KEY = {"user", "futures_balance_summary"}
INTERNAL = {"level2": "level2_batch"}
"""Names of the same channels in the market of the other fake server."""
MAX_LEFT_OUT = 5


class _Numbering:
    """The numbers of one connection's frames, and which of them are not sent."""

    def __init__(self) -> None:
        self.next = 0
        self.leave_out = 0
        self.ends = False
        """Whether the next frame shows that numbers are wrong: nobody may use it or what follows."""


class FakeAdvanced(FakeCoinbase):
    """The server; use it as a context manager.

    More faults: `leave-out` (1 to 5 frames at random), `leave-out N`, and `backwards`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._numbers: WeakKeyDictionary[Client, _Numbering] = WeakKeyDictionary()
        self.gaps = 0
        """Gaps that were made."""

    # Requests

    def _wanted(self, request: dict[str, Any]) -> dict[str, set[str]]:
        channel = request["channel"]
        name = INTERNAL.get(channel, channel)
        return {name: {"heartbeats"} if channel == "heartbeats" else set(request.get("product_ids", []))}

    def _against(self, wanted: dict[str, set[str]]) -> str | None:
        for name, ids in wanted.items():
            if name in NEED_KEY:
                return "authentication failure"
            if name not in KEYLESS | set(INTERNAL.values()):
                return f"{name} is not a valid channel"
            for product in sorted(ids - {"heartbeats"}):
                if product not in self.products:
                    return f"{product} is not a valid product"
        return None

    def _greet(self, client: Client, new: dict[str, set[str]]) -> None:
        super()._greet(client, {name: ids for name, ids in new.items() if name != "heartbeats"})

    # Frames

    def _account_and_put(self, client: Client, frame: dict[str, Any]) -> None:
        if frame["type"] == "error":
            self._put_raw(client, dumps(frame))
            return
        numbers = self._numbers.setdefault(client, _Numbering())
        number, numbers.next = numbers.next, numbers.next + 1
        if numbers.leave_out:
            numbers.leave_out -= 1
            numbers.ends = True
            return
        if numbers.ends:
            client.muted = True
        elif not client.muted:
            self._account(frame)
        self._put_raw(client, dumps(self._envelope(frame, number)))

    def _envelope(self, frame: dict[str, Any], number: int) -> dict[str, Any]:
        """Return a frame of the market in the form of Advanced Trade."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{self._random.randrange(1000):03d}Z"
        channel, events = _EVENTS[frame["type"]](frame)
        envelope = {"channel": channel, "client_id": "", "timestamp": now, "sequence_num": number}
        if number % 3 == 1:  # the documentation has it, the live feed does not
            del envelope["client_id"]
        if number % 3 == 2:
            envelope["sequence_num"] = str(number)
        return envelope | {"events": list(events)}

    async def _heartbeats(self) -> None:
        for beat in itertools.count(1):
            await asyncio.sleep(self._heartbeat_s)
            for client in self._clients:
                if client.hears("heartbeats", "heartbeats"):
                    counter = beat if beat % 2 else str(beat)
                    self._put(client, {"type": "heartbeat", "counter": counter})

    # Faults

    async def _harm(self, client: Client, kind: str, argument: str) -> None:
        numbers = self._numbers.setdefault(client, _Numbering())
        if kind == "leave-out":
            numbers.leave_out = int(argument or self._random.randint(1, MAX_LEFT_OUT))
            self.gaps += 1
        elif kind == "backwards":
            numbers.next -= 2
            numbers.ends = True
            self.gaps += 1
        else:
            await super()._harm(client, kind, argument)


def _ticker(frame: dict[str, Any]) -> tuple[str, Iterable[Any]]:
    names = {"best_bid_size": "best_bid_quantity", "best_ask_size": "best_ask_quantity"}
    kept = ("product_id", "price", "best_bid", "best_ask", *names)
    quote = {names.get(name, name): frame[name] for name in kept if name in frame}
    return "ticker", [{"type": "update", "tickers": [{"type": "ticker", "volume_24_h": "1.5"} | quote]}]


def _book(frame: dict[str, Any]) -> tuple[str, Iterable[Any]]:
    sides = {"buy": "bid", "sell": "offer"}
    changes = frame.get("changes") or [
        *(["buy", *level] for level in frame["bids"]),
        *(["sell", *level] for level in frame["asks"]),
    ]
    updates = [
        {
            "side": sides[side],
            "event_time": "1970-01-01T00:00:00Z",
            "price_level": price,
            "new_quantity": size,
        }
        for side, price, size in changes
    ]
    kind = "update" if frame["type"] == "l2update" else "snapshot"
    return "l2_data", [{"type": kind, "product_id": frame["product_id"], "updates": updates}]


def _acknowledgement(frame: dict[str, Any]) -> tuple[str, Iterable[Any]]:
    public = {internal: name for name, internal in INTERNAL.items()}
    channels = {public.get(each["name"], each["name"]): each["product_ids"] for each in frame["channels"]}
    return "subscriptions", [{"subscriptions": channels}]


_EVENTS: dict[str, Callable[[dict[str, Any]], tuple[str, Iterable[Any]]]] = {
    "ticker": _ticker,
    "snapshot": _book,
    "l2update": _book,
    "subscriptions": _acknowledgement,
    "status": lambda frame: ("status", [{"type": "snapshot", "products": frame["products"]}]),
    "heartbeat": lambda frame: (
        "heartbeats",
        [{"current_time": "2023-06-23 20:31:56 +0000 UTC", "heartbeat_counter": frame["counter"]}],
    ),
    "auction": lambda frame: ("auctions", [frame["news"]]),
}
"""Type of a frame of the market → its channel and events."""
