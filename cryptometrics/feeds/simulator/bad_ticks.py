"""Bad ticks: every reason for rejection, made from a good tick."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptometrics.feeds.simulator.scenarios import Flags
    from cryptometrics.kafka.publisher import Message


def _value(make: Callable[[bytes], bytes | None]) -> Callable[[bytes, bytes], Message]:
    """Replace the whole value."""
    return lambda key, value: (key, make(value))


def _without(field: str) -> Callable[[bytes, bytes], Message]:
    def spoil(key: bytes, value: bytes) -> Message:
        fields = msgspec.json.decode(value)
        del fields[field]
        return key, msgspec.json.encode(fields)

    return spoil


def _with(**changes: Any) -> Callable[[bytes, bytes], Message]:
    """Replace fields."""
    return lambda key, value: (key, msgspec.json.encode(msgspec.json.decode(value) | changes))


def _crossed(key: bytes, value: bytes) -> Message:
    fields = msgspec.json.decode(value)
    bid, ask = fields["best_bid"], fields["best_ask"]
    return key, msgspec.json.encode(fields | {"best_bid": "9" + ask, "best_ask": bid})


def _never_traded(key: bytes, value: bytes) -> Message:
    """Return Coinbase's ticker of a product without trades: zeros, and no fields of a trade."""
    fields = msgspec.json.decode(value)
    for field in ("sequence", "time", "trade_id", "side", "last_size", "best_bid_size", "best_ask_size"):
        del fields[field]
    zeros = dict.fromkeys(("price", "open_24h", "volume_24h", "low_24h", "high_24h", "volume_30d"), "0")
    quote = dict.fromkeys(("best_bid", "best_ask"), "0.00000")
    return key, msgspec.json.encode(fields | zeros | quote)


# Each with the reason that the decoder must give; a stream cycles through them.
KINDS: tuple[tuple[Reason, Callable[[bytes, bytes], Message]], ...] = (
    (Reason.NO_VALUE, _value(lambda _: None)),
    (Reason.TOO_LARGE, _value(lambda value: value.ljust(MAX_VALUE_BYTES + 1))),
    (Reason.NOT_JSON, _value(lambda value: value[: len(value) // 2])),
    (Reason.NOT_JSON, _value(lambda _: b"")),
    (Reason.NOT_JSON, _value(lambda value: value.replace(b"ticker", b"\xff\xfe"))),
    (Reason.NOT_OBJECT, _value(lambda value: b"[" + value + b"]")),
    (Reason.MISSING_FIELD, _without("best_ask")),
    (Reason.MISSING_FIELD, _never_traded),
    (Reason.WRONG_TYPE, _with(best_bid=64250.5)),
    (Reason.WRONG_TYPE, _with(trade_id=-1)),
    (Reason.UNKNOWN_TYPE, _with(type="heartbeat")),
    (Reason.BAD_PAIR, _with(product_id="btc/usd")),
    (Reason.KEY_MISMATCH, lambda _, value: (b"ANOTHER-PAIR", value)),
    (Reason.KEY_MISMATCH, lambda _, value: (None, value)),
    (Reason.BAD_VENUE, _with(venue="Simulated!")),
    (Reason.BAD_PRICE, _with(best_bid="NaN")),
    (Reason.BAD_PRICE, _with(best_ask="Infinity")),
    (Reason.BAD_PRICE, _with(best_bid="-1.00")),
    (Reason.BAD_PRICE, _with(best_bid="0.00")),
    (Reason.BAD_PRICE, _with(best_ask="9" * 400)),
    (Reason.BAD_PRICE, _with(best_ask="64_250.00")),
    (Reason.BAD_SIZE, _with(best_bid_size="1e5")),
    (Reason.BAD_TRADE, _with(last_size="-1")),
    (Reason.CROSSED_QUOTE, _crossed),
    (Reason.BAD_TIME, _with(time="2024-05-01T12:00:00")),
    (Reason.BAD_TIME, _with(time="2024-02-30T12:00:00Z")),
    (Reason.IMPLAUSIBLE_TIME, _with(time="1999-12-31T23:59:59.999999Z")),
    (Reason.IMPLAUSIBLE_TIME, _with(time="2999-01-01T00:00:00.000000Z")),
)


class BadTicks:
    """Chooses the slots of bad ticks, and makes each of the good tick before it."""

    def __init__(self, seed: int, share: float) -> None:
        self._chance = Random(f"{seed} bad").random  # noqa: S311  (it must be repeatable, not secret)
        self._share = share
        self._turn = 0
        self._good: tuple[bytes, bytes] | None = None

    def pick(self, slots: int) -> Flags:
        """Return for each of the next slots whether it has a bad tick; the first of all has none."""
        is_bad = np.array([self._chance() < self._share for _ in range(slots)], np.bool_)
        if self._good is None:
            is_bad[0] = False
        return is_bad

    def insert(self, block: list[Message | None], places: Iterable[int]) -> None:
        """Put bad ticks at these places."""
        at = set(places)
        for place, message in enumerate(block):
            if place in at:
                if self._good is not None:
                    block[place] = spoiled(self._turn, *self._good)
                    self._turn += 1
            elif message is not None:
                key, value = message
                if key is not None and value is not None:
                    self._good = key, value


def spoiled(turn: int, key: bytes, value: bytes) -> Message:
    """Make a good tick bad; `turn`, the number of bad ticks so far, selects the kind."""
    return KINDS[turn % len(KINDS)][1](key, value)
