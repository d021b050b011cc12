"""A simulation goes on from the last simulated quotes: the same prices, later times and trade ids."""

from __future__ import annotations

import json
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from cryptometrics.feeds.simulator import DEFAULT_PAIRS
from cryptometrics.feeds.simulator.last_quotes import last_quotes
from cryptometrics.feeds.simulator.scenarios import schedule
from cryptometrics.market.tick_decoder import decode
from tests.unit.feeds.streams import START, stream

if TYPE_CHECKING:
    from cryptometrics.feeds.simulator.currencies import LastQuote
    from cryptometrics.kafka.publisher import Message

NOW = START + timedelta(hours=1)
PAIRS = (*DEFAULT_PAIRS, "ETH-BTC", "UNKNOWN-EUR")


class FakeRecord:
    """A record with nothing but key and value."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def key(self) -> bytes | None:
        return self._message[0]

    def value(self) -> bytes | None:
        return self._message[1]

    def timestamp(self) -> tuple[int, int]:
        return 0, 0


def found_in(messages: list[Message]) -> dict[str, LastQuote]:
    return last_quotes(map(FakeRecord, messages), PAIRS, NOW)


def ticker(bid: str, ask: str, *, trade_id: int, venue: str = "simulated") -> Message:
    fields = {"type": "ticker", "product_id": "BTC-USD", "best_bid": bid, "best_ask": ask}
    return b"BTC-USD", json.dumps(
        fields | {"trade_id": trade_id, "venue": venue, "time": "2026-07-01T00:00:10Z"}
    ).encode()


def test_a_later_simulation_goes_on_from_an_earlier_one() -> None:
    before = stream(60_000, pairs=PAIRS)
    last = found_in(before)
    assert last.keys() == set(PAIRS)
    end = max(quote.time for quote in last.values())
    assert end == decode(*before[-1], NOW).time
    after = stream(1_000, pairs=PAIRS, seed=8, start=end, last=last)
    first_prices: dict[str, Fraction] = {}
    for message in after:
        tick = decode(*message, NOW)
        first_prices.setdefault(tick.pair, Fraction(tick.bid + tick.ask) / 2)
        trade_id = tick.trade_id or 0
        assert trade_id > last[tick.pair].trade_id
        assert tick.bid.as_tuple().exponent == -last[tick.pair].decimals
    for pair, price in first_prices.items():
        assert abs(price / last[pair].price - 1) < Fraction(20, 10_000)
    assert abs(last["BTC-USD"].price / 64_250 - 1) > Fraction(1, 10_000)


def test_what_is_not_a_simulated_tick_is_passed_over() -> None:
    good = stream(600, pairs=PAIRS)
    last = found_in(good)
    broken = stream(400, pairs=PAIRS, bad=1)[1:]
    outage = stream(400, pairs=PAIRS, scenarios=(schedule("outage", Fraction(0)),), step=Fraction(10**6))
    gaps = [message for message in outage if b'"gap"' in (message[1] or b"")]
    assert gaps
    foreign = ticker("1.00", "2.00", trade_id=1_782_864_000_000_000, venue="coinbase")
    without_decimals = ticker("1", "2", trade_id=1_782_864_000_000_000)
    assert found_in([*good, *broken, *gaps, foreign, without_decimals]) == last
    assert last_quotes(map(FakeRecord, good), ["SOL-USD"], NOW).keys() == {"SOL-USD"}
