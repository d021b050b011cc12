"""The verifier's own reader of the wire format against the decoders that fill the tables."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from cryptometrics.market import gap_records
from cryptometrics.market.tick_decoder import Reason, RejectedError, decode
from cryptometrics.verify.message_decoder import (
    GapMessage,
    InvalidMessageError,
    QuoteMessage,
    TradeMessage,
    read,
)
from tests.fuzz.decoder import NOW
from tests.fuzz.messages import CORPUS, GOOD, VALUES, mutate, mutations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.messages import Message

TICKS, GAPS = 30_000, 20_000
GAP: dict[str, object] = {
    "type": "gap",
    "product_id": "ETH-USD",
    "kind": "down",
    "time": "2026-07-01T11:59:58.061769Z",
    "begins": "2026-07-01T11:50:00Z",
    "first_trade_id": 370843401,
    "last_trade_id": 370843499,
    "venue": "coinbase-replay",
}
# Where JSON parsers differ: unread text that is not UTF-8, lone surrogates, huge numbers, repeated fields.
EXTRAS = (
    *(b'"x":"\xff"', b'"\xff":1', rb'"x":"\ud800"', rb'"x":"\ud83d\ude00"', rb'"x":"\\ud800"', b'"x":NaN'),
    *(b'"x":-0', b'"x":01', b'"x":1e999', b'"trade_id":1e999', b'"trade_id":-0', b'"trade_id":1.0'),
    *(b'"trade_id":"a","trade_id":1', rb'"ty\u0070e":"quote"', b'"best_bid":5,"x":1e999', b'"x":[1,]'),
    *(b'"x":' + b"[" * depth + b"]" * depth for depth in (500, 5_000)),
)
ODD: list[Message] = [
    *(
        (b"ETH-USD", value)
        for value in (b"[]", b"1", b" null ", b"[1e999]", b"[] x", b"{} x", b'{"type":"gap"} x')
    ),
    *((b"ETH-USD", json.dumps(GOOD).encode()[:-1] + b"," + extra + b"}") for extra in EXTRAS),
]
GAP_VALUES = (*VALUES, *gap_records.GapKind, True, False, GAP["time"], 370843400, 370843500)


def gap_messages(seed: int) -> Iterator[Message]:
    """Yield gap records without end: with other values, without fields, with broken bytes."""
    chance = random.Random(seed)
    while True:
        fields = dict(GAP)
        for name in chance.sample(list(GAP), chance.randint(0, 3)):
            fields[name] = chance.choice(GAP_VALUES)
            if chance.random() < 0.2:
                del fields[name]
        value = json.dumps(fields).encode()
        yield b"ETH-USD", mutate(chance, value) if chance.random() < 0.3 else value


def _stored(message: Message) -> object:
    """Return what the tables hold of a message: its reason for rejection, or the values."""
    key, value = message
    try:
        tick = decode(key, value, NOW)
    except RejectedError as error:
        try:
            gap = gap_records.decode(key, value, NOW, error)
        except RejectedError as reason:
            return str(reason.reason)
        return GapMessage(
            gap.pair, str(gap.kind), gap.begins, gap.time, gap.first_trade_id, gap.last_trade_id,
            gap.proves, gap.venue,
        )  # fmt: skip
    trade = None
    if tick.trade is not None:
        trade = TradeMessage(tick.trade.price, tick.trade.size, tick.trade.is_buy)
    return QuoteMessage(
        tick.pair,
        tick.kind,
        tick.bid,
        tick.ask,
        tick.time,
        tick.trade_id,
        tick.venue,
        tick.bid_size,
        tick.ask_size,
        trade,
    )


def _verified(message: Message) -> object:
    try:
        return read(*message, NOW)
    except InvalidMessageError as error:
        return error.reason


@pytest.mark.parametrize("seed", [1, 2])
def test_both_readers_agree_on_hostile_messages(seed: int) -> None:
    kinds: Counter[str] = Counter()
    ticks = itertools.islice(itertools.chain(ODD, CORPUS, mutations(seed)), TICKS)
    for message in itertools.chain(ticks, itertools.islice(gap_messages(seed), GAPS)):
        stored, verified = _stored(message), _verified(message)
        # As text, too: 1.10 and 1.1 are equal numbers, but not the same.
        assert (verified, str(verified)) == (stored, str(stored)), message
        kinds[stored if isinstance(stored, str) else type(stored).__name__] += 1
    assert kinds["QuoteMessage"] > 500 < kinds["GapMessage"]
    assert kinds.keys() >= {str(reason) for reason in Reason} - {Reason.REFUSED}
