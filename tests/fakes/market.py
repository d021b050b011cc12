"""The market of the fake exchange, and the ledger of all trades made and sent.

It shares no code with the package, because the package is measured against it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

DEPTH = 8
"""Levels of each side of an order book."""


def text(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


@dataclass
class Account:
    """What the ledger knows of one product."""

    made: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Every trade's ticker by trade id."""
    heard: set[int] = field(default_factory=set)
    """Trades whose ticker or match was sent to a client."""
    tickers: list[dict[str, Any]] = field(default_factory=list)
    """Tickers in the order in which they were sent, repetitions and all."""
    quotes: list[tuple[int, int]] = field(default_factory=list)
    """Best bid and ask in cents after each frame of the book that was sent."""

    def missed(self) -> set[int]:
        """Return the trades between the first and the last one sent that no client received."""
        return set(range(min(self.heard), max(self.heard))) - self.heard


class Product:
    """One product: its trades, its order book."""

    def __init__(self, name: str, random: Random, skew_s: float = 0.0) -> None:
        self.name = name
        self.account = Account()
        self.trade_id = 1_000
        self._skew = timedelta(seconds=skew_s)
        self._random = random
        self._chance = Random(name)  # for what happens when somebody looks, and not when the market moves
        self._sequence = random.randrange(10**9, 10**10)
        self._mid = random.randrange(10_000, 5_000_000)
        self.bids: dict[int, str] = {}
        self.asks: dict[int, str] = {}
        self._move(0)
        self._changes: list[list[str]] = []
        self.last: tuple[dict[str, Any], dict[str, Any]] | None = None

    @property
    def sequence(self) -> int:
        """Return the next number; it jumps, as that of the ticker channel does."""
        self._sequence += self._random.randrange(2, 2_000)
        return self._sequence

    def now(self) -> str:
        """Return the exchange's time as it writes it."""
        return (datetime.now(UTC) + self._skew).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def trade(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make a trade; return its ticker and its match."""
        random = self._random
        self.trade_id += 1
        self._move(random.choice((-7, -3, -1, 0, 0, 1, 3, 7)))
        side, maker = random.choice((("buy", "sell"), ("sell", "buy")))
        sequence, time, size = self.sequence, self.now(), f"{random.random():.8f}"
        best_bid, best_ask = self.best()
        price = text(best_ask if side == "buy" else best_bid)
        ticker = {
            "type": "ticker", "sequence": sequence, "product_id": self.name, "price": price,
            "open_24h": "1.00", "volume_24h": "245532.79269678", "low_24h": "0.5", "high_24h": "99999999",
            "volume_30d": "9788783.60117027", "best_bid": text(best_bid), "best_bid_size": "0.46688654",
            "best_ask": text(best_ask), "best_ask_size": "1.56637040", "side": side, "time": time,
            "trade_id": self.trade_id, "last_size": size,
        }  # fmt: skip
        match = {
            "type": "match", "trade_id": self.trade_id, "maker_order_id": "ac928c66",
            "taker_order_id": "132fb6ae", "side": maker, "size": size, "price": price,
            "product_id": self.name, "sequence": sequence, "time": time,
        }  # fmt: skip
        self.account.made[self.trade_id] = ticker
        self.last = ticker, match
        return self.last

    def best(self) -> tuple[int, int]:
        return max(self.bids), min(self.asks)

    def snapshot(self) -> dict[str, Any]:
        bids = [[text(price), size] for price, size in sorted(self.bids.items(), reverse=True)]
        asks = [[text(price), size] for price, size in sorted(self.asks.items())]
        return {"type": "snapshot", "product_id": self.name, "bids": bids, "asks": asks}

    def update(self) -> dict[str, Any] | None:
        """Return what has changed since the last update, if anything."""
        changes, self._changes = self._changes, []
        if not changes:
            return None
        if self._chance.random() < 0.2:  # remove a level that was never there
            changes.insert(0, ["buy", "0.01", "0.00000000"])
        return {"type": "l2update", "product_id": self.name, "time": self.now(), "changes": changes}

    def heartbeat(self) -> dict[str, Any]:
        return {
            "type": "heartbeat", "sequence": self._sequence, "last_trade_id": self.trade_id,
            "product_id": self.name, "time": self.now(),
        }  # fmt: skip

    def zero_ticker(self) -> dict[str, Any]:
        """Return the ticker of a product that was never traded."""
        zeros = dict.fromkeys(("price", "open_24h", "volume_24h", "low_24h", "high_24h", "volume_30d"), "0")
        quote = {"best_bid": "0.00000", "best_ask": "0.00000"}
        return {"type": "ticker", "product_id": self.name} | zeros | quote

    def _move(self, by: int) -> None:
        """Let the book follow the price; note the changes."""
        random = self._random
        self._mid = max(self._mid + by, 1_000)
        half = random.choice((1, 1, 1, 2, 5))
        for side, levels, sign in (("buy", self.bids, -1), ("sell", self.asks, 1)):
            wanted = {self._mid + sign * (half + step) for step in range(DEPTH)}
            for price in set(levels) - wanted:
                del levels[price]
                self._note(side, price, random.choice(("0", "0.00000000")))
            for price in sorted(wanted):
                if price not in levels or random.random() < 0.1:
                    levels[price] = f"{random.random() + 0.001:.8f}"
                    self._note(side, price, levels[price])

    def _note(self, side: str, price: int, size: str) -> None:
        if hasattr(self, "_changes"):
            self._changes.append([side, text(price), size])


def dumps(frame: dict[str, Any]) -> str:
    return json.dumps(frame, separators=(",", ":"))
